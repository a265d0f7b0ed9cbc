//! What goes over the wire.

use serde_json::Value;

mod chat;
mod errors;
mod limits;
mod robustness;
mod routes;
mod streams;
mod fixture;

/// The `data:` payloads of a stream; every other line must be a comment or empty.
fn payloads(text: &str) -> Vec<String> {
    text.lines()
        .filter(|line| !line.is_empty() && !line.starts_with(':'))
        .map(|line| line.strip_prefix("data: ").expect("only data lines and comments").to_owned())
        .collect()
}

/// The words of a streamed answer.
fn words(payloads: &[String]) -> String {
    payloads
        .iter()
        .filter_map(|it| serde_json::from_str::<Value>(it).ok())
        .filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str().map(str::to_owned))
        .collect()
}
