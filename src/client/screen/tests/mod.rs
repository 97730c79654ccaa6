//! The screen without a terminal: stories that check what is wished for, and pictures that are compared with files.

mod pictures;
mod stories;
mod svg;
mod world;
