//! Every route and every action, by fields, by words and by the model's tool, with every role, in sight and out of it: what
//! comes of each is a table. Routes and actions come from the program itself, so that a new one is in it.

use std::fmt::Write as _;

use on_demand_infra::id::Action;
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::Row;

use super::{Key, chat, make_in, request, root};
use crate::world::azure::{Azure, call};
use crate::world::mcp::{Mcp, text};
use crate::world::{Answer, World, answer, say, with};

/// Tables of the store that hold what a change changes.
const TABLES: [&str; 9] = [
    "targets",
    "deployments",
    "versions",
    "operations",
    "operation_events",
    "request_keys",
    "secrets",
    "api_keys",
    "terraform_workspaces",
];

/// The callers of the walk, the one with the fewest rights first.
struct Callers {
    named: Vec<(&'static str, Option<Key>)>,
    root: Key,
}

impl Callers {
    async fn of(world: &World) -> Self {
        let root = root(world).await;
        let named = vec![
            ("nobody", None),
            ("viewer elsewhere", Some(make_in(world, &root, "eyes-elsewhere", "viewer", "other").await)),
            ("viewer", Some(make_in(world, &root, "eyes", "viewer", "team").await)),
            ("deployer elsewhere", Some(make_in(world, &root, "hands-elsewhere", "deployer", "other").await)),
            ("deployer", Some(make_in(world, &root, "hands", "deployer", "team").await)),
            ("admin", Some(root.clone())),
        ];
        Self { named, root }
    }

    /// Those with a key.
    fn with_keys(&self) -> impl Iterator<Item = (&'static str, &Key)> {
        self.named.iter().filter_map(|(name, key)| Some((*name, key.as_ref()?)))
    }
}

/// All that the store holds of what a change changes.
async fn held(world: &World) -> Vec<String> {
    let mut held = Vec::new();
    for table in TABLES {
        let count: i64 = world.rows(&format!("SELECT COUNT(*) AS n FROM {table}")).await[0].get("n");
        held.push(format!("{table} {count}"));
    }
    for sql in [
        "SELECT id || state || operation_id || facts AS text FROM deployments",
        "SELECT id || COALESCE(revoked_ms, '') AS text FROM api_keys",
        "SELECT hash || COALESCE(expires_ms, '') AS text FROM api_key_secrets",
    ] {
        held.extend(world.rows(sql).await.iter().map(|row| row.get::<String, _>("text")));
    }
    held
}

/// What came of a request, in few words.
fn told(answer: &Answer) -> String {
    if let Some(code) = answer.body["error"]["code"].as_str() {
        return format!("{} {code}", answer.status);
    }
    let Some(text) = answer.body["choices"][0]["message"]["content"].as_str() else { return answer.status.to_string() };
    let what = match answer.body["operation"]["state"].as_str() {
        Some(state) => state.to_owned(),
        None if text.contains("may not ") => "refused".to_owned(),
        None if text.contains("(plan `") => "asked back".to_owned(),
        None if text.contains("There is no deployment") => "not there".to_owned(),
        None if text.contains("`notes`") => "told".to_owned(),
        None => "nothing of it".to_owned(),
    };
    format!("{} {what}", answer.status)
}

/// The methods and paths of all routes.
fn routes() -> Vec<(Method, String)> {
    let document = serde_json::to_value(on_demand_infra::http::document()).unwrap();
    let mut routes = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys() {
            if let Ok(method) = method.to_uppercase().parse::<Method>() {
                routes.push((method, path.clone()));
            }
        }
    }
    routes.sort_by_key(|(method, path)| (path.clone(), method.to_string()));
    routes
}

