//! A text split into the terms of the index.
//!
//! - A **word** is a run of letters: one term.
//! - A **number** is a run of digits: one term. So `1.2.3` is found in `v1.2.3`, `10 ms` in `10ms`, and
//!   `3.11` in `python3.11`.
//! - A **symbol**, such as an emoji, an arrow or `€`, is a term of its own. `C++` is three terms.
//! - Scripts that put no spaces between words, or much behind their stems, are cut into overlapping
//!   **grams** ([`letters_in_a_word`]): pairs of characters for Han, Kana, Hangul and Yi, and three at a time
//!   for alphabets such as Thai, Khmer and Javanese. So every part of a sentence is found by terms that
//!   follow one another. A part that is shorter than a gram is looked for among the [parts](Terms::parts),
//!   which have no order.
//!
//! Everything else separates.

use std::{collections::BTreeSet, ops::Range};

use unicode_normalization::char::compose;
use unicode_properties::{GeneralCategory, GeneralCategoryGroup, UnicodeGeneralCategory};

use super::fold::fold;
use crate::protocol::{script::letters_in_a_word, text::is_unseen};

/// What a character belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Word,
    Number,
    Symbol,
    /// Of a run that is cut into grams of this many characters.
    Gram(usize),
}

/// Characters of one kind that follow one another, folded, each with the bytes of the text that it came from.
#[derive(Debug)]
pub(super) struct Run {
    pub kind: Kind,
    chars: Vec<(char, Range<usize>)>,
}

impl Run {
    fn end(&self) -> usize {
        self.chars.last().map_or(0, |(_, place)| place.end)
    }

    pub(super) fn len(&self) -> usize {
        self.chars.len()
    }

    /// Whether more may follow in the same word: the beginning of it can be looked for.
    pub(super) fn has_beginning(&self) -> bool {
        matches!(self.kind, Kind::Word | Kind::Number)
    }

    /// Whether it is shorter than the grams of its script.
    pub(super) fn is_short(&self) -> bool {
        matches!(self.kind, Kind::Gram(size) if self.len() < size)
    }

    pub(super) fn text(&self) -> String {
        self.chars.iter().map(|(char, _)| char).collect()
    }

    fn windows(&self, size: usize) -> impl Iterator<Item = Term> {
        self.chars.windows(size).map(move |window| Term {
            text: window.iter().map(|(char, _)| char).collect(),
            place: window[0].1.start..window[size - 1].1.end,
        })
    }

    /// Its terms, in order. A run that is shorter than a gram is one term.
    pub(super) fn terms(&self) -> impl Iterator<Item = Term> {
        self.windows(match self.kind {
            Kind::Word | Kind::Number => self.len(),
            Kind::Symbol => 1,
            Kind::Gram(size) => size.min(self.len()),
        })
    }
}

/// A term of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Term {
    /// Folded; never empty.
    pub text: String,
    /// Its place in the text, in bytes. The places of neighbouring grams overlap.
    pub place: Range<usize>,
}

/// The terms of a text.
#[derive(Debug)]
pub struct Terms {
    pub(super) runs: Vec<Run>,
}

impl Terms {
    /// Takes a text apart.
    pub fn of(text: &str) -> Terms {
        let mut runs: Vec<Run> = Vec::new();
        let mut is_open = false;
        for (at, char) in text.char_indices() {
            let place = at..at + char.len_utf8();
            let mut is_mark = true;
            fold(char, |folded| {
                is_mark = false;
                let Some(kind) = kind_of(folded) else { return is_open = false };
                match runs.last_mut() {
                    Some(run) if is_open && run.kind == kind => run.push(folded, place.clone()),
                    _ => runs.push(Run { kind, chars: vec![(folded, place.clone())] }),
                }
                is_open = true;
            });
            // An accent is shown with the letter before it.
            if is_mark
                && let Some((_, last)) = runs.last_mut().and_then(|run| run.chars.last_mut())
                && last.end == at
            {
                last.end = place.end;
            }
        }
        Terms { runs }
    }

    /// The terms in order, with spaces between them.
    pub fn joined(&self) -> String {
        let mut joined = String::new();
        for term in self.runs.iter().flat_map(Run::terms) {
            if !joined.is_empty() {
                joined.push(' ');
            }
            joined.push_str(&term.text);
        }
        joined
    }

    /// All parts of runs that are shorter than a gram, each once, with spaces between them.
    pub fn parts(&self) -> String {
        let mut parts = BTreeSet::new();
        for run in &self.runs {
            if let Kind::Gram(size) = run.kind {
                parts.extend((1..size).flat_map(|size| run.windows(size)).map(|term| term.text));
            }
        }
        Vec::from_iter(parts).join(" ")
    }

    pub(super) fn all(&self) -> Vec<Term> {
        self.runs.iter().flat_map(Run::terms).collect()
    }

    /// The places of a part that is shorter than a gram.
    pub(super) fn places_of_part(&self, part: &str) -> impl Iterator<Item = Range<usize>> {
        let length = part.chars().count();
        self.runs
            .iter()
            .filter(move |run| matches!(run.kind, Kind::Gram(size) if length < size))
            .flat_map(move |run| run.windows(length))
            .filter(move |term| term.text == part)
            .map(|term| term.place)
    }

