//! Which file of the library knows which, and the circles in that.
//!
//! A file knows another one if it names something that the other one defines: in a `use`, or by its path. A
//! name that a third file only re-exports counts as the definer's. What a file declares (`mod`) or re-exports
//! (`pub use`) it need not know, and an imported module is known by what is taken out of it. Tests are left
//! out. Methods are not seen: the type that has them was named somewhere.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    slice,
    str::FromStr,
};

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// A path within the crate: modules, and at the end perhaps an item.
type Place = Vec<String>;

/// How many imports of imports are followed; more are a circle of imports.
const IMPORTS_MAX: usize = 16;

/// The words before the name of an item.
const ITEMS: [&str; 10] =
    ["struct", "enum", "union", "trait", "fn", "type", "const", "static", "mod", "macro_rules"];

/// The files of a crate.
#[derive(Debug, Default)]
pub struct Crate {
    modules: BTreeMap<Place, Module>,
}

/// One file.
#[derive(Debug, Default)]
struct Module {
    /// Its name, below the folder of the crate.
    file: String,
    /// What each name that it imports stands for, as it is written.
    imports: BTreeMap<String, Place>,
    /// Modules of which it imports everything.
    globs: Vec<Place>,
    /// The names of its own items.
    items: BTreeSet<String>,
    /// The modules in files of their own that it declares.
    children: Vec<String>,
    /// The paths that it names, re-exports apart, as they are written; before each the module inside of this
    /// file that it is in.
    named: BTreeSet<(Place, Place)>,
}

/// Who knows whom: files by their names.
pub type Arrows = BTreeMap<String, BTreeSet<String>>;

impl Crate {
    /// Reads `lib.rs` and all files that it declares. `read` gives the text of a file that is there.
    pub fn read(read: &dyn Fn(&str) -> Option<String>) -> Crate {
        let mut files = Crate::default();
        let mut waiting = vec![(Place::new(), "lib.rs".to_owned())];
        while let Some((place, file)) = waiting.pop() {
            let text = read(&file).unwrap_or_else(|| panic!("{file} is not there"));
            let tokens = TokenStream::from_str(&text).unwrap_or_else(|error| panic!("{file}: {error}"));
            let mut module = Module { file: file.clone(), ..Module::default() };
            module.walk(&tokens.into_iter().collect::<Vec<_>>(), Some(&Place::new()), &Place::new());
            let folder = match file.strip_suffix("lib.rs").or(file.strip_suffix("mod.rs")) {
                Some(folder) => folder.to_owned(),
                None => format!("{}/", file.trim_end_matches(".rs")),
            };
            for child in &module.children {
                let ways = [format!("{folder}{child}.rs"), format!("{folder}{child}/mod.rs")];
                let found = ways.into_iter().find(|way| read(way).is_some());
                let found = found.unwrap_or_else(|| panic!("{file} declares {child}, which is not there"));
                waiting.push((below(&place, child), found));
            }
            files.modules.insert(place, module);
        }
        files
    }

    /// Which file knows which others.
    pub fn arrows(&self) -> Arrows {
        let known = |place: &Place, module: &Module| {
            let named = module.named.iter().filter_map(|(inside, path)| {
                let here = [place.as_slice(), inside].concat();
                let path = self.absolute(&here, path, IMPORTS_MAX)?;
                // A module that is only imported is known by what is taken out of it.
                let owner = self.owner(&path, IMPORTS_MAX).filter(|owner| **owner != path[..])?;
                Some(self.modules[owner].file.clone())
            });
            named.filter(|file| *file != module.file).collect()
        };
        self.modules.iter().map(|(place, module)| (module.file.clone(), known(place, module))).collect()
    }

    /// The longest beginning of `path` that is a file.
    fn file_of(&self, path: &[String]) -> &Place {
        let known = |end: usize| self.modules.get_key_value(&path[..end]);
        (0..=path.len()).rev().find_map(known).expect("every path begins in lib.rs").0
    }

