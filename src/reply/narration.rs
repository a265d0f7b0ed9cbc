//! Events -> lines that tell a person what is going on.
//!
//! The lines depend on the events and their times alone, never on the clock of the reader, so that a second client
//! that attaches later reads what the first one read. A step that is quick has one line; one that takes its time is
//! announced, and then heard of now and then. Every line names its step. Those that had nothing to do share the last one.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use crate::event::{Event, EventKind, OperationState};

use super::{elapsed, strip_ansi};

/// A step that takes longer than this is announced before it has ended.
const ANNOUNCE_AFTER: SignedDuration = SignedDuration::from_secs(1);
/// The first pause between two lines about the same running step; each pause is twice the one before it, so that a
/// step that a restart held up for a night does not fill the page.
const PAUSE: SignedDuration = SignedDuration::from_secs(10);
/// For so many lines, which is an hour, no pause is longer than this: Codex takes a stream without an event for 300 s for
/// broken (`stream_idle_timeout_ms` in its configuration reference).
const LIVELY_LINES: u32 = 20;
const LIVELY_PAUSE: SignedDuration = SignedDuration::from_secs(240);

/// Tells the story of one operation, line by line.
#[derive(Debug, Default)]
pub struct Narrator {
    titles: BTreeMap<String, String>,
    running: BTreeMap<String, RunningStep>,
    /// Titles of the steps that had nothing to do, in the order in which they ended.
    idle: Vec<String>,
    status: Option<String>,
}

impl Narrator {
    /// A narrator that has heard nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Hears one event and says what there is to say about it.
    pub fn push(&mut self, event: &Event) -> Vec<String> {
        let mut lines = self.advance(event.at);
        lines.extend(self.apply(event));
        lines
    }

    /// Says what is due at this time although nothing has happened.
    pub fn advance(&mut self, to: Timestamp) -> Vec<String> {
        let mut lines = Vec::new();
        while let Some(running) =
            self.running.values_mut().filter(|step| step.due <= to).min_by_key(|step| (step.due, step.order))
        {
            lines.extend(running.next_line());
        }
        lines
    }

    /// What is being done right now, in one line; for a page that has a place for it.
    #[must_use]
    pub fn status(&self) -> Option<&str> {
        self.status.as_deref()
    }

    fn apply(&mut self, event: &Event) -> Option<String> {
        match &event.kind {
            EventKind::OperationState { state } => self.set_operation_state(*state),
            EventKind::StepStarted { step, title } => {
                self.titles.insert(step.clone(), title.clone());
                self.running.insert(step.clone(), RunningStep::new(title, event));
                self.status = Some(strip_ansi(title));
                None
            }
            EventKind::StepProgress { step, text } => {
                if let Some(running) = self.running.get_mut(step) {
                    running.text = Some(strip_ansi(text));
                    self.status = Some(format!("{}: {}", running.title, strip_ansi(text)));
                }
                None
            }
            EventKind::StepRetrying { step, attempt, reason, delay_ms } => Some(format!(
                "- ↻ {}: {}; trying again in {} (attempt {})",
                self.title(step),
                strip_ansi(reason),
                elapsed(*delay_ms),
                attempt + 1
            )),
            EventKind::StepSucceeded { step, summary, already, elapsed_ms } => {
                let was_announced = self.running.remove(step).is_some_and(|it| it.lines > 0);
                let title = self.title(step);
                if *already && !was_announced {
                    self.idle.push(title);
                    return None;
                }
                Some(done(&title, summary, Some(*elapsed_ms)))
            }
            EventKind::StepFailed { step, failure } => {
                self.running.remove(step);
                Some(format!("- ✗ {}: {}", self.title(step), strip_ansi(failure.reason())))
            }
            EventKind::StepUndoing { step } => {
                self.status = Some(format!("Taking back: {}", self.title(step)));
                None
            }
            EventKind::StepUndone { step, removed } => {
                let removed: Vec<String> = removed.iter().map(|it| strip_ansi(it)).collect();
                (!removed.is_empty()).then(|| format!("- ↩ {}: took back {}", self.title(step), removed.join(", ")))
            }
            EventKind::StepUndoFailed { step, failure } => {
                Some(format!("- ✗ Taking back \"{}\" failed: {}", self.title(step), strip_ansi(&failure.message)))
            }
            EventKind::Warning { text } => Some(format!("- ⚠ {}", strip_ansi(text))),
            EventKind::Unreadable => None,
        }
    }

    fn set_operation_state(&mut self, state: OperationState) -> Option<String> {
        match state {
            OperationState::Queued => self.status = Some("Waiting for its turn".to_owned()),
            OperationState::Running => {}
            OperationState::Waiting => self.status = Some("Waiting for something outside".to_owned()),
            OperationState::Succeeded => {
                self.running.clear();
                return nothing_to_do(&std::mem::take(&mut self.idle));
            }
            OperationState::Undone | OperationState::Failed | OperationState::Cancelled | OperationState::Stuck => {
                self.running.clear();
            }
        }
        None
    }

