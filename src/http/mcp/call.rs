//! A call of a tool: a request like any other, and what became of it.

use std::time::Duration;

use rmcp::model::{CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, InputResponses, JsonObject};
use rmcp::service::RequestContext;
use rmcp::{ErrorData, RoleServer};
use serde_json::{Value, json};
use tracing::Instrument;

use super::arguments::Arguments;
use super::confirmation::{self, Word};
use super::context;
use super::operation;
use super::result::{
    ChangeOutcome, ChangeResult, CostObject, CostResult, DiagnosisResult, ListResult, LogsResult, PlanObject,
    StatusResult, answer, plan_in_words,
};
use super::task;
use super::tool::{MAX_WAIT_S, McpTool, ToolKind, has_plan};
use crate::access::Caller;
use crate::app::App;
use crate::conversation::{Outcome, execute};
use crate::event::Failure;
use crate::http::chat::dispatch::limits;
use crate::http::chat::idempotency::plain_key;
use crate::http::deployments::DeploymentObject;
use crate::http::error::{ApiError, ErrorObject};
use crate::http::sse;
use crate::id::{Action, OperationId, PlanHash};
use crate::intent::partial::PartialRequest;
use crate::intent::question::Unclear;
use crate::intent::{Confirmation, Intent, Request, tool_call};
use crate::reply::view::{LiveStatus, PlanView, Proposal, Report};
use crate::reply::{code_block, costs, operation as operation_words, report, strip_ansi};
use crate::store::operations::RequestKey;
use crate::store::record::Deployment;

/// Every call is answered within this: clients wait for a minute, some of them.
const ANSWER_WITHIN: Duration = Duration::from_secs(50);
/// How many of the last lines of each pod a diagnosis shows.
const LINES: u32 = 50;

/// Carries out one call. What stands in its way is an answer, which says so.
///
/// # Errors
/// [`ErrorData`] when there is no such tool.
pub async fn call(
    app: &App,
    tools: &[McpTool],
    params: CallToolRequestParams,
    context: &RequestContext<RoleServer>,
) -> Result<CallToolResponse, ErrorData> {
    let caller = context::caller(context)?;
    let Some(tool) = tools.iter().find(|it| it.definition.name == params.name) else {
        let name: String = params.name.chars().take(80).collect();
        return Err(ErrorData::invalid_params(
            format!("there is no tool `{name}`; `tools/list` lists those that are there"),
            None,
        ));
    };
    let request_id = context::request_id(context);
    let span = tracing::info_span!("tool", tool.name = %tool.definition.name, request.id = request_id);
    let call = Call {
        app,
        caller,
        context,
        answers: params.input_responses,
        state: params.request_state,
        name: &tool.definition.name,
    };
    // Boxed: what a request is accepted with is large.
    let work = Box::pin(sse::caught(call.carry_out(tool.kind, params.arguments.unwrap_or_default())));
    Ok(match tokio::time::timeout(ANSWER_WITHIN, work.instrument(span)).await {
        Ok(Ok(response)) => response,
        Ok(Err(error)) => refused(error, &request_id).into(),
        Err(_) => too_late().into(),
    })
}

/// What stands in the way of a call, for the model to make a better one.
fn refused(error: ApiError, request_id: &str) -> CallToolResult {
    let ErrorObject { message, kind: _, param, code } = error.body(request_id).error;
    let place = param.map(|it| format!(", `{it}`")).unwrap_or_default();
    CallToolResult::error(vec![ContentBlock::text(format!("{message} ({code}{place})"))])
}

fn too_late() -> CallToolResult {
    let seconds = ANSWER_WITHIN.as_secs();
    let text = format!(
        "This takes more than {seconds} s to find out, so it is answered without a result. A change may still begin: `list` \
         shows what is deployed, and the same call again attaches to it."
    );
    CallToolResult::error(vec![ContentBlock::text(text)])
}

/// One call of a tool.
struct Call<'a> {
    app: &'a App,
    caller: Caller,
    context: &'a RequestContext<RoleServer>,
    /// What the person has said to a question, when this is the same call again.
    answers: Option<InputResponses>,
    /// What was asked.
    state: Option<String>,
    /// The name of the tool.
    name: &'a str,
}

