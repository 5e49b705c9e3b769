//! Starts and signals a broker process: the JVM directly, or in a container.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::kafka::Error;
use crate::kafka::jars::Jars;

const HEAP: &str = "-Xmx256m";

/// Use of the class data archive, which halves the start time.
#[derive(Debug, Clone)]
pub(crate) enum Archive {
    None,
    Use(PathBuf),
    /// Written when the JVM ends.
    Write(PathBuf),
}

#[derive(Debug, Clone)]
pub(crate) enum Launcher {
    Java {
        jars: Jars,
        archive: Archive,
    },
    /// `namespace`: the container that owns the network and the published ports of all nodes. `user`: `uid:gid` of the
    /// test process, so that tests can read and remove the data.
    Docker {
        namespace: String,
        user: String,
    },
}

impl Launcher {
    /// The host a broker binds to. Docker forwards published ports to the container's outer
    /// address.
    pub(crate) fn bind_host(&self) -> &'static str {
        match self {
            Self::Java { .. } => "127.0.0.1",
            Self::Docker { .. } => "0.0.0.0",
        }
    }

    /// The command line of a broker whose directory is `dir`.
    pub(crate) fn command(&self, dir: &Path) -> Vec<OsString> {
        let properties = dir.join("server.properties");
        let mut line: Vec<OsString> = Vec::new();
        match self {
            Self::Java { jars, archive } => {
                line.push(jars.java.clone().into());
                // The archive fits only the garbage collector with which it was written.
                line.extend([HEAP, "-Xss256k", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"].map(OsString::from));
                match archive {
                    Archive::None => {}
                    Archive::Use(path) => {
                        line.push(concat("-XX:SharedArchiveFile=", path));
                        line.push("-Xshare:auto".into());
                    }
                    Archive::Write(path) => line.push(concat("-XX:ArchiveClassesAtExit=", path)),
                }
                line.push("-Dorg.slf4j.simpleLogger.defaultLogLevel=warn".into());
                // Compression libraries unpack themselves there, and a killed broker leaves them.
                line.push(concat("-Djava.io.tmpdir=", dir));
                line.extend(["-cp".into(), jars.classpath.clone(), "kafka.Kafka".into()]);
                line.push(properties.into());
            }
            Self::Docker { namespace, user } => {
                line.extend(["docker", "run", "--rm", "--name"].map(OsString::from));
                line.push(container(namespace, dir).into());
                line.push(format!("--network=container:{namespace}").into());
                line.push(format!("--user={user}").into());
                let mount = dir.parent().unwrap_or(dir);
                line.extend(["-v".into(), volume(mount)]);
                line.extend(["-e", "KAFKA_HEAP_OPTS=-Xmx256m", "-e", "LOG_DIR=/tmp/logs"].map(OsString::from));
                line.push("--entrypoint=/opt/kafka/bin/kafka-server-start.sh".into());
                line.extend([image().into(), properties.into()]);
            }
        }
        line
    }

    /// Sends a signal by name (`KILL`, `STOP`, …) to the broker in `dir`.
    pub(crate) fn signal(&self, dir: &Path, pid: u32, signal: &str) -> Result<(), Error> {
        let output = match self {
            // The shell's built-in `kill` is always available.
            Self::Java { .. } => {
                Command::new("sh").args(["-c", r#"kill -"$0" "$1""#, signal, &pid.to_string()]).output()
            }
            Self::Docker { namespace, .. } => {
                Command::new("docker").args(["kill", "--signal", signal, &container(namespace, dir)]).output()
            }
        };
        let output = output.map_err(Error::with(format!("cannot send {signal}")))?;
        if output.status.success() {
            return Ok(());
        }
        Err(Error::new(format!("cannot send {signal}: {}", String::from_utf8_lossy(&output.stderr).trim())))
    }

    /// The container's name, for the janitor.
    pub(crate) fn container(&self, dir: &Path) -> Option<String> {
        match self {
            Self::Java { .. } => None,
            Self::Docker { namespace, .. } => Some(container(namespace, dir)),
        }
    }
}

pub(crate) fn image() -> String {
    format!("apache/kafka:{}", crate::kafka::KAFKA_VERSION)
}

/// Returns whether a Docker engine answers.
pub(crate) fn docker_works() -> bool {
    Command::new("docker")
        .args(["version", "--format", "{{.Server.Version}}"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// Starts a container that only holds the network of a cluster, so that the ports stay when a node is killed.
pub(crate) fn docker_namespace(home: &Path, ports: &[u16]) -> Result<Launcher, Error> {
    let number = home.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let namespace = format!("kafka-tower-test-{number}");
    let dir = home.join("network");
    std::fs::create_dir_all(&dir).map_err(Error::with(dir.display()))?;
    std::fs::write(dir.join("container"), &namespace).map_err(Error::with(dir.display()))?;
    let mut command = Command::new("docker");
    command.args(["run", "--rm", "--detach", "--name", &namespace, "--entrypoint=tail"]);
    for port in ports {
        command.args(["-p", &format!("127.0.0.1:{port}:{port}")]);
    }
    let output = command.args([&image(), "-f", "/dev/null"]).output().map_err(Error::with("cannot run docker"))?;
    if !output.status.success() {
        return Err(Error::new(format!("docker run: {}", String::from_utf8_lossy(&output.stderr).trim())));
    }
    let id = Command::new("sh").args(["-c", "echo $(id -u):$(id -g)"]).output().map_err(Error::with("id"))?;
    Ok(Launcher::Docker { namespace, user: String::from_utf8_lossy(&id.stdout).trim().to_owned() })
}

fn container(namespace: &str, dir: &Path) -> String {
    let node = dir.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    format!("{namespace}-{node}")
}

fn volume(dir: &Path) -> OsString {
    let mut volume = dir.as_os_str().to_owned();
    volume.push(":");
    volume.push(dir);
    volume
}

fn concat(option: &str, path: &Path) -> OsString {
    let mut text = OsString::from(option);
    text.push(path);
    text
}
