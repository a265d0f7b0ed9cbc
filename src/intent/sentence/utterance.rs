//! One message to what it says: the action, the facts, and whatever forbids to act on it.

use std::net::IpAddr;

use crate::id::{Action, EnvironmentName};
use crate::intent::Limits;
use crate::intent::partial::PartialRequest;
use crate::intent::question::Unclear;

use super::extractor::Extractor;
use super::verb::{AFTER_NOUN, VERBS, Verb};
use super::vocabulary::{
    ADVICE, CONDITIONS, EARLIER, FAILURE_WORDS, FILLERS, NEGATIONS, NEWER, NOUNS, OPENERS, Opener, PLAN_ONLY, PLURALS,
    PRONOUNS, SECOND_THOUGHTS, WORK,
};
use super::word::{Sentence, sentences};

/// A longer message tells a story; only its first sentence, or one with a "please", is a command.
const LONG: usize = 40;

/// What one message says.
#[derive(Debug, Clone, Default)]
pub(super) struct Utterance {
    /// What to do.
    pub action: Option<Action>,
    /// The facts in it.
    pub facts: PartialRequest,
    /// The facts say at least one thing.
    pub has_values: bool,
    /// Why nothing may be done, although there is an action.
    pub refusal: Option<Unclear>,
    /// A value that cannot be right.
    pub problem: Option<String>,
    /// What else the manner of speaking says.
    pub cues: Vec<Cue>,
    /// Lone words that may answer a question.
    pub words: Vec<String>,
}

/// What a message says besides actions and facts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cue {
    /// Asks about the server, or for advice.
    AsksForHelp,
    /// Wants the last action once more.
    Again,
    /// Takes back what was asked for.
    Withdrawal,
    /// Says yes.
    Yes,
    /// Takes back what the same message said before.
    SecondThought,
}

impl Utterance {
    pub(super) fn has(&self, cue: Cue) -> bool {
        self.cues.contains(&cue)
    }
}

/// What one sentence says.
#[derive(Debug, Default)]
struct ParsedSentence {
    actions: Vec<Action>,
    heard: Utterance,
    polite: bool,
}

/// Reads one message.
pub(super) fn parse_utterance(text: &str, limits: Limits) -> Utterance {
    let sentences = sentences(text);
    let long = sentences.iter().map(|it| it.words.len()).sum::<usize>() > LONG;
    let mut whole = Utterance::default();
    let mut actions: Vec<Action> = Vec::new();
    for (index, sentence) in sentences.iter().enumerate() {
        let said = parse_sentence(sentence, limits);
        if long && (said.actions.is_empty() || index > 0 && !said.polite) {
            continue;
        }
        let ParsedSentence { actions: found, heard, .. } = said;
        actions.extend(found);
        if whole.facts.repository.is_some()
            && heard.facts.repository.is_some()
            && whole.facts.repository != heard.facts.repository
        {
            whole.refusal = whole.refusal.or(Some(Unclear::Several));
        }
        whole.facts = whole.facts.or(heard.facts);
        whole.has_values |= heard.has_values;
        whole.refusal = whole.refusal.or(heard.refusal);
        whole.problem = whole.problem.or(heard.problem);
        whole.cues.extend(heard.cues);
        whole.words.extend(heard.words);
    }
    if let Ok(action) = single_action(&actions) {
        whole.action = action;
    } else {
        whole.action = actions.first().copied();
        whole.refusal = Some(Unclear::Several);
    }
    if whole.has(Cue::SecondThought) && whole.action.is_some_and(Action::changes) {
        whole.refusal = whole.refusal.or(Some(Unclear::Negated));
    }
    if !whole.action.is_some_and(Action::changes) {
        whole.refusal = whole.refusal.filter(|_| whole.action.is_none());
    }
    whole
}

