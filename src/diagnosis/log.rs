//! Log lines of a pod with their times, and what they tell about a process that still runs.

use std::collections::BTreeMap;

use jiff::{Timestamp, ToSpan};

use crate::cloud::message::{MAX_LINE_CHARS, cut};

/// How many lines a person is shown.
const MAX_LINES: usize = 20;

/// A line that a process printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimedLine {
    /// When, where the node says so.
    pub at: Option<Timestamp>,
    /// What.
    pub text: String,
}

/// Reads the text of a log with a time in front of each line.
#[must_use]
pub fn parse(text: &str) -> Vec<TimedLine> {
    text.lines()
        .map(|line| match line.split_once(' ').and_then(|(at, rest)| Some((at.parse::<Timestamp>().ok()?, rest))) {
            Some((at, rest)) => TimedLine { at: Some(at), text: rest.to_owned() },
            None => TimedLine { at: None, text: line.to_owned() },
        })
        .collect()
}

/// The last lines, cut to what fits an answer; a line that comes again and again is shown once.
#[must_use]
pub fn last_lines(log: &[TimedLine]) -> Vec<String> {
    let runs: Vec<&[TimedLine]> = log.chunk_by(|a, b| a.text == b.text).collect();
    let shown = |run: &&[TimedLine]| {
        let text = cut(&run[0].text, MAX_LINE_CHARS);
        if run.len() > 1 { format!("{text} ({} times)", run.len()) } else { text }
    };
    runs[runs.len().saturating_sub(MAX_LINES)..].iter().map(shown).collect()
}

/// The line that most likely says what went wrong: the last one that reads like an error, else the last one.
///
/// Not simply the last: the node reads the two outputs of a process apart, so what was printed earlier may come later.
#[must_use]
pub fn error_line(log: &[TimedLine]) -> Option<&str> {
    let reads_like_error = |text: &&str| {
        let text = text.to_lowercase();
        ["error", "exception", "panic", "fatal", "failed", "cannot", "can't", "denied", "not found"]
            .iter()
            .any(|it| text.contains(it))
    };
    let lines = || log.iter().rev().map(|line| line.text.trim()).filter(|text| !text.is_empty());
    lines().find(reads_like_error).or_else(|| lines().next())
}

/// How the reports of errors that nothing caught begin, in the words of the languages' runtimes.
const CRASH_REPORTS: [&str; 9] = [
    "Traceback (most recent call last)",
    "panic: ",
    "goroutine 1 [running]",
    "panicked at ",
    "Exception in thread ",
    "Unhandled exception",
    "UnhandledPromiseRejection",
    "Uncaught ",
    "FATAL",
];
/// How many lines of such a report are shown.
const REPORT_LINES: usize = 12;

/// The report of an error that nothing caught: its lines up to the one that names the error, which follows indented ones.
/// Of a long one its end.
#[must_use]
pub fn crash_report(log: &[TimedLine]) -> Option<&[TimedLine]> {
    let at = log.iter().position(|line| CRASH_REPORTS.iter().any(|it| line.text.contains(it)))?;
    let is_named = |line: &TimedLine| !line.text.starts_with([' ', '\t']) && !line.text.trim().is_empty();
    let last = log[at + 1..].iter().position(is_named).map_or(at, |offset| at + 1 + offset);
    Some(tail(&log[at..=last]))
}

/// The line that names an error that nothing caught, from the last report of one.
///
/// Python names it below the indented lines, Rust in the line below; the others in the first line of the report, and Node
/// and Java have the calls (`at ...`) below it.
#[must_use]
pub fn uncaught_error(log: &[TimedLine]) -> Option<&str> {
    let text = |at: usize| log.get(at).map(|line| line.text.as_str());
    let is_call =
        |at: usize| text(at).is_some_and(|it| it.starts_with([' ', '\t']) && it.trim_start().starts_with("at "));
    let begins = |at: &usize| {
        let line = &log[*at].text;
        let reports = CRASH_REPORTS.iter().any(|it| line.contains(it)) && !line.starts_with("goroutine ");
        reports || (line.contains("Error") && is_call(at + 1))
    };
    let at = (0..log.len()).rev().find(begins)?;
    let is_named = |line: &&TimedLine| !line.text.starts_with([' ', '\t']) && !line.text.trim().is_empty();
    let line = &log[at].text;
    let named = if line.contains("Traceback (most recent call last)") || line.contains("panicked at ") {
        log[at + 1..].iter().find(is_named).map(|it| it.text.as_str())
    } else {
        None
    };
    Some(named.unwrap_or(line).trim())
}

