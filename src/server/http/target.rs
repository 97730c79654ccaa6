//! The target of a request: a path and a query, decoded once and here.

use percent_encoding::percent_decode_str;

use super::{method::Method, request_error::RequestError};

/// A path and a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Decoded, with single slashes. It begins with one, or is `*`.
    pub path: String,
    /// Path and query as they came: visible ASCII.
    pub raw: String,
    /// The fields of the query, decoded, in their order.
    query: Vec<(String, String)>,
}

impl Target {
    /// A field of the query, if it is there once.
    pub fn field(&self, name: &str) -> Option<&str> {
        let mut values =
            self.query.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str());
        values.next().filter(|_| values.next().is_none())
    }

    /// The names of the fields of the query, in their order.
    pub fn field_names(&self) -> impl Iterator<Item = &str> {
        self.query.iter().map(|(name, _)| name.as_str())
    }
}

const UNREADABLE: RequestError =
    RequestError { status: 400, reason: "the target of the request has no form" };

/// Reads a request's target; gives the authority too if it names one.
pub fn parse(text: &str, method: Method) -> Result<(Target, Option<String>), RequestError> {
    if !text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#') {
        return Err(UNREADABLE);
    }
    if text == "*" && method == Method::Options {
        return Ok((Target { path: text.into(), raw: text.into(), query: Vec::new() }, None));
    }
    let (authority, local) = match scheme_end(text) {
        Some(end) => {
            let rest = &text[end..];
            let local = rest.find(['/', '?']).unwrap_or(rest.len());
            (Some(rest[..local].to_owned()), &rest[local..])
        }
        None => (None, text),
    };
    let (path, query) = local.split_once('?').unwrap_or((local, ""));
    let path = match path {
        "" if authority.is_some() => "/",
        path => path,
    };
    if !path.starts_with('/') {
        return Err(UNREADABLE);
    }
    let raw = if local.starts_with('/') { local.to_owned() } else { format!("/{local}") };
    Ok((Target { path: with_single_slashes(&decode(path)?), raw, query: fields(query)? }, authority))
}

/// Makes several slashes one: users append paths to addresses that end with a slash.
fn with_single_slashes(path: &str) -> String {
    let mut single = String::with_capacity(path.len());
    for character in path.chars() {
        if character != '/' || !single.ends_with('/') {
            single.push(character);
        }
    }
    single
}

/// The end of `http://` or `https://`.
fn scheme_end(text: &str) -> Option<usize> {
    ["http://", "https://"].into_iter().find_map(|scheme| {
        let start = text.get(..scheme.len())?;
        start.eq_ignore_ascii_case(scheme).then_some(scheme.len())
    })
}

/// Percent codes into text. Half a code, or text that is not UTF-8 or holds a NUL, is refused.
fn decode(text: &str) -> Result<String, RequestError> {
    let well_formed = text.split('%').skip(1).all(|rest| {
        let mut code = rest.bytes().take(2).filter(u8::is_ascii_hexdigit);
        code.by_ref().count() == 2
    });
    let decoded = percent_decode_str(text).decode_utf8().map_err(|_| UNREADABLE)?;
    if well_formed && !decoded.contains('\0') { Ok(decoded.into_owned()) } else { Err(UNREADABLE) }
}

/// The fields of a query or of a form.
pub fn fields(text: &str) -> Result<Vec<(String, String)>, RequestError> {
    let pairs = text.split('&').filter(|pair| !pair.is_empty());
    let decode = |part: &str| decode(&part.replace('+', " "));
    pairs
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((decode(name)?, decode(value)?))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_queries_are_decoded_once() {
        let (target, authority) =
            parse("/files?room=a%2Bb&name=%C3%A4+%2525.txt&x&room2=", Method::Post).unwrap();
        assert_eq!(target.path, "/files");
        assert_eq!(target.field("room"), Some("a+b"));
        assert_eq!(target.field("name"), Some("ä %25.txt"));
        assert_eq!((target.field("x"), target.field("y")), (Some(""), None));
        assert_eq!(authority, None);
        let (target, _) = parse("/a?x=1&x=2", Method::Get).unwrap();
        assert_eq!(target.field("x"), None, "what is said twice is not said");
        assert_eq!(parse("/%68ooks", Method::Get).unwrap().0.path, "/hooks");
        for (text, path) in [("//hooks/a", "/hooks/a"), ("///hooks//%2fa//?x//y", "/hooks/a/"), ("//", "/")] {
            assert_eq!(parse(text, Method::Post).unwrap().0.path, path, "{text}");
        }
    }

    #[test]
    fn what_is_no_target_is_refused() {
        for text in ["", "a", "/%", "/%4", "/%zz", "/%00", "/%ff", "/a#b", "/é", "//\u{7f}", "*", "ftp://a/"]
        {
            assert_eq!(parse(text, Method::Get), Err(UNREADABLE), "{text:?}");
        }
        assert_eq!(parse("HTTP://a:1?x=y", Method::Get).unwrap().1.as_deref(), Some("a:1"));
    }
}
