//! The README's requests, sent as it prints them.

use std::time::Instant;

use crate::answer::Answer;
use crate::bed::must;
use crate::server::Server;

/// Sends the README's request with this action and mode by curl, with what a reader puts in place of its examples.
pub(crate) async fn curl(server: &Server, mode: &str, action: &str, places: &[(&str, &str)]) -> Answer {
    let readme = include_str!("../../README.md");
    let blocks = readme.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next());
    let fields = [format!("\"action\": \"{action}\""), format!("\"deployment_mode\": \"{mode}\"")];
    let found = blocks.into_iter().find(|block| fields.iter().all(|field| block.contains(field)));
    let mut command = found.unwrap_or_else(|| panic!("the README shows no {action} in {mode}")).to_owned();
    for (example, own) in places {
        assert!(command.contains(example), "the README's {action} has no `{example}`: {command}");
        command = command.replace(example, own);
    }
    // The user that acts in this mode; no list of processes shows the keys.
    let user = format!("RIG_{}", mode.replace('-', "_").to_uppercase());
    let keys = ["ACCESS_KEY_ID", "SECRET_ACCESS_KEY"].map(|it| format!("AWS_{it}=${{{user}_{it}:-}}\n")).concat();
    let (command, began) = (format!("API={}\n{keys}{command}", server.url()), Instant::now());
    let text = tokio::task::spawn_blocking(move || must("sh", &["-c", &command])).await.unwrap();
    Answer::new(200, &text, began.elapsed())
}
