//! A conversation, on a real cluster.

use serde_json::{Value, json};

use crate::answer::Answer;
use crate::bed::bed;
use crate::cluster::{nothing_is_left, page_with};
use crate::server::{Server, shared};

/// What was said so far.
struct Talk<'a> {
    server: &'a Server,
    messages: Vec<Value>,
}

impl Talk<'_> {
    async fn say(&mut self, words: &str) -> Answer {
        self.messages.push(json!({"role": "user", "content": words}));
        let answer = self.server.ask(json!({"messages": self.messages})).await;
        self.messages.push(json!({"role": "assistant", "content": answer.words()}));
        answer
    }
}

#[tokio::test]
async fn a_conversation_deploys_scales_undoes_restarts_asks_and_takes_down() {
    let server = shared().await;
    let mut talk = Talk { server, messages: Vec::new() };
    let url = bed().repository("static-site");

    let deploy = talk.say(&format!("deploy {url} to local in namespace talk with 2 replicas")).await;
    let deploy = deploy.ended("succeeded").says("is running");
    assert_eq!(deploy.deployment("replicas"), 2);
    assert_eq!(deploy.word("target_namespace"), "talk");
    page_with(&deploy.word("app_url"), "Harbour").await;

    let scaled = talk.say("scale it to 3").await.ended("succeeded").says("3 replicas");
    assert_eq!(scaled.deployment("id"), deploy.deployment("id"));

    talk.say("undo that").await.ended("succeeded").says("2 replicas");

    let pods = || server.cluster().kubectl(&["--namespace", "talk", "get", "pods", "--output", "name"]);
    let before = pods();
    talk.say("restart it").await.ended("succeeded").says("is restarted");
    let after = pods();
    assert!(after.lines().any(|pod| !before.contains(pod)), "{before} {after}");
    talk.say("redeploy it").await.ended("succeeded").says("Nothing to do");

    let running = talk.say("what is running?").await;
    running.says(&deploy.word("instance_name")).says("`talk`");

    talk.say("take it down").await.says("Shall I decommission");
    let gone = talk.say("yes").await.ended("succeeded").says("is gone");
    assert_eq!(gone.deployment("id"), deploy.deployment("id"));
    nothing_is_left(server, &gone, None);
}
