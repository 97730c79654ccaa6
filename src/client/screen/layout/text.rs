//! Text for the screen: made harmless, measured and wrapped in columns.

use ratatui::{buffer::CellWidth, style::Style, text::Span};
use unicode_segmentation::UnicodeSegmentation;

use crate::client::terminal::show::harmless;

/// Columns of a tab.
const TAB: &str = "    ";

/// The columns that `text` takes. It must not contain harmful letters.
pub fn width(text: &str) -> usize {
    text.graphemes(true).map(|grapheme| usize::from(grapheme.cell_width())).sum()
}

/// `text` on one line, without anything that a terminal would act on.
pub fn one_line(text: &str) -> String {
    harmless(&text.replace('\t', TAB)).into_owned()
}

/// The lines of a text that may have several, each without anything that a terminal would act on.
pub fn lines(text: &str) -> Vec<String> {
    text.split('\n').map(|line| one_line(line.strip_suffix('\r').unwrap_or(line))).collect()
}

/// The beginning of `text` in at most `columns`; what is cut off is shown by `…`.
pub fn cut(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let mut kept = String::new();
    let mut used = 0;
    for grapheme in text.graphemes(true) {
        let more = usize::from(grapheme.cell_width());
        if used + more + 1 > columns {
            break;
        }
        used += more;
        kept.push_str(grapheme);
    }
    if columns > 0 {
        kept.push('…');
    }
    kept
}

/// A piece of text in one style, which may be a link.
#[derive(Debug, Clone, PartialEq)]
pub struct Piece {
    /// The text: harmless, without line ends.
    pub text: String,
    /// How it is shown.
    pub style: Style,
    pub link: Option<String>,
}

impl Piece {
    /// A piece that leads nowhere.
    pub fn new(text: impl Into<String>, style: Style) -> Piece {
        Piece { text: text.into(), style, link: None }
    }
}

/// The letters of pieces, one by one as a reader sees them.
struct Letter<'a> {
    text: &'a str,
    columns: usize,
    piece: usize,
}

/// The pieces broken into rows of at most `columns`: between words if possible, else between letters.
pub fn wrap(pieces: &[Piece], columns: usize) -> Vec<Vec<Piece>> {
    let columns = columns.max(1);
    let letters = pieces.iter().enumerate().flat_map(|(at, piece)| {
        let graphemes = piece.text.graphemes(true);
        graphemes.map(move |text| Letter { text, columns: usize::from(text.cell_width()), piece: at })
    });
    let letters: Vec<Letter<'_>> = letters.collect();
    let mut rows = vec![];
    let mut start = 0;
    while start < letters.len() {
        let mut used = 0;
        let mut end = start;
        // Behind the last place at which the row may be broken.
        let mut break_at = None;
        while end < letters.len() && used + letters[end].columns <= columns {
            used += letters[end].columns;
            end += 1;
            let is_wide = letters[end - 1].columns > 1;
            let next_is_wide = letters.get(end).is_some_and(|next| next.columns > 1);
            if letters[end - 1].text == " " || is_wide || next_is_wide {
                break_at = Some(end);
            }
        }
        if end < letters.len() {
            // A space at the edge belongs to the row that it ends.
            if letters[end].text == " " {
                end += 1;
            } else if let Some(at) = break_at {
                end = at;
            }
        }
        // A letter that is wider than the whole row.
        end = end.max(start + 1);
        rows.push(row(pieces, &letters[start..end], columns));
        start = end;
    }
    if rows.is_empty() {
        rows.push(vec![]);
    }
    rows
}

fn row(pieces: &[Piece], letters: &[Letter<'_>], columns: usize) -> Vec<Piece> {
    let mut row: Vec<Piece> = vec![];
    let mut last = None;
    let mut used = 0;
    for letter in letters {
        used += letter.columns;
        if used > columns {
            break;
        }
        if last == Some(letter.piece)
            && let Some(piece) = row.last_mut()
        {
            piece.text.push_str(letter.text);
        } else {
            row.push(Piece { text: letter.text.to_owned(), ..pieces[letter.piece].clone() });
            last = Some(letter.piece);
        }
    }
    row
}

/// The columns that pieces take.
pub fn pieces_width(pieces: &[Piece]) -> usize {
    pieces.iter().map(|piece| width(&piece.text)).sum()
}

/// The piece as ratatui draws it.
pub fn span(piece: &Piece) -> Span<'static> {
    Span::styled(piece.text.clone(), piece.style)
}

