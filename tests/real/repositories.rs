//! Repositories as people have them, without a Dockerfile or with one somewhere: each is built and answers, or is refused in
//! the words that help. They lie in `tests/fixtures/repositories`; what every one of them is taken for is in the stories of
//! `src/repository`.

use std::path::{Path, PathBuf};

use futures_util::StreamExt;
use serde_json::{Value, json};

use crate::answer::Answer;
use crate::bed::Repository;
use crate::cluster::{nothing_is_left, page_with};
use crate::server::{Server, shared};

/// One of each language, for every run: what the page shows is the name.
const BUILT: [&str; 6] = ["python-poetry", "node-pnpm", "go-cmd", "rust-workspace", "java-maven", "page-deeper"];
/// The others, for `make test-all`.
const ALSO_BUILT: [&str; 22] = [
    "python-uv",
    "python-pipenv",
    "python-pdm",
    "python-flask-package",
    "python-fastapi-src",
    "python-django",
    "python-procfile",
    "node-npm-exact",
    "node-yarn-classic",
    "node-yarn-berry",
    "node-bun",
    "node-next",
    "node-next-export",
    "node-vite",
    "node-sveltekit-auto",
    "node-workspace",
    "node-bare-file",
    "go-vendor",
    "go-no-module",
    "go-cgo",
    "only-one-below",
    "dockerfile-deeper",
];
/// Words that the answer to one that cannot be built has.
const REFUSED: [(&str, &[&str]); 13] = [
    ("python-library", &["`pyproject.toml` is that of a Python project", "`manage.py`", "`examples`"]),
    ("node-no-start", &["its scripts are `test`", "Add a `start` script"]),
    ("node-sveltekit-vercel", &["`@sveltejs/adapter-vercel`", "`@sveltejs/adapter-node`"]),
    ("node-workspace-several", &["`apps/api`, `apps/web`", "`source_directory`"]),
    ("go-several", &["`cmd/one`, `cmd/two`", "`source_directory`"]),
    ("go-library", &["a library", "`examples/server`"]),
    ("rust-several", &["`one`", "`two`", "`default-run`"]),
    ("java-maven-library", &["no archive that starts by itself"]),
    ("php", &["`composer.json` says that it is PHP", "`pack`", "`railpack`", "add a `Dockerfile`"]),
    ("ruby", &["Ruby"]),
    ("dotnet", &[".NET"]),
    ("collection", &["`services/api`, `services/web`", "`source_directory`"]),
    ("test-dockerfile", &["`test/e2e/Dockerfile`", "`dockerfile_path`"]),
];

fn fixtures(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/repositories").join(name)
}

fn deploy(name: &str) -> Value {
    json!({
        "action": "deploy", "deployment_mode": "local", "target_namespace": format!("kind-{name}"),
        "github_repo_url": Repository::of(name, &fixtures(name)).url(),
    })
}

#[tokio::test]
async fn every_language_is_built_and_answers() {
    let all = std::env::var_os("REAL_ALL").is_some();
    let names = BUILT.into_iter().chain(ALSO_BUILT.into_iter().filter(|_| all));
    let server = shared().await;

    // Two at a time, as the server builds them.
    futures_util::stream::iter(names).map(|name| is_built(server, name)).buffer_unordered(2).collect::<Vec<()>>().await;
}

async fn is_built(server: &Server, name: &str) {
    let answer = server.ask(deploy(name)).await.ended("succeeded");

    page_with(&answer.word("app_url"), name).await;
    let is_made = answer.deployment("generated_dockerfile").is_string();
    assert_eq!(is_made, name != "dockerfile-deeper", "{name}: {:#}", answer.body);
    assert!(!is_made || answer.words().contains("```dockerfile\nFROM "), "{name}: {}", answer.words());
    let gone = json!({"action": "decommission", "deployment_mode": "local", "instance_id": answer.word("id")});
    let gone = server.ask(gone).await.ended("succeeded");
    nothing_is_left(server, &gone, Some(answer.deployment("image")));
}

#[tokio::test]
async fn what_cannot_be_built_is_told_with_the_ways_out() {
    let server = shared().await;

    for (name, words) in REFUSED {
        let answer: Answer = server.ask(deploy(name)).await;

        let operation = server.get(&format!("/v1/operations/{}", answer.operation())).await;
        assert_eq!(operation["error"]["code"], "nothing_to_build", "{name}: {operation:#}");
        for word in words {
            assert!(answer.words().contains(word), "{name} does not say {word:?}: {}", answer.words());
        }
    }
}
