//! Reading what is written in binary: postcard, to the last byte.

use serde::Deserialize;
use thiserror::Error;

use super::text::counted;

/// Why bytes are not a value. The words fit behind the name of what was read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DecodeError {
    #[error("does not decode: {0}")]
    Malformed(#[source] postcard::Error),
    /// A value was read, and this many bytes are left over.
    #[error("has {} too many", counted(*.0 as u64, "byte"))]
    TooLong(usize),
}

/// Reads a value that takes all of `bytes`. Bytes left over mean that the writer knew more than this program,
/// or that something was damaged.
pub fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, DecodeError> {
    match postcard::take_from_bytes(bytes) {
        Ok((value, [])) => Ok(value),
        Ok((_, rest)) => Err(DecodeError::TooLong(rest.len())),
        Err(error) => Err(DecodeError::Malformed(error)),
    }
}
