//! What the page of an operation shows.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::access::Caller;
use crate::app::App;
use crate::app::resume::{Cancelled, possible};
use crate::event::{Failure, OperationState};
use crate::http::console::graph::{self, Graph, Look};
use crate::http::console::history::{History, StepHistory, ms_between};
use crate::http::console::naming::who;
use crate::http::console::overview::web_address;
use crate::http::console::render;
use crate::http::console::session::Viewer;
use crate::http::console::timeline::{self, Timeline};
use crate::http::error::ApiError;
use crate::http::operations::FailureObject;
use crate::id::{DeploymentId, Mode, OperationId};
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
        let heading = format!("{} {}", capital(operation.action.as_str()), on.name);
        let (state, is_ended) = (operation.state, operation.state.is_ended());
        let until = operation.ended_at.unwrap_or_else(Timestamp::now);
        let mut warnings: Vec<String> = operation.warnings.iter().map(|it| strip_ansi(it)).collect();
        for warning in &history.warnings {
            if !warnings.contains(warning) {
                warnings.push(warning.clone());
            }
        }
        View {
            id: operation.id,
            page_title: match (is_ended, history.has_failed()) {
                (true, _) => heading.clone(),
                (false, true) => format!("Taking back: {heading}"),
                (false, false) => format!("{} % {heading}", operation.progress),
            },
            heading,
            page_state: page_state(state, history.has_failed()),
            state,
            progress: operation.progress,
            is_ended,
            refusal: None,
            warnings,
            cancel: cancel_button(caller, operation),
            resume: resume_button(caller, operation, deployment),
            on,
            drawing: drawing.clone(),
            steps: plan.iter().flat_map(Plan::steps).map(|it| step_row(it, history.step(it.name()), until)).collect(),
            unreadable: unreadable(plan.is_none(), history.has_gaps, operation.written_by.as_deref()),
            receipt: operation.receipt.iter().map(|it| strip_ansi(it)).collect(),
            asked: asked(&operation.intent),
            by: who(app, caller, &operation.principal),
            created_at: operation.created_at,
            ended_at: operation.ended_at,
            took_ms: ms_between(operation.created_at, until),
            written_by: operation.written_by.clone(),
            error: operation.failure.as_ref().map(shown_failure),
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
    name: String,
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

fn shown_failure(Failure { code, message, next_step, output }: &Failure) -> FailureObject {
    FailureObject::from(Failure {
        code: code.clone(),
        message: strip_ansi(message),
        next_step: strip_ansi(next_step),
        output: output.iter().map(|it| strip_ansi(it)).collect(),
    })
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

/// What a stored request asks for, without what it leaves open.
fn asked(intent: &Value) -> Vec<Fact> {
    let mut facts = Vec::new();
    collect(intent, "", &mut facts);
    facts
}

fn collect(value: &Value, name: &str, facts: &mut Vec<Fact>) {
    let text = match value {
        Value::Null | Value::Bool(false) => return,
        Value::Bool(true) => "yes".to_owned(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.clone(),
        Value::Array(items) => {
            let texts = items.iter().map(|it| it.as_str().map_or_else(|| it.to_string(), str::to_owned));
            texts.collect::<Vec<_>>().join(", ")
        }
        Value::Object(fields) => {
            // The page says what it does, and which deployment is meant is told like the rest.
            for (field, value) in fields.iter().filter(|(field, _)| !name.is_empty() || *field != "action") {
                // The names of variables stay as they are.
                let is_variable = field.chars().any(char::is_uppercase);
                let field = if is_variable { field.clone() } else { field.replace('_', " ") };
                let full = if matches!(name, "" | "deployment") { field } else { format!("{name} {field}") };
                collect(value, &full, facts);
            }
            return;
        }
    };
    if !text.is_empty() {
        facts.push(Fact { name: name.to_owned(), value: text });
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_was_asked_is_told_without_what_was_left_open() {
        let intent = json!({
            "action": "redeploy",
            "deployment": {"name": "shop", "namespace": null},
            "container_port": 8080,
            "build": {"args": {"BUILD_MODE": "fast"}, "secrets": ["npm", "pip"]},
            "keep_target": false,
        });

        let mut facts: Vec<String> = asked(&intent).into_iter().map(|it| format!("{}={}", it.name, it.value)).collect();

        facts.sort();
        assert_eq!(facts, ["build args BUILD_MODE=fast", "build secrets=npm, pip", "container port=8080", "name=shop"]);
    }

    #[test]
    fn what_this_version_cannot_read_is_told_with_the_one_that_wrote_it() {
        assert!(unreadable(false, false, Some("1.0")).is_none());
        assert!(unreadable(true, false, Some("1.0")).is_some_and(|it| it.contains("version 1.0 wrote")));
    }
}
