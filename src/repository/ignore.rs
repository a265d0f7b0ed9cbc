//! `.dockerignore` as Docker reads it: patterns from the context's root, a match covers what lies below, the last match wins.

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use super::error::RepositoryError;

/// Patterns that are taken from one file.
const MAX_PATTERNS: usize = 2_000;

/// The patterns of one ignore file.
#[derive(Debug, Default)]
pub(super) struct Ignore {
    globs: GlobSet,
    /// For each pattern whether it brings back (`!`) what one before it excluded.
    exceptions: Vec<bool>,
}

/// Which patterns match a path or a directory above it.
#[derive(Debug, Clone, Default)]
pub(super) struct Matches(Vec<usize>);

impl Ignore {
    /// Reads the text of an ignore file; `path` is its name in an error.
    ///
    /// # Errors
    /// [`RepositoryError::IgnorePattern`] with the line when a pattern cannot be read.
    pub(super) fn parse(path: &str, text: &str) -> Result<Self, RepositoryError> {
        let mut globs = GlobSetBuilder::new();
        let mut exceptions = Vec::new();
        for (number, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
            if line.starts_with('#') || line.trim().is_empty() {
                continue;
            }
            let refused =
                |what: String| RepositoryError::IgnorePattern { path: path.to_owned(), line: number + 1, what };
            if exceptions.len() == MAX_PATTERNS {
                return Err(refused(format!("there are more than {MAX_PATTERNS} patterns")));
            }
            let line = line.trim();
            let (pattern, is_exception) = line.strip_prefix('!').map_or((line, false), |rest| (rest.trim(), true));
            if pattern.is_empty() {
                return Err(refused("`!` stands alone".to_owned()));
            }
            let Some(pattern) = glob(pattern) else { continue };
            let glob = GlobBuilder::new(&pattern).literal_separator(true).backslash_escape(true).build();
            globs.add(glob.map_err(|error| refused(error.kind().to_string()))?);
            exceptions.push(is_exception);
        }
        let globs = globs.build().map_err(|error| RepositoryError::IgnorePattern {
            path: path.to_owned(),
            line: 0,
            what: error.kind().to_string(),
        })?;
        Ok(Self { globs, exceptions })
    }

    /// The patterns that match a path, given those that match the directory it is in.
    pub(super) fn matches(&self, directory: &Matches, path: &str) -> Matches {
        let mut matches = self.globs.matches(path);
        matches.extend_from_slice(&directory.0);
        matches.sort_unstable();
        matches.dedup();
        Matches(matches)
    }

    /// Whether a path with these matches stays out of the context.
    pub(super) fn excludes(&self, matches: &Matches) -> bool {
        matches.0.last().is_some_and(|last| !self.exceptions[*last])
    }

    /// Whether something below an excluded directory could come back.
    pub(super) fn has_exceptions(&self) -> bool {
        self.exceptions.contains(&true)
    }
}

/// Docker's pattern in globset's words; `None` for one that names the root itself, which Docker passes over.
fn glob(pattern: &str) -> Option<String> {
    let mut parts: Vec<&str> = Vec::new();
    for part in pattern.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    let clean = parts.join("/");
    if clean.is_empty() {
        return None;
    }
    let mut glob = String::new();
    let mut chars = clean.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '{' | '}' => glob.extend(['[', c, ']']),
            '\\' => {
                glob.push(c);
                glob.extend(chars.next());
            }
            '*' if chars.peek() == Some(&'*') => {
                chars.next_if_eq(&'*');
                // `**x` reaches any depth, as `**/x`; `x**` reaches below, as `x*` with all that it covers.
                let at_start = glob.is_empty() || glob.ends_with('/');
                match chars.peek() {
                    Some('/') | None if at_start => glob.push_str("**"),
                    Some(_) if at_start => glob.push_str("**/"),
                    _ => glob.push('*'),
                }
            }
            c => glob.push(c),
        }
    }
    Some(glob)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn excluded(text: &str, path: &str) -> bool {
        let ignore = Ignore::parse(".dockerignore", text).unwrap();
        let mut matches = Matches::default();
        let mut above = String::new();
        for part in path.split('/') {
            above = super::super::tree::join(&above, part);
            matches = ignore.matches(&matches, &above);
        }
        ignore.excludes(&matches)
    }

    #[test]
    fn a_pattern_starts_at_the_root_and_covers_what_lies_below() {
        assert!(excluded("node_modules", "node_modules/a/b"));
        assert!(excluded("/node_modules/", "node_modules"));
        assert!(!excluded("node_modules", "web/node_modules"));
        assert!(excluded("*/temp*", "somedir/temporary.txt"));
        assert!(!excluded("*/temp*", "a/b/temporary.txt"));
        assert!(!excluded("*.md", "docs/a.md"));
        assert!(excluded("temp?", "tempa"));
        assert!(!excluded("temp?", "temp"));
    }

    #[test]
    fn two_stars_reach_any_depth() {
        assert!(excluded("**/*.pyc", "a.pyc"));
        assert!(excluded("**/*.pyc", "a/b/c.pyc"));
        assert!(excluded("**c.pyc", "a/b/c.pyc"));
        assert!(excluded("a/**", "a/b/c"));
        assert!(!excluded("a/**", "a"));
        assert!(excluded("a/**/z", "a/z"));
        assert!(excluded("**", "x"));
        assert!(excluded("foo**", "foobar/x"));
    }

    #[test]
    fn the_last_match_wins() {
        assert!(!excluded("*.md\n!README.md", "README.md"));
        assert!(excluded("*.md\n!README*.md\nREADME-secret.md", "README-secret.md"));
        assert!(excluded("*.md\nREADME-secret.md\n!README*.md\n*", "README-secret.md"));
        assert!(!excluded("docs\n!docs/keep", "docs/keep/a"));
        assert!(excluded("docs\n!docs/keep", "docs/other"));
        assert!(!excluded("*\n! src", "src/a"));
    }

    #[test]
    fn comments_blanks_and_the_root_are_passed_over() {
        assert!(!excluded("# a\n\n  \n.\n/\n./\n", "a"));
        assert!(excluded(" \ta \r\n", "a"));
        assert!(excluded("\u{feff}a", "a"));
        assert!(excluded("x/../a//b/.", "a/b"));
        assert!(!excluded("../a", "a"));
    }

    #[test]
    fn braces_mean_themselves_and_classes_work() {
        assert!(excluded("{a,b}", "{a,b}"));
        assert!(!excluded("{a,b}", "a"));
        assert!(excluded("[ab]c", "bc"));
        assert!(excluded("[^ab]c", "xc"));
        assert!(excluded(r"\*a", "*a"));
        assert!(!excluded(r"\*a", "xa"));
    }

    #[test]
    fn a_pattern_that_cannot_be_read_is_told_with_its_line() {
        let error = Ignore::parse(".dockerignore", "a\n[b\n").unwrap_err();

        assert_eq!(error.to_string(), "line 2 of `.dockerignore` is no pattern: unclosed character class; missing ']'");
        assert!(Ignore::parse("x", "!").is_err());
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in r"[a{}\[\]!*?/\\\n.^é -]{0,60}", path in "[a.é]{1,3}(/[a.]{1,3}){0,3}") {
            if let Ok(ignore) = Ignore::parse("x", &text) {
                let _ = ignore.excludes(&ignore.matches(&Matches::default(), &path));
            }
        }
    }
}
