//! The web client: the page at `/`, its service worker, and their files (docs/WEB.md).

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

use super::{
    assets,
    exchange::{Abort, Done, Exchange},
    head::Head,
    origin::host_for_page,
    response::Response,
};
use crate::config::ServerEntry;

/// How long a browser keeps a file whose path names its content: a year.
const FOR_EVER: &str = "public, max-age=31536000, immutable";
/// Kept, and asked for again each time.
const ASK_AGAIN: &str = "no-cache";

pub fn index(exchange: &mut Exchange<'_>, _: &str) -> Result<Done, Abort> {
    let head = &exchange.head;
    let config = exchange.server.context.config();
    let servers = exchange.server.context.shared.servers();
    let servers = seen_servers(&servers, page_host(head, config.me().client_address().0));
    let list: Vec<String> = servers.iter().map(|(id, host, port)| format!("{id} {host} {port}")).collect();
    let root = format!("{}{}", assets::PREFIX, assets::version());
    let preload: String = assets::paths()
        .filter(|path| path.ends_with(".js"))
        .map(|path| format!("<link rel=\"modulepreload\" href=\"{root}/{path}\">\n"))
        .collect();
    let text = assets::PAGE
        .replace("%ROOT%", &root)
        .replace("<!--%PRELOAD%-->\n", &preload)
        .replace("%SERVER%", config.server_id().as_str())
        .replace("%SERVERS%", &list.join(", "))
        .replace("%VERSION%", assets::version());
    let response = Response::bytes("text/html; charset=utf-8", text.into_bytes())
        .with("Content-Security-Policy", policy(&servers, exchange.info.is_encrypted))
        .with("Cross-Origin-Opener-Policy", "same-origin");
    Ok(Done::Answer(revalidated(head, response)?))
}

/// The service worker, whose bytes differ when any file does: so a browser notices a new version.
pub fn service_worker(exchange: &mut Exchange<'_>, _: &str) -> Result<Done, Abort> {
    let root = format!("{}{}", assets::PREFIX, assets::version());
    let files: Vec<String> = assets::paths().map(|path| format!("{root}/{path}")).collect();
    let text =
        assets::SERVICE_WORKER.replace("%VERSION%", assets::version()).replace("%FILES%", &files.join(" "));
    let response = Response::bytes("text/javascript; charset=utf-8", text.into_bytes())
        // A worker has a policy of its own.
        .with("Content-Security-Policy", "default-src 'none'; connect-src 'self'; script-src 'self'");
    Ok(Done::Answer(revalidated(&exchange.head, response)?))
}

pub fn file(exchange: &mut Exchange<'_>, path: &str) -> Result<Done, Abort> {
    let head = &exchange.head;
    let Some(asset) = assets::find(path) else {
        return Err(Response::error(404, "not_found", "there is no such file in this version").into());
    };
    let response = if accepts_gzip(head) && asset.gzip.len() < asset.plain.len() {
        Response::bytes(asset.content_type, asset.gzip.to_vec()).with("Content-Encoding", "gzip")
    } else {
        Response::bytes(asset.content_type, asset.plain.to_vec())
    };
    Ok(Done::Answer(response.with("Cache-Control", FOR_EVER).with("Vary", "Accept-Encoding")))
}

/// What the page may do. Scripts and styles are files of this server; nothing that users send is run or
/// parsed as HTML. The page connects to the servers of the cluster only.
fn policy(servers: &[(String, String, u16)], is_encrypted: bool) -> String {
    // A page that came encrypted may not use unencrypted connections.
    let schemes = if is_encrypted { ["wss", "https"] } else { ["ws", "http"] };
    let mut connect = String::new();
    for (_, host, port) in servers {
        let host =
            if host.contains(':') && !host.starts_with('[') { format!("[{host}]") } else { host.clone() };
        for scheme in schemes {
            connect.push_str(&format!(" {scheme}://{host}:{port}"));
        }
    }
    format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; media-src blob:; \
         manifest-src 'self'; worker-src 'self'; connect-src 'self'{connect}; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; \
         trusted-types syncnet"
    )
}

/// The servers as a page from `page_host` finds them: id, host and client port.
fn seen_servers(servers: &[ServerEntry], page_host: &str) -> Vec<(String, String, u16)> {
    let seen = |server: &ServerEntry| {
        let (host, port) = server.client_address();
        let host = host_for_page(host, page_host);
        (server.server_id.as_str().to_owned(), host.to_owned(), port)
    };
    servers.iter().map(seen).collect()
}

/// The host that the page was asked for at, without its port.
fn page_host<'a>(head: &'a Head, own: &'a str) -> &'a str {
    let host = match head.host.rfind(':') {
        Some(colon) if !head.host[colon..].contains(']') => &head.host[..colon],
        _ => head.host.as_str(),
    };
    if host.is_empty() { own } else { host }
}

