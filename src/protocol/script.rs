//! The writing systems in which spaces do not part the words.

use unicode_script::{Script, UnicodeScript};

/// How many letters say about as much as the shortest words, in scripts that put no spaces between words, or
/// much behind their stems. `None` for letters of all other scripts.
///
/// These are the scripts with the line breaking classes ID and SA and most of AK (UAX #14), and Hangul.
pub fn letters_in_a_word(letter: char) -> Option<usize> {
    match letter.script() {
        // A sign is a syllable or a word.
        Script::Han
        | Script::Hiragana
        | Script::Katakana
        | Script::Hangul
        | Script::Bopomofo
        | Script::Yi
        | Script::Nushu
        | Script::Tangut => Some(2),
        // Alphabets.
        Script::Thai
        | Script::Lao
        | Script::Khmer
        | Script::Myanmar
        | Script::Tai_Le
        | Script::New_Tai_Lue
        | Script::Tai_Tham
        | Script::Tai_Viet
        | Script::Ahom
        | Script::Balinese
        | Script::Javanese
        | Script::Buginese => Some(3),
        // The sound mark that Hiragana and Katakana share.
        _ => (letter == 'ー').then_some(2),
    }
}
