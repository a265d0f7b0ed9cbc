//! The model has the word: it says something, or calls tools and reads what became of them, a few rounds at most.
//!
//! A call is checked like any other request; what is wrong with it goes back to the model. One change is made for one
//! message of a person. What has to be confirmed is put to the person at once, in our own words. A call of a tool that
//! the caller brought ends the answer: the caller calls it, and its next request goes on. When the model fails, the
//! sentence is read without it, and what has begun is told in the built-in words.

use futures_util::StreamExt;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

use super::answer::{AnswerError, AnswerSink, CallerCalls, Completion};
use super::caller_tools::CallerTools;
use super::outcome::{Outcome, answer_without_model, execute};
use super::render::{OperationSummary, follow_operation, summarize_operation};
use super::request::{ConversationRequest, turns};
use super::tool_round::{self, ToolRound, ToolRounds};
use super::{confirmation, model_options, prompt, refusal};
use crate::app::{App, AppError};
use crate::event::OperationState;
use crate::id::{Action, OperationId, PlanHash};
use crate::intent::question::{self, Unclear};
use crate::intent::sentence::{self, Reading};
use crate::intent::tool_call::{self, Tool};
use crate::intent::{AwsCredentials, Confirmation, Intent, Request};
use crate::llm::chunk::ChunkAssembler;
use crate::llm::{Answer, LlmError, Model, Prompt, ToolCall, Usage};
use crate::reply::report::ForeignWords;
use crate::reply::view::Report;
use crate::reply::{capital, costs, operation, report};
use crate::store::record::Deployment;

/// So many rounds at most; in the last one there is nothing to call any more.
const MAX_ROUNDS: usize = 8;
/// So many wrong calls, then there is nothing to call any more.
const MAX_FAILED_CALLS: usize = 4;
/// So many calls in one round are carried out; a model that wants more is told so.
const MAX_CALLS: usize = 8;
/// How many lines of each pod the model reads.
const MAX_LINES: u32 = 100;

/// The rounds of one answer: requests to the model, and calls of tools between them.
#[derive(Debug)]
pub struct ToolLoop {
    model: Model,
    conversation: ConversationRequest,
    prompt: Prompt,
    tools: Vec<Tool>,
    caller_tools: CallerTools,
    /// The call that the person has just agreed to; it is made before the model says anything.
    agreed: Option<ToolCall>,
    /// What was said with the model in this answer; the caller does not know of it.
    round: Vec<Value>,
    /// The plan that the person says yes to.
    confirmed_plan: Option<PlanHash>,
    /// The model reads what others wrote: what it wants to change is only proposed.
    has_untrusted_input: bool,
    /// Output was read for this answer.
    quotes_output: bool,
    failed_calls: usize,
    /// What was changed.
    summary: Option<OperationSummary>,
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
    pub(super) fn new(
        model: Model,
        conversation: ConversationRequest,
        rounds: &ToolRounds,
        agreed: Option<ToolCall>,
    ) -> Self {
        let mut tools = tool_call::tools(&conversation.fields, &conversation.limits);
        let ours: Vec<&str> = tools.iter().map(Tool::name).collect();
        let caller_tools = CallerTools::of(&conversation.body, &ours);
        // What the role may not do is not offered; a call of it all the same is refused like any other request.
        tools.retain(|tool| conversation.caller.may(tool.action, false).is_ok());
        let prompt = prompt::for_conversation(&model, &conversation, &caller_tools, rounds);
        Self {
            confirmed_plan: confirmation::agreed_plan(&conversation.messages),
            has_untrusted_input: prompt::reads_untrusted_text(&conversation),
            tools,
            caller_tools,
            agreed,
            round: Vec::new(),
            quotes_output: rounds.quote_output(),
            failed_calls: 0,
            summary: None,
            usage: None,
            model,
            conversation,
            prompt,
        }
    }

