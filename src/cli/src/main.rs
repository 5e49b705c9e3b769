//! The command `kafka-tower`: `check`, `send`, `tail` and `soak`. See `docs/cli.md` of the repository.
#![forbid(unsafe_code)]

mod args;
mod check;
mod exit;
mod fixed;
mod interrupt;
mod output;
mod send;
mod settings;
mod soak;
mod tail;

use std::process::ExitCode;

use clap::Parser as _;

use args::{Args, Command};
use exit::{End, Failure};
use interrupt::Interrupt;

fn main() -> ExitCode {
    let args = Args::parse();
    output::log::init(args.common.verbose);
    let json = args.common.json;
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            output::say(&format!("error: the runtime cannot be started: {error}"));
            return End::Failed.into();
        }
    };
    let ended = runtime.block_on(run(args));
    // A thread may still wait for a line of the standard input.
    runtime.shutdown_background();
    ended.unwrap_or_else(|failure| output::failed(&failure, json)).into()
}

async fn run(args: Args) -> Result<End, Failure> {
    let Args { common, command } = args;
    let interrupt = Interrupt::listen();
    match command {
        Command::Check(args) => check::run(&common, &args).await,
        Command::Send(args) => send::run(&common, &args, interrupt).await,
        Command::Tail(args) => tail::run(&common, &args, interrupt).await,
        Command::Soak(args) => soak::run(&common, &args, interrupt).await,
    }
}
