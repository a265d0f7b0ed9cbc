//! What the steps of an operation have gone through, told by its events: when each ran, what it said, how often it was
//! tried again.

use std::collections::{BTreeMap, VecDeque};

use jiff::{SignedDuration, Timestamp};

use super::graph::cut;
use crate::event::{Event, EventKind, Failure};
use crate::reply::strip_ansi;
use crate::reply::view::StepState;

/// So many lines of a step are kept: a build can have thousands, and a page with all of them is of no use.
const MOST_LINES: usize = 200;
/// And so many letters of each.
const LONGEST_LINE: usize = 500;

/// The steps of an operation, as far as its events go.
#[derive(Debug, Default)]
pub(super) struct History {
    /// The number of the last event.
    pub(super) last: i64,
    /// What the person should know and that stopped nothing.
    pub(super) warnings: Vec<String>,
    /// Some of it is of another version, or damaged.
    pub(super) has_gaps: bool,
    /// Why the first step failed that did: then nothing is left but to take back what was done. One that was stopped with
    /// it, or by a person, has not failed.
    pub(super) failure: Option<Failure>,
    steps: BTreeMap<String, StepHistory>,
    /// When the last event happened.
    latest: Option<Timestamp>,
}

/// One step.
#[derive(Debug)]
pub(super) struct StepHistory {
    /// Where it stands.
    pub(super) state: StepState,
    /// There was nothing to do.
    pub(super) already: bool,
    /// Something of it was removed or restored when it was taken back.
    pub(super) was_taken_back: bool,
    /// Why it failed. One that was stopped with it, or by a person, has not failed.
    pub(super) failure: Option<String>,
    /// What it did, or what it is doing.
    pub(super) text: Option<String>,
    /// When something went on with it, in the order of time.
    pub(super) spans: Vec<Span>,
    /// How often it was tried again.
    pub(super) retries: u32,
    /// The last lines that it said.
    pub(super) lines: VecDeque<String>,
    /// How many lines it had said before those.
    pub(super) left_out: usize,
}

/// A span of time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Span {
    /// What went on.
    pub(super) kind: SpanKind,
    /// How it ended, or that it goes on. One that a stop of the server broke off is [`StepState::Pending`].
    pub(super) state: StepState,
    /// When it began.
    pub(super) from: Timestamp,
    /// When it ended.
    pub(super) to: Option<Timestamp>,
}

/// What can go on with a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SpanKind {
    /// It does its work.
    Run,
    /// It waits before it is tried again.
    Pause,
    /// It is taken back.
    Undo,
}

impl History {
    /// What these events tell, the oldest first.
    #[cfg(test)]
    pub(super) fn of(events: &[Event]) -> Self {
        let mut history = Self::default();
        for event in events {
            history.apply(event);
        }
        history
    }

    /// A step that was begun.
    pub(super) fn step(&self, name: &str) -> Option<&StepHistory> {
        self.steps.get(name)
    }

    /// Takes the next event in.
    pub(super) fn apply(&mut self, event: &Event) {
        let at = event.at;
        let before = self.latest.unwrap_or(at);
        self.latest = Some(before.max(at));
        self.last = event.sequence;
        match &event.kind {
            EventKind::OperationState { state } => {
                if state.is_ended() {
                    for step in self.steps.values_mut() {
                        step.close(at, StepState::Pending);
                    }
                }
            }
            EventKind::StepStarted { step, .. } => {
                let step = self.of_step(step);
                // One that is begun anew was broken off with the server, which has said nothing since.
                step.close(before, StepState::Pending);
                step.open(SpanKind::Run, StepState::Running, at);
            }
            EventKind::StepProgress { step, text } => self.of_step(step).say(&strip_ansi(text)),
            EventKind::StepRetrying { step, attempt, reason, delay_ms } => {
                let delay = SignedDuration::from_millis(i64::try_from(*delay_ms).unwrap_or(i64::MAX));
                let to = at.saturating_add(delay).unwrap_or(Timestamp::MAX);
                let step = self.of_step(step);
                step.retries += 1;
                step.say(&format!("Attempt {attempt} failed, and it is tried again: {}", strip_ansi(reason)));
                step.spans.push(Span { kind: SpanKind::Pause, state: StepState::Running, from: at, to: Some(to) });
            }
            EventKind::StepSucceeded { step, summary, already, .. } => {
                let step = self.of_step(step);
                step.end(at, StepState::Succeeded, Some(strip_ansi(summary)));
                step.already = *already;
            }
            EventKind::StepFailed { step, failure } if failure.is_cancelled() => {
                self.of_step(step).end(at, StepState::Pending, None);
            }
            EventKind::StepFailed { step, failure } => {
                self.failure.get_or_insert_with(|| failure.clone());
                let step = self.of_step(step);
                step.failure = Some(strip_ansi(&failure.message));
                step.text = None;
                step.end(at, StepState::Failed, None);
            }
            EventKind::StepUndoing { step } => {
                let step = self.of_step(step);
                step.close(before, StepState::Pending);
                step.open(SpanKind::Undo, StepState::Undoing, at);
            }
            EventKind::StepUndone { step, removed } => {
                let removed: Vec<String> = removed.iter().map(|it| strip_ansi(it)).collect();
                let text = (!removed.is_empty()).then(|| format!("took back {}", removed.join(", ")));
                let step = self.of_step(step);
                step.was_taken_back = !removed.is_empty();
                step.end(at, StepState::Undone, text);
            }
            EventKind::StepUndoFailed { step, failure } => {
                self.of_step(step).end(at, StepState::UndoFailed, Some(strip_ansi(&failure.message)));
            }
            EventKind::Warning { text } => {
                let text = strip_ansi(text);
                if !self.warnings.contains(&text) {
                    self.warnings.push(text);
                }
            }
            EventKind::Unreadable => self.has_gaps = true,
        }
    }