    fn title(&self, step: &str) -> String {
        self.titles.get(step).map_or_else(|| step.replace('_', " "), |title| strip_ansi(title))
    }
}

/// The line of a step that is done: its title, and what it came to.
pub(super) fn done(title: &str, summary: &str, elapsed_ms: Option<u64>) -> String {
    let summary = strip_ansi(summary);
    let summary = if summary.is_empty() { summary } else { format!(": {summary}") };
    let time = elapsed_ms.map(|ms| format!(" ({})", elapsed(ms))).unwrap_or_default();
    format!("- ✓ {title}{summary}{time}")
}

/// The one line of all steps that had nothing to do.
pub(super) fn nothing_to_do(titles: &[String]) -> Option<String> {
    (!titles.is_empty()).then(|| format!("- Nothing to do: {}", titles.join(", ")))
}

/// A step that has begun and not ended.
#[derive(Debug)]
struct RunningStep {
    title: String,
    text: Option<String>,
    order: i64,
    started_at: Timestamp,
    due: Timestamp,
    pause: SignedDuration,
    lines: u32,
}

impl RunningStep {
    fn new(title: &str, event: &Event) -> Self {
        Self {
            title: strip_ansi(title),
            text: None,
            order: event.sequence,
            started_at: event.at,
            due: event.at.saturating_add(ANNOUNCE_AFTER).unwrap_or(Timestamp::MAX),
            pause: PAUSE,
            lines: 0,
        }
    }

