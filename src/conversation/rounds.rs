//! The model has the word: it says something, or calls tools and hears what became of them, a few rounds at most.
//!
//! A call is checked like any other request; what is wrong with it goes back to the model. One change is made for one
//! message of a person. What has to be confirmed is put to the person at once, in our own words. When the model fails,
//! the sentence is read without it, and what has begun is told in the built-in words.

use futures_util::StreamExt;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout_at};

use super::telling::{Outcome, follow, outcome};
use super::{AnswerError, Ask, Ending, Listener, Opening, carry_out, confirmation, options, prompt, read, turns};
use crate::app::{App, AppError};
use crate::id::{Action, PlanHash};
use crate::intent::question::{self, Unclear};
use crate::intent::sentence::{self, Reading};
use crate::intent::tool_call::{self, Tool};
use crate::intent::{AwsCredentials, Confirmation, Intent, Request};
use crate::llm::chunk::Assembly;
use crate::llm::{Answer, LlmError, Model, Prompt, ToolCall, Usage};
use crate::reply::outcome::outcome as outcome_of;
use crate::reply::report;
use crate::reply::view::Report;
use crate::store::record::Deployment;

/// So many rounds at most; in the last one there is nothing to call any more.
const MAX_ROUNDS: usize = 8;
/// So many wrong calls, then there is nothing to call any more.
const MAX_WRONG: usize = 4;
/// So many calls in one round are carried out; a model that wants more is told so.
const MAX_CALLS: usize = 8;
/// How many lines of each pod the model reads.
const MAX_LINES: u32 = 100;

/// The rounds of one answer.
#[derive(Debug)]
pub struct Rounds {
    model: Model,
    ask: Ask,
    prompt: Prompt,
    tools: Vec<Tool>,
    /// The plan that the person says yes to.
    agreed: Option<PlanHash>,
    /// The model reads what others wrote: nothing that acts is offered.
    reads_others: bool,
    /// Output was read for this answer.
    quotes_output: bool,
    wrong: usize,
    /// What was changed.
    outcome: Option<Outcome>,
    usage: Option<Usage>,
}

/// What a call came to.
enum Carried {
    /// Something to tell the model.
    Told(Value),
    /// Something that ends the answer.
    Opening(Box<Opening>),
}

impl Rounds {
    pub(super) fn new(model: Model, ask: Ask) -> Self {
        let prompt = prompt::of_conversation(&model, &ask);
        Self {
            agreed: confirmation::agreed(&ask),
            reads_others: prompt::brings_text_of_others(&ask.messages),
            tools: tool_call::tools(&ask.facts, &ask.limits),
            quotes_output: false,
            wrong: 0,
            outcome: None,
            usage: None,
            model,
            ask,
            prompt,
        }
    }

    /// Lets the model answer.
    pub(super) async fn run<L: Listener>(
        mut self,
        app: &App,
        until: Instant,
        listener: &mut L,
    ) -> Result<Ending, AnswerError> {
        if listener.is_live() && self.ask.body.get("stream_options").is_some_and(|it| it["include_usage"] == true) {
            self.prompt.set_ours("stream_options", options::with_usage());
        }
        for round in 1..=MAX_ROUNDS {
            let may_call = round < MAX_ROUNDS && self.wrong < MAX_WRONG;
            self.offer(may_call);
            let answer = match self.listen(until, listener).await {
                Ok(answer) => answer,
                Err(error) if self.is_without_tools(&error) && self.says_no_more_than_chat() => {
                    self.tools.clear();
                    continue;
                }
                Err(error) => return self.without_model(app, error, listener).await,
            };
            self.count(answer.usage.as_ref());
            let calls = answer.tool_calls();
            if calls.is_empty() || !may_call {
                return self.end(app, &answer, listener).await;
            }
            self.prompt.push(json!({
                "role": "assistant",
                "content": answer.message.get("content").cloned().unwrap_or(Value::Null),
                "tool_calls": calls.iter().take(MAX_CALLS).map(ToolCall::to_value).collect::<Vec<_>>(),
            }));
            for call in calls.iter().take(MAX_CALLS) {
                match self.carry_out(app, call, until, listener).await? {
                    Carried::Told(message) => self.prompt.push(message),
                    Carried::Opening(opening) => {
                        separate(listener).await;
                        let ending = Box::pin(opening.tell(app, listener)).await?;
                        return Ok(Ending { usage: self.usage, ..ending });
                    }
                }
            }
        }
        unreachable!("the last round returns, as it offers nothing to call")
    }

    /// Whether the model is one that cannot call tools at all.
    fn is_without_tools(&self, error: &LlmError) -> bool {
        let is_refused = matches!(error, LlmError::Refused { message, .. } if message.to_lowercase().contains("tool"));
        is_refused && !self.tools.is_empty()
    }