    fn of_step(&mut self, name: &str) -> &mut StepHistory {
        self.steps.entry(name.to_owned()).or_insert_with(StepHistory::new)
    }
}

impl StepHistory {
    fn new() -> Self {
        Self {
            state: StepState::Pending,
            already: false,
            was_taken_back: false,
            failure: None,
            text: None,
            spans: Vec::new(),
            retries: 0,
            lines: VecDeque::new(),
            left_out: 0,
        }
    }

    /// What it is shown as: whoever looks for the one that has failed finds it, while it is taken back and afterwards too.
    pub(super) fn shown_state(&self) -> StepState {
        let is_taken_back = matches!(self.state, StepState::Undoing | StepState::Undone);
        if self.failure.is_some() && is_taken_back {
            StepState::Failed
        } else if self.was_left_alone() {
            StepState::Succeeded
        } else {
            self.state
        }
    }

    /// It has found everything there already, and what it did not make was not taken back.
    pub(super) fn was_left_alone(&self) -> bool {
        self.state == StepState::Undone && self.already && !self.was_taken_back
    }

    /// How long it has worked until now, in milliseconds; nothing before it has begun.
    pub(super) fn ran_ms(&self, now: Timestamp) -> Option<u64> {
        let mut runs = self.spans.iter().filter(|it| it.kind == SpanKind::Run).peekable();
        runs.peek()?;
        Some(runs.map(|it| ms_between(it.from, it.to.unwrap_or(now))).sum())
    }

    /// When it first began.
    pub(super) fn began_at(&self) -> Option<Timestamp> {
        self.spans.first().map(|it| it.from)
    }

    fn open(&mut self, kind: SpanKind, state: StepState, at: Timestamp) {
        self.state = state;
        self.spans.push(Span { kind, state, from: at, to: None });
    }

    /// Ends what goes on with it, in this way.
    fn end(&mut self, at: Timestamp, state: StepState, text: Option<String>) {
        self.close(at, state);
        self.state = state;
        self.text = text.filter(|it| !it.is_empty()).or_else(|| self.text.take());
    }

    fn close(&mut self, at: Timestamp, state: StepState) {
        for span in &mut self.spans {
            if span.to.is_none() {
                span.state = state;
            }
            // A pause is over with the step, however long it was to be.
            if span.to.is_none_or(|to| to > at) {
                span.to = Some(at.max(span.from));
            }
        }
    }

    fn say(&mut self, line: &str) {
        let line = cut(line, LONGEST_LINE);
        self.text = Some(line.clone());
        self.lines.push_back(line);
        if self.lines.len() > MOST_LINES {
            self.lines.pop_front();
            self.left_out += 1;
        }
    }
}

