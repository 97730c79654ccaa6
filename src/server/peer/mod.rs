//! Links between servers: one TCP connection for each pair, encrypted and mutually authenticated from the
//! cluster secret (Noise `NNpsk0`), over which consensus, forwarded proposals and snapshots travel.
//!
//! Of a pair the server with the lower ring position dials and the other accepts, so there is never a
//! choice between two connections. The server that accepts still looks at the other's port when the link
//! is lost: a port that refuses tells at once that the process is gone, and the election need not wait.

pub mod addresses;
mod attempts;
pub mod handshake;
mod hurried;
pub mod link;
pub mod links;
pub mod message;
pub mod record;
pub mod snapshot;
