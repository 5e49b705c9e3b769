//! The shutdown of a service, with one deadline for its server, its sources and its sinks.

mod hurry;
mod plan;
mod report;
mod server;

use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::{Pin, pin};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use self::hurry::{Hurried, Hurry, Signal, once};
use self::plan::{AT_ONCE, Plan, drain_of};
use self::server::Server;
use crate::source::{SourceCloseReport, SourceControl};
use crate::{CloseError, KafkaClient, KafkaSink};

pub use self::report::ShutdownReport;

type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;
type Close<T> = Box<dyn FnOnce(Duration, Hurried) -> Boxed<T> + Send>;

/// Shuts a service down with one deadline: its HTTP server first, then its sources, then its sinks and clients.
///
/// Kubernetes sends SIGTERM and kills 30 s later, less what a `preStop` hook takes. A server that drains for its own time
/// and a [`close`](KafkaSink::close) that waits for `send_timeout_ms` after it take longer together, and the records in flight
/// are lost with the process. Here all parts share the time from the signal on:
///
/// ```
/// use std::time::Duration;
///
/// use kafka_tower::{KafkaClient, Shutdown};
/// use tokio::sync::oneshot;
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> kafka_tower::Result<()> {
/// # use kafka_tower::{KafkaSinkConfig, memory::MemoryKafka};
/// # let kafka = MemoryKafka::new().with_topic("orders", 1);
/// # let client = KafkaClient::builder(KafkaSinkConfig::default()).transport(kafka.transport()).build().await?;
/// # let (stop, stopped) = oneshot::channel::<()>();
/// // In a service: `Shutdown::on_signal(Duration::from_secs(25))?`, with the feature `signal`.
/// let shutdown = Shutdown::when(stopped, Duration::from_secs(25)).client(&client);
///
/// // For axum: `axum::serve(listener, app).with_graceful_shutdown(shutdown.begun())`.
/// let server = shutdown.begun();
/// # stop.send(()).ok();
/// let report = shutdown.run(server).await; // logged, too
/// assert!(report.is_complete());
/// for undelivered in report.into_undelivered() {
///     // Keep the record, for example in a file: it was not delivered, or not for certain.
///     eprintln!("{:?}: {}", undelivered.record.key, undelivered.error);
/// }
/// # Ok(())
/// # }
/// ```
///
/// | part | ends at the latest | of 25 s |
/// |---|---|---|
/// | the server: it takes no new requests, and its handlers end | when only the time for closing is left: two fifths, or [`closing`](Self::closing) | 15 s |
/// | the sources, together | when half of the time for closing is left | 20 s |
/// | the sinks and clients, together | when a tenth of the time for closing is left | 24 s |
/// | handlers that were still running answer their callers | at the deadline | 25 s |
///
/// Time that a part does not need is left to the next ones. The server goes on meanwhile: a handler whose send ends while the
/// sinks are closed still answers its caller. Sends that begin after the sinks were closed fail with
/// [`ErrorKind::Closed`](crate::ErrorKind::Closed).
///
/// If the server ends by itself, the shutdown begins at once, and a first signal after that changes nothing.
///
/// A second signal ends the shutdown at once: the server is dropped, sources give their partitions back without waiting for
/// handlers, and sinks for no answer any more. The report has what was still open, as at the deadline. Give it to
/// [`at_once_when`](Self::at_once_when) if the signal is one of your own.
///
/// The report is logged with `tracing`: as `INFO` if nothing was lost, as `WARN` if work was broken off, as `ERROR` with the
/// numbers if a record was not delivered, or perhaps not.
///
/// [`KafkaSource::serve`](crate::KafkaSource::serve) is a server too: end it by [`until(shutdown.begun())`](crate::source::Serve::until),
/// and await it together with the other one.
pub struct Shutdown {
    signal: Signal,
    at_once: Vec<Signal>,
    begun: watch::Sender<bool>,
    plan: Plan,
    sources: Vec<Close<SourceCloseReport>>,
    sinks: Vec<Close<Result<(), CloseError>>>,
}

impl Shutdown {
    /// Begins when `signal` ends, for example `tokio::signal::ctrl_c()`, and takes at most `within`.
    pub fn when<S>(signal: S, within: Duration) -> Self
    where
        S: Future + Send + 'static,
    {
        Self::on(once(signal), within)
    }

    fn on(signal: Signal, within: Duration) -> Self {
        Self {
            signal,
            at_once: Vec::new(),
            begun: watch::Sender::new(false),
            plan: Plan::new(within),
            sources: Vec::new(),
            sinks: Vec::new(),
        }
    }

    /// Begins when the process gets SIGTERM or SIGINT (Ctrl-C), and takes at most `within`. On Windows: Ctrl-C.
    ///
    /// A signal from now on begins the shutdown and no longer ends the process; the next one ends the shutdown at once.
    ///
    /// # Errors
    ///
    /// If the signals cannot be listened to.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with I/O.
    #[cfg(feature = "signal")]
    #[cfg_attr(docsrs, doc(cfg(feature = "signal")))]
    pub fn on_signal(within: Duration) -> std::io::Result<Self> {
        #[cfg(unix)]
        let signal: Signal = {
            use tokio::signal::unix::{SignalKind, signal};
            let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
            Box::new(move |cx| match terminate.poll_recv(cx) {
                std::task::Poll::Pending => interrupt.poll_recv(cx).map(drop),
                ready => ready.map(drop),
            })
        };
        #[cfg(windows)]
        let signal: Signal = {
            let mut interrupt = tokio::signal::windows::ctrl_c()?;
            Box::new(move |cx| interrupt.poll_recv(cx).map(drop))
        };
        Ok(Self::on(signal, within))
    }

    /// Ends the shutdown at once when `signal` ends: what is still open is given up, and the report says what. Before the
    /// shutdown has begun, `signal` is not polled.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use kafka_tower::Shutdown;
    /// use tokio::time::sleep;
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() {
    /// let shutdown = Shutdown::when(async {}, Duration::from_secs(25)).at_once_when(sleep(Duration::from_secs(2)));
    /// let report = shutdown.run(std::future::pending::<()>()).await;
    /// assert!(report.at_once && report.server.is_none());
    /// assert_eq!(report.elapsed.as_secs(), 2);
    /// # }
    /// ```
    #[must_use]
    pub fn at_once_when<S>(mut self, signal: S) -> Self
    where
        S: Future + Send + 'static,
    {
        self.at_once.push(once(signal));
        self
    }

    /// Sets how much of the time is kept for closing sources and sinks. Default: two fifths.
    #[must_use]
    pub fn closing(mut self, time: Duration) -> Self {
        self.plan = self.plan.with_closing(time);
        self
    }

    /// Closes this source, before any sink. Its handlers may still send.
    #[must_use]
    pub fn source(mut self, source: SourceControl) -> Self {
        self.sources.push(Box::new(move |within, hurried| {
            let closed = source.close_by(drain_of(within), within);
            let at_once = async move { Some(source.close_by(Duration::ZERO, AT_ONCE).await) };
            Box::pin(hurried.run(closed, at_once))
        }));
        self
    }

    /// Closes this sink, at the same time as the other sinks and clients.
    #[must_use]
    pub fn sink<T: 'static>(mut self, sink: &KafkaSink<T>) -> Self {
        let sink = sink.clone();
        self.sinks.push(Box::new(move |within, hurried| {
            Box::pin(async move {
                // The first close gets the report, and the second one ends it.
                let at_once = async {
                    drop(sink.close_within(Duration::ZERO).await);
                    None
                };
                hurried.run(sink.close_within(within), at_once).await
            })
        }));
        self
    }

    /// Closes this client with all its sinks.
    #[must_use]
    pub fn client(mut self, client: &KafkaClient) -> Self {
        let client = client.clone();
        self.sinks.push(Box::new(move |within, hurried| {
            Box::pin(async move {
                let at_once = async {
                    drop(client.close_within(Duration::ZERO).await);
                    None
                };
                hurried.run(client.close_within(within), at_once).await
            })
        }));
        self
    }

    /// Resolves when the shutdown begins, or when this value was dropped without [`run`](Self::run): for
    /// `with_graceful_shutdown` of axum, [`until`](crate::source::Serve::until) of a source, or tasks of your own.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future has no effect.
    pub fn begun(&self) -> impl Future<Output = ()> + Send + 'static + use<> {
        let mut begun = self.begun.subscribe();
        async move { drop(begun.wait_for(|begun| *begun).await) }
    }

    /// Runs the server until the signal comes or the server ends, and shuts down: see [`Shutdown`]. Returns when everything
    /// has ended, at the deadline, or after a second signal.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the server. The sinks that were being closed stay closed, and the others open.
    ///
    /// # Panics
    ///
    /// If it has to wait outside of a tokio runtime with a timer.
    pub async fn run<F: IntoFuture>(self, server: F) -> ShutdownReport<F::Output> {
        let Self { mut signal, at_once, begun, plan, sources, sinks } = self;
        let running = pin!(server.into_future());
        let mut server = Server::new(running);
        let came = server.run_until(&mut signal).await;
        let start = Instant::now();
        let left = |until: Duration| until.saturating_sub(start.elapsed());
        begun.send_replace(true);
        tracing::info!(deadline = ?plan.total, "shutting down");
        let mut hurry = Hurry::new(signal, came, at_once);
        server.run_for(left(plan.server_until()), &mut hurry).await;
        let sources = begin(sources, left(plan.sources_until()), &hurry);
        let sources = server.run_beside(sources, &mut hurry).await;
        let sinks = begin(sinks, left(plan.sinks_until()), &hurry);
        let sinks = server.run_beside(sinks, &mut hurry).await;
        server.run_for(left(plan.total), &mut hurry).await;
        let (elapsed, at_once) = (start.elapsed(), hurry.is_raised());
        let report = ShutdownReport { server: server.output, sources, sinks, elapsed, at_once };
        report.log();
        report
    }
}

fn begin<T>(closes: Vec<Close<T>>, within: Duration, hurry: &Hurry) -> Vec<Boxed<T>> {
    closes.into_iter().map(|close| close(within, hurry.subscribe())).collect()
}

impl fmt::Debug for Shutdown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shutdown")
            .field("plan", &self.plan)
            .field("sources", &self.sources.len())
            .field("sinks", &self.sinks.len())
            .finish_non_exhaustive()
    }
}
