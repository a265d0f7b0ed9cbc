//! Which Node an application asks for.

use nodejs_semver::{Range, Version};
use serde_json::Value;

use crate::repository::application::{Sourced, first_line, tool_version};
use crate::repository::tree::Tree;

use super::package::Package;

/// Major versions that a range may choose from, those with long-term support before the others (Node.js, "Releases").
const KNOWN: [u64; 12] = [22, 24, 20, 18, 26, 16, 14, 25, 23, 21, 19, 17];
/// Code names of the releases with long-term support, as `.nvmrc` has them (`lts/jod`).
const LTS: [(&str, u64); 6] =
    [("krypton", 24), ("jod", 22), ("iron", 20), ("hydrogen", 18), ("gallium", 16), ("fermium", 14)];

/// Which Node a package asks for, or else the root of its workspace.
pub(super) fn of(package: &Package<'_>) -> Sourced<u64> {
    let json = if package.json["engines"].is_null() { &package.root } else { &package.json };
    choose(package.tree, json)
}

/// Which Node the files ask for: its major version.
pub(super) fn choose(tree: &Tree, package: &Value) -> Sourced<u64> {
    let pinned = |path: &str| Some(Sourced::of(major(&first_line(tree, path)?)?, path));
    let in_package = |value: &Value| Some(Sourced::of(major(value.as_str()?)?, "package.json"));
    pinned(".nvmrc")
        .or_else(|| pinned(".node-version"))
        .or_else(|| in_package(&package["volta"]["node"]))
        .or_else(|| Some(Sourced::of(major(&tool_version(tree, &["nodejs", "node"])?)?, ".tool-versions")))
        .or_else(|| in_package(&package["engines"]["node"]))
        .unwrap_or(Sourced::usual(KNOWN[0]))
}

/// The major version of a version, a code name or a range.
fn major(text: &str) -> Option<u64> {
    let text = text.trim();
    if let Some(name) = text.strip_prefix("lts/") {
        let named = LTS.iter().find(|(it, _)| it.eq_ignore_ascii_case(name)).map(|(_, major)| *major);
        return named.or(Some(KNOWN[0]));
    }
    let plain = text.trim_start_matches('v');
    if let Ok(major) = plain.split('.').next().unwrap_or_default().parse()
        && (Version::parse(plain).is_ok() || plain.parse::<u64>().is_ok())
    {
        return Some(major);
    }
    let range = Range::parse(text).ok()?;
    // A range may end within a major version: its first and a late release stand for it.
    let fits = |major: u64| {
        [(0, 0), (9, 0), (99, 0)].iter().any(|&(minor, patch)| range.satisfies(&Version::from((major, minor, patch))))
    };
    KNOWN.into_iter().find(|&major| fits(major))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::repository::tests::clone_of;

    #[test]
    fn a_version_a_code_name_or_a_range_gives_a_major_version() {
        assert_eq!(major("v20.11.0"), Some(20));
        assert_eq!(major("18"), Some(18));
        assert_eq!(major("lts/iron"), Some(20));
        assert_eq!(major("lts/*"), Some(22));
        assert_eq!(major(">=18"), Some(22));
        assert_eq!(major("^18.17.0 || >=20.5.0"), Some(22));
        assert_eq!(major("18.x"), Some(18));
        assert_eq!(major(">=16 <19"), Some(18));
        assert_eq!(major(">=23"), Some(24));
        assert_eq!(major("node"), None);
        assert_eq!(major(""), Some(22));
    }

    #[test]
    fn the_file_that_pins_a_version_comes_before_a_range() {
        let root = clone_of(&[(".nvmrc", "20\n")]);
        let tree = Tree::open(root.path()).unwrap();

        assert_eq!(choose(&tree, &json!({"engines": {"node": ">=24"}})), Sourced::of(20, ".nvmrc"));
    }
}
