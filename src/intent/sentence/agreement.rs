//! Whether a message agrees to what was asked before it. A few words and no others: what adds, doubts or limits is no
//! plain yes.

use super::word::sentences;

/// Words that agree. `ok` alone is none: it is also said to what was only shown.
const YES: &[&str] = &["yes", "y", "yep", "yeah", "yup", "confirm", "confirmed", "proceed", "ja"];
/// Words that may come before them.
const BEFORE_YES: &[&str] = &["ok", "okay", "sure", "well", "oh"];
/// Words that may come after them.
const WITH_YES: &[&str] =
    &["please", "pls", "go", "ahead", "do", "it", "that", "this", "exactly", "now", "for", "real", "i"];
/// Words that decline.
const NO: &[&str] = &["no", "nope", "cancel", "stop", "undo", "nevermind", "never", "don't", "dont", "not", "nein"];
/// A longer message says more than no.
const LONGEST_NO: usize = 4;

/// How a message answers a question that yes or no answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Agreement {
    /// Yes, and nothing else.
    Yes,
    /// Yes, with more words.
    YesAnd,
    /// No.
    No,
    /// Neither.
    Other,
}

/// Reads a message as the answer to such a question.
#[must_use]
pub fn agreement(text: &str) -> Agreement {
    let is = |word: &String, list: &[&str]| list.contains(&word.as_str());
    let words = sentences(text).into_iter().flat_map(|it| it.words).map(|it| it.lower);
    let words: Vec<String> = words.skip_while(|it| is(it, BEFORE_YES)).collect();
    let Some(first) = words.first() else { return Agreement::Other };
    let goes_ahead = words.starts_with(&["go".to_owned(), "ahead".to_owned()]) || words == ["do", "it"];
    if words.len() <= LONGEST_NO && is(first, NO) {
        return Agreement::No;
    }
    if !is(first, YES) && !goes_ahead {
        return Agreement::Other;
    }
    if words.iter().all(|it| is(it, YES) || is(it, WITH_YES)) { Agreement::Yes } else { Agreement::YesAnd }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_plain_yes_is_one() {
        let read = |texts: &[&str]| texts.iter().map(|it| agreement(it)).collect::<Vec<_>>();

        assert_eq!(read(&["yes", "Yes, please!", "ok, do it", "go ahead", "**Yes**"]), [Agreement::Yes; 5]);
        assert_eq!(read(&["yes, remove it", "yes but not the database", "sure, yes, in demo"]), [Agreement::YesAnd; 3]);
        assert_eq!(read(&["no", "No, leave it", "don't", "never mind"]), [Agreement::No; 4]);
        assert_eq!(
            read(&["", "ok thanks", "ok", "is yes the answer", "not now but at some later time"]),
            [Agreement::Other; 5]
        );
    }
}