/// How much time passes from one moment to another, in milliseconds.
pub(super) fn ms_between(from: Timestamp, to: Timestamp) -> u64 {
    u64::try_from(to.duration_since(from).as_millis()).unwrap_or(0)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(crate) fn at(ms: i64) -> Timestamp {
        Timestamp::from_millisecond(1_700_000_000_000 + ms).unwrap()
    }

    pub(crate) fn started(ms: i64, step: &str) -> Event {
        event(ms, EventKind::StepStarted { step: step.to_owned(), title: step.to_owned() })
    }

    pub(crate) fn succeeded(ms: i64, step: &str) -> Event {
        let (step, summary) = (step.to_owned(), "done".to_owned());
        event(ms, EventKind::StepSucceeded { step, summary, already: false, elapsed_ms: 0 })
    }

    pub(crate) fn undoing(ms: i64, step: &str) -> Event {
        event(ms, EventKind::StepUndoing { step: step.to_owned() })
    }

    pub(crate) fn failed(ms: i64, step: &str, code: &str) -> Event {
        let (code, message, next_step) = (code.to_owned(), "exit code 2".to_owned(), String::new());
        let failure = Failure { code, message, next_step, output: Vec::new() };
        event(ms, EventKind::StepFailed { step: step.to_owned(), failure })
    }

    fn event(ms: i64, kind: EventKind) -> Event {
        Event { sequence: ms + 1, at: at(ms), kind }
    }

    fn progress(ms: i64, text: &str) -> Event {
        event(ms, EventKind::StepProgress { step: "build_image".to_owned(), text: text.to_owned() })
    }

    #[test]
    fn a_step_that_a_restart_broke_off_has_run_until_the_last_word() {
        let step = "build_image";
        let events = [started(0, step), progress(900, "half"), started(60_000, step), succeeded(61_000, step)];

        let history = History::of(&events);

        let step = history.step("build_image").unwrap();
        assert_eq!(step.ran_ms(at(99_000)), Some(1_900));
        let states: Vec<StepState> = step.spans.iter().map(|it| it.state).collect();
        assert_eq!(states, [StepState::Pending, StepState::Succeeded]);
        assert_eq!((history.last, step.text.as_deref()), (61_001, Some("done")));
    }

    #[test]
    fn a_step_that_has_failed_stays_the_one_that_failed_and_one_that_was_stopped_with_it_is_none() {
        let (step, removed) = ("build_image".to_owned(), vec!["an image".to_owned()]);
        let events = [
            started(0, "build_image"),
            started(0, "create_cluster"),
            failed(900, "build_image", "build_failed"),
            failed(950, "create_cluster", Failure::CANCELLED),
            undoing(1_000, "build_image"),
            event(1_100, EventKind::StepUndone { step, removed }),
        ];

        let history = History::of(&events);

        let shown = |name: &str| history.step(name).map(|it| (it.state, it.shown_state(), it.failure.as_deref()));
        assert_eq!(shown("build_image"), Some((StepState::Undone, StepState::Failed, Some("exit code 2"))));
        assert_eq!(shown("create_cluster"), Some((StepState::Pending, StepState::Pending, None)));
        assert_eq!(history.step("build_image").unwrap().text.as_deref(), Some("took back an image"));
        assert_eq!(history.failure.map(|it| it.code).as_deref(), Some("build_failed"));
    }

    #[test]
    fn a_step_that_had_nothing_to_make_is_not_taken_back() {
        let found = |step: &str| {
            let (step, summary) = (step.to_owned(), "it is there".to_owned());
            event(1, EventKind::StepSucceeded { step, summary, already: true, elapsed_ms: 0 })
        };
        let undone = |step: &str, removed: &[&str]| {
            let (step, removed) = (step.to_owned(), removed.iter().map(|it| (*it).to_owned()).collect());
            event(3, EventKind::StepUndone { step, removed })
        };
        let events = [
            started(0, "create_cluster"),
            found("create_cluster"),
            started(0, "build_image"),
            found("build_image"),
            undoing(2, "create_cluster"),
            undone("create_cluster", &[]),
            undoing(2, "build_image"),
            undone("build_image", &["an image"]),
        ];

        let history = History::of(&events);

        let shown = |name: &str| history.step(name).map(StepHistory::shown_state);
        assert_eq!(shown("create_cluster"), Some(StepState::Succeeded));
        assert_eq!(shown("build_image"), Some(StepState::Undone));
    }

    #[test]
    fn only_the_last_lines_of_a_step_are_kept() {
        let events: Vec<Event> = (0..250).map(|ms| progress(ms, &format!("\u{1b}[1mline {ms}\u{1b}[0m"))).collect();

        let history = History::of(&events);

        let step = history.step("build_image").unwrap();
        assert_eq!((step.lines.len(), step.left_out), (MOST_LINES, 50));
        assert_eq!(step.lines.front().map(String::as_str), Some("line 50"));
    }

    #[test]
    fn of_a_very_long_line_the_beginning_is_kept() {
        let history = History::of(&[progress(0, &"x".repeat(100_000))]);

        let step = history.step("build_image").unwrap();
        assert_eq!(step.lines[0].chars().count(), LONGEST_LINE);
        assert!(step.lines[0].ends_with('…') && step.text.as_ref() == Some(&step.lines[0]));
    }

    #[test]
    fn a_pause_before_another_attempt_is_over_with_the_step() {
        let (step, reason) = ("build_image".to_owned(), "no answer".to_owned());
        let retrying = event(500, EventKind::StepRetrying { step, attempt: 1, reason, delay_ms: 60_000 });

        let history = History::of(&[started(0, "build_image"), retrying, undoing(2_000, "build_image")]);

        let step = history.step("build_image").unwrap();
        assert_eq!((step.retries, step.state), (1, StepState::Undoing));
        let pause = step.spans.iter().find(|it| it.kind == SpanKind::Pause).unwrap();
        assert_eq!(pause.to, Some(at(500)));
    }
}
