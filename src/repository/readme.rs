//! A README's hints: how people start the application by hand, and on which port they find it.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use pulldown_cmark::{Event, HeadingLevel, Parser, Tag, TagEnd};
use regex::Regex;
use serde::{Deserialize, Serialize};

use crate::id::Port;

const MAX_COMMANDS: usize = 10;
const MAX_COMMAND_BYTES: usize = 200;

/// Words in a heading under which commands start the application.
const RUN_WORDS: [&str; 12] = [
    "run",
    "running",
    "usage",
    "start",
    "starting",
    "started",
    "quickstart",
    "launch",
    "serve",
    "serving",
    "development",
    "try",
];
/// Characters between the word `port` and its number.
const MAX_GAP_CHARS: usize = 12;
/// Ports of databases and the like, which a README mentions but the application does not serve.
const FOREIGN_PORTS: [u16; 12] = [22, 25, 1433, 2181, 3306, 5432, 5672, 6379, 9042, 9092, 11211, 27017];

/// How a README says that the application is started.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunHints {
    /// Commands in the code blocks under headings such as Run, Usage or Getting started; the first ten.
    pub commands: Vec<String>,
    /// A port that the text mentions; one under such a heading counts before others.
    pub port: Option<Port>,
}

/// Reads the Markdown text of a README.
pub(super) fn run_hints(text: &str) -> RunHints {
    let mut commands = Vec::new();
    let mut run_text = String::new();
    let mut all_text = String::new();
    let mut has_title = false;
    let mut heading: Option<String> = None;
    let mut run_level: Option<HeadingLevel> = None;
    let mut code: Option<String> = None;
    for event in Parser::new(text) {
        match event {
            Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
            Event::End(TagEnd::Heading(level)) => {
                let is_title = level == HeadingLevel::H1 && !std::mem::replace(&mut has_title, true);
                let is_run = !is_title && is_run_heading(&heading.take().unwrap_or_default());
                let is_inside = run_level.is_some_and(|run| level > run);
                run_level = if is_inside { run_level } else { is_run.then_some(level) };
            }
            Event::Start(Tag::CodeBlock(_)) => code = Some(String::new()),
            Event::End(TagEnd::CodeBlock) => {
                let block = code.take().unwrap_or_default();
                if run_level.is_some() {
                    commands.extend(block_commands(&block));
                }
            }
            Event::Text(piece) | Event::Code(piece) => {
                let texts = [heading.as_mut(), code.as_mut(), run_level.map(|_| &mut run_text), Some(&mut all_text)];
                for text in texts.into_iter().flatten() {
                    text.push_str(&piece);
                }
            }
            Event::SoftBreak | Event::HardBreak | Event::End(_) => {
                run_text.push('\n');
                all_text.push('\n');
            }
            Event::Start(_)
            | Event::InlineMath(_)
            | Event::DisplayMath(_)
            | Event::Html(_)
            | Event::InlineHtml(_)
            | Event::FootnoteReference(_)
            | Event::Rule
            | Event::TaskListMarker(_) => {}
        }
    }
    commands.truncate(MAX_COMMANDS);
    let published = published_ports(&all_text);
    let port = [&run_text, &all_text].into_iter().find_map(|text| listening_port(text, &published));
    RunHints { commands, port }
}

fn is_run_heading(heading: &str) -> bool {
    heading.to_lowercase().split(|c: char| !c.is_alphanumeric()).any(|word| RUN_WORDS.contains(&word))
}

/// The commands of a code block: prompts removed, comments and output left out, continued lines joined.
fn block_commands(block: &str) -> Vec<String> {
    let joined = block.replace("\\\n", " ");
    let has_prompts = joined.lines().any(|line| line.trim_start().starts_with("$ "));
    let lines = joined.lines().filter_map(|line| {
        let line = line.trim();
        let command = if has_prompts { line.strip_prefix("$ ")? } else { line };
        let command = command.split_whitespace().collect::<Vec<_>>().join(" ");
        let fits = !command.is_empty() && !command.starts_with('#') && command.len() <= MAX_COMMAND_BYTES;
        fits.then_some(command)
    });
    lines.take(MAX_COMMANDS).collect()
}

/// What is said of another program than the application: it has a port of its own.
const BYSTANDERS: [&str; 6] = ["balancer", "proxy", "nginx", "database", "prometheus", "firewall"];

/// The first port of which a README says, line by line, that the application listens there, or at which it is opened. The
/// published side of a container's port is another machine's.
fn listening_port(text: &str, published: &BTreeMap<Port, Port>) -> Option<Port> {
    text.lines().find_map(|line| {
        let lower = line.to_ascii_lowercase();
        if BYSTANDERS.iter().any(|it| lower.contains(it)) {
            return None;
        }
        if let Some(inside) = published_ports(line).into_values().next() {
            return Some(inside);
        }
        let port = mentioned_port(line)?;
        Some(published.get(&port).copied().unwrap_or(port))
    })
}

