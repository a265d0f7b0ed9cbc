//! A person's word on a plan, by the client that can ask for it: the question goes out as a result that asks for input, and
//! comes back with the answer in the same call made again. What was asked travels with it, sealed, so that it can be
//! answered to a server that was started in between.

use std::collections::BTreeMap;

use rmcp::model::{
    ElicitRequest, ElicitRequestParams, ElicitResult, ElicitationAction, ElicitationSchema, InputRequest,
    InputRequiredResult, InputResponses,
};
use serde::Deserialize;
use serde_json::Value;

use super::result::plan_in_words;
use crate::access::Caller;
use crate::app::App;
use crate::http::error::ApiError;
use crate::id::PlanHash;
use crate::reply::view::PlanView;

/// The key of the one question.
const QUESTION: &str = "confirmation";
/// The one thing that it asks for.
const CONFIRM: &str = "confirm";

/// What a person has said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Word {
    /// Yes, to this plan.
    Yes(PlanHash),
    /// No, to this plan.
    No(PlanHash),
    /// Nothing yet.
    Nothing,
}

/// Asks for a person's word on a plan. `about` tells the request from all others.
///
/// # Errors
/// [`ApiError::Internal`] when the question cannot be made.
pub fn question(app: &App, caller: &Caller, about: &str, plan: &PlanView) -> Result<InputRequiredResult, ApiError> {
    let schema = ElicitationSchema::builder()
        .required_bool_with(CONFIRM, |it| {
            it.title("Yes, do it").description("Exactly this is done; anything but a yes leaves it as it is.")
        })
        .build()
        .map_err(|error| ApiError::Internal(error.into()))?;
    // Clients show it as it is.
    let message = plan_in_words(&headline(plan), plan, "").replace("**", "").replace('`', "");
    let params = ElicitRequestParams::FormElicitationParams { meta: None, message, requested_schema: schema };
    let request = InputRequest::Elicitation(ElicitRequest::new(params));
    let state = app.sealed_question(caller, about, &plan.hash)?;
    Ok(InputRequiredResult::new(Some(BTreeMap::from([(QUESTION.to_owned(), request)])), Some(state)))
}

/// What a plan is shown under to whoever has to agree.
#[must_use]
pub fn headline(plan: &PlanView) -> String {
    let PlanView { action, deployment, mode, namespace, target, .. } = plan;
    let changed = if plan.plan_changed {
        " This is another plan than the one that was confirmed: something has changed since, or that one was never shown."
    } else {
        ""
    };
    format!(
        "**Shall I {action} `{deployment}`?** That is in namespace `{namespace}` on `{target}` (mode `{mode}`). Nothing was \
         done so far.{changed}"
    )
}

/// What was said to a question that comes back.
///
/// # Errors
/// [`ApiError`] when it is no question of ours about this request that is still open, or the answer is none.
pub fn word(
    app: &App,
    caller: &Caller,
    about: &str,
    state: &str,
    answers: Option<&InputResponses>,
) -> Result<Word, ApiError> {
    let plan = app.unsealed_question(caller, about, state).ok_or_else(|| {
        let message = "this answers a question that is not open here: it was put to another key, about other arguments, or \
                       more than an hour ago; call the tool again without it";
        ApiError::invalid("requestState", message)
    })?;
    let Some(answer) = answers.and_then(|it| it.get(QUESTION)) else { return Ok(Word::Nothing) };
    let answer = ElicitResult::deserialize(answer).map_err(|error| {
        ApiError::invalid("inputResponses", format!("`{QUESTION}` is not the result of an elicitation: {error}"))
    })?;
    let is_yes = answer.action == ElicitationAction::Accept
        && answer.content.as_ref().and_then(|it| it.get(CONFIRM)) == Some(&Value::Bool(true));
    Ok(if is_yes { Word::Yes(plan) } else { Word::No(plan) })
}
