//! The screen without a terminal: tests that check its wishes, and pictures that are compared with files.

mod composing;
mod messages;
mod pictures;
mod rooms;
mod status;
mod svg;
mod troubles;
mod world;
