//! What the page of an operation shows.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::asked::{self, Given, given};
use crate::access::Caller;
use crate::app::App;
use crate::app::resume::{Cancelled, possible};
use crate::event::OperationState;
use crate::http::console::graph::{self, Graph, Look};
use crate::http::console::history::{History, StepHistory, ms_between};
use crate::http::console::naming::who;
use crate::http::console::overview::web_address;
use crate::http::console::render;
use crate::http::console::session::Viewer;
use crate::http::console::text::{shown_failure, verb};
use crate::http::console::timeline::{self, Timeline};
use crate::http::error::ApiError;
use crate::http::operations::FailureObject;
use crate::id::{Action, DeploymentId, Mode, OperationId};
use crate::plan::Plan;
use crate::reply::view::{Resumed, StepState};
use crate::reply::{capital, strip_ansi};
use crate::step::Step;
use crate::store::record::{Deployment, DeploymentState, Operation};

/// So many of the last lines of a step that is under way are shown without asking.
const RECENT_LINES: usize = 5;

/// An operation with its deployment as they were read, and what is drawn of it: all that stays while its steps say no more
/// than lines.
pub(super) struct Seen {
    operation: Operation,
    deployment: Option<Deployment>,
    plan: Option<Plan>,
    drawing: String,
}

/// What is drawn: the plan as a graph, and its steps over time.
#[derive(Debug, Serialize)]
struct Drawing {
    graph: Graph,
    timeline: Option<Timeline>,
}

/// The page, and its live part.
#[derive(Debug, Serialize)]
pub(super) struct View {
    id: OperationId,
    /// What it does and to what.
    heading: String,
    pub(super) page_title: String,
    page_state: &'static str,
    state: OperationState,
    /// What it does instead of going on, once it goes no further.
    backwards: Option<&'static str>,
    progress: u8,
    is_ended: bool,
    /// Why something that was just asked of it was not done.
    pub(super) refusal: Option<String>,
    error: Option<FailureObject>,
    warnings: Vec<String>,
    on: Place,
    /// What the button says that cancels it, where that can be done.
    cancel: Option<&'static str>,
    resume: Option<Resume>,
    retry: Option<Retry>,
    /// HTML.
    drawing: String,
    steps: Vec<StepRow>,
    unreadable: Option<String>,
    receipt: Vec<String>,
    asked: Vec<Fact>,
    /// Whose request it was, as far as the viewer is told.
    by: Option<String>,
    created_at: Timestamp,
    ended_at: Option<Timestamp>,
    took_ms: u64,
    written_by: Option<String>,
}

impl Seen {
    /// What was read, drawn as its history tells.
    ///
    /// # Errors
    /// [`ApiError::Internal`] when it cannot be drawn.
    pub(super) fn new(
        viewer: &Viewer,
        operation: Operation,
        deployment: Option<Deployment>,
        history: &History,
    ) -> Result<Self, ApiError> {
        let plan = Plan::deserialize(&operation.plan).ok();
        let until = operation.ended_at.unwrap_or_else(Timestamp::now);
        let drawing = match &plan {
            Some(plan) => render::part(viewer, "operation_drawing.html", Drawing::of(plan, history, until))?,
            None => String::new(),
        };
        Ok(Self { operation, deployment, plan, drawing })
    }

    /// The operation as it is now, with what its history tells.
    pub(super) fn view(&self, app: &App, caller: &Caller, history: &History) -> View {
        let Self { operation, plan, drawing, .. } = self;
        let deployment = self.deployment.as_ref();
        let on = place(operation, deployment);
        let given = given(&operation.intent);
        let heading = format!("{} {}", capital(verb(operation.action.as_str())), on.name);
        let (state, is_ended) = (operation.state, operation.state.is_ended());
        let until = operation.ended_at.unwrap_or_else(Timestamp::now);
        let mut warnings: Vec<String> = operation.warnings.iter().map(|it| strip_ansi(it)).collect();
        for warning in &history.warnings {
            if !warnings.contains(warning) {
                warnings.push(warning.clone());
            }
        }
        let has_failed = history.failure.is_some();
        let backwards = backwards(operation, has_failed);
        // While it is taken back, its cause is what its steps tell.
        let failure = history.failure.as_ref().filter(|_| !is_ended).or(operation.failure.as_ref());
        View {
            id: operation.id,
            page_title: match (is_ended, backwards) {
                (true, _) => heading.clone(),
                (false, Some(what)) => format!("{}: {heading}", capital(what)),
                (false, None) => format!("{} % {heading}", operation.progress),
            },
            heading,
            page_state: page_state(state, has_failed),
            state,
            backwards,
            progress: operation.progress,
            is_ended,
            refusal: None,
            warnings,
            // Of what is taken back already nobody has to ask that.
            cancel: cancel_button(caller, operation).filter(|_| backwards.is_none()),
            resume: resume_button(caller, operation, deployment),
            retry: retry(operation, deployment, &given),
            on,
            drawing: drawing.clone(),
            steps: plan.iter().flat_map(Plan::steps).map(|it| step_row(it, history.step(it.name()), until)).collect(),
            unreadable: unreadable(plan.is_none(), history.has_gaps, operation.written_by.as_deref()),
            receipt: operation.receipt.iter().map(|it| strip_ansi(it)).collect(),
            asked: asked(&given, operation.deployment),
            by: who(app, caller, &operation.principal),
            created_at: operation.created_at,
            ended_at: operation.ended_at,
            took_ms: ms_between(operation.created_at, until),
            written_by: operation.written_by.clone(),
            error: failure.map(shown_failure),
        }
    }
}