    /// Lets the model answer.
    pub(super) async fn run<S: AnswerSink>(
        mut self,
        app: &App,
        until: Instant,
        sink: &mut S,
    ) -> Result<Completion, AnswerError> {
        if sink.is_streaming()
            && self.conversation.body.get("stream_options").is_some_and(|it| it["include_usage"] == true)
        {
            self.prompt.set_trusted("stream_options", model_options::include_usage());
        }
        if let Some(call) = self.agreed.take() {
            self.push(calling_message(&Answer::default(), std::slice::from_ref(&call)));
            match self.execute_call(app, &call, until, sink).await? {
                CallResult::ToolMessage(message) => self.push(message),
                CallResult::Final(outcome) => {
                    return Box::pin(outcome.render(app, &self.conversation.caller, sink)).await;
                }
            }
        }
        for round in 1..=MAX_ROUNDS {
            let may_call = round < MAX_ROUNDS && self.failed_calls < MAX_FAILED_CALLS;
            self.set_tools(may_call);
            let answer = match self.request_answer(until, sink).await {
                Ok(answer) => answer,
                Err(error) if self.lacks_tool_support(&error) && self.is_small_talk() => {
                    self.tools.clear();
                    self.caller_tools = CallerTools::default();
                    continue;
                }
                Err(error) => return self.handle_model_error(app, error, sink).await,
            };
            self.add_usage(answer.usage.as_ref());
            let mut calls = answer.tool_calls();
            if calls.is_empty() || !may_call {
                return self.finish(app, &answer, sink).await;
            }
            name_calls(&mut calls);
            if calls.iter().all(|it| self.caller_tools.has(&it.name)) {
                return self.hand_over(app, &answer, calls, sink).await;
            }
            calls.truncate(MAX_CALLS);
            self.push(calling_message(&answer, &calls));
            let (of_caller, ours): (Vec<_>, Vec<_>) = calls.iter().partition(|call| self.caller_tools.has(&call.name));
            for call in of_caller {
                self.push(prompt::tool_result(&call.id, "not run; call it again if it is still wanted"));
            }
            for call in ours {
                match self.execute_call(app, call, until, sink).await? {
                    CallResult::ToolMessage(message) => self.push(message),
                    CallResult::Final(outcome) => {
                        paragraph_break(sink).await;
                        let completion = Box::pin(outcome.render(app, &self.conversation.caller, sink)).await?;
                        return Ok(Completion { usage: self.usage, ..completion });
                    }
                }
            }
        }
        unreachable!("the last round returns, as it offers nothing to call")
    }

    /// Adds a message to what is said with the model in this answer.
    fn push(&mut self, message: Value) {
        self.round.push(message.clone());
        self.prompt.push(message);
    }

    /// Whether the model is one that cannot call tools at all.
    fn lacks_tool_support(&self, error: &LlmError) -> bool {
        let is_refused = matches!(error, LlmError::Refused { message, .. } if message.to_lowercase().contains("tool"));
        is_refused && !self.tools.is_empty()
    }

    /// Whether what is said has no meaning without the model.
    fn is_small_talk(&self) -> bool {
        let ConversationRequest { messages, fields, limits, .. } = &self.conversation;
        match sentence::read(&turns(messages), fields, limits, &[]) {
            Reading::Help | Reading::Unclear(Unclear::NotUnderstood) => true,
            Reading::Request(_) | Reading::Choice { .. } | Reading::Question(_) | Reading::Unclear(_) => false,
        }
    }

    /// Sets the tools of the next round: ours, and those of the caller.
    fn set_tools(&mut self, may_call: bool) {
        for name in ["tools", "parallel_tool_calls"] {
            self.prompt.unset(name);
        }
        if !may_call || self.tools.is_empty() {
            return;
        }
        let ours = self.tools.iter().filter(|tool| self.may_offer(tool.action)).map(|tool| {
            let function = json!({"name": tool.name(), "description": tool.about, "parameters": tool.parameters});
            json!({"type": "function", "function": function})
        });
        let tools: Vec<Value> = ours.chain(self.caller_tools.tools().iter().cloned()).collect();
        self.prompt.set_trusted("tools", Value::Array(tools));
        if let Some(parallel) = self.caller_tools.parallel {
            self.prompt.set_trusted("parallel_tool_calls", json!(parallel));
        }
    }

    /// Whether the model may want this now: one change for one message, and what cannot be proposed (cancelling has no
    /// plan) only when nothing from outside was read.
    fn may_offer(&self, action: Action) -> bool {
        !action.changes() || (self.summary.is_none() && !(self.has_untrusted_input && action == Action::Cancel))
    }

    /// Requests one answer of the model; a stream gets its words as they come.
    async fn request_answer<S: AnswerSink>(&self, until: Instant, sink: &mut S) -> Result<Answer, LlmError> {
        let began = Instant::now();
        let late = |_| LlmError::TimedOut(began.elapsed());
        if !sink.is_streaming() {
            return timeout_at(until, self.model.complete(&self.prompt)).await.map_err(late)?;
        }
        let mut chunks = std::pin::pin!(self.model.stream(&self.prompt).await?);
        let mut assembler = ChunkAssembler::default();
        let mut is_first = true;
        let mut words = ForeignWords::default();
        while let Some(chunk) = chunks.next().await {
            let text = words.push(&assembler.take(&chunk?));
            if !text.is_empty() {
                if std::mem::take(&mut is_first) {
                    paragraph_break(sink).await;
                    sink.status(None).await;
                }
                sink.write(text).await;
            }
        }
        let rest = words.finish();
        if !rest.is_empty() {
            sink.write(rest).await;
        }
        Ok(assembler.finish())
    }

