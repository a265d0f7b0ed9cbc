//! Rollouts under load: the new version alone answers when the answer says so, and no request is lost on the way.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::{JoinHandle, JoinSet};

use crate::bed::Repository;
use crate::cluster::nothing_is_left;
use crate::server::shared;

/// So many requests a second, each on a connection of its own.
const REQUESTS_PER_S: u32 = 200;
/// How long a pod that was replaced may still be there: the pause, and some more.
pub(crate) const OLD_PODS: Duration = Duration::from_secs(12);

/// A program that ends at once when it is told to, and answers with this status and this version.
fn program(status: u16, version: usize) -> String {
    format!(
        "import http.server, os, signal\n\
         signal.signal(signal.SIGTERM, lambda *_: os._exit(0))\n\
         class Page(http.server.BaseHTTPRequestHandler):\n    \
             def do_GET(self):\n        \
                 self.send_response({status})\n        \
                 self.end_headers()\n        \
                 self.wfile.write(b'version {version}')\n    \
             def log_message(self, *_): pass\n\
         class Server(http.server.ThreadingHTTPServer): request_queue_size = 128\n\
         Server(('', 8080), Page).serve_forever()\n"
    )
}

fn dockerfile() -> &'static str {
    "FROM python:3.12-slim\nCOPY main.py /\nUSER 1000\nEXPOSE 8080\nCMD [\"python\", \"/main.py\"]\n"
}

fn request(repository: &Repository, action: &str) -> Value {
    json!({
        "action": action, "deployment_mode": "local", "target_namespace": "loaded", "instance_name": "loaded",
        "github_repo_url": repository.url(),
    })
}

/// Requests that are sent again and again.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    sending: JoinHandle<(usize, Vec<String>)>,
}

impl Load {
    /// Sends so many requests a second.
    pub(crate) fn begin(client: reqwest::Client, url: String, per_s: u32) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        Self { stop: Arc::clone(&stop), sending: tokio::spawn(send(client, url, per_s, stop)) }
    }

    /// Ends it; fails when a request was not answered by the application.
    pub(crate) async fn loses_nothing(self) {
        self.stop.store(true, Ordering::Relaxed);
        let (sent, lost) = self.sending.await.unwrap();
        println!("{} of {sent} requests were lost", lost.len());
        assert!(lost.is_empty(), "{} of {sent} requests were lost: {lost:#?}", lost.len());
    }
}

/// What a proxy answers in place of an application that is not there.
const GATEWAY: [u16; 3] = [502, 503, 504];

async fn send(client: reqwest::Client, url: String, per_s: u32, stop: Arc<AtomicBool>) -> (usize, Vec<String>) {
    let mut pace = tokio::time::interval(Duration::from_secs(1) / per_s);
    let mut under_way = JoinSet::new();
    while !stop.load(Ordering::Relaxed) {
        pace.tick().await;
        let request = client.get(&url);
        under_way.spawn(async move {
            let answer = request.send().await?;
            let status = answer.status().as_u16();
            answer.text().await.map(|_| status)
        });
    }
    let answers = under_way.join_all().await;
    let sent = answers.len();
    let lost = answers.into_iter().filter_map(|answer| match answer {
        Ok(status) if GATEWAY.contains(&status) => Some(format!("HTTP {status}")),
        Ok(_) => None,
        Err(error) => Some(format!("{error:?}")),
    });
    (sent, lost.collect())
}

#[tokio::test]
async fn no_request_is_lost_while_a_program_that_ends_at_once_is_replaced() {
    let server = shared().await;
    let repository = Repository::page("loaded");
    repository.commit(&[("Dockerfile", dockerfile()), ("main.py", &program(200, 0))]);
    let deployed = server.ask(request(&repository, "deploy")).await.ended("succeeded");
    let url = deployed.word("app_url");
    let client = reqwest::Client::builder().no_proxy().pool_max_idle_per_host(0).timeout(Duration::from_secs(10));
    let load = Load::begin(client.build().unwrap(), url.clone(), REQUESTS_PER_S);

    for version in 1..=5 {
        let status = if version % 2 == 0 { 200 } else { 500 };
        repository.commit(&[("main.py", &program(status, version))]);
        let redeployed = server.ask(request(&repository, "redeploy")).await.ended("succeeded");
        let headline = if status == 200 { "runs its new version.**" } else { "its first page answers with HTTP 500" };
        redeployed.says(&format!("answered with HTTP {status}")).says(headline);
        let page = reqwest::get(&url).await.unwrap().text().await.unwrap();
        assert_eq!(page, format!("version {version}"));
    }

    tokio::time::sleep(OLD_PODS).await;
    load.loses_nothing().await;
    let gone = server.ask(request(&repository, "decommission")).await.ended("succeeded");
    nothing_is_left(server, &gone, Some(deployed.deployment("image")));
}
