//! Which Python an application asks for.

use std::str::FromStr;

use pep440_rs::{Version, VersionSpecifiers};

use crate::repository::application::{Sourced, first_line, tool_version};
use crate::repository::tree::Tree;

use super::packages::Packages;

/// Minor versions of Python 3 that a range may choose from (Python Developer's Guide, "Status of Python versions").
const KNOWN: std::ops::RangeInclusive<u64> = 8..=14;
/// The one that is taken when nothing asks for another.
const USUAL: u64 = 12;

/// Which Python the files ask for, as `3.12`.
pub(super) fn choose(tree: &Tree, packages: &Packages) -> Sourced<String> {
    let pinned = |path: &str| {
        let line = first_line(tree, path)?;
        let version = line.trim_start_matches("python-").trim_start_matches("cpython-");
        Some(Sourced::of(minor(version)?, path))
    };
    let requires = &packages.pipfile["requires"];
    let of_pipfile = requires["python_version"].as_str().or(requires["python_full_version"].as_str());
    let ranges = [
        &packages.project["project"]["requires-python"],
        &packages.project["tool"]["poetry"]["dependencies"]["python"],
    ];
    pinned(".python-version")
        .or_else(|| pinned("runtime.txt"))
        .or_else(|| Some(Sourced::of(minor(&tool_version(tree, &["python"])?)?, ".tool-versions")))
        .or_else(|| Some(Sourced::of(minor(of_pipfile?)?, "Pipfile")))
        .or_else(|| {
            let range = ranges.into_iter().find_map(|it| it.as_str())?;
            Some(Sourced::of(format!("3.{}", in_range(range)?), "pyproject.toml"))
        })
        .unwrap_or_else(|| Sourced::usual(format!("3.{USUAL}")))
}

/// `3.11` of `3.11.4` or `3.11`; nothing of `pypy3.10` or `system`.
fn minor(version: &str) -> Option<String> {
    let mut parts = version.trim().split('.');
    let (major, minor): (u32, u32) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    (major == 3).then(|| format!("3.{minor}"))
}

/// The minor version within a range that is nearest to the usual one.
fn in_range(range: &str) -> Option<u64> {
    let range = VersionSpecifiers::from_str(&pep440(range)?).ok()?;
    // A range may end within a minor version: its first and a late release stand for it.
    let fits = |minor: u64| [0, 20].into_iter().any(|patch| range.contains(&Version::new([3, minor, patch])));
    KNOWN.filter(|minor| fits(*minor)).min_by_key(|minor| minor.abs_diff(USUAL))
}

/// Poetry's carets and tildes ("Dependency specification") as what PEP 440 knows.
fn pep440(range: &str) -> Option<String> {
    let parts: Option<Vec<String>> = range
        .split(',')
        .map(|part| {
            let part = part.trim();
            if let Some(base) = part.strip_prefix('^') {
                return Some(format!(">={base},<4"));
            }
            if let Some(base) = part.strip_prefix('~').filter(|base| !base.starts_with('=')) {
                let next: u64 = base.split('.').nth(1)?.trim().parse().ok()?;
                return Some(format!(">={base},<3.{}", next.checked_add(1)?));
            }
            let is_bare = part.starts_with(|c: char| c.is_ascii_digit());
            Some(if is_bare { format!("=={}", part.trim_end_matches(".*")) + ".*" } else { part.to_owned() })
        })
        .collect();
    Some(parts?.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repository::tests::clone_of;

    #[test]
    fn a_range_gives_the_version_that_is_nearest_to_the_usual_one() {
        assert_eq!(in_range(">=3.9"), Some(12));
        assert_eq!(in_range(">=3.9,<3.12"), Some(11));
        assert_eq!(in_range("<=3.11"), Some(11));
        assert_eq!(in_range(">=3.13"), Some(13));
        assert_eq!(in_range("^3.10"), Some(12));
        assert_eq!(in_range("~3.10"), Some(10));
        assert_eq!(in_range("~=3.10.2"), Some(10));
        assert_eq!(in_range("==3.11.*"), Some(11));
        assert_eq!(in_range("3.10"), Some(10));
        assert_eq!(in_range("!=3.12.*,>=3.8"), Some(11));
        assert_eq!(in_range(">=4"), None);
        assert_eq!(in_range("^"), None);
    }

    #[test]
    fn the_file_that_pins_a_version_comes_first() {
        let choose = |files: &[(&str, &str)]| {
            let root = clone_of(files);
            let tree = Tree::open(root.path()).unwrap();
            let it = choose(&tree, &Packages::read(&tree));
            (it.value, it.from.unwrap_or_default())
        };
        let of = |version: &str, from: &str| (version.to_owned(), from.to_owned());
        let project = ("pyproject.toml", "[project]\nrequires-python = \">=3.13\"\n");

        assert_eq!(choose(&[(".python-version", "# local\n3.10.4\n"), project]), of("3.10", ".python-version"));
        assert_eq!(choose(&[("runtime.txt", "python-3.9.18\n")]), of("3.9", "runtime.txt"));
        assert_eq!(choose(&[("Pipfile", "[requires]\npython_version = \"3.11\"\n")]), of("3.11", "Pipfile"));
        assert_eq!(choose(&[project]), of("3.13", "pyproject.toml"));
        assert_eq!(choose(&[(".tool-versions", "nodejs 20\npython 3.10.1\n")]), of("3.10", ".tool-versions"));
        assert_eq!(choose(&[(".python-version", "pypy3.10\n")]), of("3.12", ""));
    }
}