    fn add_usage(&mut self, usage: Option<&Usage>) {
        if let Some(usage) = usage {
            *self.usage.get_or_insert_default() += usage;
        }
    }

    /// Checks a call and does what it wants.
    async fn execute_call<S: AnswerSink>(
        &mut self,
        app: &App,
        call: &ToolCall,
        until: Instant,
        sink: &mut S,
    ) -> Result<CallResult, AnswerError> {
        let (fields, limits) = (&self.conversation.fields, &self.conversation.limits);
        let parsed = tool_call::parse(&call.name, &call.arguments, fields, limits, |it| self.prompt.restore(it));
        let mut request = match parsed {
            Ok(request) => request,
            Err(error) => {
                self.failed_calls += 1;
                return Ok(tool_message(call, &format!("wrong call, nothing was done: {error}")));
            }
        };
        if request.intent.action().changes() {
            if self.summary.is_some() {
                return Ok(tool_message(
                    call,
                    "not done: one change was made already, and one message makes one change",
                ));
            }
            if self.has_untrusted_input && request.intent.action() == Action::Cancel {
                self.failed_calls += 1;
                return Ok(tool_message(
                    call,
                    "not done: this answer reads text of others; tell the person what to ask for, if it is needed",
                ));
            }
        }
        let mut key = Some(self.conversation.key.clone());
        if let Some(confirmed_plan) = &self.confirmed_plan {
            request.confirmation = Confirmation::Agreed(confirmed_plan.clone());
        } else if self.has_untrusted_input {
            // A proposal begins nothing; with its key it would attach to what the same message has begun before.
            request.confirmation = Confirmation::Required;
            key = None;
        }
        self.prompt.add_secrets(request.secrets.git_token.iter());
        let follows = request.intent.action();
        sink.status(Some(doing(follows))).await;
        match execute(app, &self.conversation.caller, key, without_follow(request)).await {
            Ok(outcome) => self.apply_outcome(app, call, outcome, until, sink).await,
            Err(AppError::Internal(source)) => Err(AppError::Internal(source).into()),
            Err(error) => {
                self.failed_calls += 1;
                Ok(tool_message(call, &format!("nothing was done: {error}")))
            }
        }
    }

    /// Takes what a request came to, for the model or as the end of the answer.
    async fn apply_outcome<S: AnswerSink>(
        &mut self,
        app: &App,
        call: &ToolCall,
        outcome: Outcome,
        until: Instant,
        sink: &mut S,
    ) -> Result<CallResult, AnswerError> {
        match outcome {
            Outcome::Operation(id) => {
                paragraph_break(sink).await;
                follow_operation(app, &self.conversation.caller, id, until, sink).await?;
                let summary = summarize_operation(app, &self.conversation.caller, id).await?;
                let failed = summary.operation.failure.as_ref().is_some_and(|it| !it.output.is_empty());
                self.quotes_output |= failed;
                self.has_untrusted_input = true;
                let message = prompt::untrusted_tool_result(&call.id, &summary.text);
                self.summary = Some(summary);
                Ok(CallResult::ToolMessage(message))
            }
            Outcome::Report(Report::Deployments(deployments)) => {
                Ok(tool_message(call, &report::deployments(&deployments)))
            }
            Outcome::Report(Report::Costs(costs)) => Ok(tool_message(call, &costs::render(&costs))),
            Outcome::Report(Report::Status { deployment, live, failure }) => {
                self.mark_untrusted_input(failure.is_some());
                Ok(CallResult::ToolMessage(prompt::untrusted_tool_result(
                    &call.id,
                    &report::status(&deployment, &live, failure.as_ref()),
                )))
            }
            Outcome::Report(Report::LastOperation { operation, deployment }) => {
                self.mark_untrusted_input(operation.failure.is_some());
                Ok(CallResult::ToolMessage(prompt::untrusted_tool_result(
                    &call.id,
                    &operation::render(&operation, Some(&deployment), &[]),
                )))
            }
            Outcome::Report(Report::Logs { deployment, follow: _, tail, aws }) => {
                self.mark_untrusted_input(true);
                let text = match log_lines(app, &deployment, tail.min(MAX_LINES), aws.as_ref()).await {
                    Ok(lines) => lines.join("\n"),
                    Err(error) => format!("its output cannot be read: {error}"),
                };
                Ok(CallResult::ToolMessage(prompt::untrusted_tool_result(&call.id, &text)))
            }
            Outcome::Plan(ref proposal) | Outcome::Confirmation(ref proposal) => {
                let (caller, arguments) = (&self.conversation.caller, self.restored_arguments(call));
                confirmation::keep_proposal(app, caller, proposal.hash(), &call.name, &arguments).await?;
                Ok(CallResult::Final(Box::new(outcome)))
            }
            outcome @ (Outcome::Text(_) | Outcome::Operations(_) | Outcome::Report(Report::Cancelled(_))) => {
                Ok(CallResult::Final(Box::new(outcome)))
            }
        }
    }

