//! Text taken apart into words, as the index of the database does it (`unicode61 remove_diacritics 2`).
//!
//! This is not that tokenizer but close to it: letters and digits of all scripts, case and the accents of
//! the Latin script folded. It is used where nothing depends on the last exotic letter: to tell whether
//! somebody typed any word at all, to mark in a text what was found, and to search in the memory twin.

use std::ops::Range;

/// One word of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    /// Where it stands in the text, in bytes.
    pub place: Range<usize>,
    /// Without case and accents.
    pub folded: String,
}

/// The words of a text, in order.
pub fn words(text: &str) -> impl Iterator<Item = Word> {
    let mut rest = text.char_indices().peekable();
    std::iter::from_fn(move || {
        while rest.next_if(|(_, char)| !begins_word(*char)).is_some() {}
        let start = rest.peek()?.0;
        let mut folded = String::new();
        let mut end = start;
        while let Some((at, char)) = rest.next_if(|(_, char)| begins_word(*char) || is_accent(*char)) {
            end = at + char.len_utf8();
            fold(char, &mut folded);
        }
        Some(Word { place: start..end, folded })
    })
}

/// Letters, digits, and what nobody has given a meaning.
fn begins_word(char: char) -> bool {
    char.is_alphanumeric() || ('\u{e000}'..='\u{f8ff}').contains(&char)
}

/// Combining marks belong to the letter before them.
fn is_accent(char: char) -> bool {
    ('\u{300}'..='\u{36f}').contains(&char)
}

/// Latin letters by the letter that is left without accents, in both cases.
const ACCENTED: [(char, &str); 21] = [
    ('a', "àáâãäåāăą"),
    ('c', "çćĉċč"),
    ('d', "ď"),
    ('e', "èéêëēĕėęě"),
    ('g', "ĝğġģ"),
    ('h', "ĥ"),
    ('i', "ìíîïĩīĭį"),
    ('j', "ĵ"),
    ('k', "ķ"),
    ('l', "ĺļľ"),
    ('n', "ñńņň"),
    ('o', "òóôõöōŏő"),
    ('r', "ŕŗř"),
    ('s', "śŝşš"),
    ('t', "ţť"),
    ('u', "ùúûüũūŭůűų"),
    ('w', "ŵ"),
    ('y', "ýÿŷ"),
    ('z', "źżž"),
    ('s', "ș"),
    ('t', "ț"),
];

fn fold(char: char, into: &mut String) {
    if char.is_ascii() {
        into.push(char.to_ascii_lowercase());
        return;
    }
    for lower in char.to_lowercase().filter(|char| !is_accent(*char)) {
        let plain = ACCENTED.iter().find(|(_, accented)| accented.contains(lower));
        into.push(plain.map_or(lower, |(plain, _)| *plain));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_letters_and_digits_without_case_and_accents() {
        let text = "Ça va, l'Été 2024-05? e\u{301}t \u{301} ÜBER_x";
        let found: Vec<Word> = words(text).collect();
        let folded: Vec<&str> = found.iter().map(|word| word.folded.as_str()).collect();
        assert_eq!(folded, ["ca", "va", "l", "ete", "2024", "05", "et", "uber", "x"]);
        assert_eq!(&text[found[3].place.clone()], "Été");
        assert_eq!(words(" .,\0 ").count(), 0);
    }
}