/// The one action of several mentions. Looking comes with a change for free, and a first count belongs to a deploy.
fn single_action(actions: &[Action]) -> Result<Option<Action>, ()> {
    let mut changing: Vec<Action> = actions.iter().copied().filter(|it| it.changes()).collect();
    changing.dedup_by(|a, b| *a == Action::Deploy && *b == Action::Deploy);
    match changing.as_slice() {
        [] => Ok(actions.first().copied()),
        [only] => Ok(Some(*only)),
        [Action::Deploy, Action::Scale] => Ok(Some(Action::Deploy)),
        _ => Err(()),
    }
}

/// Reads one sentence.
fn parse_sentence(sentence: &Sentence, limits: Limits) -> ParsedSentence {
    let mut reader = Extractor::new(&sentence.words);
    let commands = commands(&mut reader);
    let mut said = ParsedSentence { polite: commands.are_polite(), ..ParsedSentence::default() };
    said.actions = commands.found.iter().map(|(verb, _)| verb.action).collect();
    let main = said.actions.first().copied();
    if main.is_none() {
        said.actions.extend(query_action(&reader, commands.start));
        if ADVICE.iter().any(|phrase| reader.at(commands.start, phrase)) {
            said.heard.cues.push(Cue::AsksForHelp);
            said.actions.retain(|action| *action == Action::Logs);
        }
    }
    reader.extract(main, said.actions.contains(&Action::Scale), limits);
    for (verb, after) in &commands.found {
        reader.name_after(*after, verb.action);
    }
    if main != Some(Action::Deploy) {
        if !said.actions.is_empty() {
            reader.names_after_prepositions();
        }
        if main.is_none() && matches!(said.actions.first(), Some(Action::Status | Action::Logs)) {
            reader.lone_name(commands.start);
        }
    }
    if commands.dry_run || reader.has_any(PLAN_ONLY) {
        reader.facts.dry_run = Some(true);
    }
    if commands.found.iter().any(|(verb, _)| verb.needs_object)
        && reader.facts.repository.is_none()
        && !reader.has_pronoun()
    {
        said.actions.clear();
    }
    said.heard.cues.extend(cues(&reader));
    let is_short = reader.len() <= 4 && commands.found.is_empty();
    if is_short && (reader.has_any(SECOND_THOUGHTS) || reader.len() <= 3 && reader.is_negated()) {
        said.heard.cues.push(Cue::SecondThought);
    }
    said.heard.refusal = refusal(&reader, &commands, sentence);
    let is_question = sentence.question && commands.can_you && !commands.please && !reader.is_concrete();
    if is_question && said.actions.iter().copied().any(Action::changes) {
        said.actions.clear();
        said.heard.cues.push(Cue::AsksForHelp);
    }
    if said.actions.is_empty() && said.heard.refusal.is_none() && reader.is_negated() {
        return said; // facts that are said not to be so
    }
    said.heard.words = reader.unused().map(|word| word.text.clone()).collect();
    said.heard.has_values = reader.has_values;
    said.heard.problem = reader.problem.take();
    said.heard.facts = reader.facts;
    said
}