/// Which port of a container is published as which, as in `-p 80:8000`, `127.0.0.1:80:8000` and `port-forward ... 80:8000`.
fn published_ports(text: &str) -> BTreeMap<Port, Port> {
    static PAIR: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"(?:^|[^0-9.]|\.\d{1,3}:)(\d{2,5}):(\d{2,5})\b").expect("it is a regular expression")
    });
    let pairs = PAIR.captures_iter(text).filter_map(|it| Some((it[1].parse().ok()?, it[2].parse().ok()?)));
    pairs.filter(|(_, inside): &(Port, Port)| inside.get() >= 80).collect()
}

/// The first port that a text mentions: `port 8000`, `localhost:8000`, `--port=8000`, `PORT=8000`, `listen(8000)`.
pub(super) fn mentioned_port(text: &str) -> Option<Port> {
    let lower = text.to_ascii_lowercase();
    let mut found: Vec<(usize, Port)> = Vec::new();
    for mark in ["port", "localhost:", "127.0.0.1:", "0.0.0.0:", "listen(", "\":", "--bind :"] {
        for (at, _) in lower.match_indices(mark).take(200) {
            let behind = &lower[at + mark.len()..];
            let digit = behind.char_indices().take(MAX_GAP_CHARS + 1).find(|(_, c)| c.is_ascii_digit());
            let digits_at = digit.map(|(at, _)| at).filter(|at| fits_between(mark, &behind[..*at]));
            let Some(digits_at) = digits_at else { continue };
            let digits = &behind[digits_at..];
            let digits = &digits[..digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len())];
            let port: Option<Port> = digits.parse().ok();
            found.extend(
                port.filter(|port| port.get() >= 80 && !FOREIGN_PORTS.contains(&port.get())).map(|port| (at, port)),
            );
        }
    }
    found.into_iter().min_by_key(|(at, _)| *at).map(|(_, port)| port)
}

/// Whether what lies between a mark and the digits still makes them a port: `port = int(os.environ.get("PORT", 8000`.
fn fits_between(mark: &str, between: &str) -> bool {
    if mark != "port" {
        return between.is_empty();
    }
    !between.is_empty()
        && !between.contains('\n')
        && between
            .split(|c: char| !c.is_ascii_alphabetic())
            .all(|word| matches!(word, "" | "is" | "number" | "on" | "s"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn commands_are_those_under_a_heading_that_speaks_of_running() {
        let hints = run_hints(
            "# Running man\n## Build\n```\nmake\n```\n# x\n\n    docker build .\n\n## Getting started\n\
             ```sh\n$ export A=1\n# comment\nout\n$ run \\\n  --port 4000\n```\n### More\n\n    serve it\n\n## License\n```\nno\n```\n",
        );

        assert_eq!(hints.commands, ["export A=1", "run --port 4000", "serve it"]);
        assert_eq!(hints.port, Port::new(4000));
    }

    #[test]
    fn a_port_is_found_in_all_its_spellings() {
        let port = |text: &str| mentioned_port(text).map(Port::get);

        assert_eq!(port("It listens on port 8000."), Some(8000));
        assert_eq!(port("open http://localhost:3000/x"), Some(3000));
        assert_eq!(port("flask run --port=5001"), Some(5001));
        assert_eq!(port("const port = process.env.PORT || 3001;"), Some(3001));
        assert_eq!(port(r#"os.environ.get("PORT", "8123")"#), Some(8123));
        assert_eq!(port("app.listen(4242)"), Some(4242));
        assert_eq!(port(r#"http.ListenAndServe(":8081", nil)"#), Some(8081));
        assert_eq!(port("database on port 5432, page on port 8080"), Some(8080));
        assert_eq!(port("support in 2024; important: 12 reports of 99999"), None);
    }

    #[test]
    fn a_port_of_another_program_is_none_of_the_application() {
        let port = |text: &str| run_hints(text).port.map(Port::get);

        assert_eq!(port("## Run\n\n    docker run -p 80:8000 app\n\nOpen port 80."), Some(8000));
        assert_eq!(port("Open localhost:3000.\n\n```\ndocker run -d -p 127.0.0.1:3000:8080 app\n```\n"), Some(8080));
        assert_eq!(port("The load balancer listens on port 80."), None);
        assert_eq!(port("nginx takes port 80.\n\nThe server listens on port 9000."), Some(9000));
        assert_eq!(port("Office hours 09:30 to 17:45, at 10.0.0.12:8080 in the lab"), None);
    }

    #[test]
    fn a_port_under_a_run_heading_counts_first() {
        assert_eq!(run_hints("Metrics on port 9100.\n## Run\nOpen localhost:8000.\n").port, Port::new(8000));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "(\\PC|[\n`#$: ]|port|localhost:|[0-9]{1,6}){0,80}") {
            let hints = run_hints(&text);
            prop_assert!(hints.commands.len() <= MAX_COMMANDS);
        }
    }
}
