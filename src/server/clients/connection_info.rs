//! Who is at the other end of a connection.

use std::{net::IpAddr, time::Instant};

/// The client of a connection, as far as it is known before any request.
#[derive(Debug, Clone, Copy, Default)]
pub struct ConnectionInfo {
    pub addr: Option<IpAddr>,
    /// When an exchange over HTTP must be done, if it has one of the places reserved for operators and
    /// administrators.
    pub reserved_until: Option<Instant>,
    /// Whether what they say is encrypted.
    pub is_encrypted: bool,
}
