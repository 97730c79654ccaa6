//! The part of a message that a search shows.

use super::{
    query::Query,
    terms::{Run, Terms},
};

/// Put around what was found. The text's own asterisks are shown as [`ASTERISK`].
const MARK: &str = "**";
/// In the place of an asterisk of the text.
const ASTERISK: char = '\u{2217}';
/// Put in the place of text that was left out.
const LEFT_OUT: char = '…';
/// How much is shown before the first place that was found, and in all. A word counts as [`WORD`], and a
/// symbol or a character of a script that is cut into grams as one.
const BEFORE_MAX: usize = 6 * WORD;
const SHOWN_MAX: usize = 24 * WORD;
const WORD: usize = 2;
/// Bytes of text in a snippet; words may be long.
const BYTES_MAX: usize = 300;

/// The part of `text` around the first place that was found, in one line; see `Hit::snippet`.
pub fn snippet(query: &Query, text: &str) -> String {
    let terms = Terms::of(text);
    let all = terms.all();
    let found = query.places(&terms, &all);
    let first = found.first().map_or(0, |place| place.start);

    let weight = |run: &Run| if run.has_beginning() { WORD } else { 1 };
    let weighed = || terms.runs.iter().flat_map(|run| run.terms().map(move |term| (weight(run), term.place)));
    let before: usize =
        weighed().take_while(|(_, place)| place.start < first).map(|(weight, _)| weight).sum();
    let (mut start, mut stop) = (0, text.len());
    let mut passed = 0;
    for (weight, place) in weighed() {
        if before > BEFORE_MAX && passed <= before - BEFORE_MAX {
            start = place.start;
        }
        if passed + weight > before.saturating_sub(BEFORE_MAX) + SHOWN_MAX {
            // To the end of a term, or to the end of the text behind the last one.
            break;
        }
        passed += weight;
        stop = if place.end == terms.end() { text.len() } else { place.end };
    }
    if found.is_empty() {
        start = 0;
    } else {
        start = start.max(text.ceil_char_boundary(first.saturating_sub(BYTES_MAX / 2)));
    }
    let stop = text.floor_char_boundary(stop.min(start + BYTES_MAX)).max(start);

    let mut shown = String::new();
    if start > 0 {
        shown.push(LEFT_OUT);
    }
    let mut at = start;
    let mut marked = found.into_iter().peekable();
    while let Some(mut place) = marked.next() {
        // Places that follow one another are marked as one.
        while let Some(next) = marked.next_if(|next| is_joint(&text[place.end..next.start])) {
            place.end = next.end;
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

/// Whether what stands between two places belongs to what was found: white space, or one sign such as the
/// dots of `1.2.3`.
fn is_joint(between: &str) -> bool {
    let is_sign = |char: char| !char.is_alphanumeric() && char != '*';
    between.trim().is_empty() || between.chars().all(is_sign) && between.chars().count() == 1
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
        assert_eq!(shown("1.2.3 b", "v1.2.3, a-b: b"), "v**1.2.3**, a-**b**: **b**");
        assert_eq!(shown("a@b.c", "mail a@b.c!"), "mail **a@b.c**!");
    }

    #[test]
    fn what_was_found_is_marked_in_every_script() {
        assert_eq!(
            shown("STRASSE lodz", "Łódź, Hauptstraße und Straße"),
            "**Łódź**, Hauptstraße und **Straße**"
        );
        assert_eq!(shown("ete", "l'e\u{301}te\u{301}!"), "l'**e\u{301}te\u{301}**!");
        assert_eq!(shown("елка", "моя Ёлка"), "моя **Ёлка**");
        assert_eq!(shown("本語", "日本語です"), "日**本語**です");
        assert_eq!(shown("日本語", "日本語です"), "**日本語**です");
        assert_eq!(shown("語", "日本語です"), "日本**語**です");
        assert_eq!(shown("학교", "우리 학교에서"), "우리 **학교**에서");
        assert_eq!(shown("c++", "see C++."), "see **C++**.");
        assert_eq!(shown("👍", "ok 👍🏽👍"), "ok **👍🏽👍**");
    }

    #[test]
    fn of_a_long_text_the_surroundings_are_shown() {
        let text = format!("{} needle {}", "before ".repeat(50), "after ".repeat(50));
        let found = shown("needle", &text);
        assert!(found.starts_with("…before ") && found.ends_with(" after…"), "{found}");
        assert!(found.contains(" **needle** ") && found.len() < 200, "{found}");
        let found = shown("針", &format!("{}針{}", "前".repeat(200), "後".repeat(200)));
        assert_eq!(found, format!("…{}**針**{}…", "前".repeat(12), "後".repeat(36)));
        for text in ["é".repeat(1_000), format!("{} x {}", "é".repeat(1_000), "ü".repeat(1_000))] {
            for typed in ["x", "é*", "ééé*"] {
                let found = shown(typed, &text);
                assert!(found.len() <= BYTES_MAX + 20, "{} bytes", found.len());
            }
        }
        assert!(shown("x", &format!("{} x {}", "é".repeat(1_000), "ü".repeat(1_000))).contains("**x**"));
    }
}