/// The web addresses in `text`, as ranges of bytes. They have letters only that every terminal takes.
pub fn links(text: &str) -> Vec<std::ops::Range<usize>> {
    let mut found = vec![];
    let mut from = 0;
    while let Some(at) = ["https://", "http://"].iter().filter_map(|head| text[from..].find(head)).min() {
        let start = from + at;
        let is_part =
            |letter: char| letter.is_ascii_graphic() && !matches!(letter, '<' | '>' | '"' | '`' | '\\');
        let length = text[start..].find(|letter| !is_part(letter)).unwrap_or(text.len() - start);
        let whole = &text[start..start + length];
        let mut end = whole.trim_end_matches(['.', ',', ';', ':', '!', '?', '\'', '*', '_']).len();
        // A bracket that was opened before the address closes behind it.
        while whole[..end].ends_with(')')
            && whole[..end].matches('(').count() < whole[..end].matches(')').count()
        {
            end -= 1;
        }
        let head = whole.find("//").map_or(0, |at| at + 2);
        if end > head {
            found.push(start..start + end);
        }
        from = start + length.max(1);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str, columns: usize) -> Vec<String> {
        let rows = wrap(&[Piece::new(text, Style::default())], columns);
        rows.iter().map(|row| row.iter().map(|piece| piece.text.as_str()).collect()).collect()
    }

    #[test]
    fn rows_break_between_words_and_wide_letters_and_never_inside_a_letter() {
        assert_eq!(texts("one two three", 8), ["one two ", "three"]);
        assert_eq!(texts("one two", 3), ["one", "two"]);
        assert_eq!(texts("incomprehensible", 6), ["incomp", "rehens", "ible"]);
        assert_eq!(texts("漢字漢字", 5), ["漢字", "漢字"]);
        assert_eq!(texts("ab漢字", 4), ["ab漢", "字"]);
        assert_eq!(texts("e\u{301}e\u{301}e\u{301}", 2), ["e\u{301}e\u{301}", "e\u{301}"]);
        assert_eq!(texts("👨\u{200d}👩\u{200d}👧x", 2), ["👨\u{200d}👩\u{200d}👧", "x"]);
        assert_eq!(texts("", 5), [""]);
        for columns in 1..9 {
            for row in texts("a 漢 e\u{301}👍🏽 mixed", columns) {
                assert!(width(&row) <= columns, "{row:?} in {columns}");
            }
        }
    }

    #[test]
    fn what_is_cut_says_so_and_fits() {
        assert_eq!(cut("hello", 5), "hello");
        assert_eq!(cut("hello", 4), "hel…");
        assert_eq!(cut("漢字漢字", 4), "漢…");
        assert_eq!(cut("hello", 0), "");
    }

    #[test]
    fn addresses_end_where_a_sentence_goes_on() {
        for (text, expected) in [
            ("see https://a.example/x?y=1#z.", vec!["https://a.example/x?y=1#z"]),
            ("(https://a.example/b_(c))", vec!["https://a.example/b_(c)"]),
            ("http://a https://b", vec!["http://a", "https://b"]),
            ("https:// nothing", vec![]),
            ("https://ex\u{202e}ample", vec!["https://ex"]),
            ("javascript://x", vec![]),
        ] {
            let found: Vec<&str> = links(text).into_iter().map(|range| &text[range]).collect();
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn what_acts_on_a_terminal_is_shown_and_does_nothing() {
        assert_eq!(lines("a\u{1b}[2J\r\nb\tc\u{202e}"), ["a␛[2J", "b    c\u{fffd}"]);
    }
}
