//! Files for pages of the cluster's other servers: what the browser needs to hear before it lets such a page
//! read an answer (Fetch standard, CORS). No other page may.

use super::{
    head::Head,
    origin::{Origin, is_known},
    response::Response,
};
use crate::config::ServerEntry;

/// The paths that pages of other servers may ask for.
const SHARED: &str = "/files";

/// The origin whose pages may read the answer, besides those of this server: the request's, if it is one of
/// the cluster.
pub fn reader(head: &Head, allowed: &[Origin], servers: &[ServerEntry]) -> Option<String> {
    let may_read = is_shared(&head.target.path) && is_known(head, allowed, servers);
    may_read.then(|| head.all("origin").next().map(str::to_owned)).flatten()
}

fn is_shared(path: &str) -> bool {
    path.strip_prefix(SHARED).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// An answer that `reader` may read.
pub fn readable(response: Response, reader: &str) -> Response {
    response
        .with("Access-Control-Allow-Origin", reader)
        .with("Access-Control-Allow-Methods", "GET, HEAD, POST")
        .with("Access-Control-Allow-Headers", "Authorization, Content-Type, If-None-Match, If-Range, Range")
        .with("Access-Control-Expose-Headers", "Content-Range, ETag, Location, Retry-After")
        .with("Access-Control-Max-Age", "600")
        .with("Vary", "Origin")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_are_shared() {
        for (path, expected) in
            [("/files", true), ("/files/ab", true), ("/filesystem", false), ("/", false), ("/ws", false)]
        {
            assert_eq!(is_shared(path), expected, "{path}");
        }
    }
}
