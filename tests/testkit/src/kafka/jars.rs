//! The jars of Apache Kafka and the class data archive, kept in cargo's target directory.

use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use rustix::io::retry_on_intr;

use crate::kafka::KAFKA_VERSION;
use crate::kafka::home::Home;
use crate::kafka::launcher::{Archive, Launcher};
use crate::kafka::listeners::Spec;
use crate::kafka::node::Node;

const POM: &str = include_str!("../../assets/pom.xml");
const OPENTELEMETRY_POM: &str = include_str!("../../assets/opentelemetry.xml");
const OPENTELEMETRY_VERSION: &str = "1.68.0";
const TOOLS_POM: &str = include_str!("../../assets/tools.xml");
const MAVEN_GOAL: &str = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies";

/// A Java and Kafka's class path.
#[derive(Debug, Clone)]
pub(crate) struct Jars {
    pub(crate) java: PathBuf,
    /// Every jar by name, sorted: the archive is valid for exactly this text.
    pub(crate) classpath: OsString,
}

/// `target/kafka-VERSION`.
pub(crate) fn cache_dir() -> PathBuf {
    target_dir().join(format!("kafka-{KAFKA_VERSION}"))
}

/// Cargo's target directory, which caches what tests build once. Cargo marks it with a `CACHEDIR.TAG`, and test
/// binaries are below it.
#[must_use]
pub fn target_dir() -> PathBuf {
    let exe = std::env::current_exe().unwrap_or_default();
    if let Some(dir) = exe.ancestors().skip(1).find(|dir| dir.join("CACHEDIR.TAG").is_file()) {
        return dir.to_owned();
    }
    match std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from) {
        Some(dir) if dir.is_absolute() => dir,
        _ => std::env::temp_dir().join("kafka-tower-testkit"),
    }
}

/// Finds Java, the jars and the archive, and makes what is missing. The error says which part is not available.
pub(crate) fn prepare() -> Result<Launcher, String> {
    let (java, version) = find_java()?;
    let cache = cache_dir();
    fs::create_dir_all(&cache).map_err(|error| format!("{}: {error}", cache.display()))?;
    let _lock = lock(&cache)?;

    let lib = cache.join("lib");
    if !lib.is_dir() {
        download(&POM.replace("KAFKA_VERSION", KAFKA_VERSION), &lib)?;
    }
    let jars = Jars { java, classpath: classpath(&lib)? };
    let path = cache.join(format!("java-{version}.jsa"));
    if !path.is_file() {
        make_archive(&jars, &path);
    }
    let archive = if path.is_file() { Archive::Use(path) } else { Archive::None };
    Ok(Launcher::Java { jars, archive })
}

/// Locks the cache until the file is dropped: test binaries run in parallel and share it. The file is closed in child
/// processes, so a broker does not inherit the lock.
fn lock(cache: &Path) -> Result<File, String> {
    let locked = File::create(cache.join("lock")).and_then(|file| {
        retry_on_intr(|| flock(&file, FlockOperation::LockExclusive))?;
        Ok(file)
    });
    locked.map_err(|error| format!("cannot lock {}: {error}", cache.display()))
}

/// Looks at `JAVA_HOME` first, then at the path. Version 17 or newer.
pub(crate) fn find_java() -> Result<(PathBuf, String), String> {
    let home = std::env::var_os("JAVA_HOME").map(|home| PathBuf::from(home).join("bin/java"));
    let mut found = "no Java".to_owned();
    for java in home.into_iter().chain([PathBuf::from("java")]) {
        let Ok(output) = Command::new(&java).arg("-version").stdin(Stdio::null()).output() else {
            continue;
        };
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        let Some(version) = text.split('"').nth(1) else {
            continue;
        };
        let major = version.split(['.', '-', '+']).next().and_then(|major| major.parse::<u32>().ok());
        if major.is_some_and(|major| major >= 17) {
            return Ok((java, version.to_owned()));
        }
        found = format!("Java {version} is too old");
    }
    Err(found)
}

/// OpenTelemetry's Java API with its propagators.
pub(crate) fn opentelemetry() -> Result<OsString, String> {
    let pom = OPENTELEMETRY_POM.replace("OPENTELEMETRY_VERSION", OPENTELEMETRY_VERSION);
    more(&format!("opentelemetry-{OPENTELEMETRY_VERSION}"), &pom)
}

/// Kafka's command-line tools.
pub(crate) fn tools() -> Result<OsString, String> {
    more("tools", &TOOLS_POM.replace("KAFKA_VERSION", KAFKA_VERSION))
}

/// Jars in a directory of their own, because the archive is only for the jars of a broker.
fn more(name: &str, pom: &str) -> Result<OsString, String> {
    let cache = cache_dir();
    let _lock = lock(&cache)?;
    let lib = cache.join(name);
    if !lib.is_dir() {
        download(pom, &lib)?;
    }
    classpath(&lib)
}

/// Fetches the dependencies of a POM.
fn download(text: &str, lib: &Path) -> Result<(), String> {
    let fresh = lib.with_extension("new");
    let _ = fs::remove_dir_all(&fresh);
    let pom = lib.with_extension("pom.xml");
    fs::write(&pom, text).map_err(|error| format!("{}: {error}", pom.display()))?;
    let output = Command::new("mvn")
        .args(["-q", "-B", "-f"])
        .arg(&pom)
        .args([MAVEN_GOAL, "-DincludeScope=runtime"])
        .arg(format!("-DoutputDirectory={}", fresh.display()))
        .stdin(Stdio::null())
        .output()
        .map_err(|_| "Java, but no Maven".to_owned())?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let first = text.lines().find(|line| line.contains("ERROR")).unwrap_or("it failed without output");
        let name = lib.file_name().unwrap_or_default().to_string_lossy();
        return Err(format!("Maven cannot fetch {name} of Kafka {KAFKA_VERSION}: {first}"));
    }
    // Renamed in one step: complete or not there.
    fs::rename(&fresh, lib).map_err(|error| format!("{}: {error}", lib.display()))
}

fn classpath(lib: &Path) -> Result<OsString, String> {
    let entries = fs::read_dir(lib).map_err(|error| format!("{}: {error}", lib.display()))?;
    let mut jars: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    jars.retain(|path| path.extension().is_some_and(|extension| extension == "jar"));
    jars.sort();
    std::env::join_paths(jars).map_err(|error| error.to_string())
}

/// Runs a broker once to record its classes. Not an error if it fails: without the archive everything is only slower.
fn make_archive(jars: &Jars, path: &Path) {
    let fresh = path.with_extension("new");
    let launcher = Launcher::Java { jars: jars.clone(), archive: Archive::Write(fresh.clone()) };
    let run = || -> Result<(), crate::kafka::Error> {
        let home = Home::new()?;
        let nodes = Node::plan(&Spec::default(), &home)?;
        for node in &nodes {
            node.prepare(&Spec::default(), &nodes, &launcher, None)?;
            node.spawn(&launcher)?;
            node.wait_ready(&launcher, 1, Duration::from_secs(60))?;
            node.terminate(&launcher, Duration::from_secs(60))?;
        }
        Ok(())
    };
    if run().is_ok() {
        let _ = fs::rename(&fresh, path);
    }
    let _ = fs::remove_file(&fresh);
}
