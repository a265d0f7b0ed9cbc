//! Plain sentences to a request, without a model: a small grammar over words, and the memory of one conversation.
//!
//! The last message of the person carries the action; their earlier ones supply what it leaves out. What the assistant
//! said is never read: it may repeat text from elsewhere. Whatever may be meant otherwise (a question, a negation, a
//! condition, a story, two things at once) changes nothing: a person who says it in plain words loses a second, a
//! deployment that was taken down by mistake is gone.

use crate::id::{Action, DeploymentName, HostedZoneId, KeyPairName, RepositoryUrl, SubdomainLabel, TargetName};

use super::partial::{MissingField, PartialRequest};
use super::question::{Question, Unclear};
use super::{Limits, Request, Selector, Source};

mod agreement;
mod extractor;
#[cfg(test)]
mod tests;
mod utterance;
mod verb;
mod vocabulary;
mod word;

pub use agreement::{Agreement, agreement};
use utterance::{Cue, Utterance, parse_utterance};

/// Earlier messages of the person beyond this many are not read.
const MAX_TURNS: usize = 50;

/// Who said something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The person.
    User,
    /// This server.
    Assistant,
    /// The client's instructions (also `developer`).
    System,
    /// A program (also `function`).
    Tool,
}

/// One message of a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Turn<'a> {
    /// Who said it.
    pub role: Role,
    /// What was said.
    pub text: &'a str,
}

/// What a conversation comes to.
#[derive(Debug, Clone)]
#[expect(clippy::large_enum_variant, reason = "a reading is made once per request and taken apart at once")]
pub enum Reading {
    /// Something to do.
    Request(Request),
    /// Words that only say which deployment is meant: the answer to a question about what was said before, if that did
    /// not say which.
    Choice {
        /// What was said before, for the deployment that is named now.
        request: Box<Request>,
        /// The deployment as it was named before.
        before: Selector,
        /// What else they may mean; nothing without it.
        otherwise: Option<Box<Request>>,
    },
    /// Something to do, but not everything that it takes is known.
    Question(Question),
    /// A question about this server.
    Help,
    /// Nothing that can be acted on.
    Unclear(Unclear),
}

/// Reads a conversation; `fields` are the explicit ones of the request, which complete what is said. `names` are those of
/// what is deployed: such a word is a name before it is anything else.
#[must_use]
pub fn read(turns: &[Turn<'_>], fields: &PartialRequest, limits: &Limits, names: &[DeploymentName]) -> Reading {
    let said: Vec<&str> = turns.iter().filter(|turn| turn.role == Role::User).map(|turn| turn.text).collect();
    let mut dialogue = DialogueState::new(fields, limits, names);
    let mut reading = Reading::Help;
    for text in &said[said.len().saturating_sub(MAX_TURNS)..] {
        reading = dialogue.next_utterance(parse_utterance(text, *limits, names));
    }
    reading
}

/// What is remembered of a conversation.
#[derive(Debug)]
struct DialogueState<'a> {
    fields: &'a PartialRequest,
    limits: &'a Limits,
    names: &'a [DeploymentName],
    /// The deployment that was spoken of last.
    known: PartialRequest,
    /// What was said without an action ("here is my repository").
    unattached: PartialRequest,
    /// The action that waits for an answer.
    pending: Option<Pending>,
    /// The last action that was complete.
    last: Option<(Action, PartialRequest)>,
    /// The last deploy, to do it again after it was taken down.
    deploy: Option<PartialRequest>,
    removed: bool,
}

/// An action that waits for an answer.
#[derive(Debug, Clone)]
struct Pending {
    action: Action,
    values: PartialRequest,
    /// What could not be right; it stays until something else is said.
    problem: Option<String>,
}

impl<'a> DialogueState<'a> {
    fn new(fields: &'a PartialRequest, limits: &'a Limits, names: &'a [DeploymentName]) -> Self {
        Self {
            fields,
            limits,
            names,
            known: PartialRequest::default(),
            unattached: PartialRequest::default(),
            pending: None,
            last: None,
            deploy: None,
            removed: false,
        }
    }

    /// Takes the next message of the person.
    fn next_utterance(&mut self, utterance: Utterance) -> Reading {
        // While a question is open nothing was done that could be cancelled or undone.
        let takes_back = matches!(utterance.action, Some(Action::Cancel | Action::Undo));
        if self.pending.is_some() && (utterance.has(Cue::Withdrawal) || takes_back) {
            self.pending = None;
            return Reading::Unclear(Unclear::Withdrawn);
        }
        if let Some(refusal) = utterance.refusal {
            // "Delete web?" does nothing, but a later "it" is web.
            if utterance.values.application_name.is_some()
                || utterance.values.target_name.is_some()
                || utterance.values.repository.is_some()
            {
                self.known = self.resolve(Action::Status, utterance.values).identifying();
            }
            return Reading::Unclear(refusal);
        }
        match utterance.action {
            Some(action) => self.act(action, utterance),
            None => self.follow_up(utterance),
        }
    }

