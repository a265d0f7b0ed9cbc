//! Prompts for the usual requests, for clients that show them as commands.

use rmcp::ErrorData;
use rmcp::model::{
    GetPromptRequestParams, GetPromptResult, JsonObject, ListPromptsResult, Prompt, PromptArgument, PromptMessage, Role,
};
use serde_json::Value as Json;

/// One prompt.
struct Row {
    name: &'static str,
    title: &'static str,
    about: &'static str,
    /// Name, whether it is needed, and what it is.
    arguments: &'static [(&'static str, bool, &'static str)],
    text: fn(&Value<'_>) -> String,
}

/// The value of an argument, empty when it was not given.
type Value<'a> = dyn Fn(&str) -> String + 'a;

const ROWS: &[Row] = &[
    Row {
        name: "deploy_repository",
        title: "Deploy a repository",
        about: "Builds a git repository and runs it.",
        arguments: &[
            ("repository", true, "Address of the git repository"),
            ("mode", false, "local, cloud-local or cloud-hosted; local without it"),
            ("namespace", false, "Kubernetes namespace"),
        ],
        text: |value| {
            let mode = Some(value("mode")).filter(|it| !it.is_empty()).unwrap_or_else(|| "local".to_owned());
            let namespace = value("namespace");
            let place = if namespace.is_empty() { String::new() } else { format!(" in namespace `{namespace}`") };
            format!(
                "Deploy {} in mode `{mode}`{place}. Show me the plan first (`plan`), then deploy it, wait until the \
                 operation has ended, and tell me the address. If it fails, tell me the cause and what to do about it.",
                value("repository")
            )
        },
    },
    Row {
        name: "find_the_fault",
        title: "Find the fault",
        about: "Finds out why a deployment does not work.",
        arguments: &[("name", true, "Name of the application")],
        text: |value| {
            format!(
                "Find out why `{}` does not work as it should: use `diagnose`, read the lines that it printed, and tell me \
                 the cause and the next step. Change nothing.",
                value("name")
            )
        },
    },
    Row {
        name: "take_down",
        title: "Take an application down",
        about: "Removes a deployment with everything that belongs to it.",
        arguments: &[("name", true, "Name of the application")],
        text: |value| {
            format!(
                "Take `{}` down. Show me first what would be removed, and wait for my word. When it is done, tell me what \
                 was removed.",
                value("name")
            )
        },
    },
    Row {
        name: "overview",
        title: "What is running",
        about: "Tells what is deployed, how it is, and what it costs.",
        arguments: &[],
        text: |_| {
            "List what is deployed with address and state, what each costs, and say of everything that is not well why."
                .to_owned()
        },
    },
];

/// All prompts.
#[must_use]
pub fn list() -> ListPromptsResult {
    let prompt = |row: &Row| {
        let arguments = row.arguments.iter().map(|(name, is_needed, about)| {
            PromptArgument::new(*name).with_description(*about).with_required(*is_needed)
        });
        Prompt::new(row.name, Some(row.about), Some(arguments.collect())).with_title(row.title)
    };
    ListPromptsResult::with_all_items(ROWS.iter().map(prompt).collect())
}

/// One prompt with its arguments in it.
///
/// # Errors
/// When there is no such prompt, or an argument is missing or no text.
pub fn get(params: GetPromptRequestParams) -> Result<GetPromptResult, ErrorData> {
    let name: String = params.name.chars().take(80).collect();
    let row = ROWS.iter().find(|it| it.name == name).ok_or_else(|| {
        ErrorData::invalid_params(
            format!("there is no prompt `{name}`; `prompts/list` lists those that are there"),
            None,
        )
    })?;
    let given: JsonObject = params.arguments.unwrap_or_default();
    for (argument, is_needed, _) in row.arguments {
        let is_given = match given.get(*argument) {
            None | Some(Json::Null) => false,
            Some(Json::String(text)) => !text.trim().is_empty(),
            Some(_) => return Err(ErrorData::invalid_params(format!("`{argument}` must be a text"), None)),
        };
        if *is_needed && !is_given {
            return Err(ErrorData::invalid_params(format!("`{name}` needs `{argument}`"), None));
        }
    }
    let value = |argument: &str| given.get(argument).and_then(Json::as_str).unwrap_or_default().trim().to_owned();
    let message = PromptMessage::new_text(Role::User, (row.text)(&value));
    Ok(GetPromptResult::new(vec![message]).with_description(row.about))
}