#[tokio::test]
async fn every_route_for_every_role() {
    let world = World::start().await;
    let deployed = world.deployed().await;
    let operation = deployed.operation();
    let deployment = deployed.body["deployment"]["id"].as_str().unwrap().to_owned();
    let callers = Callers::of(&world).await;
    make_in(&world, &callers.root, "victim", "viewer", "team").await;
    let mut table = String::new();

    for (method, route) in routes() {
        let id = match route.split('/').nth(2) {
            Some("operations") => operation.as_str(),
            Some("deployments") => deployment.as_str(),
            Some("models") => "app-server-default",
            _ => "victim",
        };
        writeln!(table, "{method} {route}").unwrap();
        for (name, key) in &callers.named {
            let body = match route.as_str() {
                "/v1/chat/completions" => say("list"),
                "/v1/responses" => json!({"input": "list"}),
                "/v1/keys" => json!({"name": format!("made-by-{}", name.replace(' ', "-"))}),
                "/v1/embeddings" => json!({"model": "any", "input": "text"}),
                _ => json!({}),
            };
            let before = held(&world).await;
            let sent = request(&world, key.as_ref(), method.clone(), &route.replace("{id}", id));
            let sent = if method == Method::POST { sent.json(&body) } else { sent };
            let response = sent.send().await.unwrap();
            let status = response.status().as_u16();
            let body: Value = response.json().await.unwrap_or_default();
            let count = body["data"].as_array().map(|it| format!(" ({})", it.len())).unwrap_or_default();
            let shown = told(&Answer { status, body });
            // How many keys and entries there are depends on the walk itself.
            let count = if route == "/v1/keys" || route == "/v1/audit" { String::new() } else { count };
            writeln!(table, "    {name}: {shown}{count}").unwrap();
            if !name.starts_with("admin") {
                assert_eq!(held(&world).await, before, "{name} changes something by {method} {route}");
            }
        }
    }

    insta::assert_snapshot!("routes", table);
}

/// An action as fields ask for it.
fn fields(world: &World, action: Action) -> Value {
    let body = world.request_for(action.as_str());
    match action {
        Action::Scale => with(body, "scale_replicas", 2),
        Action::Deploy
        | Action::Redeploy
        | Action::Restart
        | Action::Rollback
        | Action::Decommission
        | Action::Status
        | Action::List
        | Action::Logs
        | Action::Cancel
        | Action::Undo
        | Action::Cost => body,
    }
}

/// The same in words.
fn words(world: &World, action: Action) -> String {
    match action {
        Action::Deploy => format!("deploy {} as notes in the namespace team locally", world.repository("notes")),
        Action::Redeploy => "redeploy notes".to_owned(),
        Action::Scale => "scale notes to 2".to_owned(),
        Action::Restart => "restart notes".to_owned(),
        Action::Rollback => "roll back notes".to_owned(),
        Action::Decommission => "decommission notes".to_owned(),
        Action::Status => "status of notes".to_owned(),
        Action::List => "list".to_owned(),
        Action::Logs => "logs of notes".to_owned(),
        Action::Cancel => "cancel notes".to_owned(),
        Action::Undo => "undo the last change of notes".to_owned(),
        Action::Cost => "what does notes cost".to_owned(),
    }
}

/// The arguments of the tool.
fn arguments(world: &World, action: Action) -> Value {
    let named = json!({"instance_name": "notes"});
    match action {
        Action::Deploy => json!({"deployment_mode": "local", "github_repo_url": world.repository("notes"),
            "instance_name": "notes", "target_namespace": "team"}),
        Action::Scale => with(named, "scale_replicas", 2),
        Action::List => json!({}),
        Action::Redeploy
        | Action::Restart
        | Action::Rollback
        | Action::Decommission
        | Action::Status
        | Action::Logs
        | Action::Cancel
        | Action::Undo
        | Action::Cost => named,
    }
}

#[tokio::test]
async fn every_action_by_fields_for_every_role() {
    let world = World::start().await;
    world.deployed().await;
    let callers = Callers::of(&world).await;
    let mut table = String::new();

    for action in Action::ALL {
        writeln!(table, "{action}").unwrap();
        for (name, key) in callers.with_keys() {
            let before = held(&world).await;
            // With the hash of a plan that is not: whoever may do it hears that, and nothing is done.
            let done = chat(&world, key, &with(fields(&world, *action), "confirm", "000000000000")).await;
            let planned = chat(&world, key, &with(fields(&world, *action), "dry_run", true)).await;
            writeln!(table, "    {name}: {}, as a plan {}", told(&done), told(&planned)).unwrap();
            if name.starts_with("viewer") || name.ends_with("elsewhere") {
                assert_eq!(held(&world).await, before, "{name} changes something by {action}");
            }
        }
    }
    writeln!(table, "decommission with delete_cluster").unwrap();
    for (name, key) in callers.with_keys() {
        let body = with(world.request_for("decommission"), "confirm", "000000000000");
        let body = with(body, "delete_cluster", true);
        writeln!(table, "    {name}: {}", told(&chat(&world, key, &body).await)).unwrap();
    }

    insta::assert_snapshot!("fields", table);
}

