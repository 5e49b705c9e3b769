//! One broker process: its files, its start, its signals. All functions block.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::kafka::certs::Certs;
use crate::kafka::home::Home;
use crate::kafka::launcher::Launcher;
use crate::kafka::listeners::{Listener, Port, Spec, server_properties};
use crate::kafka::process::{shorten, tail, threads};
use crate::kafka::{Error, client, ports};

/// Feature levels and SCRAM users of a new cluster, instead of running `format`: see `assets/README.md`.
const CHECKPOINT: &[u8] = include_bytes!("../../assets/bootstrap.checkpoint");
const POLL: Duration = Duration::from_millis(15);

#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) id: i32,
    pub(crate) controller: u16,
    pub(crate) ports: Vec<Port>,
    dir: PathBuf,
    child: Mutex<Option<Child>>,
}

impl Node {
    /// Assigns id, ports and directory to every node of a cluster.
    pub(crate) fn plan(spec: &Spec, home: &Home) -> Result<Vec<Self>, Error> {
        let mut nodes = Vec::new();
        for index in 0..spec.brokers {
            let id = i32::try_from(index + 1).map_err(Error::new)?;
            let mut free = ports::free(spec.listeners.len() + 3)?.into_iter();
            let mut next = || free.next().ok_or_else(|| Error::new("no free port"));
            let controller = next()?;
            let mut ports = Vec::new();
            for &listener in [Listener::Plaintext].iter().chain(&spec.listeners) {
                let bind = next()?;
                let advertised = if listener == Listener::Proxy { next()? } else { bind };
                ports.push(Port { listener, bind, advertised });
            }
            let dir = home.dir().join(format!("node-{id}"));
            nodes.push(Self { id, controller, ports, dir, child: Mutex::new(None) });
        }
        Ok(nodes)
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.dir.join("data")
    }

    pub(crate) fn port(&self, listener: Listener) -> Option<Port> {
        self.ports.iter().copied().find(|port| port.listener == listener)
    }

