//! The query of a search, parsed.

use std::ops::Range;

use super::terms::{Run, Term, Terms};

/// Bytes of what was typed that are looked at.
const QUERY_BYTES: usize = 1_024;
/// Clauses of a query that count; more are ignored.
pub const TERMS_MAX: usize = 16;

/// What has to occur in a text: all of its clauses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    clauses: Vec<Clause>,
}

/// One thing that has to occur in a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Clause {
    /// Terms that follow one another.
    Phrase {
        /// At least one.
        terms: Vec<String>,
        /// Whether the last one is only the beginning of a word.
        begins: bool,
    },
    /// A part that is shorter than the grams of its script.
    Part(String),
}

impl Query {
    /// Takes apart what was typed. `None` when there is nothing in it that could be looked for.
    pub fn parse(typed: &str) -> Option<Query> {
        let mut rest = &typed[..typed.floor_char_boundary(QUERY_BYTES)];
        let mut query = Query { clauses: Vec::new() };
        while query.clauses.len() < TERMS_MAX {
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
            // In quotes the asterisk is behind them or inside.
            let behind = rest.strip_prefix('*');
            let begins = behind.is_some() || term.ends_with('*');
            rest = behind.unwrap_or(rest);
            query.add(&Terms::of(term).runs, begins);
        }
        query.clauses.truncate(TERMS_MAX);
        (!query.clauses.is_empty()).then_some(query)
    }

    /// A part that is shorter than a gram cannot be looked for behind another term: it is a clause of its
    /// own.
    fn add(&mut self, runs: &[Run], begins: bool) {
        for (place, phrase) in runs.split(Run::is_short).enumerate() {
            let is_last = place == runs.iter().filter(|run| run.is_short()).count();
            let terms: Vec<String> = phrase.iter().flat_map(Run::terms).map(|term| term.text).collect();
            if !terms.is_empty() {
                let ends_in_word = phrase.last().is_some_and(Run::has_beginning);
                self.clauses.push(Clause::Phrase { terms, begins: begins && is_last && ends_in_word });
            }
        }
        let parts = runs.iter().filter(|run| run.is_short());
        self.clauses.extend(parts.map(|run| Clause::Part(run.text())));
    }

    /// What has to occur.
    pub fn clauses(&self) -> &[Clause] {
        &self.clauses
    }

    /// Whether all clauses occur in a text.
    pub fn fits(&self, text: &str) -> bool {
        let terms = Terms::of(text);
        let all = terms.all();
        self.clauses.iter().all(|clause| clause.places(&terms, &all).next().is_some())
    }

    /// The places of all clauses in a text, in order and without overlaps.
    pub(super) fn places(&self, terms: &Terms, all: &[Term]) -> Vec<Range<usize>> {
        let mut places: Vec<Range<usize>> =
            self.clauses.iter().flat_map(|clause| clause.places(terms, all)).collect();
        places.sort_by_key(|place| (place.start, place.end));
        places.dedup_by(|next, place| {
            let touches = next.start <= place.end;
            if touches {
                place.end = place.end.max(next.end);
            }
            touches
        });
        places
    }
}

impl Clause {
    /// Each term of a phrase has a place of its own, since what separates them is not marked.
    fn places<'a>(
        &'a self,
        terms: &'a Terms,
        all: &'a [Term],
    ) -> Box<dyn Iterator<Item = Range<usize>> + 'a> {
        match self {
            Clause::Part(part) => Box::new(terms.places_of_part(part)),
            Clause::Phrase { terms: wanted, begins } => Box::new(
                all.windows(wanted.len())
                    .filter(|window| fits(wanted, *begins, window))
                    .flatten()
                    .map(|term| term.place.clone()),
            ),
        }
    }
}

fn fits(wanted: &[String], begins: bool, window: &[Term]) -> bool {
    let last = wanted.len() - 1;
    wanted.iter().zip(window).enumerate().all(|(place, (wanted, term))| {
        term.text == *wanted || begins && place == last && term.text.starts_with(wanted)
    })
}

