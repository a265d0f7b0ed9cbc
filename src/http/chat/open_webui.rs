//! Open WebUI: its headers, and the requests that it makes by itself.
//!
//! A chat page asks the same model for a title, tags, follow-up questions and more, at the same moment as the first
//! message and with the same parameters. Those must never deploy anything: they are recognised by the header that a
//! connection can forward (`{{TASK}}`), else by the shape of their prompt, and answered in the JSON they ask for.

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::http::chat::request::ChatRequest;
use crate::intent::sentence::Role;

const CHAT_ID: &[&str] = &["x-openwebui-chat-id", "x-owui-chat-id"];
const MESSAGE_ID: &[&str] =
    &["x-openwebui-user-message-id", "x-owui-user-message-id", "x-openwebui-message-id", "x-owui-message-id"];
const TASK: &[&str] = &["x-owui-task", "x-openwebui-task"];

/// Whether the caller is a chat page that shows a status line.
#[must_use]
pub fn shows_status(headers: &HeaderMap) -> bool {
    headers.keys().any(|name| name.as_str().starts_with("x-openwebui-") || name.as_str().starts_with("x-owui-"))
}

/// The chat.
#[must_use]
pub fn chat_id(headers: &HeaderMap) -> Option<&str> {
    first(headers, CHAT_ID)
}

/// The message of the person; the message that answers it when the page does not tell.
#[must_use]
pub fn message_id(headers: &HeaderMap) -> Option<&str> {
    first(headers, MESSAGE_ID)
}

/// The headers by which a page of our own names its chat and its message.
///
/// # Panics
/// Never: an id of digits and dashes is the value of a header.
#[must_use]
pub fn chat_headers(chat: Uuid, message: usize) -> HeaderMap {
    let header = |names: &'static [&'static str], id: String| {
        let id = HeaderValue::try_from(id).expect("digits and dashes are visible ASCII");
        (HeaderName::from_static(names[0]), id)
    };
    HeaderMap::from_iter([header(CHAT_ID, chat.to_string()), header(MESSAGE_ID, message.to_string())])
}

/// The first of some headers that is there. A page sends those that have no value as well, empty.
fn first<'a>(headers: &'a HeaderMap, names: &[&str]) -> Option<&'a str> {
    names.iter().find_map(|name| headers.get(*name)?.to_str().ok().map(str::trim).filter(|it| !it.is_empty()))
}

/// The answer to a request that the page made by itself; `None` when a person speaks.
#[must_use]
pub fn background_answer(headers: &HeaderMap, chat: &ChatRequest) -> Option<String> {
    let task = match first(headers, TASK) {
        Some(name) => Task::from_header(name).or_else(|| Task::from_prompt(chat)).unwrap_or(Task::Other),
        None => Task::from_prompt(chat)?,
    };
    Some(task.answer(chat.last_words()))
}

