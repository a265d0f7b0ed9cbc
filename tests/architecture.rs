//! Holds what the compiler does not: the `mod` lines of `src/lib.rs` are the order of the layers, and a module uses only
//! modules that come after it; the README names only settings that there are.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

#[test]
fn a_module_uses_only_modules_that_come_after_it() {
    let layers = layers();

    let upward: Vec<String> = sources()
        .iter()
        .flat_map(|source| {
            let own = layer_of(source);
            let uses = used_modules(&fs::read_to_string(source).expect("a source file can be read"));
            uses.into_iter().map(move |used| (source.clone(), own.clone(), used))
        })
        .filter(|(_, own, used)| points_upwards(&layers, own, used))
        .map(|(source, own, used)| format!("{}: `{own}` uses `{used}`, which comes before it", source.display()))
        .collect();

    assert!(upward.is_empty(), "{}", upward.join("\n"));
}

#[test]
fn every_file_belongs_to_a_module_of_the_list() {
    let layers = layers();

    let strays: Vec<String> = sources()
        .iter()
        .map(|source| layer_of(source))
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
    let text = "use crate::{\n    event::Event, // crate::not_this\n    store::{self, Store},\n    id,\n};\n\
                /// Like [`crate::nor_this`].\npub(crate) fn f(it: crate::config::Settings) -> u8 { on_demand_infra::plan::X }";

    let used: Vec<String> = used_modules(text).into_iter().collect();

    assert_eq!(used, ["config", "event", "id", "plan", "store"]);
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

/// Every module of this crate that a text names by a path, apart from comments.
fn used_modules(text: &str) -> BTreeSet<String> {
    let code: String =
        text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n");
    let after_root = ["crate::", "on_demand_infra::"].iter().flat_map(|root| code.split(root).skip(1));
    after_root.flat_map(first_names).collect()
}

/// The first name of a path, or of each path of a braced list.
fn first_names(path: &str) -> Vec<String> {
    let Some(list) = path.strip_prefix('{') else { return vec![name(path)] };
    let mut names = vec![];
    let mut depth = 0_usize;
    let mut start = 0;
    for (at, letter) in list.char_indices() {
        match letter {
            ',' | '}' if depth == 0 => {
                names.push(name(&list[start..at]));
                start = at + 1;
                if letter == '}' {
                    break;
                }
            }
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
    }
    names.retain(|it| !it.is_empty());
    names
}

fn name(path: &str) -> String {
    path.trim_start().chars().take_while(|it| it.is_alphanumeric() || *it == '_').collect()
}

/// The top-level module that a file belongs to: `step` for `src/step.rs` and for `src/step/build_image.rs`.
fn layer_of(source: &Path) -> String {
    let inside = source.strip_prefix(root()).expect("sources lie below src");
    let first = inside.components().next().expect("a file has a name");
    first.as_os_str().to_string_lossy().trim_end_matches(".rs").to_owned()
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
