//! What the tests start in processes of their own, to kill them. It ends with its parent.
//!
//! Arguments: `sender`, `member` or `pipeline`, and what each of them needs.

mod group;
mod member;
mod pipeline;
mod sender;

use std::io::Read as _;

#[tokio::main]
async fn main() {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let Some((what, arguments)) = arguments.split_first() else { panic!("arguments: sender, member or pipeline, …") };
    ends_with_parent();
    match what.as_str() {
        "sender" => sender::run(arguments).await,
        "member" => member::run(arguments).await,
        "pipeline" => pipeline::run(arguments).await,
        other => panic!("sender, member or pipeline, and not {other}"),
    }
}

/// A parent that was killed itself cannot end this process.
fn ends_with_parent() {
    std::thread::spawn(|| {
        let _end_of_file = std::io::stdin().read(&mut [0]);
        std::process::exit(1);
    });
}
