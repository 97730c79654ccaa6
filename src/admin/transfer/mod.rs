//! `syncnet-admin export` and `import`: rooms as JSON lines, out of a cluster and into one.
//!
//! Both are a client of any server that proves to be an operator's, and ask page by page. `docs/EXPORT.md`
//! describes the file.

pub mod command;
pub mod error;
pub mod export;
pub mod import;
pub mod line;