    /// The model reads what others wrote; `is_output`: it may quote what an application printed.
    fn mark_untrusted_input(&mut self, is_output: bool) {
        self.has_untrusted_input = true;
        self.quotes_output |= is_output;
    }

    /// The model calls tools of the caller: the answer ends with these calls, and the caller's next request goes on.
    async fn hand_over<S: AnswerSink>(
        mut self,
        app: &App,
        answer: &Answer,
        mut calls: Vec<ToolCall>,
        sink: &mut S,
    ) -> Result<Completion, AnswerError> {
        if self.caller_tools.are_functions {
            calls.truncate(1);
        }
        let said = answer.text();
        if !sink.is_streaming() && !said.is_empty() {
            sink.write(ForeignWords::of(said)).await;
        }
        if self.quotes_output && !said.is_empty() {
            sink.write(format!("\n\n{}", prompt::QUOTED_OUTPUT_NOTE)).await;
        }
        let mut for_caller: Vec<ToolCall> = calls.iter().map(|it| self.for_caller(it)).collect();
        // Without a word of ours the caller knows all that was said.
        if !self.round.is_empty() {
            self.round.push(calling_message(answer, &calls));
            let round = ToolRound { messages: self.round, quotes_output: self.quotes_output };
            round.keep(app, &self.conversation.caller, &mut for_caller).await?;
        }
        let (caller_calls, finish_reason) = if self.caller_tools.are_functions {
            (for_caller.pop().map(CallerCalls::Function), "function_call")
        } else {
            (Some(CallerCalls::Tools(for_caller)), "tool_calls")
        };
        let (operation, deployment) = changed(self.summary);
        let finish_reason = Some(finish_reason.to_owned());
        Ok(Completion { operation, deployment, finish_reason, usage: self.usage, caller_calls })
    }

    /// The arguments of a call with all secrets in them.
    fn restored_arguments(&self, call: &ToolCall) -> Value {
        let mut arguments = serde_json::from_str(&call.arguments).unwrap_or(Value::Null);
        tool_call::restore_all(&mut arguments, &|text: &str| self.prompt.restore(text));
        arguments
    }

    /// The call as the caller knows it, with those secrets in it that the caller itself sent.
    fn for_caller(&self, call: &ToolCall) -> ToolCall {
        let messages = &self.conversation.messages;
        let restore =
            |text: &str| self.prompt.restore_if(text, |secret| messages.iter().any(|it| it.text.contains(secret)));
        let mut call = self.caller_tools.for_caller(call);
        call.arguments = match serde_json::from_str(&call.arguments) {
            Ok(mut arguments) if !call.is_custom => {
                tool_call::restore_all(&mut arguments, &restore);
                Value::to_string(&arguments)
            }
            Ok(_) | Err(_) => restore(&call.arguments),
        };
        call
    }

    /// The model has said its last word.
    async fn finish<S: AnswerSink>(self, app: &App, answer: &Answer, sink: &mut S) -> Result<Completion, AnswerError> {
        let text = answer.text();
        if text.trim().is_empty() && answer.finish_reason == "tool_calls" {
            return self.finish_without_model(app, "the chat model came to no end", sink).await;
        }
        if text.trim().is_empty() && self.summary.is_some() {
            return self.finish_without_model(app, "the chat model said nothing", sink).await;
        }
        if !sink.is_streaming() {
            sink.write(ForeignWords::of(text)).await;
        }
        if answer.finish_reason == "content_filter" {
            paragraph_break(sink).await;
            sink.write("The content filter of the chat model ended this answer.".to_owned()).await;
        }
        if self.quotes_output {
            sink.write(format!("\n\n{}", prompt::QUOTED_OUTPUT_NOTE)).await;
        }
        let (operation, deployment) = changed(self.summary);
        // A `finish_reason` of `tool_calls` or `function_call` is dropped: the calls came in the last round, which
        // offers none, and the client would look for `tool_calls` in a message that has none.
        let finish_reason = Some(answer.finish_reason.clone()).filter(|it| !it.contains("_call"));
        Ok(Completion { operation, deployment, finish_reason, usage: self.usage, caller_calls: None })
    }

