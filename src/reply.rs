//! What the system has to say, as the Markdown that a person reads.
//!
//! Pure: every function goes from records to text. `narration` tells of work while it goes on, `operation` of how it
//! ended, `removal` of several that are removed together, `report` and `costs` of what was only asked. (Questions back and help are `intent`'s.) Nothing here knows HTTP.

pub mod costs;
pub mod narration;
pub mod operation;
pub mod removal;
pub mod report;
pub mod view;

use anstream::adapter::strip_str;

/// A code block that stays one, whatever the lines contain. Control characters and terminal colours are left out.
#[must_use]
pub fn code_block<'a>(lines: impl IntoIterator<Item = &'a str>) -> String {
    let lines: Vec<String> = lines.into_iter().map(strip_ansi).collect();
    let longest = lines.iter().map(|line| longest_run(line, '`')).max().unwrap_or(0);
    let fence = "`".repeat((longest + 1).max(3));
    format!("{fence}text\n{}\n{fence}", lines.join("\n"))
}

/// A Dockerfile that was made, or would be.
fn dockerfile(text: &str) -> String {
    let made = "Its Dockerfile, which is made here; add it to the repository as `Dockerfile` to change it:";
    format!("{made}\n\n```dockerfile\n{}\n```", text.trim_end())
}

/// The line as a sentence: it begins with a capital and ends with a full stop.
#[must_use]
pub fn to_sentence(line: &str) -> String {
    let text = strip_ansi(line);
    let text = text.trim();
    let mut sentence = capital(text);
    if !sentence.is_empty() && !sentence.ends_with(['.', '!', '?']) {
        sentence.push('.');
    }
    sentence
}

/// The text with a capital at its beginning.
#[must_use]
pub fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().into_iter().flat_map(char::to_uppercase).chain(letters).collect()
}

/// The line without terminal escape sequences and control characters.
#[must_use]
pub fn strip_ansi(line: &str) -> String {
    strip_str(line).flat_map(str::chars).filter(|c| *c == '\t' || !c.is_control()).collect()
}

/// A span of time as people say it: `0.4 s`, `12 s`, `2 min 5 s`.
#[must_use]
pub fn elapsed(ms: u64) -> String {
    match ms {
        0..10_000 => format!("{}.{} s", ms / 1000, ms % 1000 / 100),
        10_000..60_000 => format!("{} s", ms / 1000),
        _ => format!("{} min {} s", ms / 60_000, ms / 1000 % 60),
    }
}

/// `1 replica`, `3 replicas`.
fn replicas(count: u16) -> String {
    if count == 1 { "1 replica".to_owned() } else { format!("{count} replicas") }
}

/// A list with one line per entry, or nothing when it is empty.
fn bullets(heading: &str, entries: &[String]) -> Option<String> {
    if entries.is_empty() {
        return None;
    }
    let lines: Vec<String> = entries.iter().map(|entry| format!("- {}", strip_ansi(entry))).collect();
    Some(format!("{heading}\n{}", lines.join("\n")))
}

fn longest_run(text: &str, wanted: char) -> usize {
    let mut longest = 0;
    let mut run = 0;
    for c in text.chars() {
        run = if c == wanted { run + 1 } else { 0 };
        longest = longest.max(run);
    }
    longest
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn output_with_fences_and_colours_stays_inside_its_block() {
        let block = code_block(["\u{1b}[31mred\u{1b}[0m", "```", "bell\u{7}"]);

        assert_eq!(block, "````text\nred\n```\nbell\n````");
    }

    #[test]
    fn spans_of_time_read_well() {
        assert_eq!(elapsed(420), "0.4 s");
        assert_eq!(elapsed(12_900), "12 s");
        assert_eq!(elapsed(125_000), "2 min 5 s");
    }

    #[test]
    fn an_error_becomes_a_sentence() {
        assert_eq!(to_sentence("line 4 is wrong: did you mean `RUN`?"), "Line 4 is wrong: did you mean `RUN`?");
        assert_eq!(to_sentence("`demo` is busy"), "`demo` is busy.");
        assert_eq!(to_sentence(""), "");
    }

    proptest! {
        #[test]
        fn plain_text_holds_no_control_character(line in any::<String>()) {
            prop_assert!(strip_ansi(&line).chars().all(|c| c == '\t' || !c.is_control()));
        }
    }
}
