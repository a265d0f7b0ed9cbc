//! What is missing to the question to ask back, and the other texts that answer a sentence without doing anything.

use std::fmt::Write as _;

use crate::id::Action;

use super::Selector;
use super::partial::MissingField;
use super::selection::{Candidate, LISTED, SelectionError};

/// A question back: what a sentence wants is clear, but not everything that it takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// What the person wants.
    pub action: Action,
    /// What is missing.
    pub missing: Vec<MissingField>,
    /// A value that cannot be right, as a sentence of its own.
    pub problem: Option<String>,
}

impl Question {
    /// The question in Markdown.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        if let Some(problem) = &self.problem {
            let _ = writeln!(text, "That cannot be right: {problem}.\n");
        }
        match self.missing.as_slice() {
            [] if self.problem.is_none() => {
                let _ = write!(text, "Shall I {0} that? Say `{0}`, and I do.", self.action);
            }
            [] => {
                let _ = write!(text, "What should it be? Nothing was {} so far.", past_participle(self.action));
            }
            [need] => {
                let (asked, example) = wording(*need);
                let _ = write!(text, "To {} I also need {asked}. For example: `{example}`.", self.action);
            }
            several => {
                let _ = writeln!(text, "To {} I also need:\n", self.action);
                for need in several {
                    let (asked, example) = wording(*need);
                    let _ = writeln!(text, "- {asked} (for example `{example}`)");
                }
                let example: Vec<&str> = several.iter().map(|need| wording(*need).1).collect();
                let _ = write!(text, "\nFor example: `{}`.", example.join(", "));
            }
        }
        text
    }
}

/// Says why a sentence leads to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unclear {
    /// No action that this server knows.
    NotUnderstood,
    /// Says what should not be done.
    Negated,
    /// Says that something should be done later, or only under a condition.
    Conditional,
    /// Asks whether something should be done.
    IsQuestion,
    /// Wants more than one thing, or more than one deployment, at once.
    Several,
    /// Would change something, but holds words that may change its meaning.
    Doubtful(Action),
    /// Takes back what was asked for before anything was done.
    Withdrawn,
    /// Rests on a secret that was said before and is not kept.
    LostSecret,
}

impl Unclear {
    /// The answer in Markdown.
    #[must_use]
    pub fn text(self) -> String {
        let why = match self {
            Self::NotUnderstood => "I did not understand what to do, so I did nothing.",
            Self::Negated => "I read that as something *not* to do, so I did nothing.",
            Self::Conditional => "I can only act now, not later or under a condition, so I did nothing.",
            Self::IsQuestion => "That was a question, so I did nothing. Say it without a question mark and I do it.",
            Self::Several => "That was more than one thing at once, so I did nothing. Please say one at a time.",
            Self::Doubtful(action) => {
                return format!(
                    "I think that you want to {action} something, but not every word was clear, so I did nothing. \
                     A short sentence is best, for example: `{}`.",
                    example(action)
                );
            }
            Self::Withdrawn => return "All right, I did nothing.".to_owned(),
            Self::LostSecret => {
                return "A secret was said before that I do not keep: `***` stands for it. Please say the whole request \
                        again, with the secret in it."
                    .to_owned();
            }
        };
        format!("{why}\n\n{}", help())
    }
}

/// What this server can do, in Markdown.
#[must_use]
pub fn help() -> String {
    "I deploy git repositories (to this machine, to an EC2 instance or to EKS), and redeploy, scale, restart, roll back \
     and remove what runs; I undo the last change, tell the status, show the logs and say what it costs. For \
     example:\n\n\
     - `deploy https://github.com/owner/name to local in namespace demo with 2 replicas`\n\
     - `scale name to 3`\n\
     - `what is running?`\n\n\
     Start with `dry run:` to see the plan first."
        .to_owned()
}

/// Asks which deployment is meant, or says that there is none.
#[must_use]
pub fn which(error: &SelectionError) -> String {
    match error {
        SelectionError::Several { fitting, .. } => {
            format!("Which one do you mean?\n\n{}\n\nFor example: `{}`.", listed(fitting), answer(fitting))
        }
        SelectionError::NotFound { selector, candidates } => {
            let wanted = wanted(selector);
            match (wanted.is_empty(), candidates.is_empty()) {
                (true, _) => format!("Nothing is deployed. {DEPLOY_FIRST}"),
                (false, true) => format!("There is no deployment{wanted}: nothing is deployed. {DEPLOY_FIRST}"),
                (false, false) => format!(
                    "There is no deployment{wanted}. Deployed are:\n\n{}\n\nWhich one do you mean? For example: `{}`.",
                    listed(candidates),
                    answer(candidates)
                ),
            }
        }
    }
}

const DEPLOY_FIRST: &str = "Say for example `deploy https://github.com/owner/name to local`.";

