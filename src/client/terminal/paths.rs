//! Paths behind a command: they go to the end of the line and are taken as they are typed, with spaces.

use std::{
    env, fs,
    path::{Path, PathBuf, is_separator},
};

use crate::protocol::text::is_harmful;

/// The path that `text` means: `~/` is the home folder.
pub fn read(text: &str) -> PathBuf {
    let home = env::var_os("HOME").map(PathBuf::from);
    match (text.strip_prefix("~/"), home) {
        (Some(rest), Some(home)) => home.join(rest),
        _ => text.into(),
    }
}

/// The candidates of the Tab key for `text`, each with the text to show. Hidden files are left out, unless
/// they are asked for.
pub fn complete(text: &str) -> Vec<(String, String)> {
    let at = text.rfind(is_separator).map_or(0, |at| at + 1);
    let (folder, beginning) = text.split_at(at);
    let place = if folder.is_empty() { PathBuf::from(".") } else { read(folder) };
    let mut found: Vec<(String, String)> = entries(&place)
        .filter(|name| name.starts_with(beginning) && name.starts_with('.') == beginning.starts_with('.'))
        .map(|name| {
            let end = if place.join(&name).is_dir() { "/" } else { "" };
            (format!("{folder}{name}{end}"), name + end)
        })
        .collect();
    found.sort();
    found
}

/// The names in a folder that can be typed.
fn entries(folder: &Path) -> impl Iterator<Item = String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    names.filter(|name| !name.contains(is_harmful))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_completed_is_what_is_read() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("my file.txt"), "").unwrap();
        fs::write(folder.path().join(".hidden"), "").unwrap();
        fs::create_dir(folder.path().join("my folder")).unwrap();
        let root = folder.path().to_str().unwrap();
        let found = complete(&format!("{root}/my f"));
        assert_eq!(found[0], (format!("{root}/my file.txt"), "my file.txt".to_owned()));
        assert_eq!(found[1], (format!("{root}/my folder/"), "my folder/".to_owned()));
        assert!(read(&found[0].0).is_file());
        assert_eq!(complete(&format!("{root}/")).len(), 2);
        assert_eq!(complete(&format!("{root}/.h"))[0].1, ".hidden");
        assert_eq!(complete(&format!("{root}/no/where")), []);
    }
}