fn is_space(char: char) -> bool {
    char.is_whitespace() || char.is_control()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Clauses as they could be typed; parts in brackets.
    fn clauses(typed: &str) -> Vec<String> {
        let shown = |clause: &Clause| match clause {
            Clause::Part(part) => format!("[{part}]"),
            Clause::Phrase { terms, begins } => terms.join(" ") + if *begins { "*" } else { "" },
        };
        Query::parse(typed).map_or(vec![], |query| query.clauses().iter().map(shown).collect())
    }

    #[test]
    fn words_phrases_and_beginnings_are_all_that_has_a_meaning() {
        assert_eq!(clauses("hello  World"), ["hello", "world"]);
        assert_eq!(clauses(r#"say "hello world" now"#), ["say", "hello world", "now"]);
        assert_eq!(clauses("hel* wor*ld"), ["hel*", "wor ld"]);
        assert_eq!(clauses(r#""good mor"* "good mor*""#), ["good mor*", "good mor*"]);
        assert_eq!(clauses("a OR b NOT (c) NEAR/2 body:d {x}"), {
            ["a", "or", "b", "not", "c", "near 2", "body d", "x"]
        });
        assert_eq!(clauses("foo\"bar baz"), ["foo", "bar baz"]);
        assert_eq!(clauses("a\0b"), ["a", "b"]);
        assert_eq!(clauses("C++ → 👍🏽*"), ["c + +", "→", "👍"]);
        assert_eq!(clauses("日本語 学 ไทย ไท"), ["日本 本語", "[学]", "ไทย", "[ไท]"]);
        assert_eq!(clauses("買iPhone手机x*"), ["iphone 手机 x*", "[買]"]);
        assert_eq!(clauses("買iPhone手*"), ["iphone", "[買]", "[手]"]);
        for nothing in ["", "   ", "\"\"", "\"", "* ** -", "\0", "\" , \"*", "\u{301}", "\u{200b}", "…", "!?"]
        {
            assert_eq!(Query::parse(nothing), None, "{nothing:?}");
        }
        assert_eq!(clauses(&"x ".repeat(10_000)).len(), TERMS_MAX);
        assert_eq!(clauses(&"買x".repeat(10_000)).len(), TERMS_MAX);
        clauses(&"é".repeat(10_000));
    }

    #[test]
    fn a_text_fits_when_everything_occurs() {
        let fits = |typed: &str, text: &str| Query::parse(typed).unwrap().fits(text);
        assert!(fits("two", "One, TWO, three"));
        assert!(fits("\"two three\"", "one two three"));
        assert!(!fits("\"three two\"", "one two three"));
        assert!(fits("thr* one", "one two three"));
        assert!(!fits("thr one", "one two three"));
        assert!(!fits("two four", "one two three"));
        assert!(!fits("\"one two three four\"", "one two"));
        assert!(fits("本語", "日本語です"));
        assert!(fits("語", "日本語です"));
        assert!(!fits("日語", "日本語です"));
        assert!(fits("ทย", "ภาษาไทย"));
        assert!(fits("학교", "우리 학교에서는"));
        assert!(fits("c++", "I like C++."));
        assert!(!fits("c++", "I like C."));
    }

    /// People type the part that they remember, with the punctuation inside it or without.
    #[test]
    fn versions_addresses_paths_and_names_are_found_by_what_is_typed_of_them() {
        for (text, found, not) in [
            ("deploy v1.2.3 now", "1.2.3|v1.2.3|1.2|V1.2|1.2.*|v1*", "2.3.1|1.2.30|11.2.3|1.2.3.4"),
            ("app-1.2.30-rc1", "1.2.30|1.2.3*|rc1|rc|app-1", "1.2.3|rc12"),
            ("Python3.11 on x86_64", "3.11|python|python3|x86|\"python 3.11\"", "3.1|x8"),
            ("fixes #123 and GH-45", "#123|123|GH-45|gh45|45", "#12|#45|1234"),
            ("see foo.bar() in src/a_b.rs", "foo.bar|bar|src/a_b.rs|a_b|a_b.rs|\"src a b\"", "bar.foo|b_a"),
            ("I like C++, C# and .NET", "c++|c#|.net|C", "c+++|d#"),
            ("mail a.b@c.de please", "a.b@c.de|a.b|c.de|@c.de", "b@c.d|b.a@c.de"),
            ("at 10.0.0.1:8000, fe80::1", "10.0.0.1|10.0.0.1:8000|8000|fe80::1", "10.0.1.0|10.0.0.10"),
            ("it took 10ms (5GB)", "10ms|\"10 ms\"|10|5gb", "10 min|100ms"),
            (r"C:\Users\Bob --no-verify", r"c:\users|users\bob|--no-verify|no-verify", "verify-no"),
            ("commit 3f2a9c1d, 0xff", "3f2a9c1d|3f2a9c*|3f2a*|0xff", "3f2b*|f2b"),
            ("H.264 of iPhone15Pro", "h264|h.264|iphone|iphone15|\"iphone 15 pro\"", "h26|iphone 16"),
        ] {
            let fits = |typed: &str| Query::parse(typed).unwrap().fits(text);
            for typed in found.split('|') {
                assert!(fits(typed), "{typed} is in {text}");
            }
            for typed in not.split('|') {
                assert!(!fits(typed), "{typed} is not in {text}");
            }
        }
    }
}
