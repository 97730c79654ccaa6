//! Rows whose letters take another number of columns in some terminals than here: flags, families and other
//! emoji of several parts, letters with many marks.
//!
//! Such a letter would move what is behind it, and leave a piece of itself behind when it goes. So a row that
//! has one, or had one, is painted as a whole, and the place of the cursor is given anew behind each of them.

use std::collections::BTreeMap;

use ratatui::buffer::{Buffer, Cell};

use super::layout::text::width;

/// From here on letters are emoji and pictures, which terminals learn one after the other.
const PICTURES: char = '\u{1f000}';

/// A cell with its place.
pub type Placed<'a> = (u16, u16, &'a Cell);

/// The rows with such letters in the last picture.
#[derive(Debug, Default)]
pub struct UnevenRows(BTreeMap<u16, Vec<Cell>>);

impl UnevenRows {
    /// The rows of `buffer`, a new picture, that are to be painted as a whole.
    pub fn changed(&mut self, buffer: &Buffer) -> Vec<u16> {
        let area = buffer.area();
        let mut rows = vec![];
        let mut old = std::mem::take(&mut self.0);
        for y in area.top()..area.bottom() {
            let row = || (area.left()..area.right()).map(|x| &buffer[(x, y)]);
            let is_uneven = row().any(|cell| is_uncertain(cell.symbol()));
            let before = old.remove(&y);
            // Nearly all rows are even, and cost nothing but a look.
            if !is_uneven && before.is_none() {
                continue;
            }
            let cells: Vec<Cell> = row().cloned().collect();
            if before.as_ref() != Some(&cells) {
                rows.push(y);
            }
            if is_uneven {
                self.0.insert(y, cells);
            }
        }
        rows
    }

    /// Nothing of the last picture is on the screen any more.
    pub fn forget(&mut self) {
        self.0.clear();
    }
}

/// The cells of a row in runs, each of which begins at a place that has to be given.
pub fn runs(buffer: &Buffer, y: u16) -> Vec<Vec<Placed<'_>>> {
    let area = buffer.area();
    let (mut runs, mut run) = (vec![], vec![]);
    let mut covered = area.left();
    for x in area.left()..area.right() {
        let cell = &buffer[(x, y)];
        // The second half of a wide letter is no cell of its own.
        if x < covered {
            continue;
        }
        covered = x.saturating_add(u16::try_from(width(cell.symbol())).unwrap_or(1));
        run.push((x, y, cell));
        if is_uncertain(cell.symbol()) {
            runs.push(std::mem::take(&mut run));
        }
    }
    runs.push(run);
    runs.retain(|run| !run.is_empty());
    runs
}

fn is_uncertain(symbol: &str) -> bool {
    symbol.starts_with(|first| first >= PICTURES) || symbol.chars().nth(1).is_some()
}

#[cfg(test)]
mod tests {
    use ratatui::{layout::Rect, style::Style};

    use super::*;

    fn picture(rows: &[&str]) -> Buffer {
        let mut buffer = Buffer::empty(Rect::new(0, 0, 12, 3));
        for (row, y) in rows.iter().zip(0..) {
            buffer.set_string(0, y, row, Style::default());
        }
        buffer
    }

    #[test]
    fn a_row_is_painted_as_a_whole_while_it_has_such_letters_and_once_behind_them() {
        let mut uneven = UnevenRows::default();
        let flag = picture(&["plain 日本", "a 🇩🇪 b", "e\u{301}"]);
        assert_eq!(uneven.changed(&flag), [1, 2]);
        assert!(uneven.changed(&flag).is_empty(), "nothing has changed");
        assert_eq!(uneven.changed(&picture(&["plain", "a 🇩🇪 c", "e\u{301}"])), [1]);
        assert_eq!(uneven.changed(&picture(&["plain", "a", "e\u{301}"])), [1]);
        assert!(uneven.changed(&picture(&["plain", "b", "e\u{301}"])).is_empty());
        uneven.forget();
        assert_eq!(uneven.changed(&picture(&["plain", "b", "e\u{301}"])), [2]);
    }

    #[test]
    fn the_place_is_given_anew_behind_each_of_them() {
        let picture = picture(&["a🇩🇪b👍c日d"]);
        let starts: Vec<u16> = runs(&picture, 0).iter().map(|run| run[0].0).collect();
        assert_eq!(starts, [0, 3, 6]);
        let symbols: String = runs(&picture, 0).concat().iter().map(|(.., cell)| cell.symbol()).collect();
        assert_eq!(symbols.trim_end(), "a🇩🇪b👍c日d");
    }
}
