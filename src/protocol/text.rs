//! Text of other users, before it is shown.

/// Whether `letter` has an effect instead of a shape: a terminal may act on it, it ends a line of a log, or
/// it changes the direction of the text around it, so that `gpj.exe` reads `exe.jpg`.
///
/// The code that shows the text decides what to show instead. Invisible letters that join others are not
/// harmful: emoji and some scripts need them.
pub fn is_harmful(letter: char) -> bool {
    letter.is_control()
        || matches!(letter, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{206f}')
}

/// A number with what it counts: `1 room`, `2 rooms`, `0 entries`. `one` is the word for one of them.
pub fn counted(count: u64, one: &str) -> String {
    format!("{count} {}", plural(count, one))
}

/// The word for so many of what one is called `one`.
pub fn plural(count: u64, one: &str) -> String {
    match one.strip_suffix('y') {
        _ if count == 1 => one.into(),
        Some(stem) if !stem.ends_with(['a', 'e', 'o', 'u']) => format!("{stem}ies"),
        _ => format!("{one}s"),
    }
}

/// Whether people would see something of the text.
pub fn is_visible(text: &str) -> bool {
    !text.chars().all(is_unseen)
}

/// Whether a letter is invisible if it is alone: white space, controls, what joins, selects or turns others
/// (`Default_Ignorable_Code_Point`), tags, what is no character, and the letters that are blank by
/// themselves.
pub fn is_unseen(letter: char) -> bool {
    letter.is_whitespace()
        || letter.is_control()
        || matches!(letter,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
            | '\u{fdd0}'..='\u{fdef}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{13441}'..='\u{13442}' | '\u{16fe4}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d159}'
            | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_is_one_or_several() {
        for (count, one, text) in [
            (0, "room", "0 rooms"),
            (1, "room", "1 room"),
            (2, "room", "2 rooms"),
            (1, "entry", "1 entry"),
            (2, "entry", "2 entries"),
            (2, "day", "2 days"),
        ] {
            assert_eq!(counted(count, one), text);
        }
    }

    #[test]
    fn what_shows_nothing_is_told_from_what_does() {
        for nothing in [
            "",
            " ",
            "\n\t",
            "\u{a0}\u{3000}",
            "\u{200b}",
            "\u{200d}\u{fe0f}",
            "\u{202e}",
            "\u{2066}\u{2069}",
            "\u{feff}",
            "\u{115f}\u{1160}\u{3164}\u{ffa0}",
            "\u{2800}",
            "\u{13441}\u{13442}",
            "\u{fdd0}",
            "\u{ad}",
            "\u{34f}",
            "\u{180e}",
            "\u{e0001}\u{e0061}\u{e007f}",
            "\u{fe00}",
            "\u{e0100}",
            "\u{2028}",
            "\u{7f}",
        ] {
            assert!(!is_visible(nothing), "{nothing:?}");
        }
        for something in
            ["a", " a ", ".", "\u{200b}x", "👨\u{200d}👩", "é", "\u{301}", "한", "⠁", "\u{fffd}", "\u{600}"]
        {
            assert!(is_visible(something), "{something:?}");
        }
    }

    #[test]
    fn what_acts_or_turns_is_harmful_and_what_is_read_is_not() {
        for letter in
            "\0\n\r\t\u{1b}\u{7f}\u{85}\u{9b}\u{61c}\u{200e}\u{2028}\u{202e}\u{2066}\u{2069}".chars()
        {
            assert!(is_harmful(letter), "{letter:?}");
        }
        for letter in "a é\u{301}ب漢👨\u{200d}👩\u{200c}\u{a0}\u{fffd}".chars() {
            assert!(!is_harmful(letter), "{letter:?}");
        }
    }
}