#[tokio::test]
async fn every_action_by_words_for_every_role() {
    let world = World::start().await;
    world.deployed().await;
    let callers = Callers::of(&world).await;
    let mut table = String::new();

    for action in Action::ALL {
        writeln!(table, "{}", words(&world, *action).replace(&world.repository("notes"), "REPOSITORY")).unwrap();
        for (name, key) in callers.with_keys() {
            let before = held(&world).await;
            let answer = chat(&world, key, &say(&words(&world, *action))).await;
            writeln!(table, "    {name}: {}", told(&answer)).unwrap();
            if name.starts_with("viewer") || name.ends_with("elsewhere") {
                assert_eq!(held(&world).await, before, "{name} changes something by {action}: {answer:?}");
            }
        }
    }

    insta::assert_snapshot!("words", table);
}

#[tokio::test]
async fn every_action_by_the_models_tool_for_every_role() {
    let azure = Azure::start().await;
    let world = azure.world().await;
    world.deployed().await;
    let callers = Callers::of(&world).await;
    let mut table = String::new();

    for (name, key) in callers.with_keys() {
        let asked = azure.requests().len();
        chat(&world, key, &say("What can you do?")).await;
        writeln!(table, "{name} is offered {}", azure.offered(asked).join(", ")).unwrap();
    }
    for action in Action::ALL {
        writeln!(table, "{action}").unwrap();
        for (name, key) in callers.with_keys() {
            let before = held(&world).await;
            let asked = azure.requests().len();
            azure.will([call(action.as_str(), arguments(&world, *action))]);
            let answer =
                answer(request(&world, Some(key), Method::POST, "/v1/chat/completions").json(&say("Go on."))).await;
            let result = azure.requests().get(asked + 1).map(|_| azure.told(asked + 1).join(" "));
            let result = result.unwrap_or_default();
            let shown = match result.as_str() {
                it if it.contains("may not ") => "refused".to_owned(),
                it if it.contains("no deployment") => "not there".to_owned(),
                it if it.contains("nothing was done") => "not done".to_owned(),
                _ if answer.body["operation"].is_object() => told(&answer),
                it if it.contains("notes") => "told".to_owned(),
                _ => told(&answer),
            };
            writeln!(table, "    {name}: {shown}").unwrap();
            if name.starts_with("viewer") || name.ends_with("elsewhere") {
                assert_eq!(held(&world).await, before, "{name} changes something by the tool {action}: {answer:?}");
            }
        }
    }

    insta::assert_snapshot!("tools", table);
}

#[tokio::test]
async fn every_tool_of_mcp_for_every_role() {
    let world = World::start().await;
    let operation = world.deployed().await.operation();
    let callers = Callers::of(&world).await;
    let admin = Mcp::new(&world).with_key(&callers.root.secret);
    let listed = |result: &Value| -> Vec<String> {
        let tools = result["tools"].as_array().unwrap();
        tools.iter().map(|it| it["name"].as_str().unwrap().to_owned()).collect()
    };
    let tools = listed(&admin.result("tools/list", &json!({})).await);
    let mut table = String::new();

    for (name, key) in callers.with_keys() {
        let offered = listed(&Mcp::new(&world).with_key(&key.secret).result("tools/list", &json!({})).await);
        writeln!(table, "{name} is offered {}", offered.join(", ")).unwrap();
    }
    for tool in &tools {
        writeln!(table, "{tool}").unwrap();
        let arguments = match tool.as_str() {
            "plan" => json!({"action": "restart", "instance_name": "notes"}),
            "diagnose" => json!({"instance_name": "notes"}),
            it if it.starts_with("operation_") => json!({"id": operation}),
            it => arguments(&world, Action::parse(it).unwrap()),
        };
        // With the hash of a plan that is not: whoever may do it hears of the one that is, and nothing is done.
        let has_plan = Action::parse(tool).is_ok_and(Action::changes);
        let arguments = if has_plan { with(arguments, "confirm", "000000000000") } else { arguments };
        for (name, key) in callers.with_keys() {
            let client = Mcp::new(&world).with_key(&key.secret);
            let before = held(&world).await;
            let result = client.call(tool, arguments.clone()).await;
            let words = text(&result);
            let shown = match (&result["isError"], words.as_str()) {
                (Value::Bool(true), it) if it.contains("may not ") => "refused",
                (Value::Bool(true), it) if it.contains("not_found") => "not there",
                (Value::Bool(true), it) if it.contains("(conflict") => "conflict",
                (Value::Bool(true), it) => it,
                _ => match result["structuredContent"]["outcome"].as_str() {
                    Some(outcome) => outcome,
                    None if words.contains("notes") => "told",
                    None => "nothing of it",
                },
            };
            writeln!(table, "    {name}: {shown}").unwrap();
            assert_eq!(held(&world).await, before, "{name} changes something by {tool}: {result:#}");
        }
    }

    insta::assert_snapshot!("mcp", table);
}
