//! The model has the word: it says something, or calls tools and hears what became of them, a few rounds at most.
//!
//! A call is checked like any other request; what is wrong with it goes back to the model. One change is made for one
//! message of a person. What has to be confirmed is put to the person at once, in our own words. When the model fails,
//! the sentence is read without it, and what has begun is told in the built-in words.

use futures_util::StreamExt;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout_at};

use super::render::{OperationSummary, follow_operation, summarize_operation};
use super::{
    AnswerError, AnswerSink, Completion, ConversationRequest, Outcome, answer_without_model, confirmation, execute,
    model_options, prompt, turns,
};
use crate::app::{App, AppError};
use crate::id::{Action, PlanHash};
use crate::intent::question::{self, Unclear};
use crate::intent::sentence::{self, Reading};
use crate::intent::tool_call::{self, Tool};
use crate::intent::{AwsCredentials, Confirmation, Intent, Request};
use crate::llm::chunk::ChunkAssembler;
use crate::llm::{Answer, LlmError, Model, Prompt, ToolCall, Usage};
use crate::reply::operation::render as outcome_of;
use crate::reply::report;
use crate::reply::view::Report;
use crate::store::record::Deployment;

/// So many rounds at most; in the last one there is nothing to call any more.
const MAX_ROUNDS: usize = 8;
/// So many wrong calls, then there is nothing to call any more.
const MAX_FAILED_CALLS: usize = 4;
/// So many calls in one round are carried out; a model that wants more is told so.
const MAX_CALLS: usize = 8;
/// How many lines of each pod the model reads.
const MAX_LINES: u32 = 100;

/// The rounds of one answer.
#[derive(Debug)]
pub struct ToolLoop {
    model: Model,
    ask: ConversationRequest,
    prompt: Prompt,
    tools: Vec<Tool>,
    /// The plan that the person says yes to.
    confirmed_plan: Option<PlanHash>,
    /// The model reads what others wrote: nothing that acts is offered.
    has_untrusted_input: bool,
    /// Output was read for this answer.
    quotes_output: bool,
    failed_calls: usize,
    /// What was changed.
    outcome: Option<OperationSummary>,
    usage: Option<Usage>,
}

/// What a call came to.
enum CallResult {
    /// Something to tell the model.
    ToolMessage(Value),
    /// Something that ends the answer.
    Final(Box<Outcome>),
}

impl ToolLoop {
    pub(super) fn new(model: Model, ask: ConversationRequest) -> Self {
        let prompt = prompt::for_conversation(&model, &ask);
        Self {
            confirmed_plan: confirmation::confirmed_plan(&ask),
            has_untrusted_input: prompt::has_untrusted_text(&ask.messages),
            tools: tool_call::tools(&ask.fields, &ask.limits),
            quotes_output: false,
            failed_calls: 0,
            outcome: None,
            usage: None,
            model,
            ask,
            prompt,
        }
    }

    /// Lets the model answer.
    pub(super) async fn run<L: AnswerSink>(
        mut self,
        app: &App,
        until: Instant,
        listener: &mut L,
    ) -> Result<Completion, AnswerError> {
        if listener.is_streaming() && self.ask.body.get("stream_options").is_some_and(|it| it["include_usage"] == true)
        {
            self.prompt.set_trusted("stream_options", model_options::include_usage());
        }
        for round in 1..=MAX_ROUNDS {
            let may_call = round < MAX_ROUNDS && self.failed_calls < MAX_FAILED_CALLS;
            self.set_tools(may_call);
            let answer = match self.request_answer(until, listener).await {
                Ok(answer) => answer,
                Err(error) if self.lacks_tool_support(&error) && self.is_small_talk() => {
                    self.tools.clear();
                    continue;
                }
                Err(error) => return self.handle_model_error(app, error, listener).await,
            };
            self.add_usage(answer.usage.as_ref());
            let calls = answer.tool_calls();
            if calls.is_empty() || !may_call {
                return self.finish(app, &answer, listener).await;
            }
            self.prompt.push(json!({
                "role": "assistant",
                "content": answer.message.get("content").cloned().unwrap_or(Value::Null),
                "tool_calls": calls.iter().take(MAX_CALLS).map(ToolCall::to_value).collect::<Vec<_>>(),
            }));
            for call in calls.iter().take(MAX_CALLS) {
                match self.execute_call(app, call, until, listener).await? {
                    CallResult::ToolMessage(message) => self.prompt.push(message),
                    CallResult::Final(opening) => {
                        paragraph_break(listener).await;
                        let ending = Box::pin(opening.render(app, listener)).await?;
                        return Ok(Completion { usage: self.usage, ..ending });
                    }
                }
            }
        }
        unreachable!("the last round returns, as it offers nothing to call")
    }

