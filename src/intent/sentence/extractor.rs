//! The words of one sentence, and which of them are already understood.

use std::net::IpAddr;

use secrecy::SecretString;

use crate::id::repository_page::RepositoryPage;
use crate::id::{
    Action, DeploymentName, DockerfilePath, EnvironmentName, GitRef, HostedZoneId, IdError, KeyPairName, Mode,
    Namespace, Port, SourceDirectory, SubdomainLabel, TargetName,
};
use crate::intent::partial::{MAX_TAIL, PartialRequest};
use crate::intent::{Limits, VersionRef};

use super::vocabulary::{
    AFTER_AS, CLOUDS, FILLERS, FUNCTION_WORDS, MODES, NEGATIONS, NUMBERS, REPLICAS, SLOTS, Slot, TAKES_ANY_WORD,
    is_vocabulary,
};
use super::word::Word;

/// Words that may stand between the name of a fact and its value.
const LINKS: &[&str] = &["is", "to", "of", "named", "called", "the", "should", "will", "be"];

/// Reads values out of a sentence and keeps account of the words that are understood.
#[derive(Debug)]
pub(super) struct Extractor<'a> {
    words: &'a [Word],
    /// Names of what is deployed.
    names: &'a [DeploymentName],
    used: Vec<bool>,
    /// What was read so far.
    pub values: PartialRequest,
    /// At least one fact was read.
    pub has_values: bool,
    /// The first value that cannot be right.
    pub problem: Option<String>,
    /// Two different values for one fact.
    pub is_ambiguous: bool,
}

