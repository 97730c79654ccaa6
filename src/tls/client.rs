//! A client's stream to a server, encrypted or not.

use std::{
    fmt,
    io::{self, Read, Write},
    net::{Shutdown, TcpStream},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use rustls::{
    AlertDescription, CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore,
    SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature},
    pki_types::{
        CertificateDer, ServerName, UnixTime,
        pem::{self, PemObject},
    },
};
use thiserror::Error;

use super::channel::{Channel, Flushed};

/// Bytes that are read from the socket at once.
const READ_BYTES: usize = 16 * 1024;

/// Why no certificates can be trusted.
#[derive(Debug, Error)]
pub enum TrustError {
    /// A file cannot be read as certificates.
    #[error("the certificates in {}: {source}", path.display())]
    File { path: PathBuf, source: pem::Error },
    /// A certificate in it cannot be an authority's.
    #[error("the certificates in {}: {source}", path.display())]
    Unfit { path: PathBuf, source: rustls::Error },
    /// There is no certificate in a file.
    #[error("there is no certificate in {}", .0.display())]
    Empty(PathBuf),
    /// The system has none.
    #[error("this machine knows no authorities; name one with --ca FILE")]
    NoAuthorities,
    /// The cryptography and the versions of TLS do not fit together.
    #[error("TLS cannot be used: {0}")]
    Unusable(#[source] rustls::Error),
}

/// The authorities or the one certificate that a client trusts.
#[derive(Clone)]
pub struct Trust(Arc<ClientConfig>);

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Trust")
    }
}

/// Two values are equal only if they are clones of one.
impl PartialEq for Trust {
    fn eq(&self, other: &Trust) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Trust {}

impl Trust {
    /// Only the first certificate in this file, whatever name it is for: a server's own.
    ///
    /// # Errors
    /// The file has none.
    pub fn only(path: &Path) -> Result<Trust, TrustError> {
        let file = |source| TrustError::File { path: path.into(), source };
        let certificate = CertificateDer::from_pem_file(path).map_err(file)?;
        let algorithms = super::provider().signature_verification_algorithms;
        let verifier = Arc::new(OnlyThis { certificate, algorithms });
        let config = ClientConfig::builder_with_provider(super::provider())
            .with_safe_default_protocol_versions()
            .map_err(TrustError::Unusable)?
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_no_client_auth();
        Ok(Trust(Arc::new(config)))
    }

    /// The trust that a command line names: `--tls`, or the file of `--ca` or else of the variable
    /// `SYNCNET_CA`. `None` if nothing is to be encrypted.
    ///
    /// # Errors
    /// There is no certificate to trust.
    pub fn wanted(tls: bool, ca: Option<&Path>) -> Result<Option<Trust>, TrustError> {
        let of_environment = std::env::var_os("SYNCNET_CA").filter(|path| !path.is_empty());
        let ca = ca.map(Path::to_path_buf).or_else(|| of_environment.map(PathBuf::from));
        if tls || ca.is_some() { Trust::new(ca.as_deref()).map(Some) } else { Ok(None) }
    }

    /// The authorities in the file `ca`, or those of this machine.
    ///
    /// # Errors
    /// There are none.
    pub fn new(ca: Option<&Path>) -> Result<Trust, TrustError> {
        let mut roots = RootCertStore::empty();
        match ca {
            Some(path) => {
                let file = |source| TrustError::File { path: path.into(), source };
                let unfit = |source| TrustError::Unfit { path: path.into(), source };
                for certificate in CertificateDer::pem_file_iter(path).map_err(file)? {
                    roots.add(certificate.map_err(file)?).map_err(unfit)?;
                }
                if roots.is_empty() {
                    return Err(TrustError::Empty(path.into()));
                }
            }
            None => {
                let found = rustls_native_certs::load_native_certs();
                roots.add_parsable_certificates(found.certs);
                if roots.is_empty() {
                    return Err(TrustError::NoAuthorities);
                }
            }
        }
        let config = ClientConfig::builder_with_provider(super::provider())
            .with_safe_default_protocol_versions()
            .map_err(TrustError::Unusable)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Trust(Arc::new(config)))
    }
}

