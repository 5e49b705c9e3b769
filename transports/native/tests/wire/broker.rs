//! One connection of a broker: reads requests, executes them and answers, one after the other, as Kafka does.
//!
//! A request is executed if all of its bytes have arrived, and never otherwise. What the client does to its connection afterwards
//! changes nothing about that.

use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::messages::{ApiKey, RequestHeader};
use kafka_protocol::protocol::decode_request_header_from_buffer;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::time::sleep;

use super::cluster::{Cluster, framed, index_of};
use super::faults::{Kind, Place};
use super::requests::{Executed, execute};

/// The longest request: Kafka's `socket.request.max.bytes`.
const MAX_FRAME: usize = 100 << 20;

/// Serves a connection until it ends.
pub(crate) async fn serve(cluster: Cluster, broker: i32, connection: u64, stream: DuplexStream) {
    let mut serving = Serving { cluster, broker, stream, client_has_gone: false };
    let mut frame = 0;
    while serving.next(Place { connection, frame }).await.is_some() {
        frame += 1;
    }
}

struct Serving {
    cluster: Cluster,
    broker: i32,
    stream: DuplexStream,
    client_has_gone: bool,
}

impl Serving {
    /// Serves one request. `None` ends the connection.
    async fn next(&mut self, at: Place) -> Option<()> {
        let first = self.stream.read_u8().await.ok()?;
        self.cluster.while_stopped(self.broker).await;
        self.cluster.change(self.broker, at);
        if self.happens(Kind::CutBefore, at) {
            return None;
        }
        let mut len = [first, 0, 0, 0];
        self.stream.read_exact(&mut len[1..]).await.ok()?;
        let len = usize::try_from(i32::from_be_bytes(len)).unwrap_or(usize::MAX);
        if !(8..=MAX_FRAME).contains(&len) {
            self.cluster.state().complain(format!("a frame of {len} bytes"));
            return None;
        }
        if self.happens(Kind::CutInside, at) {
            let some = index_of(self.choose(Kind::CutInside, at, 0, len as u64));
            let _ = self.stream.read_exact(&mut vec![0; some]).await;
            return None;
        }
        let (header, body) = self.read(at, len).await?;
        if self.happens(Kind::SlowAnswer, at) {
            let time = Duration::from_millis(self.choose(Kind::SlowAnswer, at, 0, 60_000));
            if self.choose(Kind::SlowAnswer, at, 1, 2) == 0 {
                sleep(time).await;
                return self.answer(at, &header, body).await;
            }
            let executed = self.execute(at, &header, body)?;
            sleep(time).await;
            return self.write(at, executed).await;
        }
        sleep(Duration::from_micros(self.choose(Kind::SlowAnswer, at, 2, 3_000))).await;
        self.answer(at, &header, body).await
    }

    /// Reads the rest of a frame.
    async fn read(&mut self, at: Place, len: usize) -> Option<(RequestHeader, Bytes)> {
        let mut frame = vec![0; len];
        if self.happens(Kind::SlowRead, at) {
            let piece = (len / 8).max(1);
            for piece in frame.chunks_mut(piece) {
                sleep(Duration::from_millis(self.choose(Kind::SlowRead, at, piece.len() as u64, 2_000))).await;
                self.stream.read_exact(piece).await.ok()?;
            }
        } else {
            self.stream.read_exact(&mut frame).await.ok()?;
        }
        let mut frame = Bytes::from(frame);
        match decode_request_header_from_buffer(&mut frame) {
            Ok(header) => Some((header, frame)),
            Err(error) => {
                self.cluster.state().complain(format!("a request header that cannot be read: {error}"));
                None
            }
        }
    }

    async fn answer(&mut self, at: Place, header: &RequestHeader, body: Bytes) -> Option<()> {
        self.cluster.while_stopped(self.broker).await;
        if header.request_api_key == ApiKey::Produce as i16 && self.happens(Kind::Hold, at) {
            self.hold(at, header.clone(), body);
            return None;
        }
        let executed = self.execute(at, header, body)?;
        self.write(at, executed).await
    }

    fn execute(&self, at: Place, header: &RequestHeader, body: Bytes) -> Option<Executed> {
        let executed = execute(&mut self.cluster.state(), self.broker, at, header, body);
        executed.map_err(|complaint| self.cluster.state().complain(complaint)).ok()
    }

    /// Executes a request later, if the broker has not ended by then. Nobody gets the answer.
    fn hold(&self, at: Place, header: RequestHeader, body: Bytes) {
        let (cluster, broker) = (self.cluster.clone(), self.broker);
        // Most of them a moment later, and some after the client's time-outs.
        let most = if self.choose(Kind::Hold, at, 0, 3) == 0 { 100_000 } else { 1_000 };
        let time = Duration::from_millis(self.choose(Kind::Hold, at, 1, most));
        cluster.state().event(None, || format!("{at} is held for {time:?}"));
        let held = tokio::spawn(async move {
            sleep(time).await;
            cluster.while_stopped(broker).await;
            let mut state = cluster.state();
            if let Err(complaint) = execute(&mut state, broker, at, &header, body) {
                state.complain(complaint);
            }
        });
        self.cluster.state().keep(self.broker, held.abort_handle());
    }

    async fn write(&mut self, at: Place, executed: Executed) -> Option<()> {
        let Some(answer) = executed.answer else { return if executed.closes { None } else { Some(()) } };
        self.cluster.while_stopped(self.broker).await;
        if self.happens(Kind::CutAfter, at) {
            return None;
        }
        let answer = framed(&answer);
        if self.happens(Kind::CutInAnswer, at) {
            let some = index_of(self.choose(Kind::CutInAnswer, at, 0, answer.len() as u64));
            let _ = self.stream.write_all(&answer[..some]).await;
            return None;
        }
        // What has arrived is executed although nobody reads the answers any more.
        self.client_has_gone = self.client_has_gone || self.stream.write_all(&answer).await.is_err();
        sleep(executed.throttle).await;
        Some(())
    }

    fn happens(&self, kind: Kind, at: Place) -> bool {
        let happens = self.cluster.state().faults.happens(kind, at);
        if happens {
            self.cluster.state().event(None, || format!("{at}: {kind:?} at broker {}", self.broker));
        }
        happens
    }

    fn choose(&self, kind: Kind, at: Place, nth: u64, below: u64) -> u64 {
        self.cluster.state().faults.choose(kind, at, nth, below)
    }
}