    /// The end of the last run.
    pub(super) fn end(&self) -> usize {
        self.runs.last().map_or(0, Run::end)
    }
}

impl Run {
    fn push(&mut self, char: char, place: Range<usize>) {
        // The letters of a syllable of Hangul that were written one by one.
        if let Some((last, whole)) = self.chars.last_mut()
            && let Some(syllable) = hangul(*last, char)
        {
            *last = syllable;
            whole.end = place.end;
        } else {
            self.chars.push((char, place));
        }
    }
}

/// Two letters of Hangul, or an open syllable and its last letter, as one syllable.
fn hangul(first: char, second: char) -> Option<char> {
    let is_inside = matches!(second, '\u{1161}'..='\u{1175}' | '\u{11a8}'..='\u{11c2}');
    if is_inside { compose(first, second) } else { None }
}

/// ASCII characters that are symbols. Other signs separate, so that `fox-trot`, `isn't` and `a/b` are found
/// by words.
pub fn is_ascii_symbol(char: char) -> bool {
    matches!(char, '#' | '$' | '%' | '&' | '+' | '<' | '=' | '>' | '@' | '^' | '`' | '|' | '~')
}

/// What a folded character belongs to. `None` when it separates.
fn kind_of(char: char) -> Option<Kind> {
    if char.is_ascii() {
        return match char {
            'a'..='z' => Some(Kind::Word),
            '0'..='9' => Some(Kind::Number),
            _ => is_ascii_symbol(char).then_some(Kind::Symbol),
        };
    }
    match char.general_category_group() {
        group @ (GeneralCategoryGroup::Letter | GeneralCategoryGroup::Number) => {
            Some(match letters_in_a_word(char) {
                Some(size) => Kind::Gram(size),
                None if group == GeneralCategoryGroup::Number => Kind::Number,
                None => Kind::Word,
            })
        }
        GeneralCategoryGroup::Symbol => (!is_unseen(char)).then_some(Kind::Symbol),
        GeneralCategoryGroup::Punctuation => {
            matches!(char, '§' | '¶' | '†' | '‡' | '•' | '‰' | '‱' | '※' | '〽').then_some(Kind::Symbol)
        }
        // Letters of a private font, and emoji that are newer than the tables here.
        GeneralCategoryGroup::Other => match char.general_category() {
            GeneralCategory::PrivateUse => Some(Kind::Word),
            GeneralCategory::Unassigned => Some(Kind::Symbol),
            _ => None,
        },
        GeneralCategoryGroup::Mark | GeneralCategoryGroup::Separator => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_words_symbols_and_grams() {
        for (text, joined, parts) in [
            ("Ça va, l'Été 2024-05? e\u{301}t ÜBER_x", "ca va l ete 2024 05 et uber x", ""),
            (" .,\0 -/()\u{2800}", "", ""),
            ("C++ and C#, 5% of $3 → €", "c + + and c # 5 % of $ 3 → €", ""),
            ("done👍👍🏽 ❤\u{fe0f}", "done 👍 👍 ❤", ""),
            ("v1.2.3-rc1, 10ms; H.264", "v 1 2 3 rc 1 10 ms h 264", ""),
            ("GET /api/v2/x?id=7#top", "get api v 2 x id = 7 # top", ""),
            ("10.0.0.1:8000 [2001:db8::1] a.b@c.de", "10 0 0 1 8000 2001 db 8 1 a b @ c de", ""),
            ("٣ف १२क ๒๐ภาษา", "3 ف 12 क 20 ภาษ าษา", "ภ ภา ษ ษา า าษ"),
            ("日本語が", "日本 本語 語か", "か 日 本 語"),
            ("買iPhone手机", "買 iphone 手机", "手 机 買"),
            ("第3回", "第 3 回", "回 第"),
            ("コーヒー", "コー ーヒ ヒー", "コ ヒ ー"),
            ("학교에서", "학교 교에 에서", "교 서 에 학"),
            // The same, decomposed.
            ("\u{1112}\u{1161}\u{11a8}\u{1100}\u{116d}", "학교", "교 학"),
            ("ภาษา", "ภาษ าษา", "ภ ภา ษ ษา า าษ"),
            ("កខ", "កខ", "ក ខ កខ"),
            ("ꦗꦮꦢ", "ꦗꦮꦢ", "ꦗ ꦗꦮ ꦮ ꦮꦢ ꦢ"),
            ("ꆈꌠꁱ", "ꆈꌠ ꌠꁱ", "ꁱ ꆈ ꌠ"),
        ] {
            let terms = Terms::of(text);
            assert_eq!(terms.joined(), joined, "{text}");
            let sorted = BTreeSet::from_iter(parts.split(' '));
            assert_eq!(BTreeSet::from_iter(terms.parts().split(' ')), sorted, "{text}");
        }
    }

    #[test]
    fn terms_know_where_they_are() {
        let text = "l'E\u{301}te\u{301}, 日本語 ㎏";
        let all = Terms::of(text).all();
        let places: Vec<&str> = all.iter().map(|term| &text[term.place.clone()]).collect();
        assert_eq!(places, ["l", "E\u{301}te\u{301}", "日本", "本語", "㎏"]);
    }
}
