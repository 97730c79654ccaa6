//! What a message can be found by, and what a search looks for.
//!
//! | module | concept |
//! |---|---|
//! | `searchable` | which of the stored events have a text to be found |
//! | `fold` | one form of a letter, without case and accents, in every script |
//! | `terms` | a text taken apart into the terms of the index |
//! | `query` | what the user typed, taken apart |
//! | `snippet` | the part of a message that a search shows |
//!
//! Index, query and snippet split every text by the same code, so what is found is also what is marked. The
//! index of the database stores the terms that come out of here: when one of these modules gives other terms
//! than before, [`INDEX_VERSION`] must grow.

mod fold;
mod query;
mod searchable;
mod snippet;
mod terms;

pub use query::{Clause, Query, TERMS_MAX};
pub use searchable::searchable;
pub use snippet::snippet;
pub use terms::{Terms, is_ascii_symbol};

/// The version of what this module makes of a text. A server that finds another one in its index makes it
/// anew.
pub const INDEX_VERSION: u32 = 4;
