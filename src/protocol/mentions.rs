//! Whom a text names: `@name`, if people would see a name in it.
//!
//! Servers, the terminal client and the web client (`src/web/model/mentions.js`) follow the same rule, and
//! `tests/cases/mentions.json` holds all of them to it.
//!
//! **Not a mention** is a name in a code block, a code span, a quote (a line that begins with `>`) or an
//! address (of the web or of mail), or behind a letter or a digit. Letters of scripts that put no spaces
//! between words, or write much behind a name, do not count there: `日本@bob` and `@bobさん` name Bob.
//!
//! **The name** is the longest one that fits: of `@bob.Thanks` it is `bob.Thanks` if there is a user of that
//! name, else `bob`. A name ends before punctuation and never in the middle of a word.

use std::ops::Range;

use unicode_properties::{GeneralCategory, UnicodeGeneralCategory};

use super::{limits::NAME_BYTES, script::letters_in_a_word};

/// Words that name all members of a room. No user can have such a name.
pub const GROUPS: [&str; 2] = ["here", "channel"];

/// Places at which names are looked for in one text; what comes after them is just text.
const LOOKED_AT_MAX: usize = 50;
/// How much of a word is looked at to find out whether it is an address, in bytes.
const ADDRESS_LOOK_BYTES: usize = 256;

/// Whether this name means all members of a room.
pub fn is_group(name: &str) -> bool {
    GROUPS.iter().any(|group| name.eq_ignore_ascii_case(group))
}

/// The names in `text` that `is_name` knows, as they are written there, in order.
pub fn mentioned(text: &str, is_name: impl FnMut(&str) -> bool) -> Vec<&str> {
    places(text, is_name).into_iter().map(|place| &text[place.start + 1..place.end]).collect()
}

/// The places of these names in `text`, each with its `@`.
pub fn places(text: &str, mut is_name: impl FnMut(&str) -> bool) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    // Most texts name no user.
    if !text.contains('@') {
        return found;
    }
    let mut left = LOOKED_AT_MAX;
    for paragraph in paragraphs(text) {
        look_through(&text[..paragraph.end], paragraph.start, &mut left, &mut |name: Range<usize>| {
            let is_known = is_name(&text[name.clone()]);
            if is_known {
                found.push(name.start - 1..name.end);
            }
            is_known
        });
    }
    found
}

/// The text without its code blocks and quotes, as paragraphs: what code spans do not reach across.
fn paragraphs(text: &str) -> Vec<Range<usize>> {
    let mut lines = Vec::new();
    let mut begin = 0;
    for line in text.split_inclusive('\n') {
        lines.push((begin, line.trim_end_matches(['\n', '\r'])));
        begin += line.len();
    }
    let mut paragraphs = Vec::new();
    let mut open: Option<Range<usize>> = None;
    let mut at = 0;
    while let Some(&(begin, line)) = lines.get(at) {
        let end = begin + line.len();
        let closing = fence(line).and_then(|fence| {
            let place = lines[at + 1..].iter().position(|(_, line)| closes(line, fence))?;
            Some(at + 1 + place)
        });
        let is_item = is_list_item(line);
        if closing.is_some() || is_item || line.starts_with('>') || line.trim().is_empty() {
            paragraphs.extend(open.take());
            if is_item && closing.is_none() {
                paragraphs.push(begin..end);
            }
        } else {
            open = Some(open.map_or(begin, |open| open.start)..end);
        }
        at = closing.unwrap_or(at) + 1;
    }
    paragraphs.extend(open);
    paragraphs
}

/// The fence that opens a code block: its character and its length.
fn fence(line: &str) -> Option<(char, usize)> {
    let mark = line.chars().next().filter(|mark| matches!(mark, '`' | '~'))?;
    let rest = line.trim_start_matches(mark);
    let length = line.len() - rest.len();
    // Behind backticks that are closed on the same line it is a span.
    (length >= 3 && !(mark == '`' && rest.contains('`'))).then_some((mark, length))
}