    /// One line on the step at the time when it is due, and sets the next time.
    fn next_line(&mut self) -> Option<String> {
        let line = match (&self.text, self.lines > 0) {
            (_, _) if self.title.is_empty() => None,
            (None, false) => Some(format!("- ⏳ {} …", self.title)),
            (Some(text), false) => Some(format!("- ⏳ {}: {text}", self.title)),
            (text, _) => {
                let ms = self.due.duration_since(self.started_at).as_millis();
                let time = elapsed(u64::try_from(ms).unwrap_or(0));
                Some(format!("- ⏳ {}: {} ({time})", self.title, text.as_deref().unwrap_or("still at it")))
            }
        };
        self.lines += 1;
        self.due = self.due.saturating_add(self.pause).unwrap_or(Timestamp::MAX);
        self.pause = self.pause.saturating_mul(2);
        if self.lines < LIVELY_LINES {
            self.pause = self.pause.min(LIVELY_PAUSE);
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::event::Failure;

    fn event(sequence: i64, ms: i64, kind: EventKind) -> Event {
        Event { sequence, at: Timestamp::from_millisecond(1_700_000_000_000 + ms).unwrap(), kind }
    }

    fn started(step: &str, title: &str) -> EventKind {
        EventKind::StepStarted { step: step.to_owned(), title: title.to_owned() }
    }

    fn progress(step: &str, text: &str) -> EventKind {
        EventKind::StepProgress { step: step.to_owned(), text: text.to_owned() }
    }

    fn succeeded(step: &str, summary: &str, elapsed_ms: u64) -> EventKind {
        EventKind::StepSucceeded { step: step.to_owned(), summary: summary.to_owned(), already: false, elapsed_ms }
    }

    fn idle(step: &str) -> EventKind {
        let summary = "it was so".to_owned();
        EventKind::StepSucceeded { step: step.to_owned(), summary, already: true, elapsed_ms: 10 }
    }

    fn a_deploy() -> Vec<Event> {
        vec![
            event(1, 0, EventKind::OperationState { state: OperationState::Running }),
            event(2, 5, started("create_cluster", "Create the kind cluster `on-demand-infra`")),
            event(3, 6, started("clone", "Clone the repository")),
            event(4, 420, succeeded("clone", "commit 3f2a1b9c0d1e", 414)),
            event(5, 421, started("build", "Build the image")),
            event(6, 1_500, progress("build", "step 2 of 5: RUN pip install")),
            event(7, 2_000, progress("build", "step 3 of 5: COPY . .")),
            event(8, 9_000, succeeded("build", "notes:3f2a1b9, 52 MB", 8_579)),
            event(9, 11_000, progress("create_cluster", "waiting for the node to be ready")),
            event(
                10,
                26_000,
                EventKind::StepRetrying {
                    step: "create_cluster".to_owned(),
                    attempt: 1,
                    reason: "the node did not answer".to_owned(),
                    delay_ms: 2_000,
                },
            ),
            event(11, 30_000, succeeded("create_cluster", "created", 29_995)),
            event(12, 30_100, EventKind::Warning { text: "the image runs as root".to_owned() }),
            event(13, 30_200, started("load", "Load the image")),
            event(14, 30_210, idle("load")),
            event(15, 30_220, started("prune", "Remove old versions")),
            event(16, 33_000, idle("prune")),
            event(17, 33_100, started("fetch", "Fetch the page once")),
            event(18, 33_110, idle("fetch")),
            event(19, 33_200, EventKind::OperationState { state: OperationState::Succeeded }),
        ]
    }

    #[test]
    fn a_deploy_is_told_step_by_step() {
        let mut narrator = Narrator::new();

        let lines: Vec<String> = a_deploy().iter().flat_map(|event| narrator.push(event)).collect();

        insta::assert_snapshot!(lines.join("\n"), @r"
        - ✓ Clone the repository: commit 3f2a1b9c0d1e (0.4 s)
        - ⏳ Create the kind cluster `on-demand-infra` …
        - ⏳ Build the image …
        - ✓ Build the image: notes:3f2a1b9, 52 MB (8.5 s)
        - ⏳ Create the kind cluster `on-demand-infra`: waiting for the node to be ready (11 s)
        - ↻ Create the kind cluster `on-demand-infra`: the node did not answer; trying again in 2.0 s (attempt 2)
        - ✓ Create the kind cluster `on-demand-infra`: created (29 s)
        - ⚠ the image runs as root
        - ⏳ Remove old versions …
        - ✓ Remove old versions: it was so (0.0 s)
        - Nothing to do: Load the image, Fetch the page once
        ");
    }

    #[test]
    fn an_operation_that_unwinds_tells_what_it_takes_back() {
        let failure = Failure {
            code: "crash_loop".to_owned(),
            message: "the application ends with exit code 1".to_owned(),
            next_step: "look at its output".to_owned(),
            output: Vec::new(),
        };
        let stopped = Failure { code: Failure::CANCELLED.to_owned(), ..failure.clone() };
        let events = [
            event(1, 0, started("apply", "Apply the manifests")),
            event(2, 900, EventKind::StepFailed { step: "apply".to_owned(), failure }),
            event(3, 900, EventKind::StepFailed { step: "load_image".to_owned(), failure: stopped }),
            event(4, 901, EventKind::StepUndoing { step: "apply".to_owned() }),
            event(
                5,
                950,
                EventKind::StepUndone { step: "apply".to_owned(), removed: vec!["namespace `demo`".to_owned()] },
            ),
        ];
        let mut narrator = Narrator::new();

        let lines: Vec<String> = events.iter().flat_map(|event| narrator.push(event)).collect();

        assert_eq!(
            lines,
            [
                "- ✗ Apply the manifests: the application ends with exit code 1",
                "- ✗ load image: stopped",
                "- ↩ Apply the manifests: took back namespace `demo`"
            ]
        );
        assert_eq!(narrator.status(), Some("Taking back: Apply the manifests"));
    }

    #[test]
    fn a_long_step_is_heard_of_for_an_hour_and_a_night_does_not_fill_the_page() {
        let mut narrator = Narrator::new();
        narrator.push(&event(1, 0, started("create_cluster", "Create the EKS cluster")));
        let mut heard = Vec::new();

        for second in 1..=12 * 3600 {
            let at = Timestamp::from_millisecond(1_700_000_000_000 + second * 1000).unwrap();
            heard.extend(narrator.advance(at).into_iter().map(|_| second));
        }

        let pauses: Vec<i64> = heard.windows(2).map(|it| it[1] - it[0]).collect();
        let in_an_hour = heard.iter().filter(|it| **it < 3600).count();
        assert!(pauses[..in_an_hour].iter().all(|it| *it <= 240), "{pauses:?}");
        assert!(heard.len() < 30, "{heard:?}");
    }

    proptest! {
        #[test]
        fn who_attaches_later_reads_the_same_lines(ticks in proptest::collection::vec(0i64..31_000, 0..40)) {
            let mut ticks = ticks;
            ticks.sort_unstable();
            let (mut live, mut late) = (Narrator::new(), Narrator::new());
            let mut heard_live = Vec::new();
            let mut last = 0;
            for event in a_deploy() {
                let at = event.at.as_millisecond() - 1_700_000_000_000;
                for tick in ticks.iter().filter(|tick| (last..at).contains(*tick)) {
                    heard_live.extend(live.advance(Timestamp::from_millisecond(1_700_000_000_000 + tick).unwrap()));
                }
                last = at;
                heard_live.extend(live.push(&event));
            }

            let heard_late: Vec<String> = a_deploy().iter().flat_map(|event| late.push(event)).collect();

            prop_assert_eq!(heard_live, heard_late);
        }
    }
}
