//! What one request leaves for the next when it ends with calls of the caller's tools.
//!
//! The caller knows only its own calls and their results. The calls of our tools before them, with what these told, are
//! kept for an hour under the ids of the calls that the caller got, and put back when the results come. They are sealed:
//! what an application printed may hold a secret.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use super::request::ConversationRequest;
use crate::access::Caller;
use crate::app::{App, AppError};
use crate::llm::ToolCall;

/// The part of a conversation with the model that the caller does not know.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct ToolRound {
    /// Calls of our tools with their results; the last message calls tools of the caller.
    pub(super) messages: Vec<Value>,
    /// Something in it quotes what an application printed.
    pub(super) quotes_output: bool,
}

/// The rounds that a conversation refers to.
#[derive(Debug, Clone, Default)]
pub(super) struct ToolRounds(HashMap<Uuid, ToolRound>);

impl ToolRounds {
    /// Looks up what belongs to the calls in a conversation.
    pub(super) async fn load(app: &App, conversation: &ConversationRequest) -> Result<Self, AppError> {
        let mut rounds = HashMap::new();
        for id in conversation.raw_messages().filter_map(round_of) {
            if rounds.contains_key(&id) {
                continue;
            }
            // Without it the caller's own messages are there.
            if let Some(round) = app.conversation_state(&conversation.caller, &state_id(id)).await? {
                rounds.insert(id, round);
            }
        }
        Ok(Self(rounds))
    }

    /// Whether something in them quotes what an application printed.
    pub(super) fn quote_output(&self) -> bool {
        self.0.values().any(|it| it.quotes_output)
    }

    /// The messages that take the place of one of the caller's.
    pub(super) fn restored(&self, message: &Value) -> Vec<Value> {
        if let Some(round) = round_of(message).and_then(|id| self.0.get(&id)) {
            return round.messages.clone();
        }
        let mut message = message.clone();
        let call = message["tool_call_id"].as_str().and_then(parse_call_id);
        if let Some(id) = call.and_then(|(id, index)| self.0.get(&id)?.call_id(index)) {
            message["tool_call_id"] = json!(id);
        }
        vec![message]
    }
}

impl ToolRound {
    /// The model's own id of the call with this number.
    fn call_id(&self, index: usize) -> Option<&str> {
        self.messages.last()?["tool_calls"].get(index)?["id"].as_str()
    }

    /// Keeps it, and gives the calls of the caller's tools the ids that lead back to it.
    pub(super) async fn keep(&self, app: &App, caller: &Caller, calls: &mut [ToolCall]) -> Result<(), AppError> {
        let id = Uuid::new_v4();
        app.keep_conversation_state(caller, &state_id(id), self).await?;
        for (index, call) in calls.iter_mut().enumerate() {
            call.id = call_id(id, index);
        }
        Ok(())
    }
}

fn state_id(round: Uuid) -> String {
    format!("tool round {round}")
}

/// The id of a call, of at most 40 characters as OpenAI's API takes them, for at most 100 calls in a round.
pub(super) fn call_id(round: Uuid, index: usize) -> String {
    format!("call_{}_{index}", round.simple())
}

fn parse_call_id(id: &str) -> Option<(Uuid, usize)> {
    let (round, index) = id.strip_prefix("call_")?.split_once('_')?;
    Some((Uuid::try_parse(round).ok()?, index.parse().ok()?))
}

/// The round that a message with calls ended.
fn round_of(message: &Value) -> Option<Uuid> {
    let calls = message["tool_calls"].as_array()?;
    calls.iter().find_map(|call| Some(parse_call_id(call["id"].as_str()?)?.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_results_of_a_callers_tools_find_the_round_that_called_them() {
        let id = Uuid::new_v4();
        let calls = json!([{"id": "model-1", "function": {"name": "a"}}, {"id": "model-2", "function": {"name": "b"}}]);
        let messages =
            vec![json!({"role": "tool", "content": "ours"}), json!({"role": "assistant", "tool_calls": calls})];
        let round = ToolRound { messages: messages.clone(), quotes_output: false };
        let rounds = ToolRounds(HashMap::from([(id, round)]));
        let of_caller = json!({"role": "assistant", "tool_calls": [{"id": call_id(id, 0)}, {"id": call_id(id, 1)}]});
        let result = |id: &str| json!({"role": "tool", "tool_call_id": id, "content": "theirs"});

        assert_eq!(rounds.restored(&of_caller), messages);
        assert_eq!(rounds.restored(&result(&call_id(id, 1))), [result("model-2")]);
        assert_eq!(rounds.restored(&result("call_1")), [result("call_1")]);
        assert_eq!(rounds.restored(&result(&call_id(Uuid::new_v4(), 0))).len(), 1);
        assert!(call_id(id, 99).len() <= 40);
    }
}
