//! Who is named in a message.

use crate::protocol::{limits::NAME_BYTES, name::UserName};

/// Names that are looked up in one message; what comes after them is just text.
const MENTIONS_LOOKED_UP: usize = 50;

/// The names in `body` that stand behind an `@` which begins a word, in order. A full stop or dash at the end of a
/// name belongs to the sentence.
pub(super) fn names(body: &str) -> Vec<UserName> {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    let bytes = body.as_bytes();
    let mut names = Vec::new();
    for (at, _) in body.match_indices('@').filter(|(at, _)| *at == 0 || !is_part(bytes[at - 1])) {
        let rest = &body[at + 1..];
        let length = rest.bytes().take_while(|byte| is_part(*byte)).count();
        let name = rest[..length].trim_end_matches(['.', '-']);
        if name.len() <= NAME_BYTES
            && let Some(name) = UserName::new(name)
        {
            names.push(name);
        }
        if names.len() == MENTIONS_LOOKED_UP {
            break;
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_behind_an_at_is_a_mention() {
        let found = |body| names(body).iter().map(UserName::to_string).collect::<Vec<_>>().join(" ");
        assert_eq!(found("@alice, (@bob) and @carol."), "alice bob carol");
        assert_eq!(found("mail me@example.org"), "");
        assert_eq!(found("@ @@dave ü@eve @"), "dave eve");
        assert_eq!(found(&format!("@{}", "x".repeat(33))), "");
        assert_eq!(names(&"@a ".repeat(1_000)).len(), MENTIONS_LOOKED_UP);
    }
}