    /// A path as it is written in the module `here`, from the root of the crate on; `None` if it leads to
    /// another crate, or to something that has no name beyond its own file.
    fn absolute(&self, here: &[String], path: &[String], left: usize) -> Option<Place> {
        let left = left.checked_sub(1)?;
        let (first, rest) = path.split_first()?;
        let from = |place: &[String]| Some([place, rest].concat());
        match first.as_str() {
            "crate" => from(&[]),
            "self" => from(here),
            "super" => {
                let parent = &here[..here.len().checked_sub(1)?];
                let goes_on = rest.first().is_some_and(|next| next == "super");
                if goes_on { self.absolute(parent, rest, left) } else { from(parent) }
            }
            name => {
                let file = self.file_of(here);
                let module = &self.modules[file];
                if let Some(import) = module.imports.get(name).filter(|import| import.first() != Some(first))
                {
                    return from(&self.absolute(file, import, left)?);
                }
                let child = below(file, first);
                if self.modules.contains_key(&child) { from(&child) } else { None }
            }
        }
    }

    /// The file that defines what `path` leads to.
    fn owner(&self, path: &[String], left: usize) -> Option<&Place> {
        let left = left.checked_sub(1)?;
        let file = self.file_of(path);
        let module = &self.modules[file];
        let Some((name, rest)) = path[file.len()..].split_first() else { return Some(file) };
        if module.items.contains(name) {
            return Some(file);
        }
        if let Some(import) = module.imports.get(name) {
            let import = self.absolute(file, import, left)?;
            return self.owner(&[&import, rest].concat(), left);
        }
        let in_glob = module.globs.iter().find_map(|glob| {
            let glob = self.absolute(file, glob, left)?;
            let path = below(&glob, name);
            let owner = self.owner(&path, left)?;
            self.modules[owner].items.contains(name).then_some(owner)
        });
        in_glob.or(Some(file))
    }
}

impl Module {
    /// Takes in `tokens`, which are in the module `inside` of this file. `level` is that module too, unless
    /// they are deeper, in a function or a type, where an item has no name for others.
    fn walk(&mut self, tokens: &[TokenTree], level: Option<&Place>, inside: &Place) {
        let mut at = 0;
        while at < tokens.len() {
            if is_test_attribute(&tokens[at..]) {
                at += 2 + item_length(&tokens[at + 2..]);
                continue;
            }
            match &tokens[at] {
                // `use<>` captures nothing.
                TokenTree::Ident(word)
                    if word == "use" && tokens.get(at + 1).is_some_and(|next| !is_punct(next, '<')) =>
                {
                    let is_public = is_public(&tokens[..at]);
                    let length = tokens[at..].iter().position(|token| is_punct(token, ';'));
                    let end = length.map_or(tokens.len(), |length| at + length);
                    self.take_use(&tokens[at + 1..end], &Place::new(), is_public, inside);
                    at = end;
                }
                // In a macro a module may have no name yet.
                TokenTree::Ident(word) if word == "mod" && ident(tokens.get(at + 1)).is_some() => {
                    let name: Place = ident(tokens.get(at + 1)).into_iter().collect();
                    if let Some(TokenTree::Group(body)) = tokens.get(at + 2) {
                        self.items.extend(name.iter().filter(|_| level.is_some_and(Vec::is_empty)).cloned());
                        let inside = [inside.as_slice(), &name].concat();
                        self.walk(&tokens_of(body), Some(&inside), &inside);
                        at += 2;
                    } else if level.is_some() {
                        self.children.extend(name);
                    }
                }
                TokenTree::Ident(word) if ITEMS.iter().any(|item| word == item) => {
                    // `const fn`, `macro_rules!`.
                    let skipped = usize::from(tokens.get(at + 1).is_some_and(|next| is_punct(next, '!')));
                    let name = ident(tokens.get(at + 1 + skipped));
                    let name = name.filter(|name| !ITEMS.contains(&name.as_str()));
                    self.items.extend(name.filter(|_| level.is_some_and(Vec::is_empty)));
                }
                TokenTree::Ident(_) => {
                    let length = path_length(&tokens[at..]);
                    let path: Place =
                        (at..at + length).step_by(3).filter_map(|at| ident(tokens.get(at))).collect();
                    let is_whole =
                        at < 2 || !(is_punct(&tokens[at - 1], ':') && is_punct(&tokens[at - 2], ':'));
                    if path.len() > 1 && is_whole {
                        self.named.insert((inside.clone(), path));
                    }
                    at += length - 1;
                }
                TokenTree::Group(group) => self.walk(&tokens_of(group), None, inside),
                TokenTree::Punct(_) | TokenTree::Literal(_) => {}
            }
            at += 1;
        }
    }