/// Trusts one certificate, and any server that proves to have its key.
#[derive(Debug)]
struct OnlyThis {
    certificate: CertificateDer<'static>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for OnlyThis {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match *end_entity == self.certificate {
            true => Ok(ServerCertVerified::assertion()),
            false => Err(CertificateError::ApplicationVerificationFailure.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// A stream that one thread reads and another one writes; clones are the same stream.
#[derive(Debug, Clone)]
pub struct ClientStream(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    socket: TcpStream,
    tls: Option<Channel>,
}

impl ClientStream {
    /// A stream over `socket` to the server `host`: as it is, or encrypted if `trust` says whose certificates
    /// count. The handshake may take until `deadline`; it changes the timeouts of the socket.
    ///
    /// # Errors
    /// With a sentence: the certificate is for another name, has expired, or is not signed by a trusted
    /// authority.
    pub fn open(
        socket: TcpStream,
        host: &str,
        trust: Option<&Trust>,
        deadline: Instant,
    ) -> io::Result<ClientStream> {
        let Some(Trust(config)) = trust else {
            return Ok(ClientStream(Arc::new(Inner { socket, tls: None })));
        };
        let name = ServerName::try_from(host.to_owned()).map_err(|_| {
            io::Error::new(io::ErrorKind::InvalidInput, format!("{host} is no name of a server"))
        })?;
        let connection = ClientConnection::new(config.clone(), name)
            .map_err(|error| io::Error::other(format!("TLS cannot be used: {error}")))?;
        let tls = Channel::new(connection);
        let inner = Inner { socket, tls: Some(tls) };
        inner.agree(deadline).map_err(|error| in_words(error, host))?;
        Ok(ClientStream(Arc::new(inner)))
    }

    /// How long a read may take.
    pub fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.0.socket.set_read_timeout(timeout)
    }

    /// How long a write may take.
    pub fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.0.socket.set_write_timeout(timeout)
    }

    /// Ends it. A reader wakes up.
    pub fn shutdown(&self) -> io::Result<()> {
        self.0.socket.shutdown(Shutdown::Both)
    }
}

impl Inner {
    fn agree(&self, deadline: Instant) -> io::Result<()> {
        let Some(tls) = &self.tls else { return Ok(()) };
        while !tls.is_established() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            self.socket.set_read_timeout(Some(left))?;
            self.socket.set_write_timeout(Some(left))?;
            self.flush(tls)?;
            if tls.is_established() {
                break;
            }
            if self.read_on(tls)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        self.flush(tls)
    }

    /// Reads from the socket; gives how much has come.
    fn read_on(&self, tls: &Channel) -> io::Result<usize> {
        let mut sealed = [0; READ_BYTES];
        let length = (&self.socket).read(&mut sealed)?;
        let fed = tls.feed(&sealed[..length]);
        // The cause matters more than whether the other end could be told.
        let flushed = self.flush(tls);
        fed.and(flushed).map(|()| length)
    }

    fn flush(&self, tls: &Channel) -> io::Result<()> {
        // The other thread's write has a timeout.
        while tls.flush(|bytes| (&self.socket).write(bytes))? == Flushed::ByAnother {
            std::thread::yield_now();
        }
        Ok(())
    }
}

impl Read for ClientStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Inner { socket, tls } = &*self.0;
        let Some(tls) = tls else { return (&*socket).read(buffer) };
        loop {
            if let Some(length) = tls.take(buffer)? {
                return Ok(length);
            }
            self.0.read_on(tls)?;
        }
    }
}

impl Write for ClientStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Inner { socket, tls } = &*self.0;
        let Some(tls) = tls else { return (&*socket).write(bytes) };
        loop {
            self.0.flush(tls)?;
            match tls.seal(&[io::IoSlice::new(bytes)]) {
                // The reader was quicker with an answer of its own.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
                Ok(count) => {
                    self.0.flush(tls)?;
                    return Ok(count);
                }
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A name as people write it: `rustls` has `DnsName("a")` and `IpAddress(127.0.0.1)`.
fn bare(presented: &str) -> &str {
    let inside = presented.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
    inside.unwrap_or(presented).trim_matches('"')
}

/// Why there is no connection to `host`, as a sentence that says what to do.
fn in_words(error: io::Error, host: &str) -> io::Error {
    let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) else {
        return match error.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset => {
                io::Error::new(error.kind(), format!("{host} ended the connection instead of speaking TLS"))
            }
            _ => error,
        };
    };
    let words = match tls {
        rustls::Error::InvalidCertificate(wrong) => match wrong {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                format!("the certificate of {host} has expired")
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                format!("the certificate of {host} is not valid yet; is the clock of this machine right?")
            }
            CertificateError::NotValidForName => format!("the certificate of {host} is for another name"),
            CertificateError::NotValidForNameContext { presented, .. } => {
                let names: Vec<&str> = presented.iter().map(|name| bare(name)).collect();
                format!("the certificate is for {}, and not for {host}", names.join(", "))
            }
            CertificateError::UnknownIssuer | CertificateError::BadSignature => format!(
                "the certificate of {host} is signed by no authority that is trusted here; name its authority \
                 with --ca FILE"
            ),
            other => format!("the certificate of {host} cannot be used: {other}"),
        },
        rustls::Error::InvalidMessage(_) => format!("{host} does not speak TLS; leave --tls and --ca out"),
        rustls::Error::AlertReceived(AlertDescription::ProtocolVersion) => {
            format!("{host} speaks no version of TLS that is known here")
        }
        other => format!("TLS with {host} failed: {other}"),
    };
    io::Error::new(io::ErrorKind::InvalidData, words)
}
