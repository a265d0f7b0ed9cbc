//! What the tools themselves say about a fault is understood: each kind as it happens, on the real builder, kubelet and API.

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::answer::Answer;
use crate::bed::Repository;
use crate::server::{Server, shared};

/// A Dockerfile behind `FROM busybox:stable`, the code of the failure, and words that have to be in the answer.
const FAULTS: [(&str, &str, &str, &[&str]); 12] = [
    (
        "windows-script",
        "COPY windows.sh /run.sh\nRUN chmod +x /run.sh\nCMD [\"/run.sh\"]\n",
        "entrypoint_missing",
        &["`/run.sh` is in the image", "Windows line ends"],
    ),
    ("not-executable", "COPY unix.sh /run.sh\nCMD [\"/run.sh\"]\n", "cannot_start", &["chmod +x /run.sh"]),
    (
        "no-program",
        "COPY words.txt /run\nRUN chmod +x /run\nCMD [\"/run\"]\n",
        "wrong_architecture",
        &["both `amd64`", "`#!`"],
    ),
    (
        "unknown-user",
        "USER nobody-knows\nCMD [\"sleep\", \"9\"]\n",
        "cannot_start",
        &["`nobody-knows`, which USER names"],
    ),
    ("missing-program", "CMD [\"gunicorn\"]\n", "entrypoint_missing", &["`gunicorn` is not in it", "PATH"]),
    (
        "shell-finds-nothing",
        "CMD gunicorn\n",
        "crash_loop",
        &["A shell says that it does not find the program `gunicorn`"],
    ),
    (
        "denied-path",
        "USER 1000\nCMD [\"sh\", \"-c\", \"echo > /data\"]\n",
        "crash_loop",
        &["As the user `1000` it may not open or write `/data`"],
    ),
    (
        "missing-variable",
        "CMD [\"sh\", \"-c\", \": ${TOKEN_OF_MINE:?}\"]\n",
        "crash_loop",
        &["The variable `TOKEN_OF_MINE` is missing", "`environment`"],
    ),
    (
        "last-stage-tests",
        "CMD [\"httpd\", \"-f\"]\nFROM busybox:stable AS test\nCMD [\"true\"]\n",
        "process_ended",
        &["what runs is the last one, `test`", "`build_target`"],
    ),
    ("build-output", "COPY dist /www\n", "build_failed", &["has no `dist`", "what a build makes"]),
    (
        "unset-argument",
        "ARG VERSION\nRUN : ${VERSION:?}\nCMD [\"true\"]\n",
        "build_failed",
        &["`VERSION`, an ARG without a value", "`build_args`"],
    ),
    ("missing-stage", "COPY --from=builder /a /a\n", "build_failed", &["`builder` is no stage"]),
];

/// What is like a fault and is none: a script with Unix line ends, a user by its number.
const NEAR_MISS: &str =
    "COPY unix.sh /run.sh\nRUN chmod +x /run.sh\nCOPY www /www\nUSER 12345\nEXPOSE 8080\nCMD [\"/run.sh\"]\n";

fn repository(name: &str, lines: &str) -> Repository {
    let repository = Repository::page(&format!("cause-{name}"));
    repository.commit(&[
        ("Dockerfile", &format!("FROM busybox:stable\n{lines}")),
        ("windows.sh", "#!/bin/sh\r\nhttpd -f -p 8080 -h /www\r\n"),
        ("unix.sh", "#!/bin/sh\nexec httpd -f -p 8080 -h /www\n"),
        ("words.txt", "no program\n"),
    ]);
    repository
}

fn deploy(repository: &Repository, namespace: &str) -> Value {
    json!({
        "action": "deploy", "deployment_mode": "local", "target_namespace": namespace,
        "github_repo_url": repository.url(),
    })
}

async fn failed(server: &Server, answer: &Answer, code: &str, words: &[&str]) {
    let operation = server.get(&format!("/v1/operations/{}", answer.operation())).await;
    assert_eq!(operation["error"]["code"], code, "{operation:#}");
    for word in words {
        assert!(answer.words().contains(word), "it does not say {word:?}: {}", answer.words());
    }
}

#[tokio::test]
async fn every_fault_is_told_as_what_it_is() {
    let server = shared().await;

    join_all(FAULTS.map(|(name, lines, code, words)| async move {
        let answer = server.ask(deploy(&repository(name, lines), &format!("cause-{name}"))).await;

        failed(server, &answer, code, words).await;
    }))
    .await;
    let repository = repository("near-miss", NEAR_MISS);
    let good = server.ask(deploy(&repository, "cause-near-miss")).await.ended("succeeded");
    let gone = json!({"action": "decommission", "deployment_mode": "local", "instance_id": good.word("id")});
    server.ask(gone).await.ended("succeeded");
}

#[tokio::test]
async fn what_a_namespace_refuses_or_holds_is_named() {
    let server = shared().await;
    let repository = repository("namespaces", NEAR_MISS);
    let good = server.ask(deploy(&repository, "cause-good")).await.ended("succeeded");
    let cluster = server.cluster();
    for namespace in ["cause-limits", "cause-quota", "cause-held"] {
        cluster.kubectl(&["create", "namespace", namespace]);
    }
    let limits = server.workspace().join("limits.yaml");
    let text = "{apiVersion: v1, kind: LimitRange, metadata: {name: tight, namespace: cause-limits}, \
                spec: {limits: [{type: Container, max: {cpu: 200m}}]}}";
    std::fs::write(&limits, text).unwrap();
    cluster.kubectl(&["apply", "-f", limits.to_str().unwrap()]);
    cluster.kubectl(&["create", "quota", "small", "-n", "cause-quota", "--hard=pods=0"]);
    cluster.kubectl(&["create", "configmap", "keep", "-n", "cause-held"]);
    let finalizer = |it: &str| {
        let patch = format!("{{\"metadata\": {{\"finalizers\": {it}}}}}");
        cluster.kubectl(&["patch", "configmap", "keep", "-n", "cause-held", "--type=merge", "-p", &patch])
    };
    finalizer("[\"example.com/hold\"]");
    cluster.kubectl(&["delete", "namespace", "cause-held", "--wait=false"]);

    let limited = server.ask(deploy(&repository, "cause-limits")).await;
    let full = server.ask(deploy(&repository, "cause-quota")).await;
    let held = server.ask(deploy(&repository, "cause-held")).await;

    failed(server, &limited, "creation_refused", &["LimitRange `tight`", "is 200m, but limit is", "`CPU_LIMIT`"]).await;
    failed(server, &full, "quota_exceeded", &["the quota `small` is pods=0"]).await;
    failed(server, &held, "cluster_broken", &["ConfigMap `keep`, by the finalizer `example.com/hold`"]).await;
    finalizer("null");
    let gone = json!({"action": "decommission", "deployment_mode": "local", "instance_id": good.word("id")});
    server.ask(gone).await.ended("succeeded");
    cluster.kubectl(&["delete", "namespace", "cause-limits", "cause-quota"]);
}