/// The last lines.
#[must_use]
pub fn tail(log: &[TimedLine]) -> &[TimedLine] {
    &log[log.len().saturating_sub(REPORT_LINES)..]
}

/// A line that the process printed again and again, as one does that waits for something.
#[must_use]
pub fn repeated_line(log: &[TimedLine]) -> Option<&str> {
    let mut counts = BTreeMap::new();
    for line in log.iter().filter(|line| !line.text.trim().is_empty()) {
        *counts.entry(line.text.as_str()).or_insert(0_usize) += 1;
    }
    let (line, times) = counts.into_iter().max_by_key(|(_, times)| *times)?;
    (times >= 3 && times * 2 >= log.len()).then_some(line)
}

/// Whether the process printed something within the last half minute.
#[must_use]
pub fn printed_recently(log: &[TimedLine], now: Timestamp) -> bool {
    let recently = now - 30.seconds();
    log.last().and_then(|line| line.at).is_some_and(|at| at >= recently)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_report_of_an_error_that_nothing_caught_is_found() {
        let log = parse("serving\nTraceback (most recent call last):\n  File \"a.py\"\nKeyError: 'DB'\n");

        let report: Vec<&str> = crash_report(&log).unwrap().iter().map(|it| it.text.as_str()).collect();

        assert_eq!(report, ["Traceback (most recent call last):", "  File \"a.py\"", "KeyError: 'DB'"]);
        assert_eq!(crash_report(&parse("GET /fatal 200\nan Error was handled")), None);
    }

    #[test]
    fn lines_are_read_with_their_times() {
        let log = parse("2026-01-02T03:04:05.678901234Z hello world\nnot a time\n");

        assert_eq!(log[0].text, "hello world");
        assert!(log[0].at.is_some());
        assert_eq!(log[1], TimedLine { at: None, text: "not a time".to_owned() });
    }

    #[test]
    fn the_error_is_told_even_when_another_line_comes_after_it() {
        assert_eq!(error_line(&parse("KeyError: 'A'\nstarting\n")), Some("KeyError: 'A'"));
        assert_eq!(error_line(&parse("one\ntwo\n\n")), Some("two"));
        assert_eq!(error_line(&[]), None);
    }

    #[test]
    fn an_error_that_nothing_caught_is_named_as_each_runtime_does() {
        let named = [
            "start\nTraceback (most recent call last):\n  File \"a.py\", line 1\n    x\nValueError: boom\nwaiting\n",
            "/app/a.js:3\nError: boom\n    at a (/app/a.js:3:1)\nwaiting\n",
            "thread 'main' panicked at src/main.rs:2:5:\nboom\nnote: run with `RUST_BACKTRACE=1`\n",
            "panic: boom\n\ngoroutine 1 [running]:\n",
            "Exception in thread \"main\" java.lang.IllegalStateException: boom\n\tat A.main(A.java:3)\n",
            "Unhandled exception. System.Exception: boom\n   at Program.Main()\n",
            "Error: listening soon\nready\n",
        ];

        assert_eq!(
            named.map(|text| uncaught_error(&parse(text)).unwrap_or_default().to_owned()),
            [
                "ValueError: boom",
                "Error: boom",
                "boom",
                "panic: boom",
                "Exception in thread \"main\" java.lang.IllegalStateException: boom",
                "Unhandled exception. System.Exception: boom",
                "",
            ]
        );
    }

    #[test]
    fn a_line_that_is_too_long_ends_with_a_mark() {
        let lines = last_lines(&parse(&"x".repeat(3000)));

        assert!(lines[0].len() < 600 && lines[0].ends_with('…'), "{lines:?}");
    }

    #[test]
    fn a_process_that_waits_repeats_itself() {
        assert_eq!(repeated_line(&parse("start\nwaiting\nwaiting\nwaiting\n")), Some("waiting"));
        assert_eq!(repeated_line(&parse("one\ntwo\nthree\n")), None);
    }

    #[test]
    fn a_line_that_comes_again_and_again_is_shown_once() {
        assert_eq!(last_lines(&parse("start\nwaiting\nwaiting\nwaiting\n")), ["start", "waiting (3 times)"]);
    }

    proptest! {
        #[test]
        fn no_log_is_too_strange(text in ".*(\n.*){0,30}") {
            let log = parse(&text);
            prop_assert!(last_lines(&log).len() <= MAX_LINES);
            let _ = (repeated_line(&log), uncaught_error(&log), crash_report(&log));
        }
    }
}
