//! One form of an emoji, however it was typed.
//!
//! Many emoji are written with or without a *variation selector*, which only says whether they are to be
//! shown in colour (Unicode Technical Standard 51, section 2). Two people who react with a heart mean the
//! same heart, so the selectors are put where the standard wants them (its "fully-qualified" form). Skin
//! tones stay: they are another emoji. Letters with accents are composed, and what no user would see is left
//! out, but for joiners between two letters and for the tags of a flag.

use unicode_normalization::UnicodeNormalization;

use super::text::is_unseen;

/// Shows the letter before it as an emoji.
const AS_EMOJI: char = '\u{fe0f}';
/// Makes one emoji of several.
const JOINER: char = '\u{200d}';
/// The flag that tags behind it make that of a region.
const FLAG: char = '\u{1f3f4}';
const END_OF_TAGS: char = '\u{e007f}';
/// Puts a digit into a key.
const KEYCAP: char = '\u{20e3}';

/// The emoji that are shown as text if nothing says otherwise: `Emoji` without `Emoji_Presentation` in
/// Unicode's `emoji-data.txt`, but for the digits and signs of keycaps.
const TEXT_BY_DEFAULT: [(char, char); 116] = [
    ('\u{a9}', '\u{a9}'),
    ('\u{ae}', '\u{ae}'),
    ('\u{203c}', '\u{203c}'),
    ('\u{2049}', '\u{2049}'),
    ('\u{2122}', '\u{2122}'),
    ('\u{2139}', '\u{2139}'),
    ('\u{2194}', '\u{2199}'),
    ('\u{21a9}', '\u{21aa}'),
    ('\u{2328}', '\u{2328}'),
    ('\u{23cf}', '\u{23cf}'),
    ('\u{23ed}', '\u{23ef}'),
    ('\u{23f1}', '\u{23f2}'),
    ('\u{23f8}', '\u{23fa}'),
    ('\u{24c2}', '\u{24c2}'),
    ('\u{25aa}', '\u{25ab}'),
    ('\u{25b6}', '\u{25b6}'),
    ('\u{25c0}', '\u{25c0}'),
    ('\u{25fb}', '\u{25fc}'),
    ('\u{2600}', '\u{2604}'),
    ('\u{260e}', '\u{260e}'),
    ('\u{2611}', '\u{2611}'),
    ('\u{2618}', '\u{2618}'),
    ('\u{261d}', '\u{261d}'),
    ('\u{2620}', '\u{2620}'),
    ('\u{2622}', '\u{2623}'),
    ('\u{2626}', '\u{2626}'),
    ('\u{262a}', '\u{262a}'),
    ('\u{262e}', '\u{262f}'),
    ('\u{2638}', '\u{263a}'),
    ('\u{2640}', '\u{2640}'),
    ('\u{2642}', '\u{2642}'),
    ('\u{265f}', '\u{2660}'),
    ('\u{2663}', '\u{2663}'),
    ('\u{2665}', '\u{2666}'),
    ('\u{2668}', '\u{2668}'),
    ('\u{267b}', '\u{267b}'),
    ('\u{267e}', '\u{267e}'),
    ('\u{2692}', '\u{2692}'),
    ('\u{2694}', '\u{2697}'),
    ('\u{2699}', '\u{2699}'),
    ('\u{269b}', '\u{269c}'),
    ('\u{26a0}', '\u{26a0}'),
    ('\u{26a7}', '\u{26a7}'),
    ('\u{26b0}', '\u{26b1}'),
    ('\u{26c8}', '\u{26c8}'),
    ('\u{26cf}', '\u{26cf}'),
    ('\u{26d1}', '\u{26d1}'),
    ('\u{26d3}', '\u{26d3}'),
    ('\u{26e9}', '\u{26e9}'),
    ('\u{26f0}', '\u{26f1}'),
    ('\u{26f4}', '\u{26f4}'),
    ('\u{26f7}', '\u{26f9}'),
    ('\u{2702}', '\u{2702}'),
    ('\u{2708}', '\u{2709}'),
    ('\u{270c}', '\u{270d}'),
    ('\u{270f}', '\u{270f}'),
    ('\u{2712}', '\u{2712}'),
    ('\u{2714}', '\u{2714}'),
    ('\u{2716}', '\u{2716}'),
    ('\u{271d}', '\u{271d}'),
    ('\u{2721}', '\u{2721}'),
    ('\u{2733}', '\u{2734}'),
    ('\u{2744}', '\u{2744}'),
    ('\u{2747}', '\u{2747}'),
    ('\u{2763}', '\u{2764}'),
    ('\u{27a1}', '\u{27a1}'),
    ('\u{2934}', '\u{2935}'),
    ('\u{2b05}', '\u{2b07}'),
    ('\u{3030}', '\u{3030}'),
    ('\u{303d}', '\u{303d}'),
    ('\u{3297}', '\u{3297}'),
    ('\u{3299}', '\u{3299}'),
    ('\u{1f170}', '\u{1f171}'),
    ('\u{1f17e}', '\u{1f17f}'),
    ('\u{1f202}', '\u{1f202}'),
    ('\u{1f237}', '\u{1f237}'),
    ('\u{1f321}', '\u{1f321}'),
    ('\u{1f324}', '\u{1f32c}'),
    ('\u{1f336}', '\u{1f336}'),
    ('\u{1f37d}', '\u{1f37d}'),
    ('\u{1f396}', '\u{1f397}'),
    ('\u{1f399}', '\u{1f39b}'),
    ('\u{1f39e}', '\u{1f39f}'),
    ('\u{1f3cb}', '\u{1f3ce}'),
    ('\u{1f3d4}', '\u{1f3df}'),
    ('\u{1f3f3}', '\u{1f3f3}'),
    ('\u{1f3f5}', '\u{1f3f5}'),
    ('\u{1f3f7}', '\u{1f3f7}'),
    ('\u{1f43f}', '\u{1f43f}'),
    ('\u{1f441}', '\u{1f441}'),
    ('\u{1f4fd}', '\u{1f4fd}'),
    ('\u{1f549}', '\u{1f54a}'),
    ('\u{1f56f}', '\u{1f570}'),
    ('\u{1f573}', '\u{1f579}'),
    ('\u{1f587}', '\u{1f587}'),
    ('\u{1f58a}', '\u{1f58d}'),
    ('\u{1f590}', '\u{1f590}'),
    ('\u{1f5a5}', '\u{1f5a5}'),
    ('\u{1f5a8}', '\u{1f5a8}'),
    ('\u{1f5b1}', '\u{1f5b2}'),
    ('\u{1f5bc}', '\u{1f5bc}'),
    ('\u{1f5c2}', '\u{1f5c4}'),
    ('\u{1f5d1}', '\u{1f5d3}'),
    ('\u{1f5dc}', '\u{1f5de}'),
    ('\u{1f5e1}', '\u{1f5e1}'),
    ('\u{1f5e3}', '\u{1f5e3}'),
    ('\u{1f5e8}', '\u{1f5e8}'),
    ('\u{1f5ef}', '\u{1f5ef}'),
    ('\u{1f5f3}', '\u{1f5f3}'),
    ('\u{1f5fa}', '\u{1f5fa}'),
    ('\u{1f6cb}', '\u{1f6cb}'),
    ('\u{1f6cd}', '\u{1f6cf}'),
    ('\u{1f6e0}', '\u{1f6e5}'),
    ('\u{1f6e9}', '\u{1f6e9}'),
    ('\u{1f6f0}', '\u{1f6f0}'),
    ('\u{1f6f3}', '\u{1f6f3}'),
];