    /// Takes in the tree of a `use`, which is behind `before`.
    fn take_use(&mut self, tree: &[TokenTree], before: &Place, is_public: bool, inside: &Place) {
        let mut path = before.clone();
        let mut at = 0;
        while at < tree.len() {
            match &tree[at] {
                TokenTree::Ident(word) if word == "as" => break,
                // `{self}` is the module itself.
                TokenTree::Ident(word) if word == "self" && !path.is_empty() => {}
                TokenTree::Ident(word) => path.push(word.to_string()),
                TokenTree::Punct(star) if star.as_char() == '*' => {
                    self.globs.push(path);
                    return;
                }
                TokenTree::Group(group) => {
                    let inner = tokens_of(group);
                    let branches =
                        inner.split(|token| is_punct(token, ',')).filter(|branch| !branch.is_empty());
                    branches.for_each(|branch| self.take_use(branch, &path, is_public, inside));
                    return;
                }
                TokenTree::Punct(_) | TokenTree::Literal(_) => {}
            }
            at += 1;
        }
        let name = ident(tree.get(at + 1)).or(path.last().cloned());
        if !is_public {
            self.named.insert((inside.clone(), path.clone()));
        }
        // Names in modules inside of this file are its own business.
        if inside.is_empty() {
            self.imports.extend(name.map(|name| (name, path)));
        }
    }
}

/// The place of what has this name in a module.
fn below(module: &[String], name: &String) -> Place {
    [module, slice::from_ref(name)].concat()
}

fn ident(token: Option<&TokenTree>) -> Option<String> {
    if let Some(TokenTree::Ident(ident)) = token { Some(ident.to_string()) } else { None }
}

fn is_punct(token: &TokenTree, sign: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == sign)
}

fn tokens_of(group: &proc_macro2::Group) -> Vec<TokenTree> {
    group.stream().into_iter().collect()
}

/// How many tokens the path takes with which `tokens` begin: names with `::` between them.
fn path_length(tokens: &[TokenTree]) -> usize {
    let mut length = 1;
    while let [colon, other, TokenTree::Ident(_), ..] = &tokens[length..]
        && is_punct(colon, ':')
        && is_punct(other, ':')
    {
        length += 3;
    }
    length
}

/// Whether `before` ends with `pub` or `pub(...)`.
fn is_public(before: &[TokenTree]) -> bool {
    match before {
        [.., word, TokenTree::Group(_)] | [.., word] => ident(Some(word)).is_some_and(|word| word == "pub"),
        [] => false,
    }
}

/// Whether `tokens` begin with `#[cfg(test)]`.
fn is_test_attribute(tokens: &[TokenTree]) -> bool {
    match tokens {
        [sign, TokenTree::Group(group), ..] if is_punct(sign, '#') => {
            group.delimiter() == Delimiter::Bracket
                && group.stream().to_string().replace(' ', "") == "cfg(test)"
        }
        _ => false,
    }
}

