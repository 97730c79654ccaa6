//! The secrets of a server: that of the cluster, the token for the metrics, and its certificate.

use std::{fs, io, path::Path, sync::Arc};

use crate::{
    config::ServerEntry,
    protocol::{credential::TokenHash, secret::ClusterSecret},
    server::machine::certificates::Certificates,
};

use super::{
    addresses::is_loopback,
    error::{METRICS_TOKEN_CHARS, SecretFileError, SettingError, Unfit},
    file::Tls,
};

/// The secret from the file that was named, or from the usual place if it is there.
pub fn load_secret(
    secret_file: Option<&Path>,
    data_dir: &Path,
) -> Result<Option<ClusterSecret>, SecretFileError> {
    let usual = data_dir.join("cluster.secret");
    let path = secret_file.unwrap_or(&usual);
    if secret_file.is_none() && matches!(fs::exists(path), Ok(false)) {
        return Ok(None);
    }
    let read = || Ok(ClusterSecret::parse(&read_private(path)?)?);
    let what = "the secret file";
    read().map(Some).map_err(|source| SecretFileError { what, path: path.into(), source })
}

/// The token for the metrics. It is kept as its hash only.
pub(super) fn load_metrics_token(path: &Path) -> Result<TokenHash, SecretFileError> {
    let read = || {
        let text = read_private(path)?;
        let token = text.trim();
        if token.len() < METRICS_TOKEN_CHARS || token.contains(char::is_whitespace) {
            return Err(Unfit::MetricsToken);
        }
        Ok(TokenHash::of(token))
    };
    let what = "the file of metrics.token_file";
    read().map_err(|source| SecretFileError { what, path: path.into(), source })
}

/// The content of a secret file that no server reads.
///
/// # Errors
/// It cannot be read, or others than its owner can.
pub fn load_private(what: &'static str, path: &Path) -> Result<Vec<u8>, SecretFileError> {
    private_bytes(path).map_err(|source| SecretFileError { what, path: path.into(), source })
}

fn read_private(path: &Path) -> Result<String, Unfit> {
    let text = String::from_utf8(private_bytes(path)?);
    text.map_err(|_| io::Error::from(io::ErrorKind::InvalidData).into())
}

/// Reads a file that only its owner may read or write. Systems without such permissions do not check that.
fn private_bytes(path: &Path) -> Result<Vec<u8>, Unfit> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = fs::metadata(path)?.permissions().mode();
        if mode & 0o077 != 0 {
            return Err(Unfit::Open(mode & 0o777));
        }
    }
    Ok(fs::read(path)?)
}

/// The public secret, which is good enough on loopback and nowhere else.
pub(super) fn public_secret(servers: &[ServerEntry], data_dir: &Path) -> Result<ClusterSecret, SettingError> {
    match servers.iter().find(|server| !is_loopback(&server.host)) {
        None => Ok(ClusterSecret::public()),
        Some(remote) => Err(SettingError::NoSecret {
            server_id: remote.server_id.clone(),
            host: remote.host.clone(),
            path: data_dir.join("cluster.secret"),
        }),
    }
}

pub(super) fn certificates(tls: &Tls) -> Result<Option<Arc<Certificates>>, SettingError> {
    match (&tls.certificate, &tls.key) {
        (Some(certificate), Some(key)) => Ok(Some(Arc::new(Certificates::load(certificate, key)?))),
        (None, None) if tls.required => Err(SettingError::NoCertificate),
        (None, None) => Ok(None),
        (Some(_), None) => Err(SettingError::HalfOfTls { has: "certificate", lacks: "key" }),
        (None, Some(_)) => Err(SettingError::HalfOfTls { has: "key", lacks: "certificate" }),
    }
}
