//! How the program ends.

/// Everything asked for was done.
pub const DONE: u8 = 0;
/// Something was refused, or is not acknowledged yet.
pub const NOT_DONE: u8 = 1;
/// The command line asks for something impossible.
pub const BAD_ARGUMENTS: u8 = 2;
