//! Where things are on the screen: what both the keys and the picture go by. It reads a
//! [`Model`](super::model), changes nothing, and draws nothing.
//!
//! | file | what it is |
//! |---|---|
//! | `areas.rs` | the parts of the screen |
//! | `room_list.rs` | which room is in which line |
//! | `window.rs` | which messages are to be seen, and scrolling |
//! | `rows.rs` | one message as rows |
//! | `page.rs` | the help, and a long answer, as lines |
//! | `text.rs`, `clock.rs` | text in columns; moments as text |

pub mod areas;
pub mod clock;
pub mod page;
pub mod room_list;
pub mod rows;
pub mod text;
pub mod window;