    /// Whether the model is one that cannot call tools at all.
    fn lacks_tool_support(&self, error: &LlmError) -> bool {
        let is_refused = matches!(error, LlmError::Refused { message, .. } if message.to_lowercase().contains("tool"));
        is_refused && !self.tools.is_empty()
    }

    /// Whether what is said has no meaning without the model.
    fn is_small_talk(&self) -> bool {
        match sentence::read(&turns(&self.ask.messages), &self.ask.fields, &self.ask.limits) {
            Reading::Help | Reading::Unclear(Unclear::NotUnderstood) => true,
            Reading::Request(_) | Reading::Question(_) | Reading::Unclear(_) => false,
        }
    }

    /// Sets the tools of the next round.
    fn set_tools(&mut self, may_call: bool) {
        let only_looks = self.has_untrusted_input || self.outcome.is_some();
        let tools: Vec<Value> = self
            .tools
            .iter()
            .filter(|tool| may_call && !(only_looks && tool.action.changes()))
            .map(|tool| {
                let function = json!({"name": tool.name(), "description": tool.about, "parameters": tool.parameters});
                json!({"type": "function", "function": function})
            })
            .collect();
        if tools.is_empty() {
            self.prompt.unset("tools");
        } else {
            self.prompt.set_trusted("tools", Value::Array(tools));
        }
    }

    /// Hears one answer of the model; who listens hears its words as they come.
    async fn request_answer<L: AnswerSink>(&self, until: Instant, listener: &mut L) -> Result<Answer, LlmError> {
        let began = Instant::now();
        let late = |_| LlmError::TimedOut(began.elapsed());
        if !listener.is_streaming() {
            return timeout_at(until, self.model.complete(&self.prompt)).await.map_err(late)?;
        }
        let mut chunks = std::pin::pin!(self.model.stream(&self.prompt).await?);
        let mut assembly = ChunkAssembler::default();
        let mut is_first = true;
        while let Some(chunk) = chunks.next().await {
            let text = assembly.take(&chunk?);
            if !text.is_empty() {
                if std::mem::take(&mut is_first) {
                    paragraph_break(listener).await;
                    listener.status(None).await;
                }
                listener.write(text).await;
            }
        }
        Ok(assembly.finish())
    }

    fn add_usage(&mut self, usage: Option<&Usage>) {
        if let Some(usage) = usage {
            *self.usage.get_or_insert_default() += usage;
        }
    }

    /// Checks a call and does what it wants.
    async fn execute_call<L: AnswerSink>(
        &mut self,
        app: &App,
        call: &ToolCall,
        until: Instant,
        listener: &mut L,
    ) -> Result<CallResult, AnswerError> {
        let (fields, limits) = (&self.ask.fields, &self.ask.limits);
        let parsed = tool_call::parse(&call.name, &call.arguments, facts, limits, |it| self.prompt.restore(it));
        let mut request = match parsed {
            Ok(request) => request,
            Err(error) => {
                self.failed_calls += 1;
                return Ok(tool_message(call, &format!("wrong call, nothing was done: {error}")));
            }
        };
        if request.intent.action().changes() {
            if self.outcome.is_some() {
                return Ok(tool_message(
                    call,
                    "not done: one change was made already, and one message makes one change",
                ));
            }
            if self.has_untrusted_input {
                self.failed_calls += 1;
                return Ok(tool_message(
                    call,
                    "not done: this answer reads text of others; tell the person what to ask for, if it is needed",
                ));
            }
        }
        if let Some(confirmed_plan) = &self.confirmed_plan {
            request.confirmation = Confirmation::OfPlan(confirmed_plan.clone());
        }
        self.prompt.add_secrets(request.secrets.git_token.iter());
        let follows = request.intent.action();
        listener.status(Some(doing(follows))).await;
        match execute(app, &self.ask.principal, self.ask.key.clone(), without_follow(request)).await {
            Ok(opening) => self.apply_outcome(app, call, opening, until, listener).await,
            Err(AppError::Internal(source)) => Err(AppError::Internal(source).into()),
            Err(error) => {
                self.failed_calls += 1;
                Ok(tool_message(call, &format!("nothing was done: {error}")))
            }
        }
    }

