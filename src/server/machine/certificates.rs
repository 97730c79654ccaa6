//! This server's certificate and key, from files that may change while it runs.
//!
//! They are looked at when a connection asks for them, once a second at most. A new pair that cannot be used
//! is logged once, and the old one stays in use.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use parking_lot::{Mutex, MutexGuard};
use prometheus_client::metrics::counter::Counter;
use rustls::{
    ServerConfig, ServerConnection,
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject},
    },
};
use thiserror::Error;

use crate::tls;

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What is wrong with the two files. Nothing of a key is repeated.
#[derive(Debug, Error)]
pub enum UnfitCertificate {
    /// A file cannot be read as PEM.
    #[error("{}: {source}", path.display())]
    Unreadable { path: PathBuf, source: pem::Error },
    /// There is no certificate in a file.
    #[error("there is no certificate in {}", .0.display())]
    Empty(PathBuf),
    /// Other users of the machine can read or change the key.
    #[error("others can read or change {} (mode {mode:o}); run chmod 600 on it", key.display())]
    Open { key: PathBuf, mode: u32 },
    /// The two are not of one pair.
    #[error("the key {} is not that of the certificate {}", key.display(), certificate.display())]
    OtherKey { certificate: PathBuf, key: PathBuf },
    /// They are of a kind that is not known here.
    #[error("the certificate {}: {source}", path.display())]
    Unfit {
        /// The file of the certificate.
        path: PathBuf,
        source: rustls::Error,
    },
}

/// The certificate and the key in use.
#[derive(Debug)]
pub struct Certificates {
    certificate: PathBuf,
    key: PathBuf,
    current: Mutex<Current>,
}

#[derive(Debug)]
struct Current {
    config: Arc<ServerConfig>,
    /// When the first certificate of the chain to expire does, in seconds since the Unix epoch.
    expires_s: Option<i64>,
    /// The stamps of the files when they were last read, whether they could be used or not.
    seen: [Stamp; 2],
    looked: Instant,
}

/// What shows that a file has changed; `None` if it cannot be looked at.
type Stamp = Option<(SystemTime, u64, u64)>;

impl Certificates {
    /// Reads both files.
    ///
    /// # Errors
    /// They cannot be used, alone or together.
    pub fn load(certificate: &Path, key: &Path) -> Result<Certificates, UnfitCertificate> {
        let seen = [stamp(certificate), stamp(key)];
        let (config, expires_s) = read(certificate, key)?;
        let current = Current { config, expires_s, seen, looked: Instant::now() };
        Ok(Certificates { certificate: certificate.into(), key: key.into(), current: Mutex::new(current) })
    }

    /// Whether both read the same files, and found the same in them when they last looked.
    pub fn is_of_same_files(&self, other: &Certificates) -> bool {
        let seen = |certificates: &Certificates| certificates.current.lock().seen;
        self.certificate == other.certificate && self.key == other.key && seen(self) == seen(other)
    }

    /// The server's side of a new connection. `refused` counts new pairs that cannot be used.
    pub fn connection(&self, refused: &Counter) -> Result<ServerConnection, rustls::Error> {
        let config = self.current(refused).config.clone();
        ServerConnection::new(config)
    }

    /// When the certificate in use expires, in seconds since the Unix epoch; `None` if that cannot be read.
    pub fn expires_s(&self, refused: &Counter) -> Option<i64> {
        self.current(refused).expires_s
    }

    fn current(&self, refused: &Counter) -> MutexGuard<'_, Current> {
        let mut current = self.current.lock();
        if current.looked.elapsed() >= LOOK_EVERY {
            current.looked = Instant::now();
            self.look(&mut current, refused);
        }
        current
    }

    fn look(&self, current: &mut Current, refused: &Counter) {
        let seen = [stamp(&self.certificate), stamp(&self.key)];
        if seen == current.seen {
            return;
        }
        current.seen = seen;
        match read(&self.certificate, &self.key) {
            Ok((config, expires_s)) => {
                (current.config, current.expires_s) = (config, expires_s);
                log::info!("the certificate {} has changed and is in use", self.certificate.display());
            }
            Err(error) => {
                refused.inc();
                log::error!("{error}; the one from before stays in use");
            }
        }
    }
}

fn read(certificate: &Path, key: &Path) -> Result<(Arc<ServerConfig>, Option<i64>), UnfitCertificate> {
    let unreadable = |path: &Path| {
        let path = path.to_owned();
        move |source| UnfitCertificate::Unreadable { path, source }
    };
    let chain = CertificateDer::pem_file_iter(certificate).map_err(unreadable(certificate))?;
    let chain = chain.collect::<Result<Vec<_>, _>>().map_err(unreadable(certificate))?;
    if chain.is_empty() {
        return Err(UnfitCertificate::Empty(certificate.into()));
    }
    let expires_s = chain.iter().filter_map(|certificate| tls::expiry::expires_s(certificate)).min();
    check_key_file(key)?;
    let secret = PrivateKeyDer::from_pem_file(key).map_err(unreadable(key))?;
    let unfit = |source| match source {
        rustls::Error::InconsistentKeys(_) => {
            UnfitCertificate::OtherKey { certificate: certificate.into(), key: key.into() }
        }
        source => UnfitCertificate::Unfit { path: certificate.into(), source },
    };
    let config = ServerConfig::builder_with_provider(tls::provider())
        .with_safe_default_protocol_versions()
        .map_err(unfit)?
        .with_no_client_auth()
        .with_single_cert(chain, secret)
        .map_err(unfit)?;
    Ok((Arc::new(config), expires_s))
}

/// Refuses a key that every user of the machine can read. A group may: some systems keep one for keys.
#[cfg(unix)]
fn check_key_file(path: &Path) -> Result<(), UnfitCertificate> {
    use std::os::unix::fs::PermissionsExt;
    // A missing file is reported when it is read.
    let mode = fs::metadata(path).map_or(0, |metadata| metadata.permissions().mode());
    if mode & 0o027 == 0 {
        Ok(())
    } else {
        Err(UnfitCertificate::Open { key: path.into(), mode: mode & 0o777 })
    }
}

/// This system has no such permissions.
#[cfg(not(unix))]
fn check_key_file(_path: &Path) -> Result<(), UnfitCertificate> {
    Ok(())
}

fn stamp(path: &Path) -> Stamp {
    let metadata = fs::metadata(path).ok()?;
    #[cfg(unix)]
    let inode = std::os::unix::fs::MetadataExt::ino(&metadata);
    #[cfg(not(unix))]
    let inode = 0;
    Some((metadata.modified().ok()?, metadata.len(), inode))
}