/// The commands of a sentence and the manner in which they are given.
#[derive(Debug, Default)]
struct Commands {
    found: Vec<(&'static Verb, usize)>,
    /// Where the first clause begins after its fillers.
    start: usize,
    please: bool,
    can_you: bool,
    dry_run: bool,
}

impl Commands {
    fn are_polite(&self) -> bool {
        self.please || self.can_you
    }
}

/// "Again", "never mind" and "yes" in a sentence of few words.
fn cues(reader: &Extractor<'_>) -> Vec<Cue> {
    let table: [(Cue, usize, &[&str]); 3] = [
        (Cue::Again, usize::MAX, &["again", "retry", "once more"]),
        (Cue::Withdrawal, 3, &["no", "nope", "nothing", "nevermind"]),
        (Cue::Yes, 5, &["yes", "go ahead", "do it", "for real", "proceed"]),
    ];
    table
        .into_iter()
        .filter(|(_, longest, phrases)| reader.len() <= *longest && reader.has_any(phrases))
        .map(|(cue, ..)| cue)
        .collect()
}

/// Finds the verbs that stand where a command has its verb: at the beginning of a clause, after fillers.
fn commands(reader: &mut Extractor<'_>) -> Commands {
    let mut commands = Commands::default();
    for start in 0..reader.len() {
        if !reader.begins_clause(start) {
            continue;
        }
        let mut at = start;
        while let Some((phrase, opener)) = OPENERS.iter().find(|(phrase, _)| reader.at(at, phrase)) {
            reader.mark_phrase_used(at, phrase);
            at += phrase.split(' ').count();
            match opener {
                Opener::Filler => {}
                Opener::Please => commands.please = true,
                Opener::CanYou => commands.can_you = true,
                Opener::DryRun => {
                    commands.dry_run = true;
                    if phrase.starts_with("what") && (["i", "we", "you"].iter().any(|it| reader.at(at, it))) {
                        reader.mark_phrase_used(at, "i");
                        at += 1;
                    }
                }
            }
        }
        if start == 0 {
            commands.start = at;
        }
        if let Some(verb) = VERBS.iter().find(|verb| is_verb(reader, at, verb)) {
            reader.mark_phrase_used(at, verb.words);
            let after = at + verb.words.split(' ').count();
            if commands.found.last().is_none_or(|(_, last)| *last != after) {
                commands.found.push((verb, after));
            }
        }
    }
    commands.please |= reader.has_any(&["please", "pls"]);
    commands
}

/// Whether a verb stands at a place, with its particle and without the signs that it is a noun there.
fn is_verb(reader: &Extractor<'_>, at: usize, verb: &Verb) -> bool {
    let after = at + verb.words.split(' ').count();
    reader.at(at, verb.words)
        && !AFTER_NOUN.iter().any(|noun| reader.at(after, noun))
        && verb.particle.is_none_or(|particles| {
            let end = reader.clause_end(after);
            let has_address = (after..end).any(|index| reader.is_address(index));
            let of_known = matches!(verb.action, Action::Redeploy | Action::Scale);
            !(has_address && of_known)
                && (after..end).any(|index| particles.iter().any(|particle| reader.at(index, particle)))
        })
}

/// Why a sentence must not be acted on, although it may hold a verb.
fn refusal(reader: &Extractor<'_>, commands: &Commands, sentence: &Sentence) -> Option<Unclear> {
    let main = commands.found.first().map(|(verb, _)| verb.action);
    let has_verb = (0..reader.len()).any(|index| VERBS.iter().any(|verb| is_verb(reader, index, verb)));
    if !has_verb {
        return None;
    }
    let keeps = reader.facts.keep_target == Some(true);
    if reader.is_negated() && !(keeps && reader.find("without").is_some()) {
        return Some(Unclear::Negated);
    }
    let main = main?;
    let last = reader.len().saturating_sub(1);
    let conditional = (0..reader.len()).any(|index| {
        let is_version = index == last && reader.at(index, "before");
        let is_repeat = reader.at(index, "once more");
        let is_open = !(reader.is_used(index) || is_version || is_repeat);
        is_open && CONDITIONS.iter().any(|it| reader.at(index, it))
    });
    if conditional {
        return Some(Unclear::Conditional);
    }
    if sentence.question && !commands.are_polite() && !commands.dry_run {
        return Some(Unclear::IsQuestion);
    }
    let names_several = main != Action::Deploy && PLURALS.iter().any(|it| reader.find(it).is_some());
    if names_several || reader.is_ambiguous {
        return Some(Unclear::Several);
    }
    let strict = match main {
        Action::Decommission => reader.is_doubtful(&[]) || reader.has_details(),
        Action::Rollback => reader.is_doubtful(EARLIER) || reader.has_details(),
        Action::Redeploy => reader.is_doubtful(NEWER),
        Action::Cancel => reader.is_doubtful(WORK),
        Action::Scale => reader.unused_after_and(),
        Action::Deploy | Action::Status | Action::List | Action::Logs => false,
    };
    strict.then_some(Unclear::Doubtful(main))
}

/// The action of a sentence that only looks: what runs, how it is, what it printed.
fn query_action(reader: &Extractor<'_>, start: usize) -> Option<Action> {
    let starts = |phrases: &[&str]| phrases.iter().any(|phrase| reader.at(start, phrase));
    let asks = starts(&[
        "what", "what's", "whats", "which", "is", "are", "was", "anything", "list", "show", "tell me", "give me",
        "get", "see", "display", "who", "how many",
    ]);
    let lines = reader.has_any(&["lines"]) && reader.has_number();
    if lines || starts(&["tail", "follow"]) || (reader.len() <= 15 && reader.has_any(&["log", "logs", "output"])) {
        return Some(Action::Logs);
    }
    let plural = reader.has_any(&["deployments", "apps", "applications", "services", "everything", "all"]);
    if starts(&["list", "ls"]) || asks && plural {
        return Some(Action::List);
    }
    let what = starts(&["what", "what's", "whats", "which", "anything", "is anything", "tell me what", "show me what"])
        || starts(&["show what", "show me which", "show running", "how many"]);
    if what && reader.has_any(&["running", "deployed", "runs", "up", "live", "there", "have"]) {
        return Some(Action::List);
    }
    // The list says what each costs.
    if (what || starts(&["how much"])) && reader.has_any(&["pay", "paying", "cost", "costs", "bill", "spend"]) {
        return Some(Action::List);
    }
    let state = ["status", "state", "health", "healthy", "progress", "url", "address"];
    let how = ["how is", "how's", "hows", "where is", "where's", "describe", "check", "inspect", "show"];
    let is_it = starts(&["is", "are", "was", "did", "has"])
        && reader.has_any(&[
            "running",
            "up",
            "ok",
            "okay",
            "ready",
            "healthy",
            "alive",
            "done",
            "finished",
            "deployed",
            "working",
            "online",
            "there",
            "live",
            "reachable",
            "succeed",
            "work",
        ]);
    let trouble =
        reader.has_any(FAILURE_WORDS) || reader.find("not work").is_some() || reader.find("not working").is_some();
    let broken = trouble || reader.find("doesn't work").is_some() || reader.find("isn't working").is_some();
    if (reader.len() <= 15 && reader.has_any(&state)) || starts(&how) || is_it || broken {
        return Some(Action::Status);
    }
    None
}

impl Extractor<'_> {
    /// Whether the sentence names what it is about, or points to it.
    fn is_concrete(&self) -> bool {
        self.facts.repository.is_some()
            || self.facts.application_name.is_some()
            || self.facts.replicas.is_some()
            || self.facts.target_name.is_some()
            || self.has_pronoun()
    }

