//! Slack's `mrkdwn` as plain text.

use jiff::{Timestamp, tz::TimeZone};

/// What begins a link, ends it, or breaks it off.
const MARKS: [char; 3] = ['<', '>', '\n'];

/// Slack's escapes as text: `<https://a|b>` is `b (https://a)`, `<!here>` is `@here`, `&lt;` is `<`.
pub fn plain(text: &str) -> String {
    let text = one_line_end(text);
    unescaped(&without_links(&text, text.match_indices(MARKS)))
}

/// A text in which only the escapes of `&`, `<` and `>` mean something.
pub fn plain_text(text: &str) -> String {
    unescaped(&one_line_end(text))
}

fn one_line_end(text: &str) -> String {
    text.replace("\r\n", "\n").replace('\r', "\n")
}

fn unescaped(text: &str) -> String {
    text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&").replace('\0', "")
}

/// Replaces links by their labels and addresses. Each mark is looked at once, so that no text is slow,
/// however many marks it has.
fn without_links<'a>(text: &str, marks: impl Iterator<Item = (usize, &'a str)>) -> String {
    let mut plain = String::with_capacity(text.len());
    let (mut said, mut opened) = (0, None);
    for (at, mark) in marks {
        match (mark, opened) {
            // A link contains neither a line end nor another `<`: the one before was only a character.
            ("<", _) => opened = Some(at),
            (">", Some(start)) => {
                if let Some(shown) = link(&text[start + 1..at]) {
                    plain.push_str(&text[said..start]);
                    plain.push_str(&shown);
                    said = at + 1;
                }
                opened = None;
            }
            _ => opened = None,
        }
    }
    plain.push_str(&text[said..]);
    plain
}

/// What is shown for the text between `<` and `>`; `None` if these are only characters: `1 < 2 > 0`, `<b>`.
fn link(inside: &str) -> Option<String> {
    let (target, label) = match inside.split_once('|') {
        Some((target, label)) => (target, Some(label).filter(|label| !label.is_empty())),
        None => (inside, None),
    };
    let named = |sign: char| {
        let name = label.unwrap_or(&target[1..]);
        format!("{sign}{}", name.trim_start_matches(sign))
    };
    Some(match target.chars().next() {
        Some('!') => special(&target[1..], label),
        Some(sign @ ('@' | '#')) if target.len() > 1 => named(sign),
        _ if label.is_some() || is_address(target) => labelled(label.unwrap_or(target), target),
        _ => return None,
    })
}

/// Whether it begins with a scheme: `https:`, `mailto:`.
fn is_address(target: &str) -> bool {
    let Some((scheme, _)) = target.split_once(':') else { return false };
    scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
}

/// A link as people read it: its label, and its address unless that says the same.
pub fn labelled(label: &str, target: &str) -> String {
    let address = target.strip_prefix("mailto:").or_else(|| target.strip_prefix("tel:")).unwrap_or(target);
    match (label.trim(), address.trim()) {
        (label, "") => label.to_owned(),
        ("", address) => address.to_owned(),
        (label, address) if label == address || label == target => address.to_owned(),
        (label, _) => format!("{label} ({target})"),
    }
}

/// A special mention, without its `!`.
fn special(target: &str, label: Option<&str>) -> String {
    let mut parts = target.split('^');
    match parts.next().unwrap_or_default() {
        word @ ("here" | "channel" | "everyone" | "group") => format!("@{word}"),
        "subteam" => {
            let id = parts.next().unwrap_or_default();
            format!("@{}", label.unwrap_or(id).trim_start_matches('@'))
        }
        "date" => {
            let said = parts.next().unwrap_or_default();
            let seconds = said.parse().ok();
            let format = parts.next().unwrap_or("{date_num} {time_secs}");
            let shown = match (label, seconds.and_then(|seconds| date(seconds, format))) {
                // The sender's text for clients that cannot show the date in the reader's time zone.
                (Some(label), _) => label.to_owned(),
                (None, shown) => shown.unwrap_or_else(|| said.to_owned()),
            };
            // The address may contain the separator, `^`.
            let address = parts.collect::<Vec<_>>().join("^");
            labelled(&shown, &address)
        }
        word => label.unwrap_or(word).to_owned(),
    }
}