    /// Whether what is said has no meaning without the model.
    fn says_no_more_than_chat(&self) -> bool {
        match sentence::read(&turns(&self.ask.messages), &self.ask.facts, &self.ask.limits) {
            Reading::Help | Reading::Unclear(Unclear::NotUnderstood) => true,
            Reading::Request(_) | Reading::Question(_) | Reading::Unclear(_) => false,
        }
    }

    /// Sets the tools of the next round.
    fn offer(&mut self, may_call: bool) {
        let only_looks = self.reads_others || self.outcome.is_some();
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
            self.prompt.set_ours("tools", Value::Array(tools));
        }
    }

    /// Hears one answer of the model; who listens hears its words as they come.
    async fn listen<L: Listener>(&self, until: Instant, listener: &mut L) -> Result<Answer, LlmError> {
        let began = Instant::now();
        let late = |_| LlmError::Silent(began.elapsed());
        if !listener.is_live() {
            return timeout_at(until, self.model.complete(&self.prompt)).await.map_err(late)?;
        }
        let mut chunks = std::pin::pin!(self.model.stream(&self.prompt).await?);
        let mut assembly = Assembly::default();
        let mut is_first = true;
        while let Some(chunk) = chunks.next().await {
            let text = assembly.take(&chunk?);
            if !text.is_empty() {
                if std::mem::take(&mut is_first) {
                    separate(listener).await;
                    listener.status(None).await;
                }
                listener.say(text).await;
            }
        }
        Ok(assembly.finish())
    }

    fn count(&mut self, usage: Option<&Usage>) {
        if let Some(usage) = usage {
            *self.usage.get_or_insert_default() += usage;
        }
    }

    /// Checks a call and does what it wants.
    async fn carry_out<L: Listener>(
        &mut self,
        app: &App,
        call: &ToolCall,
        until: Instant,
        listener: &mut L,
    ) -> Result<Carried, AnswerError> {
        let (facts, limits) = (&self.ask.facts, &self.ask.limits);
        let parsed = tool_call::parse(&call.name, &call.arguments, facts, limits, |it| self.prompt.restore(it));
        let mut request = match parsed {
            Ok(request) => request,
            Err(error) => {
                self.wrong += 1;
                return Ok(told(call, &format!("wrong call, nothing was done: {error}")));
            }
        };
        if request.intent.action().changes() {
            if self.outcome.is_some() {
                return Ok(told(call, "not done: one change was made already, and one message makes one change"));
            }
            if self.reads_others {
                self.wrong += 1;
                return Ok(told(
                    call,
                    "not done: this answer reads text of others; tell the person what to ask for, if it is needed",
                ));
            }
        }
        if let Some(agreed) = &self.agreed {
            request.confirmation = Confirmation::OfPlan(agreed.clone());
        }
        self.prompt.know(request.secrets.git_token.iter());
        let follows = request.intent.action();
        listener.status(Some(doing(follows))).await;
        match carry_out(app, &self.ask.principal, self.ask.key.clone(), limited(request)).await {
            Ok(opening) => self.take(app, call, opening, until, listener).await,
            Err(AppError::Internal(source)) => Err(AppError::Internal(source).into()),
            Err(error) => {
                self.wrong += 1;
                Ok(told(call, &format!("nothing was done: {error}")))
            }
        }
    }

    /// Takes what a request came to, for the model or as the end of the answer.
    async fn take<L: Listener>(
        &mut self,
        app: &App,
        call: &ToolCall,
        opening: Opening,
        until: Instant,
        listener: &mut L,
    ) -> Result<Carried, AnswerError> {
        match opening {
            Opening::Operation(id) => {
                separate(listener).await;
                follow(app, id, until, listener).await?;
                let outcome = outcome(app, id).await?;
                let failed = outcome.operation.failure.as_ref().is_some_and(|it| !it.output.is_empty());
                self.quotes_output |= failed;
                self.reads_others = true;
                let message = prompt::output(&call.id, &outcome.text);
                self.outcome = Some(outcome);
                Ok(Carried::Told(message))
            }
            Opening::Report(Report::Deployments(deployments)) => Ok(told(call, &report::deployments(&deployments))),
            Opening::Report(Report::Status { deployment, live, why }) => {
                self.read_output();
                Ok(Carried::Told(prompt::output(&call.id, &report::status(&deployment, &live, why.as_ref()))))
            }
            Opening::Report(Report::Past { operation, deployment }) => {
                self.read_output();
                Ok(Carried::Told(prompt::output(&call.id, &outcome_of(&operation, Some(&deployment), &[]))))
            }
            Opening::Report(Report::Logs { deployment, follow: _, tail, aws }) => {
                self.read_output();
                let text = match lines(app, &deployment, tail.min(MAX_LINES), aws.as_ref()).await {
                    Ok(lines) => lines.join("\n"),
                    Err(error) => format!("its output cannot be read: {error}"),
                };
                Ok(Carried::Told(prompt::output(&call.id, &text)))
            }
            opening @ (Opening::Words(_)
            | Opening::Plan(_)
            | Opening::Confirmation(_)
            | Opening::Report(Report::Cancelled(_))
            | Opening::Model(_)) => Ok(Carried::Opening(Box::new(opening))),
        }
    }

    fn read_output(&mut self) {
        self.reads_others = true;
        self.quotes_output = true;
    }

    /// The model has said its last word.
    async fn end<L: Listener>(self, app: &App, answer: &Answer, listener: &mut L) -> Result<Ending, AnswerError> {
        let text = answer.text();
        if text.trim().is_empty() && answer.finish_reason == "tool_calls" {
            return self.read_alone(app, "the chat model came to no end", listener).await;
        }
        if text.trim().is_empty() && self.outcome.is_some() {
            return self.read_alone(app, "the chat model said nothing", listener).await;
        }
        if !listener.is_live() {
            listener.say(text.to_owned()).await;
        }
        if answer.finish_reason == "content_filter" {
            separate(listener).await;
            listener.say("The content filter of the chat model ended this answer.".to_owned()).await;
        }
        if self.quotes_output {
            listener.say(format!("\n\n{}", prompt::QUOTES_OUTPUT)).await;
        }
        let (operation, deployment) = match self.outcome {
            Some(it) => (Some((it.operation.id, it.operation.state)), it.deployment),
            None => (None, None),
        };
        // The calls were ours, or came when there was nothing to call: the caller has none to answer.
        let finish_reason = Some(answer.finish_reason.clone()).filter(|it| !it.ends_with("_calls"));
        Ok(Ending { operation, deployment, finish_reason, usage: self.usage })
    }

    /// The model failed.
    async fn without_model<L: Listener>(
        self,
        app: &App,
        error: LlmError,
        listener: &mut L,
    ) -> Result<Ending, AnswerError> {
        tracing::warn!(error = %error, "an answer goes on without the chat model");
        let nothing_done = self.outcome.is_none();
        if nothing_done && let LlmError::Filtered { .. } = &error {
            separate(listener).await;
            listener.say(format!("I cannot answer that: {error}.")).await;
            let finish_reason = Some("content_filter".to_owned());
            return Ok(Ending { finish_reason, usage: self.usage, ..Ending::default() });
        }
        // What the caller asked of the model is the caller's to correct.
        if nothing_done
            && !listener.has_heard()
            && !self.is_without_tools(&error)
            && let LlmError::Refused { .. } = error
        {
            return Err(error.into());
        }
        self.read_alone(app, &error.to_string(), listener).await
    }

    /// Goes on without the model: tells what has begun, else reads the sentence.
    async fn read_alone<L: Listener>(self, app: &App, why: &str, listener: &mut L) -> Result<Ending, AnswerError> {
        if let Some(Outcome { text, operation, deployment }) = self.outcome {
            separate(listener).await;
            listener.say(text).await;
            let operation = Some((operation.id, operation.state));
            return Ok(Ending { operation, deployment, usage: self.usage, finish_reason: None });
        }
        if listener.has_heard() {
            listener.say(format!("\n\n*({}. Please ask again.)*", capital(why))).await;
            return Ok(Ending { usage: self.usage, ..Ending::default() });
        }
        let opening = if self.says_no_more_than_chat() {
            let help = question::help();
            Opening::Words(format!("{}, so I read plain sentences only.\n\n{help}", capital(why)))
        } else {
            match read(app, &self.ask).await {
                Err(AppError::Internal(source)) => return Err(AppError::Internal(source).into()),
                Err(error) => Opening::Words(format!("Nothing was done: {error}.")),
                Ok(opening) => opening,
            }
        };
        Ok(Ending { usage: self.usage, ..Box::pin(opening.tell(app, listener)).await? })
    }
}

fn told(call: &ToolCall, text: &str) -> Carried {
    Carried::Told(prompt::result(&call.id, text))
}

/// A model that follows a log would never get to say anything.
fn limited(mut request: Request) -> Request {
    if let Intent::Logs(logs) = &mut request.intent {
        logs.follow = false;
    }
    request
}

async fn lines(
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
async fn separate<L: Listener>(listener: &mut L) {
    if listener.has_heard() {
        listener.say("\n\n".to_owned()).await;
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
