//! Holds what the compiler does not: the `mod` lines of `src/lib.rs` are the order of the layers, and a module uses only
//! modules that come after it; no two files use each other, neither directly nor by way of others; the README names only
//! settings that there are, and each setting is read where it changes something.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

#[path = "architecture/settings.rs"]
mod settings;

#[test]
fn a_module_uses_only_modules_that_come_after_it() {
    let layers = layers();

    let upward: Vec<String> = uses()
        .iter()
        .flat_map(|(own, used)| used.iter().map(move |used| (own, used)))
        .filter(|(own, used)| points_upwards(&layers, own.layer(), used.layer()))
        .map(|(own, used)| format!("`{own}` uses `{used}`, which comes before it"))
        .collect();

    assert!(upward.is_empty(), "{}", upward.join("\n"));
}

#[test]
fn no_two_files_use_each_other() {
    let uses = uses();

    let circles: Vec<String> = circles(&uses)
        .iter()
        .map(|circle| circle.iter().map(|it| it.0.as_str()).collect::<Vec<_>>().join(" -> "))
        .collect();

    assert!(circles.is_empty(), "what both need belongs into a file of its own:\n{}", circles.join("\n"));
}

#[test]
fn every_file_belongs_to_a_module_of_the_list() {
    let layers = layers();

    let strays: Vec<String> = sources()
        .iter()
        .map(|source| Module::of(source).layer().to_owned())
        .filter(|layer| !layers.contains(layer) && layer != "main" && layer != "lib")
        .collect();

    assert!(strays.is_empty(), "not in src/lib.rs: {strays:?}");
}

#[test]
fn no_module_is_a_mod_rs() {
    let found: Vec<PathBuf> = sources().into_iter().filter(|it| it.ends_with("mod.rs")).collect();

    assert!(found.is_empty(), "`foo.rs` beside `foo/`, never `mod.rs`: {found:?}");
}

#[test]
fn the_readme_names_only_settings_that_there_are() {
    let example = fs::read_to_string(root().with_file_name(".env.example")).expect(".env.example can be read");
    let known: BTreeSet<&str> = example.lines().filter_map(|line| line.split_once('=')).map(|(name, _)| name).collect();
    let readme = fs::read_to_string(root().with_file_name("README.md")).expect("README.md can be read");

    let rows = readme
        .lines()
        .skip_while(|line| *line != "## Configure it")
        .skip(1)
        .take_while(|line| !line.starts_with("## "));
    let named: Vec<&str> = rows
        .filter_map(|row| row.strip_prefix("| `")?.split('`').next())
        .filter(|name| !known.contains(name))
        .collect();

    assert!(readme.contains("| `HOST` |"), "the README has a table of settings");
    assert!(named.is_empty(), "not in .env.example: {named:?}");
}

#[test]
fn paths_are_found_in_every_form_that_a_use_line_has() {
    let text = "#[cfg(test)]\nmod tests_in_a_file;\nmod child;\nmod other;\nuse child::Child;\nuse crate::{\n    event::Event, // crate::not_this\n    store::{self, \
                record::{Target, Version}},\n    id,\n};\nuse super::near::Near;\nuse super::super::far::{Far};\n/// Like [`crate::nor_this`].\npub(crate) fn \
                f(it: crate::config::Settings) -> u8 { on_demand_infra::plan::X + self::child::Y }\n#[cfg(test)]\nmod tests \
                { use crate::http::Router; }";

    let used: BTreeSet<String> = used_paths(&Module("step::own".to_owned()), text).into_iter().collect();

    let expected = [
        "config::Settings",
        "event::Event",
        "far::Far",
        "id",
        "plan::X",
        "step::near::Near",
        "step::own::child::Child",
        "step::own::child::Y",
        "store",
        "store::record::Target",
        "store::record::Version",
    ];
    assert_eq!(used.iter().map(String::as_str).collect::<Vec<_>>(), expected);
}

#[test]
fn a_circle_is_found_however_long_it_is() {
    let module = |name: &str| Module(name.to_owned());
    let uses = BTreeMap::from([
        (module("a"), BTreeSet::from([module("b"), module("d")])),
        (module("b"), BTreeSet::from([module("c")])),
        (module("c"), BTreeSet::from([module("a")])),
        (module("d"), BTreeSet::new()),
    ]);

    assert_eq!(circles(&uses), [vec![module("a"), module("b"), module("c"), module("a")]]);
}

/// A file of the program as its path in the crate: `step::build_image`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Module(String);

impl Module {
    fn of(source: &Path) -> Self {
        let inside = source.strip_prefix(root()).expect("sources lie below src").with_extension("");
        Self(inside.iter().map(|it| it.to_string_lossy()).collect::<Vec<_>>().join("::"))
    }

    /// The module below the crate's root that it belongs to.
    fn layer(&self) -> &str {
        self.0.split("::").next().unwrap_or_default()
    }
}

