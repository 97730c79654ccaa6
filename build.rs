//! Compresses the files of the web client, so that servers only hand them out.
//!
//! It happens here and not in the servers: compressing needs more stack than the thread of a connection has.

use std::{
    env, fs,
    io::Write,
    path::{Path, PathBuf},
};

use flate2::{Compression, write::GzEncoder};

const FOLDER: &str = "src/web";
/// What servers fill in before they send it.
const DOCUMENTS: [&str; 3] = ["index.html", "dashboard.html", "sw.js"];

fn main() {
    println!("cargo:rerun-if-changed={FOLDER}");
    println!("cargo:rerun-if-changed=build.rs");
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo says it")).join(FOLDER);
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo says it"));
    let mut paths = Vec::new();
    walk(&root, &root, &mut paths);
    paths.sort();
    let mut table = String::from("&[\n");
    for (number, path) in paths.iter().enumerate() {
        let source = root.join(path);
        let plain = fs::read(&source).expect("a file that was just listed");
        let packed = out.join(format!("{number}.gz"));
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(&plain).expect("written to memory");
        fs::write(&packed, encoder.finish().expect("written to memory"))
            .expect("cargo's folder can be written");
        table.push_str(&format!("({path:?}, include_bytes!({source:?}), include_bytes!({packed:?})),\n"));
    }
    table.push_str("]\n");
    fs::write(out.join("web_files.rs"), table).expect("cargo's folder can be written");
}

/// The files that are served as they are, with slashes in their names: not the documents that servers fill
/// in, nor what is only for tests.
fn walk(folder: &Path, root: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).expect("the web client's folder") {
        let path = entry.expect("an entry of a folder").path();
        let name = path.strip_prefix(root).expect("it is below").to_string_lossy().replace('\\', "/");
        if name == "tests" || name.starts_with("deno.") || DOCUMENTS.contains(&name.as_str()) {
            continue;
        }
        if path.is_dir() { walk(&path, root, found) } else { found.push(name) }
    }
}