    /// A message with an action.
    fn act(&mut self, action: Action, utterance: Utterance) -> Reading {
        let Utterance { values, problem, .. } = utterance;
        let problem = problem.filter(|_| action.changes()).or_else(|| values.contradiction(self.fields));
        if let Some(before) = self.pending.take_if(|pending| pending.action == action) {
            return self.complete(action, values.or_earlier(before.values), problem);
        }
        let values = self.resolve(action, values);
        if action == Action::Redeploy
            && self.removed
            && let Some(deploy) = self.deploy.clone()
        {
            return self.complete(Action::Deploy, values.or_earlier(deploy), problem);
        }
        self.complete(action, values, problem)
    }

    /// Adds what was said before to the values of a new action, as far as they speak of the same thing.
    fn resolve(&mut self, action: Action, mut values: PartialRequest) -> PartialRequest {
        if values.all == Some(true) {
            return values;
        }
        let known = self.known.clone();
        let is_exact = values.application_name.as_ref().is_some_and(|name| self.names.contains(name));
        let calls_by_repository = !is_exact
            && known.application_name.is_none()
            && known
                .repository
                .as_ref()
                .zip(values.application_name.as_ref())
                .is_some_and(|(it, name)| it.name() == name.as_str());
        if calls_by_repository && action != Action::Deploy {
            values.application_name = None;
        }
        let differs = |a: Option<String>, b: Option<String>| a.is_some() && a != b;
        let other_repository = differs(
            values.repository.as_ref().map(RepositoryUrl::identity),
            known.repository.as_ref().map(RepositoryUrl::identity),
        );
        let other_name = differs(
            values.application_name.as_ref().map(ToString::to_string),
            known.application_name.map(|it| it.to_string()),
        ) || differs(
            values.target_name.as_ref().map(ToString::to_string),
            known.target_name.as_ref().map(ToString::to_string),
        );
        match action {
            Action::List => values,
            Action::Deploy => {
                let unattached = std::mem::take(&mut self.unattached);
                let same = self.known.clone();
                let rest = if other_repository {
                    PartialRequest { mode: same.mode, key_pair: same.key_pair, ..PartialRequest::default() }
                } else {
                    same
                };
                values.or_earlier(unattached).or_earlier(rest)
            }
            Action::Redeploy
            | Action::Scale
            | Action::Restart
            | Action::Rollback
            | Action::Decommission
            | Action::Status
            | Action::Logs
            | Action::Cancel
            | Action::Undo
            | Action::Cost => {
                if other_repository || other_name {
                    values
                } else {
                    let asked = self.pending.as_ref().map(|pending| pending.values.identifying()).unwrap_or_default();
                    let unattached = self.unattached.identifying();
                    values.or_earlier(unattached).or_earlier(asked).or_earlier(self.known.clone())
                }
            }
        }
    }

    /// A message without an action: an answer, "again", or something said in passing.
    fn follow_up(&mut self, utterance: Utterance) -> Reading {
        if utterance.has(Cue::AsksForHelp) {
            return Reading::Help;
        }
        if let Some(Pending { action, values: before, problem }) = self.pending.clone() {
            let missing = self.missing(action, &before);
            let agrees = utterance.has(Cue::Yes);
            let answers =
                slot_answers(&missing, &utterance.words, *self.limits).or(utterance.values).or_earlier(before);
            let is_answered = utterance.has_values || self.missing(action, &answers).len() < missing.len();
            let is_agreed = missing.is_empty() && problem.is_none() && agrees;
            let problem = utterance.problem.or(problem.filter(|_| !is_answered));
            if !is_answered && !is_agreed {
                return self.ask(action, answers, problem);
            }
            return self.complete(action, answers, problem);
        }
        if utterance.has(Cue::Again)
            && let Some((action, values)) = self.last.clone()
        {
            return self.complete(action, utterance.values.or_earlier(values), utterance.problem);
        }
        if utterance.has(Cue::Yes)
            && let Some((action, values)) = self.last.clone().filter(|(_, values)| values.dry_run == Some(true))
        {
            return self.complete(action, PartialRequest { dry_run: None, ..values }, None);
        }
        if let Some(reading) = self.choice(&utterance) {
            return reading;
        }
        if utterance.values.repository.is_some() && utterance.words.is_empty() {
            let values = self.resolve(Action::Deploy, utterance.values);
            return self.ask(Action::Deploy, values, utterance.problem);
        }
        self.unattached = utterance.values.or_earlier(std::mem::take(&mut self.unattached));
        if utterance.words.is_empty() && !utterance.has_values {
            Reading::Help
        } else {
            Reading::Unclear(Unclear::NotUnderstood)
        }
    }

