//! Languages for which there is no template here: their signs, and who builds them.

use crate::repository::application::{MAX_SOURCE_BYTES, first_line};
use crate::repository::builder::Builder;
use crate::repository::tree::Tree;

/// A language that another builder knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Foreign {
    /// Its name, as people say it.
    pub(super) language: &'static str,
    /// The file that tells.
    pub(super) file: String,
    /// The builders whose documents name it.
    pub(super) builders: &'static [Builder],
}

const BOTH: &[Builder] = &[Builder::Buildpacks, Builder::Railpack];
const BUILDPACKS: &[Builder] = &[Builder::Buildpacks];
const RAILPACK: &[Builder] = &[Builder::Railpack];
const NONE: &[Builder] = &[];

/// Files whose presence tells a language, the more particular first.
const FILES: [(&str, &str, &[Builder]); 27] = [
    ("artisan", "PHP (Laravel)", BOTH),
    ("composer.json", "PHP", BOTH),
    ("config.ru", "Ruby", BOTH),
    ("Gemfile", "Ruby", BOTH),
    ("mix.exs", "Elixir", RAILPACK),
    ("build.sbt", "Scala", BUILDPACKS),
    ("project.clj", "Clojure", BUILDPACKS),
    ("deps.edn", "Clojure", BUILDPACKS),
    ("deno.json", "Deno", RAILPACK),
    ("deno.jsonc", "Deno", RAILPACK),
    ("Package.swift", "Swift", NONE),
    ("stack.yaml", "Haskell", NONE),
    ("rebar.config", "Erlang", NONE),
    ("gleam.toml", "Gleam", RAILPACK),
    ("shard.yml", "Crystal", NONE),
    ("pubspec.yaml", "Dart", NONE),
    ("cpanfile", "Perl", NONE),
    ("Project.toml", "Julia", NONE),
    ("build.zig", "Zig", RAILPACK),
    ("environment.yml", "Python with conda", BUILDPACKS),
    ("environment.yaml", "Python with conda", BUILDPACKS),
    ("hugo.toml", "a site of Hugo", NONE),
    ("hugo.yaml", "a site of Hugo", NONE),
    ("mkdocs.yml", "a site of MkDocs", NONE),
    ("_config.yml", "a site of Jekyll", NONE),
    ("CMakeLists.txt", "C or C++", RAILPACK),
    ("index.php", "PHP", BOTH),
];
/// Ends of names that tell a language.
const ENDS: [(&str, &str, &[Builder]); 5] = [
    (".csproj", ".NET", BUILDPACKS),
    (".fsproj", ".NET", BUILDPACKS),
    (".sln", ".NET", BUILDPACKS),
    (".cabal", "Haskell", NONE),
    (".nimble", "Nim", NONE),
];

/// Finds the language of a directory by the files in it.
pub(super) fn recognise(tree: &Tree) -> Option<Foreign> {
    let of = |language: &'static str, file: &str, builders| Foreign { language, file: file.to_owned(), builders };
    let is_site_that_is_made = |file: &str| {
        // A page beside Jekyll's settings is served as it is, unless it has front matter.
        file != "_config.yml" || first_line(tree, "index.html").is_none_or(|line| line.starts_with("---"))
    };
    let by_name = FILES.iter().find(|(file, ..)| tree.is_file(file) && is_site_that_is_made(file));
    if let Some((file, language, builders)) = by_name {
        let is_jekyll = *file == "Gemfile"
            && tree
                .read_prefix(file, MAX_SOURCE_BYTES)
                .is_some_and(|text| text.contains("jekyll") || text.contains("github-pages"));
        return Some(if is_jekyll { of("a site of Jekyll", file, NONE) } else { of(language, file, builders) });
    }
    // .NET keeps its projects in directories of their own.
    let names = tree.files("", 2);
    // Railpack looks for one of .NET only here.
    let in_root = names.iter().find(|name| name.ends_with(".csproj") && !name.contains('/'));
    if let Some(name) = in_root {
        return Some(of(".NET", name, BOTH));
    }
    ENDS.iter().find_map(|(end, language, builders)| {
        names.iter().find(|name| name.ends_with(end)).map(|name| of(language, name, builders))
    })
}
