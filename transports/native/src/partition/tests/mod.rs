mod broker;
mod model;
mod table;
