//! Parts of what a person is told about a failed build.

use std::sync::LazyLock;

use regex::Regex;

/// What to do about the image of a FROM that cannot be pulled.
pub(super) fn base_hint(image: &str, platform: Option<&str>, text: &str) -> String {
    let is_refused = text.contains("denied") || text.contains("unauthorized");
    if let Some(platform) = platform.filter(|_| !is_refused) {
        return format!(
            "leave `--platform={platform}` out of FROM, so that the image for this machine's processor is taken, or correct its name"
        );
    }
    if text.contains("no match for platform") {
        return format!("take another image or tag: `{image}` is not there for this machine's processor");
    }
    let hint = if is_refused {
        "the registry knows no such image or does not let us pull it: correct the name, or run `docker login` where Docker runs"
    } else if text.contains("no such host") {
        "its registry has no address from here: correct the name in FROM, or the network"
    } else {
        "correct the name and tag in FROM"
    };
    hint.to_owned()
}

/// What to do about a file that the context does not hold.
pub(super) fn missing_file_hint(message: &str, context: &str) -> String {
    let root = match context {
        "" => "the root of the repository".to_owned(),
        context => format!("the directory `{context}`"),
    };
    let path = missing_path(message).unwrap_or_default();
    if path == ".git" || path.starts_with(".git/") {
        return "hand the build what it takes from there as an ARG, and send that in `build_args`".to_owned();
    }
    if is_build_output(path) {
        return format!(
            "`{path}` is what a build makes, and no file to commit: make it in an earlier stage and take it with \
             `COPY --from`, or build the image where it is made (in CI)"
        );
    }
    format!(
        "commit the file, or correct its path (it counts from {root}), and look whether .dockerignore leaves it out"
    )
}

/// A Dockerfile's name in a sentence.
pub(super) fn named(path: &str) -> String {
    if path == "Dockerfile" { "the Dockerfile".to_owned() } else { format!("`{path}`") }
}

pub(super) fn list(names: &[String]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// Whether a word of the text is this name.
pub(super) fn has_word(text: &str, name: &str) -> bool {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == name)
}

/// Whether an instruction takes the value of this variable.
pub(super) fn uses_variable(step: &str, name: &str) -> bool {
    step.split('$').skip(1).any(|after| {
        let after = after.strip_prefix('{').unwrap_or(after);
        after.split(|c: char| !c.is_alphanumeric() && c != '_').next() == Some(name)
    })
}

/// The path in the words about a file that is not in the context: `BuildKit`'s old and new ones, and the classic builder's.
pub(super) fn missing_path(message: &str) -> Option<&str> {
    static EXPRESSION: LazyLock<Regex> = LazyLock::new(|| {
        let text = r#""/?([^"]+)":? not found|(?:lstat|stat) /?([^\s:]+): (?:no such file|file does not exist)|no source files were specified: (\S+)"#;
        Regex::new(text).expect("a fixed expression is right")
    });
    let found = EXPRESSION.captures(message)?;
    (1..=3).find_map(|group| found.get(group)).map(|path| path.as_str())
}

/// Whether a path is where tools put what they make: such a file is in no repository.
fn is_build_output(path: &str) -> bool {
    const DIRECTORIES: [&str; 11] = [
        "dist",
        "build",
        "target",
        "out",
        ".next",
        ".nuxt",
        ".output",
        ".svelte-kit",
        "_site",
        "publish",
        "node_modules",
    ];
    const FILES: [&str; 6] = [".jar", ".war", ".ear", ".whl", ".exe", ".dll"];
    path.split('/').any(|part| DIRECTORIES.contains(&part)) || FILES.iter().any(|ending| path.ends_with(ending))
}