    /// Takes what a request came to, for the model or as the end of the answer.
    async fn apply_outcome<L: AnswerSink>(
        &mut self,
        app: &App,
        call: &ToolCall,
        opening: Outcome,
        until: Instant,
        listener: &mut L,
    ) -> Result<CallResult, AnswerError> {
        match opening {
            Outcome::Operation(id) => {
                paragraph_break(listener).await;
                follow_operation(app, id, until, listener).await?;
                let outcome = summarize_operation(app, id).await?;
                let failed = outcome.operation.failure.as_ref().is_some_and(|it| !it.output.is_empty());
                self.quotes_output |= failed;
                self.has_untrusted_input = true;
                let message = prompt::untrusted_tool_result(&call.id, &outcome.text);
                self.outcome = Some(outcome);
                Ok(CallResult::ToolMessage(message))
            }
            Outcome::Report(Report::Deployments(deployments)) => {
                Ok(tool_message(call, &report::deployments(&deployments)))
            }
            Outcome::Report(Report::Status { deployment, live, failure }) => {
                self.mark_untrusted_output();
                Ok(CallResult::ToolMessage(prompt::untrusted_tool_result(
                    &call.id,
                    &report::status(&deployment, &live, failure.as_ref()),
                )))
            }
            Outcome::Report(Report::LastOperation { operation, deployment }) => {
                self.mark_untrusted_output();
                Ok(CallResult::ToolMessage(prompt::untrusted_tool_result(
                    &call.id,
                    &outcome_of(&operation, Some(&deployment), &[]),
                )))
            }
            Outcome::Report(Report::Logs { deployment, follow: _, tail, aws }) => {
                self.mark_untrusted_output();
                let text = match log_lines(app, &deployment, tail.min(MAX_LINES), aws.as_ref()).await {
                    Ok(lines) => lines.join("\n"),
                    Err(error) => format!("its output cannot be read: {error}"),
                };
                Ok(CallResult::ToolMessage(prompt::untrusted_tool_result(&call.id, &text)))
            }
            opening @ (Outcome::Text(_)
            | Outcome::Plan(_)
            | Outcome::Confirmation(_)
            | Outcome::Report(Report::Cancelled(_))
            | Outcome::ToolLoop(_)) => Ok(CallResult::Final(Box::new(opening))),
        }
    }

    fn mark_untrusted_output(&mut self) {
        self.has_untrusted_input = true;
        self.quotes_output = true;
    }

    /// The model has said its last word.
    async fn finish<L: AnswerSink>(
        self,
        app: &App,
        answer: &Answer,
        listener: &mut L,
    ) -> Result<Completion, AnswerError> {
        let text = answer.text();
        if text.trim().is_empty() && answer.finish_reason == "tool_calls" {
            return self.finish_without_model(app, "the chat model came to no end", listener).await;
        }
        if text.trim().is_empty() && self.outcome.is_some() {
            return self.finish_without_model(app, "the chat model said nothing", listener).await;
        }
        if !listener.is_streaming() {
            listener.write(text.to_owned()).await;
        }
        if answer.finish_reason == "content_filter" {
            paragraph_break(listener).await;
            listener.write("The content filter of the chat model ended this answer.".to_owned()).await;
        }
        if self.quotes_output {
            listener.write(format!("\n\n{}", prompt::QUOTED_OUTPUT_NOTE)).await;
        }
        let (operation, deployment) = match self.outcome {
            Some(it) => (Some((it.operation.id, it.operation.state)), it.deployment),
            None => (None, None),
        };
        // The calls were ours, or came when there was nothing to call: the caller has none to answer.
        let finish_reason = Some(answer.finish_reason.clone()).filter(|it| !it.ends_with("_calls"));
        Ok(Completion { operation, deployment, finish_reason, usage: self.usage })
    }