/// Adds a tag that names the content; if the browser has that already, answers so.
fn revalidated(head: &Head, response: Response) -> Result<Response, Abort> {
    let tag = format!("W/\"{}\"", HEXLOWER.encode(&Sha256::digest(&response.body)[..8]));
    let mut known = head.all("if-none-match").flat_map(|value| value.split(','));
    let is_known = known.any(|candidate| candidate.trim() == tag);
    let mut response = response.with("Cache-Control", ASK_AGAIN).with("ETag", tag);
    if is_known {
        (response.status, response.body) = (304, Vec::new());
    }
    Ok(response)
}

/// Whether gzip is taken. One that is listed with a weight of zero is not.
fn accepts_gzip(head: &Head) -> bool {
    head.all("accept-encoding").flat_map(|value| value.split(',')).any(|item| {
        let mut parts = item.split(';').map(str::trim);
        let is_gzip = parts.next().is_some_and(|coding| coding.eq_ignore_ascii_case("gzip"));
        let is_refused = parts.any(|weight| {
            let digits = weight.strip_prefix("q=").or_else(|| weight.strip_prefix("Q="));
            digits.is_some_and(|digits| digits.parse::<f32>().is_ok_and(|weight| weight == 0.0))
        });
        is_gzip && !is_refused
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        protocol::name::ServerId,
        server::http::head::{HeadLimits, parse},
    };

    fn head(headers: &str) -> Head {
        let text = format!("GET / HTTP/1.1\r\n{headers}\r\n");
        parse(text.as_bytes(), HeadLimits { bytes: 1_000, headers: 9 }).unwrap().unwrap().0
    }

    fn servers(hosts: &[&str]) -> Vec<ServerEntry> {
        let entry = |(place, host): (usize, &&str)| {
            let server_id = ServerId::new(&format!("server{}", place + 1)).unwrap();
            ServerEntry::new(server_id, *host, 8000 + place as u16, place as u32)
        };
        hosts.iter().enumerate().map(entry).collect()
    }

    #[test]
    fn the_page_may_speak_to_the_servers_alone() {
        let near = policy(&seen_servers(&servers(&["localhost", "10.0.0.2", "::1"]), "127.0.0.1"), false);
        assert!(
            near.contains(
                "connect-src 'self' ws://127.0.0.1:8000 http://127.0.0.1:8000 ws://10.0.0.2:8001 \
                 http://10.0.0.2:8001 ws://127.0.0.1:8002 http://127.0.0.1:8002;"
            ),
            "{near}"
        );
        let far = policy(&seen_servers(&servers(&["fe80::1"]), "x"), true);
        assert!(far.contains(" wss://[fe80::1]:8000 https:"), "{far}");
        assert!(!near.contains("unsafe"), "{near}");
    }

    #[test]
    fn the_host_is_that_of_the_request() {
        assert_eq!(page_host(&head("Host: a.b:80\r\n"), "c"), "a.b");
        assert_eq!(page_host(&head("Host: [::1]:80\r\n"), "c"), "[::1]");
        assert_eq!(page_host(&head("Host: [::1]\r\n"), "c"), "[::1]");
    }

    #[test]
    fn gzip_is_sent_to_those_who_take_it() {
        for (headers, taken) in [
            ("", false),
            ("Accept-Encoding: gzip, deflate, br\r\n", true),
            ("Accept-Encoding: br, GZIP;q=0.5\r\n", true),
            ("Accept-Encoding: gzip;q=0\r\n", false),
            ("Accept-Encoding: gzip;q=0.000\r\n", false),
            ("Accept-Encoding: identity\r\n", false),
        ] {
            assert_eq!(accepts_gzip(&head(&format!("Host: a\r\n{headers}"))), taken, "{headers}");
        }
    }

    #[test]
    fn what_the_browser_has_is_not_sent_again() {
        let page = || Response::bytes("text/plain", b"page".to_vec());
        let first = revalidated(&head("Host: a\r\n"), page()).unwrap();
        let text = String::from_utf8(first.head(4, 0, false)).unwrap();
        let tag = text.lines().find_map(|line| line.strip_prefix("ETag: ")).unwrap();
        let again =
            revalidated(&head(&format!("Host: a\r\nIf-None-Match: \"x\", {tag}\r\n")), page()).unwrap();
        assert_eq!((again.status, again.body.len()), (304, 0));
        let other = revalidated(&head("Host: a\r\nIf-None-Match: \"x\"\r\n"), page()).unwrap();
        assert_eq!((other.status, other.body.len()), (200, 4));
    }
}