/// A date in Slack's format, in UTC.
pub fn date(seconds: i64, format: &str) -> Option<String> {
    let at = Timestamp::from_second(seconds).ok()?.to_zoned_datetime(TimeZone::UTC);
    let mut shown = format.to_owned();
    for (word, pattern) in [
        ("{date_num}", "%Y-%m-%d"),
        ("{date_slash}", "%m/%d/%Y"),
        ("{date_short_pretty}", "%b %-d, %Y"),
        ("{date_long_pretty}", "%A, %B %-d, %Y"),
        ("{date_pretty}", "%B %-d, %Y"),
        ("{date_short}", "%b %-d, %Y"),
        ("{date_long}", "%A, %B %-d, %Y"),
        ("{date}", "%B %-d, %Y"),
        ("{day_divider_pretty}", "%A, %B %-d"),
        ("{time_secs}", "%H:%M:%S UTC"),
        ("{time}", "%H:%M UTC"),
        ("{ago}", "on %Y-%m-%d %H:%M UTC"),
    ] {
        if shown.contains(word) {
            shown = shown.replace(word, &at.strftime(pattern).to_string());
        }
    }
    Some(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_become_text() {
        for (given, expected) in [
            ("<https://a.b/c|the build> failed", "the build (https://a.b/c) failed"),
            ("<https://a.b/c>", "https://a.b/c"),
            ("<https://a|https://a>", "https://a"),
            ("<mailto:a@b.c|a@b.c> <mailto:a@b.c> <tel:12|call>", "a@b.c a@b.c call (tel:12)"),
            ("<!here> <!channel|channel> <@U12|bob> <@U12> <#C1|dev>", "@here @channel @bob @U12 #dev"),
            (
                "<!everyone> <!subteam^S1|@ops> <!subteam^S1> <!odd|what> <!odd>",
                "@everyone @ops @S1 what odd",
            ),
            ("<!date^1392734382^Posted {date_num} {time_secs}|Posted 2014>", "Posted 2014"),
            ("<!date^1392734382^Posted {date_num} {time_secs}>", "Posted 2014-02-18 14:39:42 UTC"),
            ("<!date^1392734382^{date}^https://a.b/x^y|then>", "then (https://a.b/x^y)"),
            ("<!date^x^{date}|then> <!date^x^{date}> <!date>", "then x "),
            ("1 &lt; 2 &amp;&amp; 3 &gt; 2 &amp;lt;", "1 < 2 && 3 > 2 &lt;"),
            ("a < b", "a < b"),
            ("a <\nb>", "a <\nb>"),
            ("1 < 2 <!here> > 0", "1 < 2 @here > 0"),
            ("<> < > <b>bold</b> <@> a < b > c", "<> < > <b>bold</b> <@> a < b > c"),
            ("<http://a> <http://a|> <|x> <xmpp:a@b>", "http://a http://a x xmpp:a@b"),
            ("ä<ö|ü>ß", "äü (ö)ß"),
            ("a\u{0}b", "ab"),
            ("a\r\nb\rc", "a\nb\nc"),
        ] {
            assert_eq!(plain(given), expected, "{given}");
        }
        assert_eq!(plain_text("<a|b> &amp;\r\n"), "<a|b> &\n");
    }

    /// If each mark made the text be read again, this would take minutes.
    #[test]
    fn a_text_of_nothing_but_signs_is_looked_at_once() {
        for end in [">", "\n>", ""] {
            let text = format!("{}{end}", "<".repeat(1 << 20));
            let mut looked_at = 0;
            let plain_text = without_links(&text, text.match_indices(MARKS).inspect(|_| looked_at += 1));
            assert_eq!(looked_at, text.len());
            assert!(plain_text == text, "{} bytes are left", plain_text.len());
        }
    }
}
