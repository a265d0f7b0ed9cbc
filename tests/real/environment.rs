//! Environment variables reach the application and nobody else.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::bed::bed;
use crate::cluster::{nothing_is_left, page_with};
use crate::processes::Watch;
use crate::server::{Server, shared};

const SECRET: &str = "Grüezi-4f1d9e7b";
const CHANGED: &str = "Salut-8c2a6d5e";

fn request(action: &str, greeting: Option<&str>) -> Value {
    let mut fields = json!({
        "action": action, "deployment_mode": "local", "target_namespace": "greeting",
        "github_repo_url": bed().repository("flask-notes"),
    });
    if let Some(greeting) = greeting {
        fields["environment"] = json!({"GREETING": greeting});
    }
    fields
}

#[tokio::test]
async fn environment_variables_reach_the_page_roll_out_when_they_change_and_show_nowhere_else() {
    let server = shared().await;
    let watch = Watch::begin();

    let deployed = server.ask(request("deploy", Some(SECRET))).await.ended("succeeded");
    page_with(&deployed.word("app_url"), SECRET).await;
    let kept = server.ask(request("redeploy", None)).await.ended("succeeded");
    let kept = kept.says("Nothing was built and nothing was rolled out");
    page_with(&deployed.word("app_url"), SECRET).await;
    let changed = server.ask(request("redeploy", Some(CHANGED))).await.ended("succeeded");
    page_with(&deployed.word("app_url"), CHANGED).await;
    let logs = server.ask(request("logs", None)).await;

    for secret in [SECRET, CHANGED] {
        for answer in [&deployed, &kept, &changed, &logs] {
            assert!(!answer.text.contains(secret), "an answer shows it: {}", answer.text);
        }
        shows_nowhere(server, &watch, secret, deployed.operation()).await;
    }
    let gone = server.ask(request("decommission", None)).await.ended("succeeded");
    nothing_is_left(server, &gone, None);
}

async fn shows_nowhere(server: &Server, watch: &Watch, secret: &str, operation: &str) {
    assert!(!server.log().contains(secret), "the log shows it");
    for path in [format!("/v1/operations/{operation}"), "/v1/operations?limit=100".into(), "/v1/deployments".into()] {
        assert!(!server.get(&path).await.to_string().contains(secret), "`{path}` shows it");
    }
    for arguments in watch.arguments() {
        assert!(!arguments.contains(secret), "a process shows it: {arguments}");
    }
    assert_eq!(files_with(&server.workspace(), secret), [""; 0], "files of the workspace hold it");
}

pub(crate) fn files_with(folder: &Path, secret: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() && !path.is_symlink() {
            found.extend(files_with(&path, secret));
        } else if let Ok(bytes) = fs::read(&path)
            && bytes.windows(secret.len()).any(|it| it == secret.as_bytes())
        {
            found.push(path.display().to_string());
        }
    }
    found
}
