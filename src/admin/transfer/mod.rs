//! `syncnet-admin export` and `import`: rooms as JSON lines, out of a cluster and into one.
//!
//! Both are clients that prove to be an operator's, and ask any server page by page. `docs/EXPORT.md`
//! describes the file.

pub mod command;
pub mod error;
pub mod export;
pub mod import;
pub mod line;
