//! Which function answers which path.

use super::{
    assets, backup, cors, dashboard,
    exchange::{Abort, Done, Exchange},
    failures, files, health, hook,
    method::Method,
    metrics, operators, pages,
    response::Response,
    web_socket,
};

#[derive(Debug, Clone, Copy)]
enum Paths {
    One(&'static str),
    /// Paths with one more name after it.
    Under(&'static str),
    /// Paths with any number of names after it.
    Tree(&'static str),
}

/// Answers a request. Of a path under another it is given the name.
type Answering = fn(&mut Exchange<'_>, &str) -> Result<Done, Abort>;

/// All routes. A path with GET has HEAD as well.
const ROUTES: &[(Method, Paths, Answering)] = &[
    (Method::Get, Paths::One("/"), pages::index),
    (Method::Get, Paths::One("/sw.js"), pages::service_worker),
    (Method::Get, Paths::Tree(assets::PREFIX), pages::file),
    (Method::Get, Paths::One("/healthz"), health::healthz),
    (Method::Get, Paths::One("/readyz"), health::readyz),
    (Method::Get, Paths::One("/api/status"), health::status),
    (Method::Get, Paths::One("/dashboard"), dashboard::page),
    (Method::Get, Paths::One("/dashboard/data"), dashboard::data),
    (Method::Post, Paths::One("/dashboard/login"), dashboard::log_in),
    (Method::Post, Paths::One("/dashboard/logout"), dashboard::log_out),
    (Method::Get, Paths::One("/metrics"), metrics::metrics),
    (Method::Get, Paths::One("/backup"), backup::send),
    (Method::Post, Paths::One("/reload"), operators::reload),
    (Method::Get, Paths::One("/ws"), web_socket::open),
    (Method::Post, Paths::One("/files"), files::upload),
    (Method::Get, Paths::Under("/files/"), files::download),
    (Method::Post, Paths::Under("/hooks/"), hook::post),
];

impl Paths {
    /// The name after the path; empty if the path takes none.
    fn find<'a>(&self, path: &'a str) -> Option<&'a str> {
        match self {
            Paths::One(own) => (path == *own).then_some(""),
            // Users copy addresses with a slash at their end.
            Paths::Under(own) => {
                let name = path.strip_prefix(own)?;
                Some(name.strip_suffix('/').unwrap_or(name))
                    .filter(|name| !name.is_empty() && !name.contains('/'))
            }
            Paths::Tree(own) => path.strip_prefix(own),
        }
    }
}

/// Answers a request, whatever it asks for.
pub fn answer(exchange: &mut Exchange<'_>) -> Result<Done, Abort> {
    let path = exchange.head.target.path.clone();
    let (config, servers) = (exchange.server.context.config(), exchange.server.context.shared.servers());
    exchange.share_with(cors::reader(&exchange.head, &config.allowed_origins, &servers));
    if config.tls_required && !exchange.info.is_encrypted && path != "/healthz" {
        return Ok(Done::Answer(failures::unencrypted(&exchange.head)));
    }
    let asked = match exchange.head.method {
        Method::Head => Method::Get,
        method => method,
    };
    let mut allowed = Vec::new();
    for (method, paths, answering) in ROUTES {
        let Some(name) = paths.find(&path) else { continue };
        if *method == asked {
            return answering(exchange, name);
        }
        allowed.push(*method);
    }
    let is_server = path == "*";
    if allowed.is_empty() && !is_server {
        return Ok(Done::Answer(Response::error(404, "not_found", "there is nothing here")));
    }
    let response = match asked {
        Method::Options => Response::empty(200),
        _ => Response::error(405, "method_not_allowed", "this is not done here"),
    };
    let allowed = if is_server { vec![Method::Get, Method::Post] } else { allowed };
    Ok(Done::Answer(response.with("Allow", allow(&allowed))))
}

/// The allowed methods, as a list.
fn allow(methods: &[Method]) -> String {
    let mut names: Vec<_> = methods.iter().map(|method| method.name()).collect();
    if methods.contains(&Method::Get) {
        names.push(Method::Head.name());
    }
    names.push(Method::Options.name());
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_found_whole() {
        assert_eq!(Paths::One("/healthz").find("/healthz"), Some(""));
        assert_eq!(Paths::One("/healthz").find("/healthz/"), None);
        assert_eq!(Paths::Under("/files/").find("/files/ab"), Some("ab"));
        assert_eq!(Paths::Tree("/web/").find("/web/0/a/b.js"), Some("0/a/b.js"));
        assert_eq!(Paths::Tree("/web/").find("/webs/0"), None);
        assert_eq!(Paths::Under("/files/").find("/files/ab/"), Some("ab"));
        for path in ["/files", "/files/", "/files//", "/files/a//", "/files/a/b", "/files/../x"] {
            assert_eq!(Paths::Under("/files/").find(path), None, "{path}");
        }
    }

    #[test]
    fn what_is_allowed_is_listed() {
        assert_eq!(allow(&[Method::Get]), "GET, HEAD, OPTIONS");
        assert_eq!(allow(&[Method::Post]), "POST, OPTIONS");
    }
}
