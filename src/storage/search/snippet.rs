//! The part of a message that a search shows.

use super::{
    query::Query,
    words::{Word, words},
};

/// Stands around what was found. The text's own asterisks are shown as [`ASTERISK`].
const MARK: &str = "**";
/// In the place of an asterisk of the text.
const ASTERISK: char = '\u{2217}';
/// Stands where something was left out.
const LEFT_OUT: char = '…';
/// Words before the first one that was found.
const WORDS_BEFORE: usize = 6;
/// Words of a snippet.
const WORDS_MAX: usize = 24;
/// Bytes of text in a snippet; words may be long.
const BYTES_MAX: usize = 300;

/// The part of `text` around the first word that was found, in one line; see `Hit::snippet`.
pub fn snippet(query: &Query, text: &str) -> String {
    let words: Vec<Word> = words(text).collect();
    let marks = query.marked(&words);
    let first_mark = marks.iter().position(|mark| *mark).unwrap_or(0);
    let first = first_mark.saturating_sub(WORDS_BEFORE);
    let end = words.len().min(first + WORDS_MAX);
    // From the beginning of the text or of a word, to the end of the text or of a word.
    let mut start = if first == 0 { 0 } else { words[first].place.start };
    if let Some(word) = words.get(first_mark) {
        let far = word.place.start.saturating_sub(BYTES_MAX / 2);
        start = start.max(text.ceil_char_boundary(far));
    }
    let stop = if end == words.len() { text.len() } else { words[end - 1].place.end };
    let stop = text.floor_char_boundary(stop.min(start + BYTES_MAX));

    let mut shown = String::new();
    if start > 0 {
        shown.push(LEFT_OUT);
    }
    let mut at = start;
    let mut marked = words.iter().zip(&marks).filter(|(_, mark)| **mark).map(|(word, _)| word).peekable();
    while let Some(word) = marked.next() {
        // Words that follow one another are marked as one.
        let mut place = word.place.clone();
        while let Some(next) = marked.next_if(|next| text[place.end..next.place.start].trim().is_empty()) {
            place.end = next.place.end;
        }
        if place.start < start || place.end > stop {
            continue;
        }
        plain(&text[at..place.start], &mut shown);
        shown.push_str(MARK);
        plain(&text[place.clone()], &mut shown);
        shown.push_str(MARK);
        at = place.end;
    }
    plain(&text[at..stop], &mut shown);
    if stop < text.len() {
        shown.push(LEFT_OUT);
    }
    shown
}

/// One line without anything that could be taken for a mark.
fn plain(text: &str, into: &mut String) {
    into.extend(text.chars().map(|char| match char {
        '*' => ASTERISK,
        _ if char.is_control() => ' ',
        _ => char,
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(typed: &str, text: &str) -> String {
        snippet(&Query::parse(typed).unwrap(), text)
    }

    #[test]
    fn what_was_found_is_marked_in_plain_text() {
        assert_eq!(shown("two", "one two\nthree"), "one **two** three");
        assert_eq!(shown("\"one two\"", "(one two) three"), "(**one two**) three");
        assert_eq!(shown("a", "**a** <b>A</b> \u{1b}[0m"), "∗∗**a**∗∗ <b>**A**</b>  [0m");
        assert_eq!(shown("gone", "one two"), "one two");
    }

    #[test]
    fn of_a_long_text_the_surroundings_are_shown() {
        let text = format!("{} needle {}", "before ".repeat(50), "after ".repeat(50));
        let found = shown("needle", &text);
        assert!(found.starts_with("…before ") && found.ends_with(" after…"), "{found}");
        assert!(found.contains(" **needle** ") && found.len() < 200, "{found}");
        for text in ["é".repeat(1_000), format!("{} x {}", "é".repeat(1_000), "ü".repeat(1_000))] {
            for typed in ["x", "é*", "ééé*"] {
                let found = shown(typed, &text);
                assert!(found.len() <= BYTES_MAX + 20, "{} bytes", found.len());
            }
        }
        assert!(shown("x", &format!("{} x {}", "é".repeat(1_000), "ü".repeat(1_000))).contains("**x**"));
    }
}
