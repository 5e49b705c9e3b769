//! Processes, certificates and proxy of a cluster that this crate has started. All functions block.

use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::kafka::Error;
use crate::kafka::certs::Certs;
use crate::kafka::home::Home;
use crate::kafka::launcher::Launcher;
use crate::kafka::listeners::{Listener, Spec};
use crate::kafka::node::Node;
use crate::kafka::provision::Source;
use crate::kafka::proxy::Proxy;

const START: Duration = Duration::from_secs(60);
/// Held while a cluster starts.
static STARTING: Mutex<()> = Mutex::new(());

#[derive(Debug)]
pub(crate) struct Own {
    pub(crate) spec: Spec,
    pub(crate) nodes: Vec<Node>,
    pub(crate) launcher: Launcher,
    pub(crate) certs: Option<Certs>,
    pub(crate) proxy: Option<Proxy>,
    // Declared last: the directory is removed after the processes.
    _home: Home,
}

impl Drop for Own {
    fn drop(&mut self) {
        for node in &self.nodes {
            let _ = node.kill(&self.launcher);
        }
    }
}

impl Own {
    pub(crate) fn start(source: &Source, spec: &Spec) -> Result<Self, Error> {
        let mut tries = 0;
        loop {
            tries += 1;
            let own = Self::plan(source, spec)?;
            match own.run() {
                // Other processes choose ports as well.
                Err(_) if tries < 3 && own.nodes.iter().any(Node::port_was_taken) => {}
                result => return result.map(|()| own),
            }
        }
    }

    fn plan(source: &Source, spec: &Spec) -> Result<Self, Error> {
        let home = Home::new()?;
        let nodes = Node::plan(spec, &home)?;
        let launcher = source.launcher(&home, &nodes)?;
        let certs = if spec.listeners.iter().any(|listener| listener.needs_certs()) {
            Some(Certs::make(home.dir().join("certs"))?)
        } else {
            None
        };
        let ports = nodes.iter().filter_map(|node| node.port(Listener::Proxy));
        let routes: Vec<_> =
            ports.map(|port| (port.advertised, SocketAddr::from(([127, 0, 0, 1], port.bind)))).collect();
        let proxy = if routes.is_empty() { None } else { Some(Proxy::with_routes(&routes)?) };
        Ok(Self { spec: spec.clone(), nodes, launcher, certs, proxy, _home: home })
    }

    fn run(&self) -> Result<(), Error> {
        // A start needs whole cores: started one after another, none waits too long for them.
        let _one_at_a_time = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
        for node in &self.nodes {
            node.prepare(&self.spec, &self.nodes, &self.launcher, self.certs.as_ref())?;
            node.spawn(&self.launcher)?;
        }
        self.nodes.iter().try_for_each(|node| node.wait_ready(&self.launcher, self.spec.brokers, START))
    }

    /// The advertised addresses of one listener. Empty if it is not open.
    pub(crate) fn bootstrap(&self, listener: Listener) -> String {
        let ports = self.nodes.iter().filter_map(|node| node.port(listener));
        ports.map(|port| format!("127.0.0.1:{}", port.advertised)).collect::<Vec<_>>().join(",")
    }

    pub(crate) fn node(&self, id: i32) -> Result<&Node, Error> {
        let found = self.nodes.iter().find(|node| node.id == id);
        found.ok_or_else(|| Error::new(format!("there is no node {id}; they are 1 to {}", self.nodes.len())))
    }
}
