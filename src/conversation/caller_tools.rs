//! Tools of the caller, offered to the model beside ours.
//!
//! A chat page sends tools of its own with every message. The model chooses among all: ours are called here, the
//! caller's go to the caller, which sends their results with its next request. A name that one of ours has is ours: the
//! caller's tool gets another one on its way to the model, and its own back on the way to the caller.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::model_options::parallel_tool_calls;
use crate::llm::ToolCall;

/// The tools that came with a request.
#[derive(Debug, Clone, Default)]
pub(super) struct CallerTools {
    tools: Vec<Value>,
    /// The names that the model is told, with the caller's own.
    names: BTreeMap<String, String>,
    /// They came as `functions`, the form before `tools`: one call goes back, as `function_call`.
    pub(super) are_functions: bool,
    /// Whether the caller takes several calls at once; what the model does by itself without a word on it.
    pub(super) parallel: Option<bool>,
}

impl CallerTools {
    /// The tools of a request that the model may choose; `ours` are names that they cannot have.
    pub(super) fn of(body: &Map<String, Value>, ours: &[&str]) -> Self {
        let list = |name: &str| body.get(name).and_then(Value::as_array).filter(|it| !it.is_empty());
        let are_functions = list("tools").is_none();
        let (tools, choice) = if are_functions {
            let functions = list("functions").into_iter().flatten();
            (functions.map(|it| json!({"type": "function", "function": it})).collect(), "function_call")
        } else {
            (list("tools").cloned().unwrap_or_default(), "tool_choice")
        };
        let choice = body.get(choice).unwrap_or(&Value::Null);
        if choice == "none" {
            return Self::default();
        }
        let mut offered = Self {
            are_functions,
            parallel: if are_functions { Some(false) } else { parallel_tool_calls(body) },
            ..Self::default()
        };
        let allowed: Option<Vec<&str>> =
            choice["allowed_tools"]["tools"].as_array().map(|it| it.iter().filter_map(name).collect());
        let mut taken: BTreeSet<String> = ours.iter().map(ToString::to_string).collect();
        taken.extend(tools.iter().filter_map(name).map(str::to_owned));
        for mut tool in tools {
            let own = name(&tool).map(str::to_owned);
            if allowed.as_ref().is_some_and(|it| own.as_deref().is_none_or(|own| !it.contains(&own))) {
                continue;
            }
            if let Some(own) = own {
                let told = if ours.contains(&own.as_str()) { free_name(&own, &taken) } else { own.clone() };
                rename(&mut tool, &told);
                taken.insert(told.clone());
                offered.names.insert(told, own);
            }
            offered.tools.push(tool);
        }
        offered
    }

    /// The tools as the model is told of them.
    pub(super) fn tools(&self) -> &[Value] {
        &self.tools
    }

    /// Whether the model means one of these.
    pub(super) fn has(&self, told: &str) -> bool {
        self.names.contains_key(told)
    }

    /// The call as the caller knows it.
    pub(super) fn for_caller(&self, call: &ToolCall) -> ToolCall {
        let name = self.names.get(&call.name).unwrap_or(&call.name).clone();
        ToolCall { name, ..call.clone() }
    }

    /// Puts the names that the model is told into a message of the conversation.
    pub(super) fn rename_in(&self, message: &mut Value) {
        let told = |own: &str| self.names.iter().find(|(told, it)| *it == own && *told != own).map(|(told, _)| told);
        for call in message.get_mut("tool_calls").and_then(Value::as_array_mut).into_iter().flatten() {
            if let Some(told) = name(call).and_then(told) {
                rename(call, told);
            }
        }
        if message["role"] == "tool"
            && let Some(told) = message["name"].as_str().and_then(told)
        {
            message["name"] = json!(told);
        }
    }
}

/// The name in a tool, in a call of one, or in the choice of one.
fn name(value: &Value) -> Option<&str> {
    value["function"]["name"].as_str().or_else(|| value["custom"]["name"].as_str())
}

fn rename(value: &mut Value, to: &str) {
    for kind in ["function", "custom"] {
        if let Some(name) = value.get_mut(kind).and_then(|it| it.get_mut("name")) {
            *name = json!(to);
        }
    }
}

fn free_name(own: &str, taken: &BTreeSet<String>) -> String {
    let mut name = format!("caller_{own}");
    while taken.contains(&name) {
        name.push('_');
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tools(body: &Value) -> CallerTools {
        CallerTools::of(body.as_object().unwrap(), &["deploy", "status"])
    }

    fn function(name: &str) -> Value {
        json!({"type": "function", "function": {"name": name, "parameters": {"type": "object"}}})
    }

    fn told(tools: &CallerTools) -> Vec<&str> {
        tools.tools().iter().filter_map(name).collect()
    }

    #[test]
    fn a_name_of_ours_is_ours_and_the_callers_tool_gets_it_back() {
        let tools = tools(&json!({"tools": [function("deploy"), function("caller_deploy"), function("search")]}));
        let call = |name: &str| ToolCall { name: name.to_owned(), ..ToolCall::default() };
        let mut message = json!({"role": "assistant", "tool_calls": [function("deploy"), function("search")]});

        tools.rename_in(&mut message);

        assert_eq!(told(&tools), ["caller_deploy_", "caller_deploy", "search"]);
        assert!(!tools.has("deploy") && tools.has("caller_deploy_"));
        assert_eq!(tools.for_caller(&call("caller_deploy_")).name, "deploy");
        assert_eq!(tools.for_caller(&call("caller_deploy")).name, "caller_deploy");
        assert_eq!(name(&message["tool_calls"][0]), Some("caller_deploy_"));
        assert_eq!(name(&message["tool_calls"][1]), Some("search"));
    }

    #[test]
    fn the_callers_choice_narrows_its_own_tools() {
        let all = json!([function("search"), {"type": "custom", "custom": {"name": "sql"}}, {"type": "web_search"}]);
        let with_choice = |choice: Value| tools(&json!({"tools": all, "tool_choice": choice}));
        let allowed = json!({"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [{"type": "custom", "custom": {"name": "sql"}}]}});

        assert_eq!(with_choice(json!("auto")).tools().len(), 3);
        assert_eq!(told(&with_choice(allowed)), ["sql"]);
        assert!(with_choice(json!("none")).tools().is_empty());
    }

    #[test]
    fn functions_are_the_form_before_tools() {
        let tools = tools(&json!({"functions": [{"name": "search"}], "function_call": "auto"}));

        assert_eq!(told(&tools), ["search"]);
        assert_eq!((tools.are_functions, tools.parallel), (true, Some(false)));
    }

    #[test]
    fn nothing_in_a_tool_breaks_it() {
        let odd = tools(&json!({"tools": [null, 1, "x", {}, {"function": null}, {"function": {"name": 3}}]}));

        assert!(odd.names.is_empty());
        let mut message = json!({"role": "assistant", "tool_calls": "x", "name": 1});
        odd.rename_in(&mut message);
    }
}
