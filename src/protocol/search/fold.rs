//! One form of a letter: without case, accents and differences of typography, in every script.

use unicode_normalization::UnicodeNormalization;
use unicode_properties::{GeneralCategory, GeneralCategoryGroup, UnicodeGeneralCategory};

/// Passes on the folded form of a character: its compatibility decomposition (NFKD) without marks and format
/// characters, in full case folding, letters that do not decompose as the letter that people type in their
/// place, and decimal digits of every script as those of ASCII. Nothing is left of a mark; several characters
/// are left of `ß` or `㎏`.
///
/// Every character is folded by itself: the result for a text is the results for its characters. What NFKD
/// would reorder are marks, and they are gone.
pub(super) fn fold(char: char, mut pass_on: impl FnMut(char)) {
    if char.is_ascii() {
        return pass_on(char.to_ascii_lowercase());
    }
    if is_hangul_syllable(char) {
        // Decomposed, it would be three letters; decomposed text is composed to syllables in `terms`.
        return pass_on(char);
    }
    for part in std::iter::once(char).nfkd().filter(|part| !is_dropped(*part)) {
        // Upper case first: `ς` and `σ`, `ſ` and `s` differ in lower case only.
        for upper in part.to_uppercase() {
            for lower in upper.to_lowercase().nfkd().filter(|part| !is_dropped(*part)) {
                match REPLACED.binary_search_by_key(&lower, |(from, _)| *from) {
                    Ok(place) => REPLACED[place].1.chars().for_each(&mut pass_on),
                    Err(_) => pass_on(digit(lower).unwrap_or(lower)),
                }
            }
        }
    }
}

/// A decimal digit of any script, as the one of ASCII. Unicode has them in tens, from zero to nine, and two
/// tens may touch.
fn digit(char: char) -> Option<char> {
    let is_digit = |char: &char| char.general_category() == GeneralCategory::DecimalNumber;
    if char.is_ascii() || !is_digit(&char) {
        return None;
    }
    let before = ('\0'..char).rev().take_while(is_digit).count();
    char::from_digit((before % 10) as u32, 10)
}

/// A syllable of Hangul, composed.
fn is_hangul_syllable(char: char) -> bool {
    ('\u{ac00}'..='\u{d7a3}').contains(&char)
}

/// Marks, format characters (soft hyphens, joiners, directions), and what changes the look of another
/// character.
fn is_dropped(char: char) -> bool {
    if char.is_ascii() {
        return false;
    }
    match char {
        // Arabic tatweel, which makes a word wider; fillers of Hangul; skin tones of emoji.
        '\u{640}' | '\u{115f}' | '\u{1160}' | '\u{1f3fb}'..='\u{1f3ff}' => true,
        _ => {
            char.general_category_group() == GeneralCategoryGroup::Mark
                || char.general_category() == GeneralCategory::Format
        }
    }
}

