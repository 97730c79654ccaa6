//! The full-screen client: a person at a terminal, with rooms, messages, members and an input on one screen.
//!
//! [`acts`] decides, without a terminal, a clock or a socket: events go in, the [`model`] changes, wishes
//! come out. [`view`] draws the model into a buffer. [`layout`] says to both where things are on the screen.
//! `shell` carries the wishes out with a terminal (`terminal`), threads and files. [`news`] has the types
//! between them and the client library, which only `session` knows. The keys are one table, [`keys`], from
//! which the help is drawn and `docs/CLIENT.md` is made.
//!
//! ```text
//! keys, pastes, mouse ─┐         ┌─► model ─► view ─► picture ─► terminal
//! updates ─► session ──┼─► acts ─┤
//! signals, time ───────┘         └─► wishes ─► session ─► client library
//! ```

pub mod acts;
pub mod keys;
pub mod layout;
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
