//! The files of the web client, built into the program by `build.rs`.
//!
//! All of them are under one path that names their content, `/web/HASH/`, so that a browser may keep them for
//! ever and never mixes two versions. The documents that must not be kept, the pages and the service worker,
//! are made by [`super::pages`] and [`super::dashboard`].

use std::sync::LazyLock;

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

/// The path of the files, up to the hash.
pub const PREFIX: &str = "/web/";

/// Path under `src/web`, content, the same compressed by gzip.
type File = (&'static str, &'static [u8], &'static [u8]);

/// Every file that is served as it is.
const FILES: &[File] = include!(concat!(env!("OUT_DIR"), "/web_files.rs"));

/// The page, in which [`super::pages`] fills in what differs between servers.
pub const PAGE: &str = include_str!("../../web/index.html");
/// The dashboard's page, the same.
pub const DASHBOARD: &str = include_str!("../../web/dashboard.html");
/// The service worker, in which [`super::pages`] fills in the version.
pub const SERVICE_WORKER: &str = include_str!("../../web/sw.js");

/// A file as it is served.
#[derive(Debug)]
pub struct Asset {
    pub content_type: &'static str,
    /// As it is in the tree.
    pub plain: &'static [u8],
    /// In the format of gzip.
    pub gzip: &'static [u8],
}

/// The first 16 hexadecimal digits of a hash over the page, the worker and all files.
static VERSION: LazyLock<String> = LazyLock::new(|| {
    let mut hash = Sha256::new();
    let mut add = |path: &str, bytes: &[u8]| {
        hash.update((path.len() as u64).to_be_bytes());
        hash.update(path);
        hash.update((bytes.len() as u64).to_be_bytes());
        hash.update(bytes);
    };
    add("index.html", PAGE.as_bytes());
    add("dashboard.html", DASHBOARD.as_bytes());
    add("sw.js", SERVICE_WORKER.as_bytes());
    FILES.iter().for_each(|(path, plain, _)| add(path, plain));
    HEXLOWER.encode(&hash.finalize()[..8])
});

/// Names the content of all files together.
pub fn version() -> &'static str {
    &VERSION
}

/// The folder of what only the dashboard needs.
const OF_DASHBOARD: &str = "dashboard/";

/// The paths of all files under `src/web`.
fn all_paths() -> impl Iterator<Item = &'static str> {
    FILES.iter().map(|(path, ..)| *path)
}

/// The paths of those that the chat's page needs.
pub fn paths() -> impl Iterator<Item = &'static str> {
    all_paths().filter(|path| !path.starts_with(OF_DASHBOARD))
}

/// The file at `path`, which is the part after [`PREFIX`]: the version and a path under `src/web`.
pub fn find(path: &str) -> Option<Asset> {
    let (version, path) = path.split_once('/')?;
    if version != *VERSION {
        return None;
    }
    let (path, plain, gzip) = FILES.iter().find(|(known, ..)| *known == path)?;
    Some(Asset { content_type: content_type(path), plain, gzip })
}

fn content_type(path: &str) -> &'static str {
    match path.rsplit_once('.').map(|(_, ending)| ending) {
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("webmanifest") => "application/manifest+json",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_is_of_a_known_type_and_all_that_the_page_names_are_there() {
        for path in all_paths() {
            assert_ne!(content_type(path), "application/octet-stream", "{path}");
        }
        for page in [PAGE, DASHBOARD] {
            let named = page.split("%ROOT%/").skip(1).map(|rest| rest.split('"').next().unwrap());
            for path in named {
                assert!(all_paths().any(|known| known == path), "{path}");
            }
        }
        assert!(paths().all(|path| !path.starts_with("dashboard")) && all_paths().count() > paths().count());
        assert!(all_paths().all(|path| !path.contains("tests/") && !path.contains("deno")));
    }

    #[test]
    fn a_file_is_found_under_its_version_only() {
        let path = paths().next().unwrap();
        assert!(find(&format!("{}/{path}", version())).is_some());
        assert!(find(path).is_none());
        assert!(find(&format!("0000000000000000/{path}")).is_none());
        assert!(find(&format!("{}/../{path}", version())).is_none());
    }
}
