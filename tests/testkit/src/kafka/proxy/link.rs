//! Forwards frames: one accepting task per route, one task per connection.

use std::collections::HashMap;
use std::io::Result;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncWriteExt as _, split};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until, timeout};

use super::frame::Frame;
use super::rules::{Action, ApiKey, Direction, Flow, State};

type Shared = watch::Sender<State>;
type ReadSide = tokio::io::ReadHalf<TcpStream>;
type WriteSide = tokio::io::WriteHalf<TcpStream>;

/// Maximum number of frames in transit; then the sender waits, as with a full socket buffer.
const QUEUE: usize = 64;
/// Time for the broker to answer a late request.
const ANSWER: Duration = Duration::from_secs(10);

/// Runs until the proxy is dropped; the tasks end with the runtime.
pub(super) async fn run(listeners: Vec<(StdListener, SocketAddr)>, state: Shared) {
    for (listener, target) in listeners {
        tokio::spawn(accept(listener, target, state.clone()));
    }
    let _ = state.subscribe().wait_for(|state| state.closed).await;
}

async fn accept(listener: StdListener, target: SocketAddr, state: Shared) -> Result<()> {
    let mut changes = state.subscribe();
    let mut listener = TcpListener::from_std(listener)?;
    let address = listener.local_addr()?;
    loop {
        state.send_modify(|state| state.listening += 1);
        loop {
            tokio::select! {
                biased;
                _ = changes.wait_for(|state| state.down) => break,
                accepted = listener.accept() => if let Ok((client, _)) = accepted {
                    // Here and not in the task, so that a later `cut` or `down` applies to it.
                    let cuts = state.borrow().cuts;
                    if !state.borrow().down {
                        tokio::spawn(connection(client, target, cuts, state.clone()));
                    }
                },
            }
        }
        drop(listener);
        state.send_modify(|state| state.listening -= 1);
        let _ = changes.wait_for(|state| !state.down).await;
        listener = TcpListener::bind(address).await?;
    }
}

/// How the connection of a client ended.
enum End<'a> {
    Closed,
    /// With a request that the broker will get later.
    Late(Frame, Held<'a>),
}

async fn connection(client: TcpStream, target: SocketAddr, cuts: u64, state: Shared) {
    let mut changes = state.subscribe();
    let _counted = Counted::new(&state, |state| &mut state.connections);
    let Ok(broker) = TcpStream::connect(target).await else {
        return;
    };
    let _ = client.set_nodelay(true);
    let _ = broker.set_nodelay(true);
    let (from_client, to_client) = split(client);
    let (mut from_broker, mut to_broker) = split(broker);
    let open = Open::default();
    let end = tokio::select! {
        biased;
        _ = changes.wait_for(|state| state.cuts != cuts) => End::Closed,
        end = requests(from_client, &mut to_broker, &open, &state) => end.unwrap_or(End::Closed),
        _ = answers(&mut from_broker, to_client, &open, &state) => End::Closed,
    };
    // Both halves of the client are dropped here, so its connection is closed.
    if let End::Late(frame, held) = end {
        held.released().await;
        let _ = late(&frame, &mut from_broker, &mut to_broker).await;
    }
}

/// Requests that wait for their answer, by correlation id.
#[derive(Default)]
struct Open(Mutex<HashMap<i32, (ApiKey, Option<Action>)>>);

impl Open {
    fn put(&self, id: i32, key: ApiKey, action: Option<Action>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(id, (key, action));
    }

    fn take(&self, id: i32) -> Option<(ApiKey, Option<Action>)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&id)
    }
}

/// Client to broker, until one of them or a rule ends it.
async fn requests<'a>(mut from: ReadSide, to: &mut WriteSide, open: &Open, state: &'a Shared) -> Result<End<'a>> {
    let (sender, mut queue) = mpsc::channel::<(Frame, Instant)>(QUEUE);
    let read = async {
        while let Some(frame) = Frame::read(&mut from).await? {
            let due = Instant::now() + state.borrow().to_broker.delay;
            if sender.send((frame, due)).await.is_err() {
                break;
            }
        }
        drop(sender);
        // The writer ends this function, with the frames still in transit.
        std::future::pending::<Result<End<'_>>>().await
    };
    let write = async {
        while let Some((frame, due)) = queue.recv().await {
            let meta = frame.request();
            let mut rule = None;
            if let Some((key, _)) = meta {
                state.send_modify(|state| rule = state.admit(key, frame.bytes()));
            }
            passable(state, Direction::ToBroker, due).await;
            let (action, text) = rule.unzip();
            let text = text.unwrap_or_default();
            match action {
                Some(Action::CutBefore) => return Ok(End::Closed),
                Some(Action::HoldAndCut) => return Ok(End::Late(frame, Held::new(state, text))),
                Some(Action::Hold) => {
                    let held = Held::new(state, text);
                    held.released().await;
                    if queue.is_closed() && queue.is_empty() {
                        // The client is gone: only `late` waits for the answer.
                        return Ok(End::Late(frame, held));
                    }
                    remember(open, meta, action);
                    to.write_all(frame.bytes()).await?;
                }
                Some(Action::DropAnswer | Action::SpoilAnswer | Action::FailProduce(_)) | None => {
                    remember(open, meta, action);
                    to.write_all(frame.bytes()).await?;
                }
            }
        }
        Ok(End::Closed)
    };
    tokio::select! { end = read => end, end = write => end }
}

