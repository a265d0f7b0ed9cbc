//! Text from forms, and text for pages.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use minijinja::HtmlEscape;
use url::form_urlencoded;

use crate::event::Failure;
use crate::http::operations::FailureObject;
use crate::reply::strip_ansi;

/// Words of an answer, without the marks of Markdown.
pub(super) fn plain(text: &str) -> String {
    text.replace("**", "").replace('`', "")
}

/// Why something failed, without the colours of a terminal.
pub(super) fn shown_failure(Failure { code, message, next_step, output }: &Failure) -> FailureObject {
    FailureObject::from(Failure {
        code: code.clone(),
        message: strip_ansi(message),
        next_step: strip_ansi(next_step),
        output: output.iter().map(|it| strip_ansi(it)).collect(),
    })
}

/// Names as the end of the sentence "it must be ...".
pub(super) fn one_of(names: &[&str]) -> String {
    let names: Vec<String> = names.iter().map(|it| format!("`{it}`")).collect();
    match names.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
        None => String::new(),
    }
}

/// A longer address than this leads nowhere: the heads of requests are limited.
pub(super) const LONGEST_ADDRESS: usize = 6000;

/// A path with those values that there are as its query.
pub(super) fn address<'a>(path: &str, values: impl IntoIterator<Item = (&'a str, Option<String>)>) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    for (name, value) in values {
        if let Some(value) = value {
            query.append_pair(name, &value);
        }
    }
    let query = query.finish();
    if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") }
}

/// A sentence as HTML: what stands between backticks in it is code.
pub(super) fn prose(text: &str) -> String {
    let parts: Vec<&str> = text.split('`').collect();
    // One backtick without another is no mark.
    if parts.len().is_multiple_of(2) {
        return HtmlEscape(text).to_string();
    }
    let mut html = String::new();
    for (index, part) in parts.into_iter().enumerate() {
        let part = HtmlEscape(part).to_string();
        if index.is_multiple_of(2) {
            html.push_str(&part);
        } else {
            html.extend(["<code>", &part, "</code>"]);
        }
    }
    html
}

/// Reads a moment. One without a zone, as a browser sends it, is of UTC.
pub(super) fn moment(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    let of_utc = || text.parse::<DateTime>().ok()?.to_zoned(TimeZone::UTC).ok();
    text.parse().ok().or_else(|| of_utc().map(|it| it.timestamp()))
}

/// What an action is called where something is to be done: `rollback` is a noun.
pub(super) fn verb(action: &str) -> &str {
    if action == "rollback" { "roll back" } else { action }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_without_a_zone_is_of_utc() {
        let noon = "2027-01-31T12:00:00Z".parse().ok();

        let read = ["2027-01-31T12:00", " 2027-01-31T12:00:00Z", "2027-01-31T13:00:00+01:00"].map(moment);
        assert_eq!(read, [noon; 3]);
        assert_eq!(moment("tomorrow"), None);
    }

    #[test]
    fn names_are_told_as_a_choice() {
        assert_eq!([one_of(&["a"]), one_of(&["a", "b", "c"])], ["`a`", "`a`, `b` or `c`"]);
    }

    #[test]
    fn code_in_a_sentence_is_marked_and_everything_is_text() {
        assert_eq!(prose("`<b>` is no <i>"), "<code>&lt;b&gt;</code> is no &lt;i&gt;");
        assert_eq!(prose("one ` alone"), "one ` alone");
    }

    #[test]
    fn an_action_is_called_by_a_verb() {
        assert_eq!(["rollback", "scale"].map(verb), ["roll back", "scale"]);
    }

    #[test]
    fn marks_of_markdown_are_no_words() {
        assert_eq!(plain("**What `t3.medium` costs** is known."), "What t3.medium costs is known.");
    }
}
