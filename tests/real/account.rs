//! The local AWS account. It is one for all: stories take turns, and leave it empty.

use std::process::Command;

use serde_json::{Value, json};
use tokio::sync::{Mutex, MutexGuard};

use crate::bed::{bed, variable};

static TURN: Mutex<()> = Mutex::const_new(());

/// The account for as long as a story has its turn.
pub(crate) struct Account(#[expect(dead_code, reason = "dropping it ends the turn")] MutexGuard<'static, ()>);

impl Account {
    /// Waits for its turn and for an empty account.
    pub(crate) async fn empty() -> Self {
        let turn = TURN.lock().await;
        std::fs::write(bed().account_mark(), "").unwrap();
        reset();
        Self(turn)
    }
}

/// An empty account again.
pub(crate) fn reset() {
    rig(&["reset"]);
}

/// The credentials of the user that acts in this mode, as a request carries them.
pub(crate) fn credentials(mode: &str) -> Value {
    let [secret, id] = access_key(mode);
    json!({"aws_access_key_id": id, "aws_secret_access_key": secret, "aws_region": "us-east-1"})
}

/// Secret and id of the access key of the user that acts in this mode: what it calls is held against the mode's policy.
pub(crate) fn access_key(mode: &str) -> [String; 2] {
    let user = mode.replace('-', "_").to_uppercase();
    ["SECRET_ACCESS_KEY", "ACCESS_KEY_ID"].map(|it| variable(&format!("RIG_{user}_{it}"), "aws"))
}

/// What must show nowhere.
pub(crate) fn secrets() -> [String; 4] {
    let [[a, b], [c, d]] = ["cloud-local", "cloud-hosted"].map(access_key);
    [a, b, c, d]
}

/// A script of the local account.
fn rig(words: &[&str]) -> String {
    let script = format!("{}/tests/rig/aws/{}", env!("CARGO_MANIFEST_DIR"), words[0]);
    let output = Command::new(script).args(&words[1..]).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub(crate) fn nothing_is_left() {
    assert_eq!(rig(&["leftovers"]), "", "the account still holds something");
}

/// Orders trouble.
pub(crate) async fn inject_fault(what: &str, body: Value) {
    let url = format!("{}/rig/{what}", variable("AWS_ENDPOINT_URL", "aws"));
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let answer = client.post(url).body(body.to_string()).send().await.unwrap();
    assert!(answer.status().is_success(), "{}", answer.text().await.unwrap());
}

pub(crate) async fn calls(action: &str) -> usize {
    let url = format!("{}/rig/calls", variable("AWS_ENDPOINT_URL", "aws"));
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let calls: Value = client.get(url).send().await.unwrap().json().await.unwrap();
    calls.as_array().unwrap().iter().filter(|it| it["action"] == action && it["error"].is_null()).count()
}

/// Takes back the trouble that was ordered.
pub(crate) async fn clear_fault(what: &str) {
    let url = format!("{}/rig/{what}", variable("AWS_ENDPOINT_URL", "aws"));
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    client.delete(url).send().await.unwrap().error_for_status().unwrap();
}