    /// The model failed.
    async fn handle_model_error<L: AnswerSink>(
        self,
        app: &App,
        error: LlmError,
        listener: &mut L,
    ) -> Result<Completion, AnswerError> {
        tracing::warn!(error = %error, "an answer goes on without the chat model");
        let nothing_done = self.outcome.is_none();
        if nothing_done && let LlmError::Filtered { .. } = &error {
            paragraph_break(listener).await;
            listener.write(format!("I cannot answer that: {error}.")).await;
            let finish_reason = Some("content_filter".to_owned());
            return Ok(Completion { finish_reason, usage: self.usage, ..Completion::default() });
        }
        // What the caller asked of the model is the caller's to correct.
        if nothing_done
            && !listener.has_content()
            && !self.lacks_tool_support(&error)
            && let LlmError::Refused { .. } = error
        {
            return Err(error.into());
        }
        self.finish_without_model(app, &error.to_string(), listener).await
    }

    /// Goes on without the model: tells what has begun, else reads the sentence.
    async fn finish_without_model<L: AnswerSink>(
        self,
        app: &App,
        why: &str,
        listener: &mut L,
    ) -> Result<Completion, AnswerError> {
        if let Some(OperationSummary { text, operation, deployment }) = self.outcome {
            paragraph_break(listener).await;
            listener.write(text).await;
            let operation = Some((operation.id, operation.state));
            return Ok(Completion { operation, deployment, usage: self.usage, finish_reason: None });
        }
        if listener.has_content() {
            listener.write(format!("\n\n*({}. Please ask again.)*", capital(why))).await;
            return Ok(Completion { usage: self.usage, ..Completion::default() });
        }
        let opening = if self.is_small_talk() {
            let help = question::help();
            Outcome::Text(format!("{}, so I read plain sentences only.\n\n{help}", capital(why)))
        } else {
            match answer_without_model(app, &self.ask).await {
                Err(AppError::Internal(source)) => return Err(AppError::Internal(source).into()),
                Err(error) => Outcome::Text(format!("Nothing was done: {error}.")),
                Ok(opening) => opening,
            }
        };
        Ok(Completion { usage: self.usage, ..Box::pin(opening.render(app, listener)).await? })
    }
}

fn tool_message(call: &ToolCall, text: &str) -> CallResult {
    CallResult::ToolMessage(prompt::tool_result(&call.id, text))
}

/// A model that follows a log would never get to say anything.
fn without_follow(mut request: Request) -> Request {
    if let Intent::Logs(logs) = &mut request.intent {
        logs.follow = false;
    }
    request
}

async fn log_lines(
    app: &App,
    deployment: &Deployment,
    tail: u32,
    aws: Option<&AwsCredentials>,
) -> Result<Vec<String>, AppError> {
    let mut lines = app.logs(deployment, tail, false, aws).await?;
    let mut all = Vec::new();
    while let Some(line) = lines.next().await {
        all.push(line?);
    }
    Ok(all)
}

/// What comes next is a paragraph of its own.
async fn paragraph_break<L: AnswerSink>(listener: &mut L) {
    if listener.has_content() {
        listener.write("\n\n".to_owned()).await;
    }
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().into_iter().flat_map(char::to_uppercase).chain(letters).collect()
}

/// What is going on while a tool works.
fn doing(action: Action) -> &'static str {
    match action {
        Action::Deploy => "Planning the deployment",
        Action::Redeploy | Action::Scale | Action::Rollback | Action::Decommission => "Planning the change",
        Action::Status => "Looking at it",
        Action::List => "Looking at what is deployed",
        Action::Logs => "Reading what it printed",
        Action::Cancel => "Cancelling",
    }
}