/// How many tokens the item takes with which `tokens` begin: an item, a field or a statement. Further
/// attributes of it are included.
fn item_length(tokens: &[TokenTree]) -> usize {
    let mut begin = 0;
    while tokens.get(begin).is_some_and(|sign| is_punct(sign, '#')) {
        begin += 2;
    }
    if ident(tokens.get(begin)).is_some_and(|word| word == "pub") {
        let is_restricted = matches!(tokens.get(begin + 1), Some(TokenTree::Group(_)));
        begin += 1 + usize::from(is_restricted);
    }
    let is_use = ident(tokens.get(begin)).is_some_and(|word| word == "use");
    let is_field = tokens.get(begin + 1).is_some_and(|colon| is_punct(colon, ':'));
    let ends = |token: &TokenTree| match token {
        TokenTree::Group(group) => group.delimiter() == Delimiter::Brace && !is_use,
        token => is_punct(token, ';') || is_field && is_punct(token, ','),
    };
    let end = tokens[begin..].iter().position(ends);
    end.map_or(tokens.len(), |end| begin + end + 1)
}

/// The circles among `arrows`, each with its files in order; of those that share a file the shortest.
pub fn circles(arrows: &Arrows) -> Vec<Vec<String>> {
    let each = arrows.iter().flat_map(|(from, known)| known.iter().map(move |to| (from, to)));
    let mut found: Vec<Vec<String>> = each.filter_map(|(from, to)| way(arrows, to, from)).collect();
    found.sort_by_key(Vec::len);
    let mut circles: Vec<Vec<String>> = Vec::new();
    for circle in found {
        if !circles.iter().flatten().any(|file| circle.contains(file)) {
            circles.push(circle);
        }
    }
    circles
}

