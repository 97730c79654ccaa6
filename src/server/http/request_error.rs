//! Why a request is not carried out.

/// A request that is not carried out; the connection ends with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestError {
    pub status: u16,
    pub reason: &'static str,
}
