//! The tools: one for each action, made of the table that checks the fields of a request, and those that an agent needs
//! beside them.

use std::sync::Arc;

use rmcp::model::{JsonObject, Tool, ToolAnnotations};
use serde_json::{Value, json};

use super::result::{ChangeResult, CostResult, DiagnosisResult, ListResult, LogsResult, OperationResult, StatusResult};
use super::schema::schema_of;
use crate::access::{Caller, Missing};
use crate::id::key::Role;
use crate::id::{Action, PlanHash};
use crate::intent::Limits;
use crate::intent::partial::PartialRequest;
use crate::intent::tool_call;
use crate::reply::capital;

/// How long `operation_wait` waits when nobody says, and at the most, in seconds: below what clients wait for an answer.
pub const MAX_WAIT_S: u64 = 45;

/// What a tool does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ToolKind {
    /// Shows what an action would do.
    Plan,
    /// Carries out an action.
    Act(Action),
    /// Tells why something is not well.
    Diagnose,
    /// Shows an operation.
    Show,
    /// Waits for an operation.
    Wait,
    /// Cancels an operation.
    Cancel,
    /// Resumes an operation.
    Resume,
}

/// One tool.
#[derive(Debug, Clone)]
pub struct McpTool {
    /// What it does.
    pub kind: ToolKind,
    /// What clients are told of it.
    pub definition: Tool,
}

impl McpTool {
    /// Whether a caller may use it at all.
    ///
    /// # Errors
    /// [`Missing`] names the role.
    pub fn permit(&self, caller: &Caller) -> Result<(), Missing> {
        match self.kind {
            ToolKind::Plan => caller.may(Action::Deploy, true),
            ToolKind::Act(action) => caller.may(action, false),
            ToolKind::Diagnose => caller.may(Action::Status, false),
            ToolKind::Show | ToolKind::Wait => Ok(()),
            ToolKind::Cancel => caller.is_at_least(Role::Deployer, "cancel an operation"),
            ToolKind::Resume => caller.is_at_least(Role::Deployer, "resume an operation"),
        }
    }
}

/// What a tool may do to the world, as hints for clients that ask their person accordingly.
#[derive(Debug, Clone, Copy)]
enum Effect {
    /// It only looks.
    Reads,
    /// It adds, or replaces what can be made again.
    Adds { again: bool },
    /// It takes something away.
    Removes { again: bool },
}

/// All tools.
#[must_use]
pub fn tools(limits: &Limits) -> Vec<McpTool> {
    let of_actions = tool_call::tools(&PartialRequest::default(), limits);
    let mut all = vec![plan(&of_actions)];
    all.extend(of_actions.iter().filter_map(act));
    let operation = schema_of::<OperationResult>();
    all.push(McpTool {
        kind: ToolKind::Diagnose,
        definition: tool(
            "diagnose",
            "Find the fault",
            "Tells why a deployment is not well: how it is right now, the cause with the next step, its last operation, and the last lines that it printed.",
            of_actions.iter().find(|it| it.action == Action::Status).map_or(&Value::Null, |it| &it.parameters),
            schema_of::<DiagnosisResult>(),
            Effect::Reads,
        ),
    });
    let on_operation = |kind, name, title, about, effect| McpTool {
        kind,
        definition: tool(name, title, about, &operation_parameters(kind), operation.clone(), effect),
    };
    all.extend([
        on_operation(
            ToolKind::Show,
            "operation_show",
            "Show an operation",
            "Shows how far an operation is, its steps, and why it failed if it did.",
            Effect::Reads,
        ),
        on_operation(
            ToolKind::Wait,
            "operation_wait",
            "Wait for an operation",
            "Waits until an operation has ended, some seconds at most, and shows it. Call it again while the state is `queued` or `running`.",
            Effect::Reads,
        ),
        on_operation(
            ToolKind::Cancel,
            "operation_cancel",
            "Cancel an operation",
            "Stops an operation; what it has done is taken back.",
            Effect::Removes { again: true },
        ),
        on_operation(
            ToolKind::Resume,
            "operation_resume",
            "Resume an operation",
            "Goes on with an operation: one that is `waiting` looks again for what it waits for, one that is `stuck` tries again to take back what it did.",
            Effect::Adds { again: true },
        ),
    ]);
    all
}

/// What changes something can be planned, all by one tool that changes nothing.
fn plan(of_actions: &[tool_call::Tool]) -> McpTool {
    let changes: Vec<&tool_call::Tool> = of_actions.iter().filter(|it| has_plan(it.action)).collect();
    let mut properties = JsonObject::new();
    let names: Vec<&str> = changes.iter().map(|it| it.name()).collect();
    properties
        .insert("action".to_owned(), json!({"type": "string", "enum": names, "description": "What would be done."}));
    for tool in &changes {
        let of_tool = tool.parameters["properties"].as_object().cloned().unwrap_or_default();
        properties.extend(of_tool.into_iter().filter(|(name, _)| name != "dry_run"));
    }
    let parameters =
        json!({"type": "object", "properties": properties, "required": ["action"], "additionalProperties": false});
    let about = "Shows what an action would do, step by step, with what it costs, and changes nothing. Its arguments are those of the tool of that action.";
    let definition = tool("plan", "Show the plan", about, &parameters, schema_of::<ChangeResult>(), Effect::Reads);
    McpTool { kind: ToolKind::Plan, definition }
}

