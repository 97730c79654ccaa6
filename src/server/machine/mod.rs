//! What the machine gives: threads, queues between them, sockets, clocks, files of certificates.

pub mod certificates;
pub mod clock;
pub mod descriptors;
pub mod mailbox;
pub mod ports;
pub mod refusals;
pub mod sockets;
pub mod threads;