impl Drawing {
    fn of(plan: &Plan, history: &History, until: Timestamp) -> Self {
        let look = |name: &str| {
            let history = history.step(name);
            let state = history.map_or(StepState::Pending, |it| it.state);
            let shown_state = history.map_or(StepState::Pending, StepHistory::shown_state);
            Look { state, shown_state, words: format!("{} {}", sign(shown_state), words(history, until)) }
        };
        Self { graph: graph::draw(plan, look), timeline: timeline::draw(plan, history, until) }
    }
}

/// The deployment that it changes.
#[derive(Debug, Serialize)]
struct Place {
    id: DeploymentId,
    name: String,
    target: Option<String>,
    mode: Option<Mode>,
    namespace: Option<String>,
    /// Where its application answers.
    address: Option<String>,
}

/// How it can be gone on with.
#[derive(Debug, Serialize)]
struct Resume {
    button: &'static str,
    about: &'static str,
    /// Credentials of AWS may be of use.
    takes_aws: bool,
}

/// Where the same can be asked for once more.
#[derive(Debug, Serialize)]
struct Retry {
    address: String,
    /// A form is there that is filled with what was asked.
    is_filled: bool,
}

/// A step.
#[derive(Debug, Serialize)]
struct StepRow {
    step: &'static str,
    title: String,
    state: StepState,
    words: String,
    began_at: Option<Timestamp>,
    failure: Option<String>,
    text: Option<String>,
    /// Its last lines, while it is under way.
    recent: Option<String>,
    lines: String,
    line_count: usize,
    left_out: usize,
    retries: u32,
}

/// Something that was asked for.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Fact {
    name: &'static str,
    value: String,
}

fn place(operation: &Operation, deployment: Option<&Deployment>) -> Place {
    // Only what has just come about: a later operation may have moved it since.
    let is_its_own = operation.state == OperationState::Succeeded
        && deployment.is_some_and(|it| it.operation == operation.id && it.state == DeploymentState::Running);
    Place {
        id: operation.deployment,
        name: deployment.map_or_else(|| operation.deployment.to_string(), |it| it.name.to_string()),
        target: deployment.map(|it| it.target_name.clone()),
        mode: deployment.map(|it| it.mode),
        namespace: deployment.map(|it| it.namespace.to_string()),
        address: deployment.filter(|_| is_its_own).and_then(web_address).map(str::to_owned),
    }
}

/// What an operation under way does that goes no further.
fn backwards(operation: &Operation, has_failed: bool) -> Option<&'static str> {
    match (operation.state.is_ended(), has_failed, operation.is_cancel_requested) {
        (false, true, _) => Some("taking back"),
        (false, false, true) => Some("cancelling"),
        (false, false, false) | (true, ..) => None,
    }
}

/// What title and icon of the page say. Once a step has failed it will be nothing else.
fn page_state(state: OperationState, has_failed: bool) -> &'static str {
    match state {
        OperationState::Queued | OperationState::Running | OperationState::Waiting if has_failed => "failed",
        OperationState::Queued | OperationState::Running | OperationState::Waiting => "running",
        OperationState::Succeeded | OperationState::Cancelled => "idle",
        OperationState::Undone | OperationState::Failed | OperationState::Stuck => "failed",
    }
}

fn cancel_button(caller: &Caller, operation: &Operation) -> Option<&'static str> {
    caller.may_interrupt("cancel an operation", &operation.principal).ok()?;
    Some(match possible(operation, None).cancel? {
        Cancelled::SecretsErased => "Erase its secrets",
        Cancelled::TakenBack => "Cancel and take back",
    })
}

fn resume_button(caller: &Caller, operation: &Operation, deployment: Option<&Deployment>) -> Option<Resume> {
    caller.may_interrupt("resume an operation", &operation.principal).ok()?;
    let (button, about) = match possible(operation, deployment.map(|it| it.operation)).resume? {
        Resumed::Check => ("Look again now", "Looks at once whether what it waits for has come."),
        Resumed::Undo => ("Try again to take it back", "Tries the step again that could not be taken back."),
    };
    Some(Resume { button, about, takes_aws: deployment.is_none_or(|it| it.mode != Mode::Local) })
}