    /// The model failed.
    async fn handle_model_error<S: AnswerSink>(
        self,
        app: &App,
        error: LlmError,
        sink: &mut S,
    ) -> Result<Completion, AnswerError> {
        tracing::warn!(error = %error, "an answer goes on without the chat model");
        let nothing_done = self.summary.is_none();
        if nothing_done && let LlmError::Filtered { .. } = &error {
            paragraph_break(sink).await;
            sink.write(format!("I cannot answer that: {error}.")).await;
            let finish_reason = Some("content_filter".to_owned());
            return Ok(Completion { finish_reason, usage: self.usage, ..Completion::default() });
        }
        // The model refused (4xx) what the caller sent, such as `temperature`, before anything was written: the caller
        // gets that error instead of an answer without the model.
        if nothing_done
            && !sink.has_content()
            && !self.lacks_tool_support(&error)
            && let LlmError::Refused { .. } = error
        {
            return Err(error.into());
        }
        self.finish_without_model(app, &error.to_string(), sink).await
    }

    /// Goes on without the model: tells what has begun, else reads the sentence.
    async fn finish_without_model<S: AnswerSink>(
        self,
        app: &App,
        why: &str,
        sink: &mut S,
    ) -> Result<Completion, AnswerError> {
        if let Some(OperationSummary { text, operation, deployment }) = self.summary {
            paragraph_break(sink).await;
            sink.write(text).await;
            let operation = Some((operation.id, operation.state));
            return Ok(Completion { operation, deployment, usage: self.usage, ..Completion::default() });
        }
        if sink.has_content() {
            sink.write(format!("\n\n*({}. Please ask again.)*", capital(why))).await;
            return Ok(Completion { usage: self.usage, ..Completion::default() });
        }
        let outcome = if self.is_small_talk() {
            let help = question::help();
            Outcome::Text(format!("{}, so I read plain sentences only.\n\n{help}", capital(why)))
        } else {
            match answer_without_model(app, &self.conversation).await {
                Err(error) => Outcome::Text(refusal::in_words(error)?),
                Ok(outcome) => outcome,
            }
        };
        Ok(Completion { usage: self.usage, ..Box::pin(outcome.render(app, &self.conversation.caller, sink)).await? })
    }
}

/// The message of the model that calls tools, as it goes back to it.
fn calling_message(answer: &Answer, calls: &[ToolCall]) -> Value {
    json!({
        "role": "assistant",
        "content": answer.message.get("content").cloned().unwrap_or(Value::Null),
        "tool_calls": calls.iter().map(ToolCall::to_value).collect::<Vec<_>>(),
    })
}

/// Gives an id to calls that came without one: results are told by it.
fn name_calls(calls: &mut [ToolCall]) {
    let round = Uuid::new_v4();
    for (index, call) in calls.iter_mut().enumerate().filter(|(_, it)| it.id.is_empty()) {
        call.id = tool_round::call_id(round, index);
    }
}

/// What an answer has changed, as its end tells of it.
fn changed(summary: Option<OperationSummary>) -> (Option<(OperationId, OperationState)>, Option<Deployment>) {
    match summary {
        Some(it) => (Some((it.operation.id, it.operation.state)), it.deployment),
        None => (None, None),
    }
}

fn tool_message(call: &ToolCall, text: &str) -> CallResult {
    CallResult::ToolMessage(prompt::tool_result(&call.id, text))
}

/// Switches `follow` off: the result of a tool has to end before the model can answer, and a followed log does not end.
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
async fn paragraph_break<S: AnswerSink>(sink: &mut S) {
    if sink.has_content() {
        sink.write("\n\n".to_owned()).await;
    }
}

/// What is going on while a tool works.
fn doing(action: Action) -> &'static str {
    match action {
        Action::Deploy => "Planning the deployment",
        Action::Redeploy | Action::Scale | Action::Restart | Action::Rollback | Action::Decommission | Action::Undo => {
            "Planning the change"
        }
        Action::Status => "Looking at it",
        Action::List | Action::Cost => "Looking at what is deployed",
        Action::Logs => "Reading what it printed",
        Action::Cancel => "Cancelling",
    }
}
