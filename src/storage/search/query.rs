//! What somebody typed into a search, taken apart.

use super::words::{Word, words};
use crate::replica::storage::SEARCH_TERMS_MAX;

/// Bytes of what was typed that are looked at.
const QUERY_BYTES: usize = 1_024;

/// What has to occur in a text: all of its terms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    terms: Vec<Term>,
}

/// A word, or several that follow one another.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Term {
    /// As it was typed, without quotes and asterisk.
    typed: String,
    /// The words in it, folded; never empty.
    words: Vec<String>,
    /// Whether the last word is only the beginning of one.
    begins: bool,
}

impl Query {
    /// Takes apart what was typed. `None` where there is no word in it.
    pub fn parse(typed: &str) -> Option<Query> {
        let mut rest = &typed[..typed.floor_char_boundary(QUERY_BYTES)];
        let mut terms = Vec::new();
        while terms.len() < SEARCH_TERMS_MAX {
            rest = rest.trim_start_matches(is_space);
            if rest.is_empty() {
                break;
            }
            let term;
            // A quote that is never closed closes at the end.
            (term, rest) = match rest.strip_prefix('"') {
                Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
                None => rest.split_at(rest.find(|char| is_space(char) || char == '"').unwrap_or(rest.len())),
            };
            // In quotes the asterisk stands behind them or inside.
            let behind = rest.strip_prefix('*');
            let begins = behind.is_some() || term.ends_with('*');
            rest = behind.unwrap_or(rest);
            let words: Vec<String> = words(term).map(|word| word.folded).collect();
            if !words.is_empty() {
                // Control characters are no part of words, and the index reads its queries up to a NUL.
                let typed = term.trim_end_matches('*').replace(char::is_control, " ");
                terms.push(Term { typed, words, begins });
            }
        }
        (!terms.is_empty()).then_some(Query { terms })
    }

    /// The query in the language of FTS5. Each term is a string there, in which nothing has a meaning but
    /// the quote, which is doubled; and it has none inside, because it ends terms here.
    pub fn fts5(&self) -> String {
        let mut text = String::new();
        for term in &self.terms {
            if !text.is_empty() {
                text.push_str(" AND ");
            }
            text.push('"');
            text.push_str(&term.typed.replace('"', "\"\""));
            text.push('"');
            if term.begins {
                text.push_str(" *");
            }
        }
        text
    }

    /// Whether everything that is looked for occurs in a text.
    pub fn fits(&self, text: &str) -> bool {
        let words: Vec<Word> = words(text).collect();
        self.terms.iter().all(|term| words.windows(term.words.len()).any(|window| term.fits(window)))
    }

    /// Which words of a text, given in order, are among those looked for.
    pub fn marked(&self, text: &[Word]) -> Vec<bool> {
        let mut marks = vec![false; text.len()];
        for term in &self.terms {
            for (start, window) in text.windows(term.words.len()).enumerate() {
                if term.fits(window) {
                    marks[start..start + window.len()].fill(true);
                }
            }
        }
        marks
    }
}

impl Term {
    fn fits(&self, window: &[Word]) -> bool {
        let last = self.words.len() - 1;
        self.words.iter().zip(window).enumerate().all(|(place, (wanted, word))| {
            word.folded == *wanted || self.begins && place == last && word.folded.starts_with(wanted)
        })
    }
}

fn is_space(char: char) -> bool {
    char.is_whitespace() || char.is_control()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fts5(typed: &str) -> String {
        Query::parse(typed).map_or(String::new(), |query| query.fts5())
    }

    #[test]
    fn words_phrases_and_beginnings_are_all_that_has_a_meaning() {
        assert_eq!(fts5("hello  World"), r#""hello" AND "World""#);
        assert_eq!(fts5(r#"say "hello world" now"#), r#""say" AND "hello world" AND "now""#);
        assert_eq!(fts5("hel* wor*ld"), r#""hel" * AND "wor*ld""#);
        assert_eq!(fts5(r#""good mor"* "good mor*""#), r#""good mor" * AND "good mor" *"#);
        assert_eq!(fts5("a OR b NOT (c) NEAR/2 body:d ^e {x}"), {
            r#""a" AND "OR" AND "b" AND "NOT" AND "(c)" AND "NEAR/2" AND "body:d" AND "^e" AND "{x}""#
        });
        assert_eq!(fts5("foo\"bar baz"), r#""foo" AND "bar baz""#);
        assert_eq!(fts5("a\0b"), r#""a" AND "b""#);
        for nothing in ["", "   ", "\"\"", "\"", "* ** -", "\0", "\" , \"*"] {
            assert_eq!(fts5(nothing), "", "{nothing:?}");
        }
        assert_eq!(fts5(&"x ".repeat(10_000)).matches("AND").count(), SEARCH_TERMS_MAX - 1);
        fts5(&"é".repeat(10_000));
    }

    #[test]
    fn a_text_fits_where_everything_occurs() {
        let fits = |typed: &str, text: &str| Query::parse(typed).unwrap().fits(text);
        assert!(fits("two", "One, TWO, three"));
        assert!(fits("\"two three\"", "one two three"));
        assert!(!fits("\"three two\"", "one two three"));
        assert!(fits("thr* one", "one two three"));
        assert!(!fits("thr one", "one two three"));
        assert!(!fits("two four", "one two three"));
        assert!(!fits("\"one two three four\"", "one two"));
    }
}