/// Called before the request is written, because the answer may be fast.
fn remember(open: &Open, meta: Option<(ApiKey, i32)>, action: Option<Action>) {
    if let Some((key, id)) = meta {
        open.put(id, key, action);
    }
}

/// Broker to client, until one of them or a rule ends it.
async fn answers(from: &mut ReadSide, mut to: WriteSide, open: &Open, state: &Shared) -> Result<()> {
    let (sender, mut queue) = mpsc::channel::<(Frame, Instant)>(QUEUE);
    let read = async {
        while let Some(mut frame) = Frame::read(from).await? {
            let due = Instant::now() + state.borrow().to_client.delay;
            let request = frame.answer().and_then(|id| open.take(id));
            if let Some((key, _)) = request {
                state.send_modify(|state| state.to_client.see(key));
            }
            if matches!(request, Some((_, Some(Action::DropAnswer)))) {
                // Earlier answers still pass; this one and the connection end.
                break;
            }
            if matches!(request, Some((_, Some(Action::SpoilAnswer)))) {
                frame.spoil();
            }
            if let Some((_, Some(Action::FailProduce(code)))) = request {
                frame.fail_produce(code);
            }
            if sender.send((frame, due)).await.is_err() {
                break;
            }
        }
        drop(sender);
        std::future::pending::<Result<()>>().await
    };
    let write = async {
        while let Some((frame, due)) = queue.recv().await {
            passable(state, Direction::ToClient, due).await;
            to.write_all(frame.bytes()).await?;
        }
        Ok(())
    };
    tokio::select! { end = read => end, end = write => end }
}

/// Writes a request whose client is gone, and waits for its answer, which shows that the broker has executed it.
async fn late(frame: &Frame, from: &mut ReadSide, to: &mut WriteSide) -> Result<()> {
    to.write_all(frame.bytes()).await?;
    let wanted = frame.request().map(|(_, id)| id);
    let answered = async {
        while let Some(answer) = Frame::read(from).await? {
            if answer.answer() == wanted {
                break;
            }
        }
        Ok(())
    };
    timeout(ANSWER, answered).await.unwrap_or(Ok(()))
}

/// Waits until the direction is not paused and the frame is due.
async fn passable(state: &Shared, direction: Direction, due: Instant) {
    let mut changes = state.subscribe();
    let flow = |state: &State| -> bool {
        let flow: &Flow = match direction {
            Direction::ToBroker => &state.to_broker,
            Direction::ToClient => &state.to_client,
        };
        !flow.paused
    };
    sleep_until(due).await;
    let _ = changes.wait_for(flow).await;
}

/// A request that waits for the next release. Counted and registered in one step, so that a caller who sees it held can
/// release it.
struct Held<'a> {
    state: &'a Shared,
    text: String,
    releases: (u64, u64),
}

impl<'a> Held<'a> {
    fn new(state: &'a Shared, text: String) -> Self {
        let mut releases = (0, 0);
        state.send_modify(|state| {
            state.held.push(text.clone());
            releases = state.releases_of(&text);
        });
        Self { state, text, releases }
    }

    async fn released(&self) {
        let mut changes = self.state.subscribe();
        let _ = changes.wait_for(|state| state.releases_of(&self.text) != self.releases).await;
    }
}

/// Also when a cut drops the task's future.
impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.state.send_modify(|state| {
            if let Some(at) = state.held.iter().position(|held| *held == self.text) {
                state.held.swap_remove(at);
            }
        });
    }
}

/// Increments a counter of the state while it lives, also when a cut drops the task's future.
struct Counted<'a> {
    state: &'a Shared,
    field: fn(&mut State) -> &mut usize,
}

impl<'a> Counted<'a> {
    fn new(state: &'a Shared, field: fn(&mut State) -> &mut usize) -> Self {
        state.send_modify(|state| *field(state) += 1);
        Self { state, field }
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.state.send_modify(|state| *(self.field)(state) -= 1);
    }
}