    /// The address of the plaintext listener.
    pub(crate) fn address(&self) -> SocketAddr {
        let port = self.port(Listener::Plaintext).map_or(0, |port| port.bind);
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    /// Writes the files that a broker needs.
    pub(crate) fn prepare(
        &self,
        spec: &Spec,
        all: &[Self],
        launcher: &Launcher,
        certs: Option<&Certs>,
    ) -> Result<(), Error> {
        let data = self.data_dir();
        fs::create_dir_all(&data).map_err(Error::with(data.display()))?;
        // Any 22 characters of base64; the directory id must be different for each node.
        let meta = format!(
            "version=1\ncluster.id=AAAAAAAAAAAAAAAAAAAAAA\nnode.id={id}\ndirectory.id=BBBBBBBBBBBBBBBBB{id:04}A\n",
            id = self.id
        );
        let properties = server_properties(spec, self, all, launcher.bind_host(), certs);
        for (path, bytes) in [
            (data.join("meta.properties"), meta.as_bytes()),
            (data.join("bootstrap.checkpoint"), CHECKPOINT),
            (self.dir.join("server.properties"), properties.as_bytes()),
        ] {
            fs::write(&path, bytes).map_err(Error::with(path.display()))?;
        }
        if let Some(container) = launcher.container(&self.dir) {
            fs::write(self.dir.join("container"), container).map_err(Error::with(self.dir.display()))?;
        }
        Ok(())
    }

    /// Starts the process, which is not ready yet.
    pub(crate) fn spawn(&self, launcher: &Launcher) -> Result<(), Error> {
        let mut child = self.child();
        if child.is_some() {
            return Err(Error::new(format!("node {} is already running", self.id)));
        }
        let path = self.log_file();
        let log = File::options().create(true).append(true).open(&path).map_err(Error::with(path.display()))?;
        let errors = log.try_clone().map_err(Error::with(path.display()))?;
        let started = Command::new("sh")
            // The shell writes the pid before it becomes the broker, so that the janitor cannot miss it.
            .args(["-c", r#"echo $$ >"$0" && exec "$@""#])
            .arg(self.pid_file())
            .args(launcher.command(&self.dir))
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors)
            // Ctrl-C is for the tests only; the janitor ends the broker.
            .process_group(0)
            .spawn()
            .map_err(Error::with("cannot start `sh`"))?;
        *child = Some(started);
        Ok(())
    }

    /// Waits until this broker answers and knows `brokers` brokers, including itself.
    pub(crate) fn wait_ready(&self, launcher: &Launcher, brokers: usize, limit: Duration) -> Result<(), Error> {
        let end = Instant::now() + limit;
        let mut last = "its port is closed".to_owned();
        // The port opens when the broker is ready.
        while TcpStream::connect_timeout(&self.address(), Duration::from_secs(1)).is_err() {
            self.check(launcher, end, &last)?;
            sleep(POLL);
        }
        loop {
            match client::brokers(&self.address().to_string(), Duration::from_secs(2)) {
                Ok(ids) if ids.len() >= brokers && ids.contains(&self.id) => return Ok(()),
                Ok(ids) => last = format!("it knows the brokers {ids:?} of {brokers}"),
                Err(error) => last = error.to_string(),
            }
            self.check(launcher, end, &last)?;
            sleep(POLL);
        }
    }

    /// Returns an error if the process has ended or the time is over.
    fn check(&self, launcher: &Launcher, end: Instant, last: &str) -> Result<(), Error> {
        let what = match self.child().as_mut().map(Child::try_wait) {
            Some(Ok(None)) if Instant::now() < end => return Ok(()),
            Some(Ok(None)) => format!("is not ready in time: {last}"),
            Some(Ok(Some(status))) => format!("exited at its start: {status}"),
            Some(Err(error)) => error.to_string(),
            None => "is not running".to_owned(),
        };
        let line: Vec<_> = launcher.command(&self.dir).iter().map(|word| shorten(&word.to_string_lossy())).collect();
        Err(Error::new(format!(
            "Kafka node {} {what}\ncommand: {}\nend of its log:\n{}",
            self.id,
            line.join(" "),
            self.log_tail(),
        )))
    }

    pub(crate) fn signal(&self, launcher: &Launcher, signal: &str) -> Result<(), Error> {
        let child = self.child();
        let Some(child) = child.as_ref() else {
            return Err(Error::new(format!("node {} is not running", self.id)));
        };
        launcher.signal(&self.dir, child.id(), signal)
    }

    /// SIGSTOP. Returns when no thread runs any more: after the signal alone, a busy machine may still answer a
    /// request.
    pub(crate) fn stop(&self, launcher: &Launcher) -> Result<(), Error> {
        self.signal(launcher, "STOP")?;
        // The threads of a container are not visible, and outside Linux there is no way to look.
        let Some(pid) = self.pid().filter(|_| launcher.container(&self.dir).is_none()) else {
            return Ok(());
        };
        let end = Instant::now() + Duration::from_secs(10);
        while threads(pid).iter().any(|&state| state != 'T') {
            if Instant::now() > end {
                return Err(Error::new(format!("node {} does not stop", self.id)));
            }
            sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// Kills the process if it is running, and waits for its end.
    pub(crate) fn kill(&self, launcher: &Launcher) -> Result<(), Error> {
        if let Some(child) = self.child().as_mut() {
            if !matches!(child.try_wait(), Ok(Some(_))) {
                launcher.signal(&self.dir, child.id(), "KILL")?;
            }
        }
        self.reap(Duration::from_secs(20))
    }

    /// Asks the process to end, and waits for it.
    pub(crate) fn terminate(&self, launcher: &Launcher, limit: Duration) -> Result<(), Error> {
        self.signal(launcher, "TERM")?;
        self.reap(limit)
    }

    fn reap(&self, limit: Duration) -> Result<(), Error> {
        let end = Instant::now() + limit;
        while let Some(child) = self.child().as_mut() {
            if child.try_wait().map_err(Error::with("waiting for a broker"))?.is_some() {
                break;
            }
            if Instant::now() > end {
                return Err(Error::new(format!("node {} does not end in time\n{}", self.id, self.log_tail())));
            }
            sleep(Duration::from_millis(2));
        }
        *self.child() = None;
        // The pid may soon belong to another process.
        let _ = fs::remove_file(self.pid_file());
        Ok(())
    }

    pub(crate) fn pid(&self) -> Option<u32> {
        self.child().as_ref().map(Child::id)
    }

    fn pid_file(&self) -> PathBuf {
        self.dir.join("pid")
    }

    pub(crate) fn log_file(&self) -> PathBuf {
        self.dir.join("broker.log")
    }

    /// Returns whether the last start failed because another process had taken a port.
    pub(crate) fn port_was_taken(&self) -> bool {
        self.log_tail().contains("Address already in use")
    }

    fn log_tail(&self) -> String {
        tail(&self.log_file(), 25)
    }

    fn child(&self) -> MutexGuard<'_, Option<Child>> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
