//! TLS 1.2 and 1.3, as `rustls` speaks them, for one connection that one thread reads and another one writes.
//!
//! | module | concept |
//! |---|---|
//! | `channel` | the state of one connection, which both threads share; it touches no socket |
//! | `client` | a stream to a server, encrypted or not, and whom a client trusts |
//! | `expiry` | when a certificate expires |
//!
//! The server's certificate and key are in `server/machine/certificates`.

pub mod channel;
pub mod client;
pub mod expiry;

use std::sync::Arc;

use rustls::crypto::CryptoProvider;

/// The cryptography: `ring`.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}