/// The shortest way along the arrows.
fn way(arrows: &Arrows, from: &str, to: &str) -> Option<Vec<String>> {
    let mut before: BTreeMap<&str, &str> = BTreeMap::new();
    let mut waiting = VecDeque::from([from]);
    while let Some(file) = waiting.pop_front() {
        if file == to {
            let mut way = vec![file.to_owned()];
            let mut at = file;
            while at != from {
                at = before[at];
                way.push(at.to_owned());
            }
            way.reverse();
            return Some(way);
        }
        for next in arrows.get(file).into_iter().flatten() {
            if next != from && !before.contains_key(next.as_str()) {
                before.insert(next, file);
                waiting.push_back(next);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The arrows of a crate of these files, as `from > to`.
    fn arrows(files: &[(&str, &str)]) -> Vec<String> {
        let files: BTreeMap<&str, &str> = files.iter().copied().collect();
        let arrows = Crate::read(&|file| files.get(file).map(|text| (*text).to_owned())).arrows();
        let each = |(from, known): (&String, &BTreeSet<String>)| {
            known.iter().map(|to| format!("{from} > {to}")).collect::<Vec<_>>()
        };
        arrows.iter().flat_map(each).collect()
    }

    fn found(files: &[(&str, &str)]) -> Vec<Vec<String>> {
        let files: BTreeMap<&str, &str> = files.iter().copied().collect();
        circles(&Crate::read(&|file| files.get(file).map(|text| (*text).to_owned())).arrows())
    }

    #[test]
    fn a_planted_circle_is_found() {
        let lib = ("lib.rs", "mod a; mod b; mod c;");
        let (a, b) = (("a.rs", "use crate::b::B; pub struct A;"), ("b.rs", "pub struct B(super::c::C);"));
        assert!(found(&[lib, a, b, ("c.rs", "pub struct C;")]).is_empty());
        let circle = found(&[lib, a, b, ("c.rs", "pub struct C; fn f() { vec![crate::a::A] }")]);
        assert_eq!(circle, [["b.rs", "c.rs", "a.rs"]]);
        // The shortest one is told, and the others are gone with it.
        let circle = found(&[
            lib,
            a,
            ("b.rs", "pub struct B(super::c::C, super::a::A);"),
            ("c.rs", "use crate::a::A;"),
        ]);
        assert_eq!(circle, [["b.rs", "a.rs"]]);
    }

    #[test]
    fn a_file_knows_who_defines_what_it_names() {
        let files = [
            ("lib.rs", "pub mod a; mod b; mod user;"),
            ("a/mod.rs", "mod deep; pub use self::deep::{Deep, inner::*}; pub struct Own;"),
            ("a/deep.rs", "pub mod inner; pub struct Deep;"),
            ("a/deep/inner.rs", "pub struct Inner; pub const NUMBER: u8 = 1; pub(super) fn f() {}"),
            ("b.rs", "pub use crate::a::Deep as Renamed;"),
            ("user.rs", "use crate::{a::{self, Own}, b::Renamed}; const N: u8 = a::NUMBER;"),
        ];
        let of_user: Vec<_> = arrows(&files).into_iter().filter(|arrow| arrow.starts_with("user")).collect();
        // Not b.rs, which only re-exports.
        assert_eq!(of_user, ["user.rs > a/deep.rs", "user.rs > a/deep/inner.rs", "user.rs > a/mod.rs"]);
        assert_eq!(arrows(&files).len(), 3, "declaring and re-exporting is not knowing");
    }

    #[test]
    fn paths_are_followed_from_where_they_are() {
        let files = [
            ("lib.rs", "mod a; mod b; mod c;"),
            ("a/mod.rs", "mod x; mod y; pub struct A; use std::fmt::Debug;"),
            ("a/x.rs", "use super::super::b::B; fn f() -> super::A { y::g::<u8>() } use super::y;"),
            ("a/y.rs", "pub fn g<T>() {} mod inside { fn h(b: super::super::super::c::C) { super::g() } }"),
            (
                "b.rs",
                "pub struct B; #[derive(Debug)] pub enum E { V } use E::V; fn f(v: E) { E::V; Self::x }",
            ),
            ("c.rs", "pub struct C; macro_rules! m { () => { $crate::b::B } }"),
        ];
        assert_eq!(
            arrows(&files),
            ["a/x.rs > a/mod.rs", "a/x.rs > a/y.rs", "a/x.rs > b.rs", "a/y.rs > c.rs", "c.rs > b.rs"]
        );
    }

    #[test]
    fn an_import_of_a_module_counts_by_what_is_taken_out_of_it() {
        let files = [
            ("lib.rs", "mod a; mod b;"),
            ("a/mod.rs", "pub mod x; pub struct A; fn f(b: crate::b::B) {}"),
            ("a/x.rs", "pub struct X;"),
            ("b.rs", "use crate::a; pub struct B(a::x::X);"),
        ];
        assert_eq!(arrows(&files), ["a/mod.rs > b.rs", "b.rs > a/x.rs"]);
    }

    #[test]
    fn tests_words_and_strings_do_not_count() {
        let files = [
            ("lib.rs", "mod a; mod b; #[cfg(test)] mod missing;"),
            ("a.rs", "pub struct A;"),
            (
                "b.rs",
                "// crate::a::A
                 const S: &str = \"crate::a::A\";
                 #[cfg(test)] use crate::a::{A};
                 #[cfg(test)] mod tests { use crate::a::A; }
                 struct B { #[cfg(test)] a: crate::a::A, b: u8 }
                 #[cfg(test)] #[allow(dead_code)] fn f<T, U>(a: crate::a::A) {}
                 #[cfg(unix)] fn g(b: B) {}",
            ),
        ];
        assert!(arrows(&files).is_empty(), "{:?}", arrows(&files));
        let (kept, text) = ("b.rs", "#[cfg(test)] fn f(a: u8) {} fn g(a: crate::a::A) {}");
        assert_eq!(arrows(&[files[0], files[1], (kept, text)]), ["b.rs > a.rs"]);
    }
}
