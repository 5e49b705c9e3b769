//! A certificate authority with a broker's and a client's certificate, made by the `openssl`
//! command.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::kafka::Error;

const SCRIPT: &str = r#"
set -e
cd "$0"
ca() {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 \
        -keyout "$1.key" -out "$1.pem" -subj "/CN=$1"
}
# name, CA
leaf() {
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$1.key" -out "$1.csr" -subj "/CN=${1##*-}"
    openssl x509 -req -in "$1.csr" -CA "$2.pem" -CAkey "$2.key" -CAcreateserial -days 3650 -extfile names -out "$1.pem"
}
printf 'subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\n' >names
ca ca
ca stranger-ca
leaf broker ca
leaf client ca
leaf stranger-client stranger-ca
openssl pkcs8 -topk8 -nocrypt -in broker.key -out broker.p8
cat broker.p8 broker.pem >broker-keystore.pem
"#;

/// Paths of PEM files. The stranger's certificates are well-formed, but signed by an authority that the broker does not
/// know.
#[derive(Debug, Clone)]
pub struct Certs {
    dir: PathBuf,
}

impl Certs {
    /// Makes the files in a directory, which it creates. The broker's certificate, for `localhost` and 127.0.0.1, is
    /// `broker.pem`, and its key in PKCS#8 `broker.p8`.
    ///
    /// # Errors
    ///
    /// If the directory or the files cannot be made, for example because there is no `openssl`.
    pub fn make(dir: PathBuf) -> Result<Self, Error> {
        std::fs::create_dir_all(&dir).map_err(Error::with(dir.display()))?;
        let output = Command::new("sh")
            .args(["-c", SCRIPT])
            .arg(&dir)
            .stdin(Stdio::null())
            .output()
            .map_err(Error::with("cannot start `sh`"))?;
        if output.status.success() {
            return Ok(Self { dir });
        }
        Err(Error::new(format!("openssl: {}", String::from_utf8_lossy(&output.stderr).trim())))
    }

    pub(crate) fn broker_pem(&self) -> PathBuf {
        self.dir.join("broker-keystore.pem")
    }

    /// Directory of the files.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Certificate of the authority that signed the broker's certificate.
    #[must_use]
    pub fn ca(&self) -> PathBuf {
        self.dir.join("ca.pem")
    }

    /// Client certificate for `CN=client`.
    #[must_use]
    pub fn client_cert(&self) -> PathBuf {
        self.dir.join("client.pem")
    }

    /// Key of the client certificate.
    #[must_use]
    pub fn client_key(&self) -> PathBuf {
        self.dir.join("client.key")
    }

    /// Certificate of an authority that signed nothing in this cluster.
    #[must_use]
    pub fn stranger_ca(&self) -> PathBuf {
        self.dir.join("stranger-ca.pem")
    }

    /// Client certificate signed by that authority.
    #[must_use]
    pub fn stranger_cert(&self) -> PathBuf {
        self.dir.join("stranger-client.pem")
    }

    /// Key of that certificate.
    #[must_use]
    pub fn stranger_key(&self) -> PathBuf {
        self.dir.join("stranger-client.key")
    }
}
