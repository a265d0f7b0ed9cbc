//! Languages for which there is no template here: their signs, and who builds them.

use crate::repository::application::{MAX_SOURCE_BYTES, first_line};
use crate::repository::tree::Tree;

/// A language that another builder knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Foreign {
    /// Its name, as people say it.
    pub(super) language: &'static str,
    /// The file that tells.
    pub(super) file: String,
}

/// Files whose presence tells a language, the more particular first.
const FILES: [(&str, &str); 27] = [
    ("artisan", "PHP (Laravel)"),
    ("composer.json", "PHP"),
    ("config.ru", "Ruby"),
    ("Gemfile", "Ruby"),
    ("mix.exs", "Elixir"),
    ("build.sbt", "Scala"),
    ("project.clj", "Clojure"),
    ("deps.edn", "Clojure"),
    ("deno.json", "Deno"),
    ("deno.jsonc", "Deno"),
    ("Package.swift", "Swift"),
    ("stack.yaml", "Haskell"),
    ("rebar.config", "Erlang"),
    ("gleam.toml", "Gleam"),
    ("shard.yml", "Crystal"),
    ("pubspec.yaml", "Dart"),
    ("cpanfile", "Perl"),
    ("Project.toml", "Julia"),
    ("build.zig", "Zig"),
    ("environment.yml", "Python with conda"),
    ("environment.yaml", "Python with conda"),
    ("hugo.toml", "a site of Hugo"),
    ("hugo.yaml", "a site of Hugo"),
    ("mkdocs.yml", "a site of MkDocs"),
    ("_config.yml", "a site of Jekyll"),
    ("CMakeLists.txt", "C or C++"),
    ("index.php", "PHP"),
];
/// Ends of names that tell a language.
const ENDS: [(&str, &str); 5] =
    [(".csproj", ".NET"), (".fsproj", ".NET"), (".sln", ".NET"), (".cabal", "Haskell"), (".nimble", "Nim")];

/// Finds the language of a directory by the files in it.
pub(super) fn recognise(tree: &Tree) -> Option<Foreign> {
    let of = |language: &'static str, file: &str| Foreign { language, file: file.to_owned() };
    let is_site_that_is_made = |file: &str| {
        // A page beside Jekyll's settings is served as it is, unless it has front matter.
        file != "_config.yml" || first_line(tree, "index.html").is_none_or(|line| line.starts_with("---"))
    };
    let by_name = FILES.iter().find(|(file, _)| tree.is_file(file) && is_site_that_is_made(file));
    if let Some((file, language)) = by_name {
        let is_jekyll = *file == "Gemfile"
            && tree
                .read_prefix(file, MAX_SOURCE_BYTES)
                .is_some_and(|text| text.contains("jekyll") || text.contains("github-pages"));
        return Some(of(if is_jekyll { "a site of Jekyll" } else { language }, file));
    }
    // .NET keeps its projects in directories of their own.
    let names = tree.files("", 2);
    ENDS.iter().find_map(|(end, language)| names.iter().find(|name| name.ends_with(end)).map(|name| of(language, name)))
}