impl std::fmt::Display for Module {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// A file without its comments and its tests at the end.
fn code_of(source: &Path) -> String {
    let text = fs::read_to_string(source).expect("a source file can be read");
    without_comments(&text[..start_of_tests(&text)])
}

fn without_comments(code: &str) -> String {
    code.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

/// Where the tests of a file begin. Tests that are a file of their own are named at the top; those in braces are the end.
fn start_of_tests(text: &str) -> usize {
    let tests = text.match_indices("#[cfg(test)]\nmod ").map(|(at, _)| at);
    tests.filter(|at| text[*at..].lines().nth(1).is_some_and(|line| line.contains('{'))).min().unwrap_or(text.len())
}

/// Which files use which. A file whose path another one names an item of is used by it.
fn uses() -> BTreeMap<Module, BTreeSet<Module>> {
    let sources = sources();
    let modules: BTreeSet<Module> = sources.iter().map(|it| Module::of(it)).collect();
    let file_of = |path: &str| {
        let ends = path.match_indices("::").map(|(at, _)| at).chain([path.len()]);
        ends.collect::<Vec<_>>()
            .into_iter()
            .rev()
            .map(|end| Module(path[..end].to_owned()))
            .find(|it| modules.contains(it))
    };
    let used_by = |source: &PathBuf| {
        let own = Module::of(source);
        let text = fs::read_to_string(source).expect("a source file can be read");
        let used = used_paths(&own, &text).iter().filter_map(|path| file_of(path)).filter(|it| *it != own).collect();
        (own, used)
    };
    // The crate's root lists the layers and uses none of them.
    sources.iter().filter(|it| !it.ends_with("src/lib.rs")).map(used_by).collect()
}

/// Circles of files that use each other; one for each set of files that all lead to each other.
fn circles(uses: &BTreeMap<Module, BTreeSet<Module>>) -> Vec<Vec<Module>> {
    let mut found: Vec<Vec<Module>> = vec![];
    for start in uses.keys() {
        if found.iter().flatten().any(|it| it == start) {
            continue;
        }
        found.extend(way_back(uses, start));
    }
    found
}

/// The shortest way from a file over what it uses back to itself.
fn way_back(uses: &BTreeMap<Module, BTreeSet<Module>>, start: &Module) -> Option<Vec<Module>> {
    let mut ways = std::collections::VecDeque::from([vec![start.clone()]]);
    let mut seen = BTreeSet::new();
    while let Some(way) = ways.pop_front() {
        for next in uses.get(way.last()?).into_iter().flatten() {
            let longer = [way.as_slice(), std::slice::from_ref(next)].concat();
            if next == start {
                return Some(longer);
            }
            if seen.insert(next) {
                ways.push_back(longer);
            }
        }
    }
    None
}

/// The `mod` lines of `src/lib.rs`, top down.
fn layers() -> Vec<String> {
    let text = fs::read_to_string(root().join("lib.rs")).expect("src/lib.rs can be read");
    text.lines()
        .filter_map(|line| line.trim_start_matches("pub ").strip_prefix("mod ")?.strip_suffix(';'))
        .map(str::to_owned)
        .collect()
}

fn points_upwards(layers: &[String], own: &str, used: &str) -> bool {
    let place = |name: &str| layers.iter().position(|it| it == name);
    match (place(own), place(used)) {
        (Some(own), Some(used)) => used < own,
        _ => false, // `main` stands above all; a name that is no module is an item of the crate root
    }
}

/// Every path inside this crate that a file names, from the crate's root on; apart from comments and tests.
fn used_paths(own: &Module, text: &str) -> Vec<String> {
    let code = without_comments(&text[..start_of_tests(text)]);
    let above = own.0.rsplit_once("::").map_or(String::new(), |(above, _)| format!("{above}::"));
    let within = format!("{}::", own.0);
    let children = code.lines().filter_map(|line| line.rsplit_once("mod ")?.1.strip_suffix(';')).map(str::to_owned);
    let children = children.map(|child| (format!("{child}::"), format!("{within}{child}::")));
    let roots = ["crate::", "on_demand_infra::"].map(|root| (root.to_owned(), String::new()));
    let roots = roots.into_iter().chain([("super::".to_owned(), above), ("self::".to_owned(), within.clone())]);
    let mut paths = vec![];
    for (written, meant) in roots.chain(children) {
        let is_whole = |at: usize| !code[..at].ends_with(|it: char| it.is_alphanumeric() || it == '_' || it == ':');
        for (at, _) in code.match_indices(&written).filter(|(at, _)| is_whole(*at)) {
            expand(&meant, &code[at + written.len()..], &mut paths);
        }
    }
    paths
}

/// Adds the path that a text begins with, or each path of the braced list that it begins with. Gives what follows.
fn expand<'a>(before: &str, text: &'a str, paths: &mut Vec<String>) -> &'a str {
    let text = text.trim_start();
    if let Some(list) = text.strip_prefix('{') {
        let mut rest = list;
        loop {
            rest = expand(before, rest, paths);
            // What stands between a path and the next comma is `as` and a name, or a star.
            let end = rest.find([',', '}']).unwrap_or(rest.len());
            rest = &rest[end..];
            match rest.strip_prefix(',') {
                Some(more) => rest = more,
                None => return rest.strip_prefix('}').unwrap_or(rest),
            }
        }
    }
    let end = text.find(|it: char| !(it.is_alphanumeric() || it == '_')).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    match rest.strip_prefix("::") {
        Some(more) if name == "super" => {
            let above =
                before.trim_end_matches("::").rsplit_once("::").map_or(String::new(), |(it, _)| format!("{it}::"));
            expand(&above, more, paths)
        }
        Some(more) if more.starts_with(|it: char| it.is_alphanumeric() || it == '_' || it == '{') => {
            expand(&format!("{before}{name}::"), more, paths)
        }
        _ => {
            // Nothing stands between the last comma of a list and its end.
            if !name.is_empty() {
                paths.push(format!("{before}{name}").trim_end_matches("::self").to_owned());
            }
            rest
        }
    }
}

fn sources() -> Vec<PathBuf> {
    let mut found = vec![];
    let mut folders = vec![root()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder of sources can be read") {
            let path = entry.expect("an entry can be read").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|it| it == "rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}
