//! The screen without a terminal: stories that check its wishes, and pictures that are compared with files.

mod pictures;
mod stories;
mod svg;
mod troubles;
mod world;