fn unreadable(lacks_plan: bool, has_gaps: bool, written_by: Option<&str>) -> Option<String> {
    let what = match (lacks_plan, has_gaps) {
        (true, _) => "its plan",
        (false, true) => "some of its events",
        (false, false) => return None,
    };
    let writer = written_by.map(|it| format!(", which version {it} wrote")).unwrap_or_default();
    Some(format!("This version of the server cannot read {what}{writer}. The rest is shown."))
}

/// A sign for a state, which tells as much as its colour.
fn sign(state: StepState) -> char {
    match state {
        StepState::Pending => '○',
        StepState::Running => '●',
        StepState::Succeeded => '✓',
        StepState::Failed | StepState::UndoFailed => '✕',
        StepState::Undoing | StepState::Undone => '↶',
    }
}

/// Where a step stands, in words.
fn words(history: Option<&StepHistory>, now: Timestamp) -> String {
    let Some(history) = history else { return "not begun".to_owned() };
    let timed = |what: &str| match history.ran_ms(now) {
        Some(ms) => format!("{what} · {}", render::span(ms)),
        None => what.to_owned(),
    };
    let after_failure =
        |what: &str| if history.failure.is_some() { format!("failed, {what}") } else { what.to_owned() };
    match history.state {
        StepState::Pending if history.spans.is_empty() => "not begun".to_owned(),
        StepState::Pending => timed("stopped"),
        StepState::Running => timed("running"),
        StepState::Succeeded if history.already => "nothing to do".to_owned(),
        StepState::Succeeded => timed("done"),
        StepState::Failed => timed("failed"),
        StepState::Undoing => after_failure("being taken back"),
        StepState::Undone if history.was_left_alone() => "nothing to do".to_owned(),
        StepState::Undone if history.failure.is_none() && !history.was_taken_back => "nothing to take back".to_owned(),
        StepState::Undone => after_failure("taken back"),
        StepState::UndoFailed => after_failure("not taken back"),
    }
}

fn step_row(step: &Step, history: Option<&StepHistory>, now: Timestamp) -> StepRow {
    let row = StepRow {
        step: step.name(),
        title: step.title().replace('`', ""),
        state: StepState::Pending,
        words: words(history, now),
        began_at: None,
        failure: None,
        text: None,
        recent: None,
        lines: String::new(),
        line_count: 0,
        left_out: 0,
        retries: 0,
    };
    let Some(history) = history else { return row };
    let is_under_way = matches!(history.state, StepState::Running | StepState::Undoing);
    let joined = |skipped: usize| history.lines.iter().skip(skipped).map(String::as_str).collect::<Vec<_>>().join("\n");
    let count = history.lines.len();
    StepRow {
        state: history.shown_state(),
        began_at: history.began_at(),
        failure: history.failure.clone(),
        text: history.text.clone(),
        recent: (is_under_way && count > 0).then(|| joined(count.saturating_sub(RECENT_LINES))),
        lines: joined(0),
        line_count: count + history.left_out,
        left_out: history.left_out,
        retries: history.retries,
        ..row
    }
}

/// What was asked for. Which deployment is meant is told beside it.
fn asked(given: &[Given], deployment: DeploymentId) -> Vec<Fact> {
    let deployment = deployment.to_string();
    let facts = given.iter().map(|it| Fact { name: it.label(), value: it.words() });
    facts.filter(|it| it.value != deployment).collect()
}

/// Where the same can be asked for again, of what came to nothing.
fn retry(operation: &Operation, deployment: Option<&Deployment>, given: &[Given]) -> Option<Retry> {
    match operation.state {
        OperationState::Undone | OperationState::Failed | OperationState::Cancelled => (),
        OperationState::Queued
        | OperationState::Running
        | OperationState::Waiting
        | OperationState::Succeeded
        | OperationState::Stuck => return None,
    }
    if operation.action == Action::Deploy {
        return Some(Retry { address: asked::form(given), is_filled: true });
    }
    let deployment = deployment.filter(|it| it.state != DeploymentState::Removed)?;
    // The page has a form of that id for every action that can be repeated there.
    let address = format!("/deployments/{}#{}", deployment.id, operation.action.as_str());
    Some(Retry { address, is_filled: false })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_this_version_cannot_read_is_told_with_the_one_that_wrote_it() {
        assert!(unreadable(false, false, Some("1.0")).is_none());
        assert!(unreadable(true, false, Some("1.0")).is_some_and(|it| it.contains("version 1.0 wrote")));
    }
}