    /// Facts about a part of a deployment, such as a port: the deployment as a whole was not meant then.
    fn has_details(&self) -> bool {
        let facts = &self.facts;
        facts.git_ref.is_some()
            || facts.container_port.is_some()
            || facts.dockerfile.is_some()
            || facts.environment.is_some()
            || facts.replicas.is_some()
            || (facts.key_pair.is_some() && !self.is_concrete())
            || facts.label.is_some()
            || facts.zone.is_some()
    }

    fn has_pronoun(&self) -> bool {
        self.has_any(PRONOUNS)
    }
}

/// A word that may stand for a value: not one of the vocabulary.
pub(super) fn is_vocabulary(low: &str) -> bool {
    [FILLERS, NOUNS, NEGATIONS, CONDITIONS, FAILURE_WORDS, PLURALS].iter().any(|words| words.contains(&low))
}

/// A word that is an IP address of another machine.
pub(super) fn address(text: &str) -> Option<IpAddr> {
    text.parse::<IpAddr>().ok().filter(|ip| !ip.is_loopback() && !ip.is_unspecified())
}

/// `NAME=value` with a name in capitals.
pub(super) fn variable(text: &str) -> Option<(EnvironmentName, &str)> {
    let (name, value) = text.split_once('=')?;
    let in_capitals = name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_');
    EnvironmentName::parse(name).ok().filter(|_| in_capitals).map(|name| (name, value))
}