fn closes(line: &str, (mark, length): (char, usize)) -> bool {
    let line = line.trim_end();
    line.len() >= length && line.chars().all(|letter| letter == mark)
}

/// Whether the line is an item of a list, by bullet or number: each is a paragraph of its own.
fn is_list_item(line: &str) -> bool {
    let indented = line.trim_start_matches(' ');
    if line.len() - indented.len() > 3 {
        return false;
    }
    let behind = match indented.strip_prefix(['-', '*', '+']) {
        Some(behind) => Some(behind),
        None => {
            let behind = indented.trim_start_matches(|letter: char| letter.is_ascii_digit());
            let is_number = (1..=4).contains(&(indented.len() - behind.len()));
            behind.strip_prefix(['.', ')']).filter(|_| is_number)
        }
    };
    behind.is_some_and(|behind| behind.starts_with(' ') && !behind.trim().is_empty())
}

/// Passes each possible name in the paragraph from `begin` to the end of `text` to `take`; at one place the
/// longest first, until `take` accepts one. `left` is how many places are still looked at.
fn look_through(text: &str, begin: usize, left: &mut usize, take: &mut dyn FnMut(Range<usize>) -> bool) {
    let mut at = begin;
    while let Some(letter) = text[at..].chars().next() {
        let rest = &text[at..];
        let previous = text[begin..at].chars().next_back();
        let begins_word = !previous.is_some_and(is_in_word);
        at += match letter {
            '\\' if rest[1..].starts_with(is_escapable) => 2,
            '`' => code_span(rest),
            _ if letter.is_ascii_alphanumeric() && begins_word => address(rest).unwrap_or(1),
            '@' if *left == 0 => return,
            '@' if begins_word => {
                *left -= 1;
                let take = &mut |length| take(at + 1..at + 1 + length);
                name_behind(&text[begin..at], &rest[1..], take) + 1
            }
            _ => letter.len_utf8(),
        };
    }
}

/// Whether a letter belongs to the word beside it. Names are of ASCII letters, so a letter of a script
/// without spaces, or of Hangul, in which particles follow a name without one, is never a part of one.
fn is_in_word(letter: char) -> bool {
    (letter.is_alphanumeric() || is_accent(letter)) && letters_in_a_word(letter).is_none()
}

/// Whether it is an accent of the letter before it. Marks that make emoji are not.
fn is_accent(letter: char) -> bool {
    letter.general_category() == GeneralCategory::NonspacingMark && !matches!(letter, '\u{fe00}'..='\u{fe0f}')
}

fn is_escapable(letter: char) -> bool {
    "\\`*_~[]()>#-".contains(letter)
}

/// The length of the code span that `text` begins with, or of the backticks alone if nothing closes them.
fn code_span(text: &str) -> usize {
    let behind = text.trim_start_matches('`');
    let length = text.len() - behind.len();
    let mut at = length;
    while let Some(begin) = text[at..].find('`') {
        let rest = &text[at + begin..];
        let run = rest.len() - rest.trim_start_matches('`').len();
        at += begin + run;
        if run == length {
            return at;
        }
    }
    length
}

/// The length of the web address that `text` begins with.
fn address(text: &str) -> Option<usize> {
    let look = head(text, ADDRESS_LOOK_BYTES);
    let is_scheme = |scheme: &str| {
        scheme.len() <= 32
            && scheme.starts_with(|letter: char| letter.is_ascii_alphabetic())
            && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'.' | b'-'))
    };
    let behind = |length: usize| text[length..].find(ends_address).unwrap_or(text.len() - length);
    let by_scheme =
        look.split_once("://").filter(|(scheme, _)| is_scheme(scheme)).map(|(it, _)| it.len() + 3);
    let begins = |word: &&str| look.get(..word.len()).is_some_and(|head| head.eq_ignore_ascii_case(word));
    let by_word = || ["mailto:", "www."].into_iter().find(begins).map(str::len);
    if let Some(length) = by_scheme.or_else(by_word)
        && behind(length) > 0
    {
        return Some(length + behind(length));
    }
    let (before, _) = look.split_once('/')?;
    let (host, port) = before.split_once(':').unwrap_or((before, "0"));
    let is_port = (1..=5).contains(&port.len()) && port.bytes().all(|byte| byte.is_ascii_digit());
    (is_port && is_domain(host)).then(|| before.len() + behind(before.len()))
}