/// The one form of a reaction.
pub fn fold(text: &str) -> String {
    let is_kept = |letter: &char| *letter == JOINER || is_tag(*letter) || !is_unseen(*letter);
    let kept: String = text.nfc().filter(is_kept).collect();
    let mut letters = kept.trim_matches(JOINER).chars().peekable();
    let mut folded = String::with_capacity(text.len());
    while let Some(letter) = letters.next() {
        if is_tag(letter) {
            continue;
        }
        folded.push(letter);
        if letter == FLAG {
            let tags: String = std::iter::from_fn(|| letters.next_if(|next| is_tag(*next))).collect();
            if tags.ends_with(END_OF_TAGS) {
                folded.push_str(&tags);
            }
        }
        let is_toned = letters.peek().is_some_and(|next| ('\u{1f3fb}'..='\u{1f3ff}').contains(next));
        let is_key =
            letters.peek() == Some(&KEYCAP) && (letter.is_ascii_digit() || matches!(letter, '#' | '*'));
        if is_key || (is_text_by_default(letter) && !is_toned) {
            folded.push(AS_EMOJI);
        }
    }
    folded
}

/// Whether a letter is one of those that name the region of a flag.
fn is_tag(letter: char) -> bool {
    matches!(letter, '\u{e0020}'..='\u{e007f}')
}

fn is_text_by_default(letter: char) -> bool {
    let place = TEXT_BY_DEFAULT.partition_point(|(_, last)| *last < letter);
    TEXT_BY_DEFAULT.get(place).is_some_and(|(first, _)| *first <= letter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_emoji_has_one_form() {
        for (typed, form) in [
            ("❤", "❤\u{fe0f}"),
            ("❤\u{fe0f}", "❤\u{fe0f}"),
            ("❤\u{fe0e}", "❤\u{fe0f}"),
            ("👍", "👍"),
            ("👍\u{fe0f}", "👍"),
            ("👍🏽", "👍🏽"),
            ("☝🏽", "☝🏽"),
            ("☝\u{fe0f}🏽", "☝🏽"),
            ("☝", "☝\u{fe0f}"),
            ("1\u{20e3}", "1\u{fe0f}\u{20e3}"),
            ("#\u{fe0f}\u{20e3}", "#\u{fe0f}\u{20e3}"),
            ("❤\u{200d}🔥", "❤\u{fe0f}\u{200d}🔥"),
            ("👁\u{200d}🗨", "👁\u{fe0f}\u{200d}🗨\u{fe0f}"),
            ("🏳\u{200d}🌈", "🏳\u{fe0f}\u{200d}🌈"),
            ("🏴\u{e0067}\u{e0062}\u{e007f}", "🏴\u{e0067}\u{e0062}\u{e007f}"),
            ("🏴\u{e0067}\u{e0062}", "🏴"),
            ("👍\u{e0067}\u{e007f}", "👍"),
            ("\u{e0041}👍", "👍"),
            ("e\u{301}", "é"),
            ("a\u{200b}", "a"),
            ("\u{202e}x\u{2069}", "x"),
            ("\u{200d}👍\u{200d}", "👍"),
            ("+1", "+1"),
            ("ok", "ok"),
            ("→", "→"),
        ] {
            assert_eq!(fold(typed), form, "{typed:?}");
            assert_eq!(fold(form), form, "{form:?}");
        }
        assert!(TEXT_BY_DEFAULT.windows(2).all(|pair| pair[0].1 < pair[1].0), "for bisection");
    }
}