fn listed(candidates: &[Candidate]) -> String {
    let mut lines: Vec<String> =
        candidates.iter().take(LISTED).map(|candidate| format!("- {}", candidate.in_words())).collect();
    if let more @ 1.. = candidates.len().saturating_sub(LISTED) {
        lines.push(format!("- and {more} more"));
    }
    lines.join("\n")
}

/// Words that name the first of several, as `sentence` understands them.
fn answer(candidates: &[Candidate]) -> String {
    let Some(first) = candidates.first() else { return String::new() };
    let is_only = |same: fn(&Candidate, &Candidate) -> bool| candidates.iter().skip(1).all(|it| !same(first, it));
    if is_only(|a, b| a.application_name == b.application_name) {
        first.application_name.to_string()
    } else if is_only(|a, b| a.namespace == b.namespace) {
        format!("in namespace {}", first.namespace)
    } else if is_only(|a, b| a.target_name == b.target_name) {
        format!("instance {}", first.target_name)
    } else {
        format!("instance {}", first.id)
    }
}

/// The given values as the end of the sentence "there is no deployment ...".
fn wanted(selector: &Selector) -> String {
    let Selector {
        mode,
        target_name,
        namespace,
        application_name,
        repository,
        source_directory,
        public_ip,
        key_pair: _,
    } = selector;
    [
        application_name.as_ref().map(|it| format!(" `{it}`")),
        source_directory.as_ref().map(|it| format!(" of the directory `{it}`")),
        repository.as_ref().map(|it| format!(" of {it}")),
        namespace.as_ref().map(|it| format!(" in namespace `{it}`")),
        target_name.as_ref().map(|it| format!(" on `{it}`")),
        public_ip.map(|it| format!(" at `{it}`")),
        mode.map(|it| format!(" in mode `{it}`")),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// What is asked for, and an example answer that `sentence` understands.
fn wording(need: MissingField) -> (&'static str, &'static str) {
    match need {
        MissingField::Mode => ("where it should run: `local`, `cloud-local` or `cloud-hosted`", "local"),
        MissingField::Repository => ("the address of the git repository", "https://github.com/owner/name"),
        MissingField::KeyPair => ("the name of the EC2 key pair", "key my-key"),
        MissingField::Zone => ("the Route53 hosted zone of the host name", "zone Z2FDTNDATAQYW2"),
        MissingField::Label => ("the first part of the host name", "subdomain shop"),
        MissingField::Target => ("which instance or cluster is meant", "instance appcl-name-1a2b3c"),
        MissingField::Replicas => ("the number of replicas", "3"),
        MissingField::Credentials => (
            "AWS credentials, which do not belong into a chat: the field `aws_credentials` of the request, or the \
             settings `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`",
            "again",
        ),
    }
}

fn example(action: Action) -> &'static str {
    match action {
        Action::Deploy => "deploy https://github.com/owner/name to local",
        Action::Redeploy => "redeploy name",
        Action::Scale => "scale name to 3",
        Action::Restart => "restart name",
        Action::Rollback => "roll back name to the previous version",
        Action::Decommission => "take name down",
        Action::Status => "status of name",
        Action::List => "what is running?",
        Action::Logs => "logs of name",
        Action::Cancel => "cancel that",
        Action::Undo => "undo that",
        Action::Cost => "what does name cost?",
    }
}

fn past_participle(action: Action) -> &'static str {
    match action {
        Action::Deploy => "deployed",
        Action::Redeploy => "redeployed",
        Action::Scale => "scaled",
        Action::Restart => "restarted",
        Action::Rollback => "rolled back",
        Action::Decommission => "removed",
        Action::Status | Action::List | Action::Logs | Action::Cost => "looked up",
        Action::Cancel => "cancelled",
        Action::Undo => "undone",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_missing_fact_is_one_line_with_an_example() {
        let question = Question { action: Action::Scale, missing: vec![MissingField::Replicas], problem: None };

        assert_eq!(question.text(), "To scale I also need the number of replicas. For example: `3`.");
    }

    #[test]
    fn several_missing_facts_are_a_list_with_an_answer_that_names_all() {
        let question = Question {
            action: Action::Deploy,
            missing: vec![MissingField::Mode, MissingField::Repository],
            problem: None,
        };

        insta::assert_snapshot!(question.text(), @r"
        To deploy I also need:

        - where it should run: `local`, `cloud-local` or `cloud-hosted` (for example `local`)
        - the address of the git repository (for example `https://github.com/owner/name`)

        For example: `local, https://github.com/owner/name`.
        ");
    }

    #[test]
    fn a_wrong_value_is_named_first() {
        let problem = Some("`Foo_Bar` is not a namespace".to_owned());
        let question = Question { action: Action::Deploy, missing: vec![], problem };

        assert!(question.text().starts_with("That cannot be right: `Foo_Bar` is not a namespace.\n\n"));
    }

    #[test]
    fn the_help_has_three_sentences_to_try() {
        assert_eq!(help().lines().filter(|line| line.starts_with("- `")).count(), 3);
    }
}
