//! Why stored rows are no chat state.

use thiserror::Error;

use crate::protocol::{binary::DecodeError, text::counted};

/// The data is in doubt: a row cannot be read, or does not fit the rows before it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum StateError {
    #[error("a row of the chat state has an empty key")]
    NoKey,
    #[error("the row {key} of the chat state {source}")]
    Row {
        /// In hexadecimal.
        key: String,
        source: RowError,
    },
    #[error("{kind}s {first} and {second} have the same name")]
    SameName { kind: &'static str, first: u64, second: u64 },
    #[error("a row of the chat state refers to {kind} {id}, which is not stored")]
    Missing { kind: &'static str, id: u64 },
    #[error("a row of the chat state refers to an upload that is not stored")]
    NoUpload,
    /// The blocks of a user's remembered messages do not follow one another, or are not full.
    #[error("block {block} of a user's messages, of {slots}, follows {}", counted(*before as u64, "message"))]
    Block { block: usize, slots: usize, before: usize },
}

/// What is wrong with one row. The words fit behind its name.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RowError {
    #[error("is not one that this program knows")]
    Unknown,
    #[error("has no such block")]
    NoBlock,
    #[error("is empty")]
    Empty,
    #[error("has version {found}; this program knows {known}")]
    Version { found: u8, known: u8 },
    #[error(transparent)]
    Value(#[from] DecodeError),
}