impl Call<'_> {
    async fn carry_out(self, kind: ToolKind, mut arguments: JsonObject) -> Result<CallToolResponse, ApiError> {
        let told = match kind {
            ToolKind::Plan => {
                let action = planned_action(arguments.remove("action"))?;
                return Box::pin(self.change(action, arguments, true)).await;
            }
            ToolKind::Act(action) if action.changes() => {
                // Boxed: what a request is accepted with is large.
                return Box::pin(self.change(action, arguments, false)).await;
            }
            ToolKind::Act(action) => return Ok(Box::pin(self.look(action, arguments)).await?.into()),
            ToolKind::Diagnose => return Ok(Box::pin(self.diagnose(arguments)).await?.into()),
            ToolKind::Show => operation::tell(self.app, &self.caller, self.only_id(arguments)?).await?,
            ToolKind::Wait => {
                let mut arguments = Arguments::new(arguments);
                let id = arguments.operation()?;
                let timeout = Duration::from_secs(arguments.number("timeout_s", 1, MAX_WAIT_S)?.unwrap_or(MAX_WAIT_S));
                arguments.end(self.name)?;
                operation::wait(self.app, &self.caller, id, timeout, self.context).await?
            }
            ToolKind::Cancel => operation::cancel(self.app, &self.caller, self.only_id(arguments)?).await?,
            ToolKind::Resume => operation::resume(self.app, &self.caller, self.only_id(arguments)?).await?,
        };
        Ok(told.answer().into())
    }

    fn only_id(&self, arguments: JsonObject) -> Result<OperationId, ApiError> {
        let mut arguments = Arguments::new(arguments);
        let id = arguments.operation()?;
        arguments.end(self.name)?;
        Ok(id)
    }

    fn request(&self, action: Action, arguments: JsonObject) -> Result<Request, ApiError> {
        if arguments.contains_key("dry_run") {
            let message = format!("`{}` has no parameter `dry_run`: `plan` shows what it would do", self.name);
            return Err(ApiError::UnknownParameter { param: Some("dry_run".into()), message });
        }
        let given = PartialRequest::default();
        Ok(tool_call::request(action, arguments, &given, &limits(self.app), str::to_owned)?)
    }

    /// Begins a change, shows its plan, or asks for the person's word on it.
    async fn change(
        self,
        action: Action,
        mut arguments: JsonObject,
        is_plan: bool,
    ) -> Result<CallToolResponse, ApiError> {
        let confirm = confirmed_plan(arguments.remove("confirm"))?;
        let key = self.key(action, &arguments)?;
        let mut request = self.request(action, arguments)?;
        request.dry_run |= is_plan;
        request.confirmation = match self.word(&key)? {
            Word::Yes(plan) => Confirmation::Agreed(plan),
            Word::No(plan) => {
                self.app.forget_question(&self.caller, &plan).await?;
                let words = Unclear::Withdrawn.text();
                let next_step = Some(words.clone());
                let object = ChangeResult { outcome: ChangeOutcome::Declined, operation: None, plan: None, next_step };
                return Ok(answer(words, &object).into());
            }
            Word::Nothing => confirm.map_or(Confirmation::Missing, Confirmation::OfPlan),
        };
        let about = key.body_hash.clone();
        match execute(self.app, &self.caller, Some(key), request).await? {
            Outcome::Operation(id) => self.begun(id).await,
            Outcome::Operations(ids) => match ids.last() {
                Some(id) => self.begun(*id).await,
                None => Err(ApiError::Internal("a change came to no operation".into())),
            },
            Outcome::Plan(Proposal::Change(plan)) => Ok(self.planned(&plan).into()),
            Outcome::Confirmation(Proposal::Change(plan)) if context::can_ask(self.context) => {
                Ok(confirmation::question(self.app, &self.caller, &about, &plan)?.into())
            }
            Outcome::Confirmation(Proposal::Change(plan)) => Ok(self.unconfirmed(&plan).into()),
            Outcome::Report(Report::Cancelled(id)) => {
                let told = operation::tell(self.app, &self.caller, id).await?;
                Ok(task::result(told, ChangeOutcome::Cancelling).into())
            }
            Outcome::Plan(Proposal::Removals(_))
            | Outcome::Confirmation(Proposal::Removals(_))
            | Outcome::Report(_)
            | Outcome::Text(_) => Err(ApiError::Internal("a tool changes one deployment".into())),
        }
    }

    /// By what the same call, made twice, is recognised.
    fn key(&self, action: Action, arguments: &JsonObject) -> Result<RequestKey, ApiError> {
        let mut body = arguments.clone();
        body.insert("action".to_owned(), json!(action.as_str()));
        plain_key(&self.caller, &context::headers(self.context), &body)
    }

    fn word(&self, key: &RequestKey) -> Result<Word, ApiError> {
        let Some(state) = &self.state else { return Ok(Word::Nothing) };
        confirmation::word(self.app, &self.caller, &key.body_hash, state, self.answers.as_ref())
    }

    async fn begun(&self, id: OperationId) -> Result<CallToolResponse, ApiError> {
        let told = operation::tell(self.app, &self.caller, id).await?;
        if context::knows_tasks(self.context) {
            return Ok(task::created(self.app, &told).await?.into());
        }
        Ok(task::result(told, ChangeOutcome::Operation).into())
    }

    /// A plan that was only asked for.
    fn planned(&self, plan: &PlanView) -> CallToolResult {
        let PlanView { action, deployment, hash, .. } = plan;
        let next_step = match self.caller.may(*action, false) {
            Err(missing) => format!("This key may look, and no more: {missing}."),
            Ok(()) if self.caller.asks => {
                format!(
                    "To have it done, call `{action}` with the same arguments; what needs the person's word is asked then."
                )
            }
            Ok(()) => format!(
                "To have exactly this done, call `{action}` with the same arguments and `confirm`: `{hash}`, when the person \
                 agrees."
            ),
        };
        let headline = format!("**Plan for `{deployment}`.** Nothing was changed: this is what would be done.");
        shown(ChangeOutcome::Plan, &headline, plan, next_step)
    }

    /// A plan that a person has to agree to, for a client that cannot ask.
    fn unconfirmed(&self, plan: &PlanView) -> CallToolResult {
        let next_step = if self.caller.asks {
            "This key asks a person for every change that destroys or costs, and this client cannot put the question \
             (elicitation of revision 2026-07-28). Use a client that can, or a chat page with the same key."
                .to_owned()
        } else {
            format!(
                "Show this to the person. When they agree, call `{}` again with the same arguments and `confirm`: `{}`.",
                self.name, plan.hash
            )
        };
        shown(ChangeOutcome::ConfirmationNeeded, &confirmation::headline(plan), plan, next_step)
    }

    /// Looks something up.
    async fn look(&self, action: Action, arguments: JsonObject) -> Result<CallToolResult, ApiError> {
        let request = self.request(action, arguments)?;
        match self.report(request).await? {
            Report::Deployments(found) => {
                let deployments = found.iter().map(DeploymentObject::from).collect();
                Ok(answer(report::deployments(&found), &ListResult { deployments }))
            }
            Report::Costs(found) => {
                let result = CostResult { costs: found.iter().map(CostObject::from).collect() };
                Ok(answer(costs::render(&found), &result))
            }
            Report::Status { deployment, live, failure } => {
                let words = report::status(&deployment, &live, failure.as_ref());
                let result = status(&deployment, &live, failure, &words);
                Ok(answer(words, &result))
            }
            Report::LastOperation { operation, deployment } => {
                let words = operation_words::render(&operation, Some(&deployment), &[]);
                let result = status(&deployment, &LiveStatus::default(), operation.failure, &words);
                Ok(answer(words, &result))
            }
            Report::Logs { deployment, follow: _, tail, aws } => {
                let lines = self.app.last_lines(&deployment, tail, aws.as_ref()).await?;
                let deployment_object = DeploymentObject::from(&deployment);
                let words = report::logs(&deployment, &lines);
                Ok(answer(words, &LogsResult { deployment: deployment_object, lines }))
            }
            Report::Cancelled(_) => Err(ApiError::Internal("a question cancels nothing".into())),
        }
    }

    /// Why a deployment is not well: what `status` says, its last operation, and what it printed last.
    async fn diagnose(&self, arguments: JsonObject) -> Result<CallToolResult, ApiError> {
        let request = self.request(Action::Status, arguments)?;
        let aws = request.secrets.aws.clone();
        let (deployment, live, failure) = match self.report(request).await? {
            Report::Status { deployment, live, failure } => (deployment, live, failure),
            Report::LastOperation { operation, deployment } => (*deployment, LiveStatus::default(), operation.failure),
            Report::Deployments(_) | Report::Costs(_) | Report::Logs { .. } | Report::Cancelled(_) => {
                return Err(ApiError::Internal("a diagnosis asks for the status".into()));
            }
        };
        let last = operation::tell(self.app, &self.caller, deployment.operation);
        let (last, lines) = tokio::join!(last, self.app.last_lines(&deployment, LINES, aws.as_ref()));
        let (last, lines) = (last.ok(), lines.unwrap_or_default());
        let told = report::status(&deployment, &live, failure.as_ref());
        let mut words = vec![told.clone()];
        // What it failed with is told once.
        let more = last.as_ref().filter(|it| it.operation.failure.is_none() || it.operation.failure != failure);
        words.extend(more.map(|it| format!("Its last operation:\n\n{}", it.words)));
        let status = status(&deployment, &live, failure, &told);
        if !lines.is_empty() {
            let lines = lines.iter().map(String::as_str);
            words.push(format!("{}\n\n{}", report::logs_headline(&deployment), code_block(lines)));
        }
        let result = DiagnosisResult { status, last_operation: last.map(|it| it.object), lines };
        Ok(answer(words.join("\n\n"), &result))
    }

    /// The answer to a question.
    async fn report(&self, mut request: Request) -> Result<Report, ApiError> {
        // The answer has to end.
        if let Intent::Logs(logs) = &mut request.intent {
            logs.follow = false;
        }
        match execute(self.app, &self.caller, None, request).await? {
            Outcome::Report(report) => Ok(report),
            Outcome::Text(_)
            | Outcome::Operation(_)
            | Outcome::Operations(_)
            | Outcome::Plan(_)
            | Outcome::Confirmation(_) => Err(ApiError::Internal("a question came to a change".into())),
        }
    }
}