/// Whether there is a plan of an action that could be shown.
#[must_use]
pub fn has_plan(action: Action) -> bool {
    action.changes() && action != Action::Cancel
}

/// The tool of an action. To cancel there is `operation_cancel`.
fn act(of_action: &tool_call::Tool) -> Option<McpTool> {
    let action = of_action.action;
    let (title, effect, output) = match action {
        Action::Deploy => ("Deploy a repository", Effect::Adds { again: true }, schema_of::<ChangeResult>()),
        Action::Redeploy => ("Redeploy", Effect::Removes { again: true }, schema_of::<ChangeResult>()),
        Action::Scale => ("Scale", Effect::Removes { again: true }, schema_of::<ChangeResult>()),
        Action::Restart => ("Restart", Effect::Adds { again: false }, schema_of::<ChangeResult>()),
        Action::Rollback => ("Roll back", Effect::Removes { again: false }, schema_of::<ChangeResult>()),
        Action::Decommission => ("Take down", Effect::Removes { again: true }, schema_of::<ChangeResult>()),
        Action::Undo => ("Undo the last change", Effect::Removes { again: false }, schema_of::<ChangeResult>()),
        Action::Status => ("Show the status", Effect::Reads, schema_of::<StatusResult>()),
        Action::List => ("List what is deployed", Effect::Reads, schema_of::<ListResult>()),
        Action::Logs => ("Show the output", Effect::Reads, schema_of::<LogsResult>()),
        Action::Cost => ("Show the costs", Effect::Reads, schema_of::<CostResult>()),
        Action::Cancel => return None,
    };
    let mut parameters = of_action.parameters.clone();
    if let Some(properties) = parameters["properties"].as_object_mut() {
        properties.remove("dry_run");
        if has_plan(action) {
            let about = format!(
                "{}, which an earlier call of this tool or of `plan` showed and the person has agreed to; only that plan is carried out.",
                capital(PlanHash::RULE)
            );
            properties.insert("confirm".to_owned(), json!({"type": "string", "description": about}));
        }
    }
    let about = if action.changes() {
        format!("{} Answers at once with an operation; `operation_wait` waits for its end.", of_action.about)
    } else {
        of_action.about.to_owned()
    };
    let definition = tool(of_action.name(), title, about, &parameters, output, effect);
    Some(McpTool { kind: ToolKind::Act(action), definition })
}

fn operation_parameters(kind: ToolKind) -> Value {
    let mut properties = JsonObject::new();
    properties.insert("id".to_owned(), json!({"type": "string", "description": "The id of the operation."}));
    if kind == ToolKind::Wait {
        let about = format!("How many seconds to wait at most; {MAX_WAIT_S} without it.");
        let seconds = json!({"type": "integer", "minimum": 1, "maximum": MAX_WAIT_S, "description": about});
        properties.insert("timeout_s".to_owned(), seconds);
    }
    json!({"type": "object", "properties": properties, "required": ["id"], "additionalProperties": false})
}

fn tool(
    name: &'static str,
    title: &'static str,
    about: impl Into<std::borrow::Cow<'static, str>>,
    parameters: &Value,
    output: Arc<JsonObject>,
    effect: Effect,
) -> Tool {
    let parameters = parameters.as_object().cloned().unwrap_or_default();
    let hints = ToolAnnotations::with_title(title);
    let hints = match effect {
        Effect::Reads => hints.read_only(true),
        Effect::Adds { again } => hints.read_only(false).destructive(false).idempotent(again),
        Effect::Removes { again } => hints.read_only(false).destructive(true).idempotent(again),
    };
    Tool::new(name, about, parameters)
        .with_title(title)
        .with_raw_output_schema(output)
        .with_annotations(hints.open_world(true))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { max_replicas: 10, aws_credentials_in_settings: true };

    #[test]
    fn what_clients_are_told_of_the_tools_is_an_api() {
        let told = |it: &McpTool| {
            let Tool { name, annotations, input_schema, .. } = &it.definition;
            let hints = annotations.clone().unwrap_or_default();
            let hint = match (hints.read_only_hint, hints.destructive_hint, hints.idempotent_hint) {
                (Some(true), ..) => "reads",
                (_, Some(true), Some(true)) => "removes, idempotent",
                (_, Some(true), _) => "removes",
                (_, _, Some(true)) => "adds, idempotent",
                (..) => "adds",
            };
            let names: Vec<&String> = input_schema["properties"].as_object().unwrap().keys().collect();
            format!("{name} ({hint}): {names:?}, required {}", input_schema["required"])
        };

        let told: Vec<String> = tools(&LIMITS).iter().map(told).collect();

        insta::assert_snapshot!(told.join("\n"));
    }

    #[test]
    fn every_action_has_a_tool_but_the_one_that_is_about_operations() {
        let tools = tools(&LIMITS);
        let missing: Vec<&Action> =
            Action::ALL.iter().filter(|action| !tools.iter().any(|it| it.kind == ToolKind::Act(**action))).collect();

        assert_eq!(missing, [&Action::Cancel]);
    }

    #[test]
    fn no_tool_takes_credentials_of_a_cloud() {
        for tool in tools(&LIMITS) {
            let properties = &tool.definition.input_schema["properties"];
            assert_eq!(properties.get("aws_credentials"), None, "{}", tool.definition.name);
            assert_eq!(properties.get("dry_run"), None, "{}", tool.definition.name);
        }
    }
}
