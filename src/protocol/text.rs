//! Text that somebody else wrote, on its way to where it is read.

/// Whether `letter` does something instead of being read: a terminal may act on it, it ends a line of a log,
/// or it changes the direction in which what stands around it is written, so that `gpj.exe` reads `exe.jpg`.
///
/// Whoever shows text decides what stands in the place of such a letter; which ones they are is said here
/// alone. Letters that join others and are not seen are not among them: emoji and some scripts need them.
pub fn is_harmful(letter: char) -> bool {
    letter.is_control()
        || matches!(letter, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{206f}')
}

#[cfg(test)]
mod tests {
    use super::*;

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
