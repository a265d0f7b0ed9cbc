//! Which port an application is reached at is seen when nobody has said it, and what nothing can reach is told soon.

use std::time::Duration;

use serde_json::{Value, json};

use crate::answer::Answer;
use crate::bed::Repository;
use crate::cluster::fetch;
use crate::server::shared;

/// Before `ROLLOUT_TIMEOUT_S` is over, on a slow machine too.
const SOON: Duration = Duration::from_mins(2);

/// A program that starts these servers, prints one line and does nothing more.
fn program(servers: &str) -> String {
    format!(
        "import http.server, os, signal, socket, threading, time\n\
         signal.signal(signal.SIGTERM, lambda *_: os._exit(0))\n\
         class Page(http.server.BaseHTTPRequestHandler):\n    \
             def do_GET(self):\n        \
                 self.send_response(200)\n        \
                 self.end_headers()\n        \
                 self.wfile.write(b'here it is')\n    \
             def log_message(self, *_): pass\n\
         def serve(address, port, family=socket.AF_INET):\n    \
             class Server(http.server.ThreadingHTTPServer): address_family = family\n    \
             server = Server((address, port), Page, bind_and_activate=False)\n    \
             if family == socket.AF_INET6: server.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)\n    \
             server.server_bind()\n    \
             server.server_activate()\n    \
             threading.Thread(target=server.serve_forever).start()\n\
         print('starting', flush=True)\n\
         {servers}\n\
         time.sleep(10**6)\n"
    )
}

fn repository(name: &str, servers: &str, lines: &str) -> Repository {
    let repository = Repository::page(name);
    let dockerfile =
        format!("FROM python:3.12-slim\nCOPY main.py /\n{lines}USER 1000\nCMD [\"python\", \"/main.py\"]\n");
    repository.commit(&[("Dockerfile", &dockerfile), ("main.py", &program(servers))]);
    repository
}

fn request(repository: &Repository, name: &str, action: &str) -> Value {
    json!({
        "action": action, "deployment_mode": "local", "target_namespace": "ports", "instance_name": name,
        "github_repo_url": repository.url(),
    })
}

async fn code(answer: &Answer) -> Value {
    shared().await.get(&format!("/v1/operations/{}", answer.operation())).await["error"]["code"].clone()
}

#[tokio::test]
async fn the_one_port_at_which_the_process_answers_is_taken_and_remembered() {
    let server = shared().await;
    // The published side of a README is no port of the process, and a debugger is none of the application.
    let repository = repository("seen-port", "serve('', 3000); serve('', 5005)", "EXPOSE 4000\n");

    let deployed = server.ask(request(&repository, "seen", "deploy")).await.ended("succeeded");
    let deployed = deployed.says(
        "Nothing listens on port 4000, which the image exposes; the process listens on 3000, which is served instead",
    );
    assert!(fetch(&deployed.word("app_url")).await.unwrap().contains("here it is"));

    let again = server.ask(request(&repository, "seen", "redeploy")).await.ended("succeeded");
    again.says("Nothing to do");
    repository.commit(&[("notes.txt", "a new commit\n")]);
    let redeployed = server.ask(request(&repository, "seen", "redeploy")).await.ended("succeeded");
    assert!(!redeployed.words().contains("Nothing listens"), "{}", redeployed.words());
    assert!(fetch(&redeployed.word("app_url")).await.unwrap().contains("here it is"));
    server.ask(request(&repository, "seen", "decommission")).await.ended("succeeded");
}

#[tokio::test]
async fn what_nothing_can_reach_is_told_long_before_the_time_is_over() {
    for (name, servers, expected, words) in [
        ("v6", "serve('::', 8080, socket.AF_INET6)", "ipv6_only", "for IPv6 only"),
        ("loopback", "serve('127.0.0.1', 8080)", "loopback_only", "on the loopback address only"),
        ("several", "serve('', 3000); serve('', 4000)", "port_mismatch", "(3000 or 4000)"),
    ] {
        let repository = repository(&format!("ports-{name}"), servers, "");
        let failed = shared().await.ask(request(&repository, name, "deploy")).await.ended("undone").says(words);
        assert_eq!(code(&failed).await, expected);
        assert!(failed.took < SOON, "{name} took {:?}", failed.took);
    }
}

#[tokio::test]
async fn the_variable_port_says_which_port_is_meant_and_any_user_may_listen_there() {
    let server = shared().await;
    let repository = repository("port-variable", "serve('', int(os.environ['PORT']))", "EXPOSE 4000\n");
    let with = |port: &str| {
        let mut request = request(&repository, "variable", "deploy");
        request["environment"] = json!({"PORT": port});
        request
    };

    let deployed = server.ask(with("81")).await.ended("succeeded");
    assert!(fetch(&deployed.word("app_url")).await.unwrap().contains("here it is"));
    repository.commit(&[("notes.txt", "a new commit\n")]);
    let redeployed = server.ask(request(&repository, "variable", "redeploy")).await.ended("succeeded");
    assert!(!redeployed.words().contains("Nothing listens"), "{}", redeployed.words());
    server.ask(request(&repository, "variable", "decommission")).await.ended("succeeded");
}