/// Letters that do not decompose, in lower case, with what people type who do not have them on the keyboard.
const REPLACED: [(char, &str); 60] = [
    ('ß', "ss"),
    ('æ', "ae"),
    ('ð', "d"),
    ('ø', "o"),
    ('þ', "th"),
    ('đ', "d"),
    ('ħ', "h"),
    ('ı', "i"),
    ('ĸ', "k"),
    ('ł', "l"),
    ('ŋ', "n"),
    ('œ', "oe"),
    ('ŧ', "t"),
    ('ƀ', "b"),
    ('ƒ', "f"),
    ('ƙ', "k"),
    ('ƚ', "l"),
    ('ƥ', "p"),
    ('ƭ', "t"),
    ('ƴ', "y"),
    ('ƶ', "z"),
    ('ǥ', "g"),
    ('ȥ', "z"),
    ('ȼ', "c"),
    ('ɇ', "e"),
    ('ɉ', "j"),
    ('ɍ', "r"),
    ('ɏ', "y"),
    ('ɓ', "b"),
    ('ɖ', "d"),
    ('ɗ', "d"),
    ('ə', "e"),
    ('ɛ', "e"),
    ('ɠ', "g"),
    ('ɨ', "i"),
    ('ɫ', "l"),
    ('ɲ', "n"),
    ('ɵ', "o"),
    ('ʉ', "u"),
    // Apostrophes that count as letters, as the one on the keyboard, which separates words.
    ('ʻ', "'"),
    ('ʼ', "'"),
    // Cyrillic letters of languages beside Russian.
    ('ґ', "г"),
    ('ғ', "г"),
    ('җ', "ж"),
    ('ҙ', "з"),
    ('қ', "к"),
    ('ҡ', "к"),
    ('ң', "н"),
    ('ҫ', "с"),
    ('ү', "у"),
    ('ұ', "у"),
    ('ҳ', "х"),
    ('ҷ', "ч"),
    ('ә', "а"),
    ('ө', "о"),
    // Forms of Arabic letters of other languages and at the end of words.
    ('ة', "ه"),
    ('ى', "ي"),
    ('ٱ', "ا"),
    ('ک', "ك"),
    ('ی', "ي"),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn folded(text: &str) -> String {
        let mut folded = String::new();
        text.chars().for_each(|char| fold(char, |char| folded.push(char)));
        folded
    }

    #[test]
    fn letters_that_do_not_decompose_are_in_order() {
        assert!(REPLACED.is_sorted_by(|one, other| one.0 < other.0));
        for (from, to) in REPLACED {
            assert_eq!(folded(&from.to_string()), to);
            assert_eq!(folded(to), to, "folding again changes nothing");
        }
    }

    #[test]
    fn case_and_accents_do_not_count_in_any_script() {
        for (text, plain) in [
            ("Ça ÉTÉ e\u{301}t naïve", "ca ete et naive"),
            ("Łódź Þór Straße STRASSE ẞ", "lodz thor strasse strasse ss"),
            ("İstanbul ISTANBUL ıstanbul", "istanbul istanbul istanbul"),
            ("Việt Nam, Đà Nẵng", "viet nam, da nang"),
            ("ΟΔΥΣΣΕΎΣ Οδυσσεύς", "οδυσσευσ οδυσσευσ"),
            ("ᾳ ΑΙ", "α αι"),
            ("ёлка ЁЛКА йод Київ", "елка елка иод киів"),
            ("שָׁלוֹם", "שלום"),
            ("مُحَمَّد أحمد إلى ـكـتاب", "محمد احمد الي كتاب"),
            ("ﬁn ﬃ ½ ①", "fin ffi 1⁄2 1"),
            ("ＦＵＬＬ ｶﾀｶﾅ", "full カタカナ"),
            ("co\u{ad}op \u{200b}\u{feff}", "coop "),
            ("ﷺ", "صلي الله عليه وسلم"),
            ("👍🏽 ❤\u{fe0f} 1\u{fe0f}\u{20e3}", "👍 ❤ 1"),
            ("학교", "학교"),
        ] {
            assert_eq!(folded(text), plain, "{text}");
            assert_eq!(folded(&folded(text)), folded(text), "{text}");
        }
    }

    #[test]
    fn digits_of_every_script_are_those_of_ascii() {
        for (text, plain) in [
            ("٠١٢٣٤٥٦٧٨٩ ۴۵۶", "0123456789 456"),
            ("०१२३४५६७८९ ২০২৬ ௧௨", "0123456789 2026 12"),
            ("２０２６ 𝟗𝟘𝟙 ๓๑ ၄ ៥ 𑛐𑛙", "2026 901 31 4 5 09"),
            ("二 Ⅳ ½", "二 iv 1⁄2"),
        ] {
            assert_eq!(folded(text), plain, "{text}");
        }
        let digits =
            ('\0'..=char::MAX).filter(|char| char.general_category() == GeneralCategory::DecimalNumber);
        let folded: String = digits.map(|char| folded(&char.to_string())).collect();
        assert!(folded.len() > 600 && folded == "0123456789".repeat(folded.len() / 10), "{folded}");
    }

    #[test]
    fn folding_twice_is_folding_once() {
        // Beyond this there are only Han characters, which do not fold, and private-use ones.
        for char in '\0'..='\u{1ffff}' {
            let once = folded(&char.to_string());
            assert_eq!(folded(&once), once, "U+{:04X}", u32::from(char));
        }
    }
}