/// A plan that is shown, and nothing done.
fn shown(outcome: ChangeOutcome, headline: &str, plan: &PlanView, next_step: String) -> CallToolResult {
    let words = plan_in_words(headline, plan, &next_step);
    let plan = Some(PlanObject::from(plan));
    answer(words, &ChangeResult { outcome, operation: None, plan, next_step: Some(next_step) })
}

fn status(deployment: &Deployment, live: &LiveStatus, failure: Option<Failure>, words: &str) -> StatusResult {
    let summary = words.split("\n\n").next().unwrap_or_default();
    StatusResult {
        summary: summary.replace("**", ""),
        deployment: DeploymentObject::from(deployment),
        now: live.lines.iter().map(|line| strip_ansi(line)).collect(),
        serving: live.serving.map(|it| it.0),
        wanted: live.serving.map(|it| it.1),
        failure: failure.map(Into::into),
    }
}

/// What is to be planned.
fn planned_action(value: Option<Value>) -> Result<Action, ApiError> {
    let actions: Vec<String> = Action::ALL.iter().filter(|it| has_plan(**it)).map(|it| format!("`{it}`")).collect();
    let actions = actions.join(", ");
    let Some(value) = value else {
        let message = format!("`action` is missing: what would be done, one of {actions}");
        return Err(ApiError::MissingParameter { param: Some("action".into()), message });
    };
    let action = value.as_str().and_then(|it| Action::parse(it).ok()).filter(|it| has_plan(*it));
    action.ok_or_else(|| ApiError::invalid("action", format!("`action` must be one of {actions}")))
}

/// The plan that `confirm` names.
fn confirmed_plan(value: Option<Value>) -> Result<Option<PlanHash>, ApiError> {
    let Some(value) = value.filter(|it| !it.is_null() && it.as_str() != Some("")) else { return Ok(None) };
    let plan = value.as_str().and_then(|it| PlanHash::parse(it.trim_matches('`')).ok());
    plan.map(Some).ok_or_else(|| {
        ApiError::invalid("confirm", format!("`confirm` must be {}: an answer with the plan has it", PlanHash::RULE))
    })
}
