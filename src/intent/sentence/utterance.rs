//! One message to what it says: the action, the values, and whatever forbids to act on it.

use crate::id::{Action, DeploymentName};
use crate::intent::Limits;
use crate::intent::partial::PartialRequest;
use crate::intent::question::Unclear;

use super::extractor::Extractor;
use super::verb::{AFTER_NOUN, VERBS, Verb};
use super::vocabulary::{
    ADVICE, ALL, CHANGES, CONDITIONS, COSTS, EARLIER, FAILURE_WORDS, NEWER, OPENERS, Opener, PLAN_ONLY, PLURALS, PODS,
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
    /// The values in it.
    pub values: PartialRequest,
    /// Whether it holds at least one value.
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

/// What a message says besides actions and values.
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
    utterance: Utterance,
    polite: bool,
}

/// Reads one message.
pub(super) fn parse_utterance(text: &str, limits: Limits, names: &[DeploymentName]) -> Utterance {
    let sentences = sentences(text);
    let long = sentences.iter().map(|it| it.words.len()).sum::<usize>() > LONG;
    let mut whole = Utterance::default();
    let mut actions: Vec<Action> = Vec::new();
    for (index, sentence) in sentences.iter().enumerate() {
        let parsed = parse_sentence(sentence, limits, names);
        if long && (parsed.actions.is_empty() || index > 0 && !parsed.polite) {
            continue;
        }
        let ParsedSentence { actions: found, utterance, .. } = parsed;
        actions.extend(found);
        if whole.values.repository.is_some()
            && utterance.values.repository.is_some()
            && whole.values.repository != utterance.values.repository
        {
            whole.refusal = whole.refusal.or(Some(Unclear::Several));
        }
        whole.values = whole.values.or(utterance.values);
        whole.has_values |= utterance.has_values;
        whole.refusal = whole.refusal.or(utterance.refusal);
        whole.problem = whole.problem.or(utterance.problem);
        whole.cues.extend(utterance.cues);
        whole.words.extend(utterance.words);
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

/// The one action of several mentions. Actions that only read are dropped beside one that changes; a deploy with a
/// scale is a deploy with that number of replicas; any other two changes are an error.
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
fn parse_sentence(sentence: &Sentence, limits: Limits, names: &[DeploymentName]) -> ParsedSentence {
    let mut extractor = Extractor::new(&sentence.words, names);
    let commands = commands(&mut extractor);
    let mut parsed = ParsedSentence { polite: commands.are_polite(), ..ParsedSentence::default() };
    parsed.actions = commands.found.iter().map(|(verb, _)| verb.action).collect();
    let main = parsed.actions.first().copied();
    if main.is_none() {
        parsed.actions.extend(query_action(&extractor, commands.start));
        if ADVICE.iter().any(|phrase| extractor.at(commands.start, phrase)) {
            parsed.utterance.cues.push(Cue::AsksForHelp);
            parsed.actions.retain(|action| matches!(action, Action::Logs | Action::Cost));
        }
    }
    extractor.extract(main, parsed.actions.contains(&Action::Scale), limits);
    for (verb, after) in &commands.found {
        extractor.name_after(*after, verb.action);
    }
    if main != Some(Action::Deploy) {
        if !parsed.actions.is_empty() {
            extractor.names_after_prepositions();
        }
        if main.is_none() && matches!(parsed.actions.first(), Some(Action::Status | Action::Logs | Action::Cost)) {
            extractor.lone_name(commands.start);
        }
    }
    if extractor.means_all(parsed.actions.first().copied()) {
        extractor.values.all = Some(true);
    }
    if commands.dry_run || extractor.has_any(PLAN_ONLY) {
        extractor.values.dry_run = Some(true);
    }
    if commands.found.iter().any(|(verb, _)| verb.needs_object)
        && extractor.values.repository.is_none()
        && !extractor.has_pronoun()
    {
        parsed.actions.clear();
    }
    parsed.utterance.cues.extend(cues(&extractor));
    let is_short = extractor.len() <= 4 && commands.found.is_empty();
    if is_short && (extractor.has_any(SECOND_THOUGHTS) || extractor.len() <= 3 && extractor.is_negated()) {
        parsed.utterance.cues.push(Cue::SecondThought);
    }
    parsed.utterance.refusal = refusal(&extractor, &commands, sentence);
    let is_question = sentence.question && commands.can_you && !commands.please && !extractor.is_concrete();
    if is_question && parsed.actions.iter().copied().any(Action::changes) {
        parsed.actions.clear();
        parsed.utterance.cues.push(Cue::AsksForHelp);
    }
    if parsed.actions.is_empty() && parsed.utterance.refusal.is_none() && extractor.is_negated() {
        return parsed; // values that are said not to be so
    }
    parsed.utterance.words = extractor.unused().map(|word| word.text.clone()).collect();
    parsed.utterance.has_values = extractor.has_values;
    parsed.utterance.problem = extractor.problem.take();
    parsed.utterance.values = extractor.values;
    parsed
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
fn cues(extractor: &Extractor<'_>) -> Vec<Cue> {
    let table: [(Cue, usize, &[&str]); 3] = [
        (Cue::Again, usize::MAX, &["again", "retry", "once more"]),
        (Cue::Withdrawal, 3, &["no", "nope", "nothing", "nevermind"]),
        (Cue::Yes, 5, &["yes", "go ahead", "do it", "for real", "proceed"]),
    ];
    table
        .into_iter()
        .filter(|(_, longest, phrases)| extractor.len() <= *longest && extractor.has_any(phrases))
        .map(|(cue, ..)| cue)
        .collect()
}

/// Finds the verbs that stand where a command has its verb: at the beginning of a clause, after fillers.
fn commands(extractor: &mut Extractor<'_>) -> Commands {
    let mut commands = Commands::default();
    for start in 0..extractor.len() {
        if !extractor.begins_clause(start) {
            continue;
        }
        let mut at = start;
        while let Some((phrase, opener)) = OPENERS.iter().find(|(phrase, _)| extractor.at(at, phrase)) {
            if extractor.is_subject(at) {
                break;
            }
            extractor.mark_phrase_used(at, phrase);
            at += phrase.split(' ').count();
            match opener {
                Opener::Filler => {}
                Opener::Please => commands.please = true,
                Opener::CanYou => commands.can_you = true,
                Opener::DryRun => {
                    commands.dry_run = true;
                    if phrase.starts_with("what") && (["i", "we", "you"].iter().any(|it| extractor.at(at, it))) {
                        extractor.mark_phrase_used(at, "i");
                        at += 1;
                    }
                }
            }
        }
        if start == 0 {
            commands.start = at;
        }
        if let Some(verb) = VERBS.iter().find(|verb| is_verb(extractor, at, verb)) {
            extractor.mark_phrase_used(at, verb.words);
            let after = at + verb.words.split(' ').count();
            if commands.found.last().is_none_or(|(_, last)| *last != after) {
                commands.found.push((verb, after));
            }
        }
    }
    commands.please |= extractor.has_any(&["please", "pls"]);
    commands
}

/// Whether a verb stands at a place, with its particle and without the signs that it is a noun there.
fn is_verb(extractor: &Extractor<'_>, at: usize, verb: &Verb) -> bool {
    let after = at + verb.words.split(' ').count();
    extractor.at(at, verb.words)
        && !AFTER_NOUN.iter().any(|noun| extractor.at(after, noun))
        && verb.particle.is_none_or(|particles| {
            let end = extractor.clause_end(after);
            let has_address = (after..end).any(|index| extractor.is_address(index));
            let of_known = matches!(verb.action, Action::Redeploy | Action::Scale);
            !(has_address && of_known)
                && (after..end).any(|index| particles.iter().any(|particle| extractor.at(index, particle)))
        })
}

/// Why a sentence must not be acted on, although it may hold a verb.
fn refusal(extractor: &Extractor<'_>, commands: &Commands, sentence: &Sentence) -> Option<Unclear> {
    let main = commands.found.first().map(|(verb, _)| verb.action);
    let has_verb = (0..extractor.len()).any(|index| VERBS.iter().any(|verb| is_verb(extractor, index, verb)));
    if !has_verb {
        return None;
    }
    let keeps = extractor.values.keep_target == Some(true);
    if extractor.is_negated() && !(keeps && extractor.find("without").is_some()) {
        return Some(Unclear::Negated);
    }
    let main = main?;
    let last = extractor.len().saturating_sub(1);
    let conditional = (0..extractor.len()).any(|index| {
        let is_version = index == last && extractor.at(index, "before");
        let is_repeat = extractor.at(index, "once more");
        let is_open = !(extractor.is_used(index) || is_version || is_repeat);
        is_open && CONDITIONS.iter().any(|it| extractor.at(index, it))
    });
    if conditional {
        return Some(Unclear::Conditional);
    }
    if sentence.question && !commands.are_polite() && !commands.dry_run {
        return Some(Unclear::IsQuestion);
    }
    let all = extractor.values.all == Some(true);
    let names_several = main != Action::Deploy && !all && PLURALS.iter().any(|it| extractor.find(it).is_some());
    if names_several || extractor.is_ambiguous {
        return Some(Unclear::Several);
    }
    let strict = match main {
        Action::Decommission => extractor.is_doubtful(if all { PLURALS } else { &[] }) || extractor.has_details(),
        Action::Restart => extractor.is_doubtful(PODS) || extractor.has_details(),
        Action::Undo => extractor.is_doubtful(CHANGES) || extractor.has_details(),
        Action::Rollback => extractor.is_doubtful(EARLIER) || extractor.has_details(),
        Action::Redeploy => extractor.is_doubtful(NEWER),
        Action::Cancel => extractor.is_doubtful(WORK),
        Action::Scale => extractor.unused_after_and(),
        Action::Deploy | Action::Status | Action::List | Action::Logs | Action::Cost => false,
    };
    strict.then_some(Unclear::Doubtful(main))
}

/// The action of a sentence that only looks: what runs, how it is, what it printed.
fn query_action(extractor: &Extractor<'_>, start: usize) -> Option<Action> {
    let starts = |phrases: &[&str]| phrases.iter().any(|phrase| extractor.at(start, phrase));
    let asks = starts(&[
        "what", "what's", "whats", "which", "is", "are", "was", "anything", "list", "show", "tell me", "give me",
        "get", "see", "display", "who", "how many",
    ]);
    let lines = extractor.has_any(&["lines"]) && extractor.has_number();
    if lines || starts(&["tail", "follow"]) || (extractor.len() <= 15 && extractor.has_any(&["log", "logs", "output"]))
    {
        return Some(Action::Logs);
    }
    if extractor.len() <= 15 && extractor.has_any(COSTS) {
        return Some(Action::Cost);
    }
    let plural = extractor.has_any(&["deployments", "apps", "applications", "services", "everything", "all"]);
    if starts(&["list", "ls"]) || asks && plural {
        return Some(Action::List);
    }
    let what = starts(&["what", "what's", "whats", "which", "anything", "is anything", "tell me what", "show me what"])
        || starts(&["show what", "show me which", "show running", "how many"]);
    if what && extractor.has_any(&["running", "deployed", "runs", "up", "live", "there", "have"]) {
        return Some(Action::List);
    }
    let state = ["status", "state", "health", "healthy", "progress", "url", "address", "dockerfile"];
    let how = ["how is", "how's", "hows", "where is", "where's", "describe", "check", "inspect", "show"];
    let is_it = starts(&["is", "are", "was", "did", "has"])
        && extractor.has_any(&[
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
    let trouble = extractor.has_any(FAILURE_WORDS)
        || extractor.find("not work").is_some()
        || extractor.find("not working").is_some();
    let broken = trouble || extractor.find("doesn't work").is_some() || extractor.find("isn't working").is_some();
    if (extractor.len() <= 15 && extractor.has_any(&state)) || starts(&how) || is_it || broken {
        return Some(Action::Status);
    }
    None
}

impl Extractor<'_> {
    /// Whether the sentence names what it is about, or points to it.
    fn is_concrete(&self) -> bool {
        self.values.repository.is_some()
            || self.values.application_name.is_some()
            || self.values.replicas.is_some()
            || self.values.target_name.is_some()
            || self.values.all == Some(true)
            || self.has_pronoun()
    }

    /// Whether all deployments are meant that fit: all that are to be removed ("take everything down"), or whose cost is
    /// asked for without one of them being named.
    fn means_all(&self, action: Option<Action>) -> bool {
        let values = &self.values;
        match action {
            Some(Action::Decommission) => {
                self.has_any(ALL)
                    && values.application_name.is_none()
                    && values.target_name.as_ref().is_none_or(|it| !it.as_str().starts_with("dep_"))
            }
            Some(Action::Cost) => {
                let is_named = values.application_name.is_some() || values.target_name.is_some();
                self.has_any(ALL) || !is_named && !self.has_pronoun()
            }
            Some(
                Action::Deploy
                | Action::Redeploy
                | Action::Scale
                | Action::Restart
                | Action::Rollback
                | Action::Status
                | Action::List
                | Action::Logs
                | Action::Cancel
                | Action::Undo,
            )
            | None => false,
        }
    }

    /// Whether a word that mostly opens a sentence is the name of something deployed there: one of which something is
    /// said, or a second one ("hello is down", "web and hello", but not "hello, is it down?").
    fn is_subject(&self, index: usize) -> bool {
        let is_alone = index == 0 && self.len() == 1;
        let is_second = index > 0 && self.at(index - 1, "and");
        let says = AFTER_NOUN.iter().chain(&["url", "address", "up", "down", "crashes"]);
        self.is_name_at(index) && (is_alone || is_second || says.into_iter().any(|it| self.follows(index, it)))
    }

    /// Values for a part of a deployment, such as a port: the deployment as a whole was not meant then.
    fn has_details(&self) -> bool {
        let values = &self.values;
        values.git_ref.is_some()
            || values.container_port.is_some()
            || values.dockerfile.is_some()
            || values.environment.is_some()
            || values.replicas.is_some()
            || (values.key_pair.is_some() && !self.is_concrete())
            || values.label.is_some()
            || values.zone.is_some()
    }

    fn has_pronoun(&self) -> bool {
        self.has_any(PRONOUNS)
    }
}
