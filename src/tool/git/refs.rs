//! What `git ls-remote` prints: the branches and tags of a repository, and which of them a person means.

use std::collections::{BTreeMap, BTreeSet};

use crate::id::{CommitId, GitRef};

/// The refs of a repository, read without cloning it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Refs {
    /// The ref that HEAD stands for, such as `refs/heads/main`.
    pub default: Option<String>,
    /// Every ref with the commit that it leads to; an annotated tag leads to the commit that it names.
    pub commits: BTreeMap<String, CommitId>,
}

/// What a ref turned out to mean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RefMatch {
    /// A ref of the repository.
    Ref(String, CommitId),
    /// A full commit id, whether a ref leads to it or not.
    Commit(CommitId),
    /// Digits that may begin the id of a commit that no ref leads to directly.
    Abbreviation(String),
    /// Nothing that is there.
    NotFound,
}

impl Refs {
    /// Reads the output of `git ls-remote --symref`; what is not understood is left out.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut refs = Self::default();
        let mut peeled = Vec::new();
        for (what, name) in text.lines().filter_map(|line| line.split_once('\t')) {
            if let Some(target) = what.strip_prefix("ref: ") {
                if name == "HEAD" {
                    refs.default = Some(target.trim().to_owned());
                }
            } else if let Ok(commit) = CommitId::parse(what) {
                match name.strip_suffix("^{}") {
                    Some(tag) => peeled.push((tag.to_owned(), commit)),
                    None => drop(refs.commits.insert(name.to_owned(), commit)),
                }
            }
        }
        refs.commits.extend(peeled);
        refs
    }

    /// Whether nothing was ever pushed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.commits.is_empty()
    }

    /// What the default branch is: a branch where HEAD is one, else the commit of a detached HEAD.
    #[must_use]
    pub fn head(&self) -> RefMatch {
        match (&self.default, self.commits.get("HEAD")) {
            (Some(name), Some(commit)) => RefMatch::Ref(name.clone(), commit.clone()),
            (None, Some(commit)) => RefMatch::Commit(commit.clone()),
            (_, None) => RefMatch::NotFound,
        }
    }

    /// What a person means: a branch before a tag, a full ref, a commit, an abbreviated commit.
    #[must_use]
    pub fn find(&self, git_ref: &GitRef) -> RefMatch {
        let text = git_ref.as_str();
        if text == "HEAD" {
            return self.head();
        }
        let names = [format!("refs/heads/{text}"), format!("refs/tags/{text}"), text.to_owned()];
        for name in names {
            if let Some(commit) = self.commits.get(&name) {
                return RefMatch::Ref(name, commit.clone());
            }
        }
        let digits = text.to_ascii_lowercase();
        if let Ok(commit) = CommitId::parse(digits.clone()) {
            return RefMatch::Commit(commit);
        }
        if !(7..40).contains(&digits.len()) || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return RefMatch::NotFound;
        }
        let mut tips: Vec<&CommitId> =
            self.commits.values().filter(|commit| commit.as_str().starts_with(&digits)).collect();
        tips.sort_unstable();
        tips.dedup();
        match tips.as_slice() {
            [commit] => RefMatch::Commit((*commit).clone()),
            _ => RefMatch::Abbreviation(digits),
        }
    }

    /// Up to five branches and tags, those first that look most like `wanted`.
    #[must_use]
    pub fn nearest(&self, wanted: &str) -> Vec<String> {
        let short = |name: &String| {
            name.strip_prefix("refs/heads/").or_else(|| name.strip_prefix("refs/tags/")).map(str::to_owned)
        };
        let names: BTreeSet<String> = self.commits.keys().filter_map(short).collect();
        let mut names: Vec<String> = names.into_iter().collect();
        names.sort_by(|a, b| strsim::jaro_winkler(b, wanted).total_cmp(&strsim::jaro_winkler(a, wanted)));
        names.truncate(5);
        names
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIST: &str = "ref: refs/heads/main\tHEAD\n\
        aaaaaaa111111111111111111111111111111111\tHEAD\n\
        aaaaaaa111111111111111111111111111111111\trefs/heads/main\n\
        bbbbbbb222222222222222222222222222222222\trefs/heads/v1\n\
        ccccccc333333333333333333333333333333333\trefs/tags/v1\n\
        ddddddd444444444444444444444444444444444\trefs/tags/v2\n\
        eeeeeee555555555555555555555555555555555\trefs/tags/v2^{}\n";

    fn find(text: &str) -> RefMatch {
        Refs::parse(LIST).find(&GitRef::parse(text).unwrap())
    }

    fn named(name: &str, commit: &str) -> RefMatch {
        RefMatch::Ref(name.to_owned(), CommitId::parse(commit).unwrap())
    }

    #[test]
    fn without_a_ref_the_branch_of_head_is_meant() {
        let main = named("refs/heads/main", "aaaaaaa111111111111111111111111111111111");

        assert_eq!(Refs::parse(LIST).head(), main);
        assert_eq!(find("HEAD"), main);
        assert_eq!(Refs::parse("").head(), RefMatch::NotFound);
    }

    #[test]
    fn a_branch_goes_before_a_tag_and_an_annotated_tag_leads_to_its_commit() {
        assert_eq!(find("v1"), named("refs/heads/v1", "bbbbbbb222222222222222222222222222222222"));
        assert_eq!(find("refs/tags/v1"), named("refs/tags/v1", "ccccccc333333333333333333333333333333333"));
        assert_eq!(find("v2"), named("refs/tags/v2", "eeeeeee555555555555555555555555555555555"));
    }

    #[test]
    fn a_commit_is_found_by_its_first_digits() {
        let commit = CommitId::parse("bbbbbbb222222222222222222222222222222222").unwrap();

        assert_eq!(find("BBBBBBB2"), RefMatch::Commit(commit.clone()));
        assert_eq!(find(commit.as_str()), RefMatch::Commit(commit));
        assert_eq!(find("1234567"), RefMatch::Abbreviation("1234567".to_owned()));
        assert_eq!(find("123456"), RefMatch::NotFound);
    }

    #[test]
    fn the_nearest_names_come_first_and_there_are_at_most_five() {
        let many: String = (0..9).map(|it| format!("{it:040x}\trefs/heads/topic-{it}\n")).collect();

        assert_eq!(Refs::parse(LIST).nearest("mian").first().map(String::as_str), Some("main"));
        assert_eq!(Refs::parse(&many).nearest("topic-7").len(), 5);
    }

    proptest! {
        #[test]
        fn whatever_is_printed_is_read(text in "\\PC*", wanted in "\\PC*") {
            let refs = Refs::parse(&text);
            let _ = refs.nearest(&wanted);
            if let Ok(git_ref) = GitRef::parse(wanted) {
                let _ = refs.find(&git_ref);
            }
        }
    }
}