impl<'a> Extractor<'a> {
    pub(super) fn new(words: &'a [Word], names: &'a [DeploymentName]) -> Self {
        let used = vec![false; words.len()];
        Self {
            words,
            names,
            used,
            values: PartialRequest::default(),
            has_values: false,
            problem: None,
            is_ambiguous: false,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.words.len()
    }

    pub(super) fn is_used(&self, index: usize) -> bool {
        self.used.get(index).copied().unwrap_or(false)
    }

    /// Whether a phrase stands at a place, not in quotes.
    pub(super) fn at(&self, index: usize, phrase: &str) -> bool {
        phrase
            .split(' ')
            .enumerate()
            .all(|(offset, part)| self.words.get(index + offset).is_some_and(|it| it.lower == part && !it.quoted))
    }

    /// Whether a phrase stands right after a word of the same clause.
    pub(super) fn follows(&self, index: usize, phrase: &str) -> bool {
        self.words.get(index).is_some_and(|word| !word.ends_clause) && self.at(index + 1, phrase)
    }

    pub(super) fn find(&self, phrase: &str) -> Option<usize> {
        (0..self.len()).find(|index| self.at(*index, phrase))
    }

    pub(super) fn has_any(&self, words: &[&str]) -> bool {
        words.iter().any(|word| self.find(word).is_some())
    }

    pub(super) fn has_number(&self) -> bool {
        self.words.iter().any(|word| number(&word.lower).is_some())
    }

    pub(super) fn mark_phrase_used(&mut self, index: usize, phrase: &str) {
        for used in self.used.iter_mut().skip(index).take(phrase.split(' ').count()) {
            *used = true;
        }
    }

    /// Whether a clause begins here: at the start, after a comma, or after "and", "then" and "but".
    pub(super) fn begins_clause(&self, index: usize) -> bool {
        let Some(before) = index.checked_sub(1).and_then(|it| self.words.get(it)) else { return true };
        let after_address = index == 1 && self.is_address(0);
        before.ends_clause
            || after_address
            || (!before.quoted && matches!(before.lower.as_str(), "and" | "then" | "but" | "please"))
    }

    /// The end of the clause that holds this place.
    pub(super) fn clause_end(&self, index: usize) -> usize {
        (index + 1..self.len()).find(|it| self.begins_clause(*it)).unwrap_or(self.len())
    }

    /// Whether a word is the address of a repository, or looks like one.
    pub(super) fn is_address(&self, index: usize) -> bool {
        self.words.get(index).is_some_and(|word| repository_text(&word.text).is_some())
    }

    /// Words that nothing explains and that may be a value.
    pub(super) fn unused(&self) -> impl Iterator<Item = &Word> {
        self.words
            .iter()
            .zip(&self.used)
            .filter(|(word, used)| !**used && (!is_vocabulary(&word.lower) || self.is_name(word)))
            .map(|(word, _)| word)
    }

    /// Whether a word may change the meaning: it is neither understood, nor a filler, nor one of `known`.
    pub(super) fn is_doubtful(&self, known: &[&str]) -> bool {
        let is_known = |word: &str| FILLERS.contains(&word) || known.contains(&word);
        self.words.iter().zip(&self.used).any(|(word, used)| !used && !is_known(&word.lower))
    }

    /// Whether an unexplained word follows an "and" or a comma, as a second name would.
    pub(super) fn unused_after_and(&self) -> bool {
        (1..self.len()).any(|index| {
            let (before, word) = (&self.words[index - 1], &self.words[index]);
            let may_be_name = !is_vocabulary(&word.lower) || self.is_name(word);
            !self.used[index] && may_be_name && (before.ends_clause || before.lower == "and")
        })
    }

    /// Reads every fact that needs no verb to be understood.
    pub(super) fn extract(&mut self, action: Option<Action>, scales: bool, limits: Limits) {
        self.addresses();
        self.modes();
        self.targets(action);
        self.counts(scales, limits);
        for index in 0..self.len() {
            self.slot(index, action);
        }
        self.places(action);
        for index in 0..self.len() {
            if ["follow", "following", "stream", "live", "continuously"].iter().any(|word| self.at(index, word)) {
                self.values.follow = Some(true);
                self.used[index] = true;
            }
        }
    }

    fn addresses(&mut self) {
        for index in 0..self.len() {
            let text = &self.words[index].text;
            if let Some((name, value)) = variable(text) {
                self.values.environment.get_or_insert_default().insert(name, SecretString::from(value));
            } else if let Some(text) = repository_text(text) {
                if let Some(page) = self.checked(RepositoryPage::parse(text)) {
                    self.page(page);
                }
            } else if text.len() > 10 && text.to_lowercase().ends_with("dockerfile") {
                self.values.dockerfile = self.checked(DockerfilePath::parse(text.as_str()));
            } else if let Some(ip) = address(text) {
                self.values.public_ip = Some(ip);
            } else {
                continue;
            }
            self.mark_used(index);
        }
    }

    /// Takes in the address of a repository; another one than was read before makes the sentence ambiguous.
    fn page(&mut self, page: RepositoryPage) {
        let mut read = PartialRequest::default();
        read.set_page(page.clone());
        let PartialRequest { repository, ref_path, git_ref, .. } = &self.values;
        if repository.is_none() {
            self.values.set_page(page);
        } else {
            self.is_ambiguous |=
                *repository != read.repository || *ref_path != read.ref_path || *git_ref != read.git_ref;
        }
    }

    fn git_ref(&mut self, text: &str) {
        if let Some(git_ref) = self.checked(GitRef::parse(text))
            && let Err(problem) = self.values.set_git_ref(git_ref)
        {
            self.problem.get_or_insert(problem);
        }
    }

    fn modes(&mut self) {
        for index in 0..self.len() {
            let Some((phrase, mode)) = MODES.iter().find(|(phrase, _)| {
                self.at(index, phrase) || (self.words[index].quoted && self.words[index].lower == *phrase)
            }) else {
                continue;
            };
            let before = index.checked_sub(1).map(|it| self.words[it].lower.as_str());
            let is_noun = *phrase == "kind" && !matches!(before, Some("to" | "on" | "in" | "a" | "my" | "with"));
            if self.used[index] || is_noun {
                continue;
            }
            self.is_ambiguous |= self.values.mode.is_some_and(|known| known != *mode);
            self.values.mode = Some(*mode);
            self.mark_phrase_used(index, phrase);
            self.has_values = true;
        }
        let cloud = (0..self.len()).find(|it| !self.used[*it] && CLOUDS.iter().any(|cloud| self.at(*it, cloud)));
        if let Some(index) = cloud {
            self.used[index] = true;
            if !matches!(self.values.mode, Some(Mode::CloudLocal | Mode::CloudHosted)) {
                let text = &self.words[index].text;
                let problem = format!("`{text}` may mean `cloud-local` (EC2) or `cloud-hosted` (EKS), say which");
                self.problem.get_or_insert(problem);
            }
        }
    }

    /// "and the cluster", "but keep the instance".
    fn targets(&mut self, action: Option<Action>) {
        let Some(noun) = (0..self.len())
            .find(|it| ["cluster", "target", "instance", "machine"].iter().any(|noun| self.at(*it, noun)))
        else {
            return;
        };
        let from = noun.saturating_sub(4);
        let named = self.value_at(noun + 1).is_some();
        if let Some(keep) = (from..noun).find(|it| {
            self.at(*it, "keep")
                || self.at(*it, "keeping")
                || self.at(*it, "without deleting")
                || self.at(*it, "without")
        }) {
            self.values.keep_target = Some(true);
            for index in keep..=noun {
                self.mark_used(index);
            }
            if let Some(but) = keep.checked_sub(1).filter(|it| self.at(*it, "but")) {
                self.mark_used(but);
            }
        } else if action == Some(Action::Decommission) && self.at(noun, "cluster") && !named && self.adds(noun) {
            self.values.delete_cluster = Some(true);
            for index in from..noun {
                if self.at(index, "including") || self.at(index, "plus") || self.at(index, "whole") {
                    self.mark_used(index);
                }
            }
            self.mark_used(noun);
        }
    }

    /// Whether a noun is added to what was named ("and the cluster"), or is all that was named ("delete the cluster").
    fn adds(&self, noun: usize) -> bool {
        let article = usize::from(["the", "its", "whole"].iter().any(|it| noun > 0 && self.at(noun - 1, it)));
        let before = noun.checked_sub(article + 1);
        before.is_some_and(|it| {
            self.used[it] || ["and", "with", "including", "plus"].iter().any(|word| self.at(it, word))
        })
    }

    /// Replicas, lines and relative changes, which are not counts.
    fn counts(&mut self, scales: bool, limits: Limits) {
        for index in 0..self.len() {
            let Some(count) = number(&self.words[index].lower) else { continue };
            let before = index.checked_sub(1).map(|it| self.words[it].lower.clone()).unwrap_or_default();
            let after = self.words.get(index + 1).map(|it| it.lower.as_str()).unwrap_or_default();
            let after = if matches!(after, "running" | "more") { "" } else { after };
            if before == "by" || self.at(index + 1, "more") || self.at(index + 1, "times") {
                self.mark_used(index);
                continue;
            }
            let is_other = SLOTS.iter().any(|(phrase, _)| *phrase == before);
            let of_replicas = REPLICAS.contains(&before.as_str()) || REPLICAS.contains(&after) && !is_other;
            let to = before == "to" || (before == "replicas" || before == "at");
            let scales = scales && (to || index + 1 == self.len());
            if matches!(after, "lines" | "line") || before == "tail" {
                self.values.tail = self.in_range(count, 1, MAX_TAIL, "lines");
            } else if of_replicas || scales {
                let max = u32::from(limits.max_replicas);
                let replicas = self.in_range(count, 0, max, "replicas").and_then(|it| u16::try_from(it).ok());
                self.is_ambiguous |= self.values.replicas.is_some() && self.values.replicas != replicas;
                self.values.replicas = replicas;
            } else {
                continue;
            }
            self.mark_used(index);
        }
    }

    fn in_range(&mut self, count: u32, min: u32, max: u32, what: &str) -> Option<u32> {
        let fits = (min..=max).contains(&count);
        if !fits {
            self.problem.get_or_insert_with(|| format!("{count} {what} are not from {min} to {max}"));
        }
        fits.then_some(count)
    }

    /// A fact that a word announces: "namespace demo", or "the demo namespace".
    fn slot(&mut self, index: usize, action: Option<Action>) {
        if self.used[index] || self.words[index].quoted {
            return;
        }
        let Some((phrase, slot)) = SLOTS.iter().find(|(phrase, _)| self.at(index, phrase)) else { return };
        let after = index + phrase.split(' ').count();
        let linked = (after..self.len()).find(|it| !LINKS.iter().any(|link| self.at(*it, link))).unwrap_or(after);
        let follows = if *phrase == "as" { after } else { linked };
        let comes_before = matches!(slot, Slot::Namespace | Slot::Ref | Slot::Directory);
        let before = index.checked_sub(1).filter(|_| comes_before && self.value_at(follows).is_none());
        let word = || self.word_at(follows).filter(|_| TAKES_ANY_WORD.contains(phrase));
        let Some(place) = self.value_at(follows).or_else(|| before.and_then(|it| self.value_at(it))).or_else(word)
        else {
            return;
        };
        let text = self.words[place].text.clone();
        let known = self.fill(*slot, &text, action);
        if known {
            self.mark_used(place);
            self.mark_phrase_used(index, phrase);
        }
    }

    /// Takes a value for a fact; false when the word cannot have been meant as one.
    fn fill(&mut self, slot: Slot, text: &str, action: Option<Action>) -> bool {
        match slot {
            Slot::Namespace => self.values.namespace = self.checked(Namespace::parse(text)),
            Slot::Name => self.values.application_name = self.checked(DeploymentName::parse(text)),
            Slot::Ref if action == Some(Action::Rollback) => self.values.rollback_to = VersionRef::parse(text),
            Slot::Version if action == Some(Action::Rollback) => {
                self.values.rollback_to = VersionRef::parse(text);
                return self.values.rollback_to.is_some();
            }
            Slot::Ref | Slot::Version => self.git_ref(text),
            Slot::Port => {
                self.values.container_port = text.parse::<Port>().ok();
                if self.values.container_port.is_none() {
                    self.problem.get_or_insert_with(|| format!("`{text}` is not a port from 1 to 65535"));
                }
            }
            Slot::Target if text.chars().all(|c| c.is_ascii_digit()) => return false,
            Slot::Target => self.values.target_name = self.checked(TargetName::parse(text)),
            Slot::Key => self.values.key_pair = self.checked(KeyPairName::parse(text)),
            Slot::Zone => self.values.zone = self.checked(HostedZoneId::parse(text)),
            Slot::Label => self.values.label = self.checked(SubdomainLabel::parse(text)),
            Slot::Directory => self.values.source_directory = self.checked(SourceDirectory::parse(text)),
            Slot::Dockerfile => self.values.dockerfile = self.checked(DockerfilePath::parse(text)),
            Slot::Token => self.values.git_token = Some(SecretString::from(text)),
            Slot::Address => self.values.public_ip = text.parse().ok(),
            Slot::Tail => return false,
        }
        true
    }

    /// What stands after "in" and "to": a namespace, a version, or a place that nobody knows.
    fn places(&mut self, action: Option<Action>) {
        for index in 1..self.len() {
            let Some(place) = self.value_at(index) else { continue };
            let text = self.words[place].text.clone();
            if self.at(index - 1, "in") && self.values.namespace.is_none() {
                if let Ok(namespace) = Namespace::parse(text.to_lowercase()) {
                    self.values.namespace = Some(namespace);
                    self.mark_used(place);
                }
            } else if self.at(index - 1, "to") {
                match action {
                    Some(Action::Redeploy) if self.values.git_ref.is_none() => {
                        self.git_ref(&text);
                        self.mark_used(place);
                    }
                    Some(Action::Rollback) if self.values.rollback_to.is_none() => {
                        self.values.rollback_to = VersionRef::parse(&text);
                        if self.values.rollback_to.is_some() {
                            self.mark_used(place);
                        }
                    }
                    Some(Action::Deploy) => {
                        let modes = Mode::ALL.iter().map(|mode| format!("`{mode}`")).collect::<Vec<_>>().join(", ");
                        self.problem.get_or_insert_with(|| format!("`{text}` is not a place to deploy to ({modes})"));
                    }
                    Some(
                        Action::Redeploy
                        | Action::Rollback
                        | Action::Scale
                        | Action::Restart
                        | Action::Decommission
                        | Action::Status
                        | Action::List
                        | Action::Logs
                        | Action::Cancel
                        | Action::Undo
                        | Action::Cost,
                    )
                    | None => {}
                }
            }
        }
    }

    /// The name that follows a verb: "scale my-app", "take the web app down".
    pub(super) fn name_after(&mut self, after: usize, action: Action) {
        if action == Action::Deploy {
            return;
        }
        let skipped = ["the", "my", "our", "down", "back", "app", "application", "deployment", "service"];
        let first =
            (after..self.len()).find(|it| self.is_name_at(*it) || !skipped.iter().any(|word| self.at(*it, word)));
        if let Some(place) = first.and_then(|it| self.value_at(it)) {
            self.application_name(place);
        }
    }

    /// The name in "status of web" and "logs for the web app".
    pub(super) fn names_after_prepositions(&mut self) {
        for index in 1..self.len() {
            let article = usize::from(self.at(index - 1, "the") || self.at(index - 1, "my"));
            let before = (index - 1).checked_sub(article).filter(|_| index > article);
            let led =
                before.is_some_and(|it| ["of", "for", "from", "is", "does", "did"].iter().any(|w| self.at(it, w)));
            if let Some(place) = self.value_at(index).filter(|_| led) {
                self.application_name(place);
            }
        }
    }

    /// Whether the sentence says what not to do, or what is not so.
    pub(super) fn is_negated(&self) -> bool {
        (0..self.len()).any(|index| {
            let is_answer = index == 0 && self.at(0, "no") && self.words[0].ends_clause;
            !self.used[index] && !is_answer && NEGATIONS.iter().any(|it| self.at(index, it))
        })
    }

    /// The name in "status web" and "describe web"; that of something deployed also in "web is down".
    pub(super) fn lone_name(&mut self, start: usize) {
        let first = if self.is_name_at(start) { start } else { start + 1 };
        let mut places = (first..self.len()).filter(|it| self.value_at(*it).is_some());
        if let (Some(place), None) = (places.next(), places.next()) {
            self.application_name(place);
        }
    }

    /// Takes a word as the name of a deployment that is there, so upper case is only the beginning of a sentence.
    fn application_name(&mut self, place: usize) {
        if self.values.application_name.is_some() || self.values.target_name.is_some() {
            return;
        }
        let lower = self.words[place].lower.clone();
        let own = ["dep_", "appcl-", "appeks-"].iter().any(|prefix| lower.starts_with(prefix));
        if let Some(name) = DeploymentName::parse(lower.as_str()).ok().filter(|_| !own) {
            self.values.application_name = Some(name);
        } else if let Ok(id) = TargetName::parse(self.words[place].text.as_str()) {
            self.values.target_name = Some(id);
        } else {
            return;
        }
        self.mark_used(place);
    }

    /// The place, when an unexplained word stands there that may be a value.
    fn value_at(&self, index: usize) -> Option<usize> {
        let word = self.words.get(index)?;
        let may_be_value = word.quoted || !is_vocabulary(&word.lower) || self.is_name(word);
        (!self.used[index] && may_be_value && word.lower != "\u{2026}").then_some(index)
    }

    /// A word that means something else elsewhere, and is a value where one has to follow: "branch crash", "as site".
    fn word_at(&self, index: usize) -> Option<usize> {
        let word = self.words.get(index)?;
        let is_structure = FUNCTION_WORDS.contains(&word.lower.as_str()) || AFTER_AS.contains(&word.lower.as_str());
        (!self.used[index] && !is_structure && word.lower != "\u{2026}").then_some(index)
    }

    /// Whether the name of something deployed stands at a place.
    pub(super) fn is_name_at(&self, index: usize) -> bool {
        self.words.get(index).is_some_and(|word| self.is_name(word))
    }

    /// Whether something deployed has this name. Words without which no sentence can be read are none.
    fn is_name(&self, word: &Word) -> bool {
        !FUNCTION_WORDS.contains(&word.lower.as_str()) && self.names.iter().any(|name| name.as_str() == word.lower)
    }

    fn mark_used(&mut self, index: usize) {
        self.used[index] = true;
        self.has_values = true;
    }

    fn checked<T>(&mut self, parsed: Result<T, IdError>) -> Option<T> {
        parsed.map_err(|error| self.problem.get_or_insert_with(|| error.to_string())).ok()
    }
}

/// A number in digits or in words.
pub(super) fn number(word: &str) -> Option<u32> {
    let digits = !word.is_empty() && word.bytes().all(|b| b.is_ascii_digit());
    if digits {
        return Some(word.parse().unwrap_or(u32::MAX));
    }
    NUMBERS.iter().find(|(it, _)| *it == word).map(|(_, number)| *number)
}

/// The text of an address of a repository, with the scheme that people leave out.
fn repository_text(text: &str) -> Option<String> {
    let known = ["github.com/", "gitlab.com/", "bitbucket.org/", "www.github.com/"];
    let lower = text.to_lowercase();
    let short = || text.split_once('@').is_some_and(|(user, rest)| !user.is_empty() && rest.contains(':'));
    if known.iter().any(|host| lower.starts_with(host)) {
        return Some(format!("https://{text}"));
    }
    (lower.contains("://") || (short() && text.contains('/'))).then(|| text.to_owned())
}

/// A word that is an IP address of another machine.
fn address(text: &str) -> Option<IpAddr> {
    text.parse::<IpAddr>().ok().filter(|ip| !ip.is_loopback() && !ip.is_unspecified())
}

/// `NAME=value` with a name in capitals.
fn variable(text: &str) -> Option<(EnvironmentName, &str)> {
    let (name, value) = text.split_once('=')?;
    let in_capitals = name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_');
    EnvironmentName::parse(name).ok().filter(|_| in_capitals).map(|name| (name, value))
}