    /// The answer to "which one?": the name of a deployment, or where it is, and nothing else.
    fn choice(&mut self, utterance: &Utterance) -> Option<Reading> {
        let mut chosen = utterance.values.identifying();
        let name = match utterance.words.as_slice() {
            [] => None,
            [word] => Some(self.names.iter().find(|name| *name.as_str() == word.to_lowercase())?.clone()),
            _ => return None,
        };
        let is_named = name.is_some();
        chosen.application_name = name.or(chosen.application_name);
        if chosen.selector() == Selector::default() || chosen.repository.is_some() {
            return None;
        }
        let status = if is_named { self.request(Action::Status, chosen.clone()) } else { None };
        let (action, before) = match self.last.clone() {
            Some((Action::Deploy | Action::List, _)) | None => {
                let status = status?;
                self.remember(Action::Status, chosen);
                return Some(Reading::Request(status));
            }
            Some(last) => last,
        };
        let values = chosen.clone().or(before.clone());
        let request = self.request(action, values.clone())?;
        // Whether it counts is not known here: "again" goes on to mean what was said whole.
        self.known = if is_named { chosen } else { values.identifying() };
        Some(Reading::Choice { request: Box::new(request), before: before.selector(), otherwise: status.map(Box::new) })
    }

    fn request(&self, action: Action, values: PartialRequest) -> Option<Request> {
        self.fields.clone().or(values).request(action, Source::Sentence, self.limits).ok()
    }

    /// Makes the request, or the question for what is missing.
    fn complete(&mut self, action: Action, values: PartialRequest, problem: Option<String>) -> Reading {
        let whole = self.fields.clone().or(values.clone());
        match whole.request(action, Source::Sentence, self.limits) {
            Ok(request) if problem.is_none() => {
                self.remember(action, values);
                Reading::Request(request)
            }
            Ok(_) | Err(_) => self.ask(action, values, problem),
        }
    }

    /// Asks for what is missing, and keeps what is known until the answer.
    fn ask(&mut self, action: Action, values: PartialRequest, problem: Option<String>) -> Reading {
        let missing = self.missing(action, &values);
        self.pending = Some(Pending { action, values, problem: problem.clone() });
        Reading::Question(Question { action, missing, problem })
    }

    fn missing(&self, action: Action, values: &PartialRequest) -> Vec<MissingField> {
        self.fields.clone().or(values.clone()).missing(action, Source::Sentence, self.limits)
    }

    fn remember(&mut self, action: Action, values: PartialRequest) {
        if action.changes() {
            self.pending = None;
        }
        match action {
            Action::List => {}
            Action::Deploy => {
                self.removed = false;
                self.deploy = Some(values.clone());
                self.known = values.identifying();
            }
            Action::Decommission => {
                self.removed = true;
                self.known = values.identifying();
            }
            Action::Redeploy
            | Action::Scale
            | Action::Restart
            | Action::Rollback
            | Action::Status
            | Action::Logs
            | Action::Cancel
            | Action::Undo
            | Action::Cost => {
                self.known = values.identifying();
            }
        }
        self.last = Some((action, values));
    }
}

/// Lone words as the answers to what was asked, in the order of the question.
fn slot_answers(missing: &[MissingField], words: &[String], limits: Limits) -> PartialRequest {
    let mut values = PartialRequest::default();
    let mut words = words.iter();
    for need in missing {
        match need {
            MissingField::Mode | MissingField::Repository | MissingField::Credentials => {}
            MissingField::KeyPair => values.key_pair = words.next().and_then(|it| KeyPairName::parse(it.as_str()).ok()),
            MissingField::Zone => values.zone = words.next().and_then(|it| HostedZoneId::parse(it.as_str()).ok()),
            MissingField::Label => values.label = words.next().and_then(|it| SubdomainLabel::parse(it.as_str()).ok()),
            MissingField::Target => {
                values.target_name = words.next().and_then(|it| TargetName::parse(it.as_str()).ok());
            }
            MissingField::Replicas => {
                values.replicas = words
                    .next()
                    .and_then(|it| extractor::number(&it.to_lowercase()))
                    .and_then(|it| u16::try_from(it).ok())
                    .filter(|it| *it <= limits.max_replicas);
            }
        }
    }
    values
}