/// The body of a request that the page made by itself, without anything that the model could call.
#[must_use]
pub fn without_tools(body: &Map<String, Value>) -> Map<String, Value> {
    let is_tool = |name: &str| ["tools", "tool_choice", "functions", "function_call"].contains(&name);
    body.iter().filter(|(name, _)| !is_tool(name)).map(|(name, value)| (name.clone(), value.clone())).collect()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Task {
    Title,
    Tags,
    FollowUps,
    Queries,
    Autocompletion,
    Emoji,
    Picture,
    Tools,
    Other,
}

impl Task {
    fn from_header(name: &str) -> Option<Self> {
        Some(match name {
            "title_generation" => Self::Title,
            "tags_generation" => Self::Tags,
            "follow_up_generation" => Self::FollowUps,
            "query_generation" => Self::Queries,
            "autocomplete_generation" => Self::Autocompletion,
            "emoji_generation" => Self::Emoji,
            "image_prompt_generation" => Self::Picture,
            "function_calling" => Self::Tools,
            _ => return None,
        })
    }

    /// A task is one message that begins as the page's templates begin. A question about documents begins in the same
    /// way, but asks to respond, and keeps the history as messages of their own.
    fn from_prompt(chat: &ChatRequest) -> Option<Self> {
        let is_tool_choice = |text: &str| {
            text.starts_with("Available Tools:")
                && text.contains("Your task is to choose and return the correct tool(s)")
        };
        if chat.messages.iter().any(|it| it.role == Role::System && is_tool_choice(&it.text)) {
            return Some(Self::Tools);
        }
        if chat.messages.iter().filter(|it| it.role != Role::System).count() != 1 {
            return None;
        }
        let text = chat.last_words().trim_start();
        if text.starts_with("Your task is to reflect the speaker's likely facial expression") {
            return Some(Self::Emoji);
        }
        let (instructions, _) = text.strip_prefix("### Task:")?.split_once("<chat_history>")?;
        if instructions.contains("<context>") || instructions.trim_start().starts_with("Respond to the user query") {
            return None;
        }
        let keys = [
            ("\"follow_ups\"", Self::FollowUps),
            ("\"title\"", Self::Title),
            ("\"tags\"", Self::Tags),
            ("\"queries\"", Self::Queries),
            ("autocompletion", Self::Autocompletion),
            ("\"prompt\"", Self::Picture),
            ("emoji", Self::Emoji),
        ];
        Some(keys.into_iter().find(|(key, _)| instructions.contains(key)).map_or(Self::Other, |(_, task)| task))
    }

    fn answer(self, prompt: &str) -> String {
        let object: Value = match self {
            Self::Title => json!({"title": title(prompt)}),
            Self::Tags => json!({"tags": ["Infrastructure", "Deployment"]}),
            Self::FollowUps => json!({"follow_ups": ["What is running?", "Show its logs", "Scale it to 3"]}),
            Self::Queries => json!({"queries": []}),
            Self::Autocompletion => json!({"text": ""}),
            Self::Picture => json!({"prompt": ""}),
            Self::Tools => json!({"tool_calls": []}),
            Self::Other => json!({}),
            Self::Emoji => return "🚀".to_owned(),
        };
        object.to_string()
    }
}

/// The first words that the person said, as far as a title goes.
fn title(prompt: &str) -> String {
    let history = prompt.split_once("<chat_history>").map_or("", |(_, rest)| rest);
    let said = history.lines().find_map(|line| line.trim().strip_prefix("USER:")).unwrap_or_default();
    let mut title = String::new();
    for word in said.split_whitespace().take(6) {
        let word = word.trim_matches(['\'', '"', '`']);
        let word = word.strip_suffix(".git").unwrap_or(word).rsplit('/').next().unwrap_or(word);
        if title.chars().count() + word.chars().count() > 40 {
            break;
        }
        if !title.is_empty() {
            title.push(' ');
        }
        title.push_str(word);
    }
    let mut letters = title.chars();
    match letters.next() {
        Some(first) => format!("🚀 {}{}", first.to_uppercase(), letters.as_str()),
        None => "🚀 Infrastructure".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HISTORY: &str = "### Chat History:\n<chat_history>\nUSER: deploy https://git.example.test/team/notes.git to local\nASSISTANT: done\n</chat_history>";

    fn chat(text: &str) -> ChatRequest {
        let body = json!({"messages": [{"role": "user", "content": text}]});
        ChatRequest::read(body.as_object().unwrap()).unwrap()
    }

    fn from_prompt(instructions: &str) -> Option<String> {
        background_answer(&HeaderMap::new(), &chat(&format!("### Task:\n{instructions}\n{HISTORY}")))
    }

    #[test]
    fn each_task_is_answered_in_the_shape_that_it_asks_for() {
        let answers = [
            from_prompt("Generate a concise title.\n### Output:\nJSON format: { \"title\": \"your title\" }"),
            from_prompt("Generate 1-3 tags.\n### Output:\nJSON format: { \"tags\": [\"tag1\"] }"),
            from_prompt("Suggest questions.\n### Output:\nJSON format: { \"follow_ups\": [\"Question 1?\"] }"),
            from_prompt("Analyze the chat history for search queries.\n{ \"queries\": [\"query1\"] }"),
            from_prompt("You are an autocompletion system.\n{ \"text\": \"<your_completion>\" }"),
            from_prompt("Generate a detailed prompt for an image.\n{ \"prompt\": \"Your description.\" }"),
        ];

        let answers: Vec<String> = answers.into_iter().map(Option::unwrap).collect();
        insta::assert_snapshot!(answers.join("\n"), @r#"
        {"title":"🚀 Deploy notes to local"}
        {"tags":["Infrastructure","Deployment"]}
        {"follow_ups":["What is running?","Show its logs","Scale it to 3"]}
        {"queries":[]}
        {"text":""}
        {"prompt":""}
        "#);
    }

    #[test]
    fn the_header_alone_is_enough() {
        let named =
            |value| HeaderMap::from_iter([(HeaderName::from_static("x-owui-task"), HeaderValue::from_static(value))]);

        assert_eq!(background_answer(&named("emoji_generation"), &chat("deploy it")).as_deref(), Some("🚀"));
        assert_eq!(background_answer(&named("something_new"), &chat("deploy it")).as_deref(), Some("{}"));
        assert_eq!(background_answer(&named(""), &chat("deploy it")), None);
    }

    #[test]
    fn a_question_about_documents_is_a_real_question() {
        let prompt = "### Task:\nRespond to the user query using the provided context.\n<context>\n<chat_history>\n</context>\n\ndeploy it";

        assert_eq!(background_answer(&HeaderMap::new(), &chat(prompt)), None);
        assert_eq!(background_answer(&HeaderMap::new(), &chat("deploy https://git.example.test/a/b")), None);
    }

    proptest! {
        #[test]
        fn recognising_never_panics(text in any::<String>()) {
            let _ = from_prompt(&text);
            let _ = title(&text);
        }
    }
}
