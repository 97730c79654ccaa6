//! The full-screen client: a person at a terminal, with rooms, messages, members and an input on one screen.
//!
//! [`model`] decides, without a terminal, a clock or a socket: events go in, wishes come out. [`view`] draws
//! it into a buffer. `shell` carries the wishes out with a terminal (`terminal`), threads and files. [`news`]
//! has the types between them and the client library, which only `session` knows. The keys are one table,
//! [`keys`], from which the help is drawn and `docs/CLIENT.md` is made.
//!
//! ```text
//! keys, pastes, mouse ─┐                        ┌─ picture ─► terminal
//! updates ─► session ──┼─► model ─► view ───────┘
//! signals, time ───────┘     └─► wishes ─► session ─► client library
//! ```

pub mod keys;
pub mod model;
pub mod news;
mod palette;
mod preferences_file;
mod session;
mod shell;
mod terminal;
mod uneven;
pub mod view;

pub use shell::run;

#[cfg(test)]
mod tests;