fn ends_address(letter: char) -> bool {
    letter.is_whitespace() || matches!(letter, '<' | '>' | '"' | '\'' | '`')
}

/// Whether it is the name of a domain, such as `example.org`.
fn is_domain(text: &str) -> bool {
    let labels: Vec<&str> = text.split('.').collect();
    let is_label = |label: &&str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    let Some((last, others)) = labels.split_last() else { return false };
    let is_top = (2..=24).contains(&last.len()) && last.bytes().all(|byte| byte.is_ascii_alphabetic());
    is_top && (1..=8).contains(&others.len()) && others.iter().all(is_label)
}

/// Looks for the name at the beginning of `text`, behind an `@`: passes the lengths that fit to `take`. Gives
/// the length of what was used up.
fn name_behind(before: &str, text: &str, take: &mut dyn FnMut(usize) -> bool) -> usize {
    let is_part = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '.' | '-');
    let run = text.find(|letter| !is_part(letter)).unwrap_or(text.len());
    let mailbox =
        before.bytes().rev().take(64).take_while(|byte| {
            byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'%' | b'+' | b'-')
        });
    let whole = text[..run].trim_end_matches(['.', '-', '_']);
    let is_mail = mailbox.clone().any(|byte| byte.is_ascii_alphanumeric()) && is_domain(whole);
    let is_account =
        text[run..].strip_prefix('@').is_some_and(|rest| rest.starts_with(char::is_alphanumeric));
    if is_mail || is_account {
        return run;
    }
    // Behind a letter, `@bob.example` is the end of an address, or all of it is a name.
    let shortest = if before.ends_with(char::is_alphanumeric) && is_domain(whole) { whole.len() } else { 1 };
    let fits = |length: &usize| !text[*length..].starts_with(is_in_word);
    // A word that names all members is not the beginning of a longer one.
    let is_begun = |length: usize| {
        let mut behind = text[length..].chars();
        behind.next().is_some_and(|letter| matches!(letter, '-' | '_'))
            && behind.next().is_some_and(is_in_word)
    };
    let names = (shortest..=run.min(NAME_BYTES)).rev().filter(fits);
    let mut names = names.filter(|length| !(is_group(&text[..*length]) && is_begun(*length)));
    names.find(|length| take(*length)).unwrap_or(0)
}

/// At most the first `most` bytes of a text, up to the end of a letter.
fn head(text: &str, most: usize) -> &str {
    &text[..text.floor_char_boundary(most)]
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    struct Case {
        text: String,
        mentions: Vec<String>,
    }

    #[derive(Deserialize)]
    struct Cases {
        names: Vec<String>,
        cases: Vec<Case>,
    }

    #[test]
    fn the_shared_cases_hold() {
        let cases: Cases = serde_json::from_str(include_str!("../../tests/cases/mentions.json")).unwrap();
        for Case { text, mentions } in cases.cases {
            let is_name = |name: &str| cases.names.iter().any(|known| known.eq_ignore_ascii_case(name));
            assert_eq!(mentioned(&text, is_name), mentions, "{text:?}");
        }
    }

    #[test]
    fn a_text_of_nothing_but_marks_takes_no_time() {
        for unit in
            ["@", "@a.", "`", "``` ", "```\n", "a.", "https:", "www.a", "@a@", "\\", "- ", "~~~\n", "a-"]
        {
            let text = unit.repeat(16 * 1024 / unit.len());
            let mut asked = 0;
            let found = mentioned(&text, |_| {
                asked += 1;
                false
            });
            assert!(found.is_empty() && asked <= LOOKED_AT_MAX * NAME_BYTES, "{unit:?}: {asked}");
        }
        assert_eq!(mentioned(&"@a ".repeat(1_000), |_| true).len(), LOOKED_AT_MAX);
    }
}
