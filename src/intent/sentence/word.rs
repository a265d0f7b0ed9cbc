//! Text to sentences of words: punctuation, quotes and Markdown are taken off, what they meant stays as marks.

/// Words of a message beyond this many are not read.
const MAX_WORDS: usize = 600;
/// A sentence of more words is no sentence.
const MAX_SENTENCE: usize = 120;
/// Bytes of a message beyond this many are not read.
const MAX_BYTES: usize = 32 * 1024;

/// One word of a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Word {
    /// As it was written, without punctuation around it.
    pub text: String,
    /// In lower case.
    pub lower: String,
    /// It stood in quotes or in a code span: a value, never a verb.
    pub quoted: bool,
    /// A comma, colon or dash follows, so that a new clause may begin.
    pub ends_clause: bool,
}

/// Words up to a full stop, a question mark or the end of a line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Sentence {
    pub words: Vec<Word>,
    /// It ends with a question mark.
    pub question: bool,
}

/// Splits a text into sentences; blocks of code with several lines and quoted lines are left out.
pub(super) fn sentences(text: &str) -> Vec<Sentence> {
    let text = &text[..text.floor_char_boundary(MAX_BYTES)];
    let text: String = text.chars().map(plain_quote).collect();
    let text = unwrap_quotes(text.trim());
    let mut found = Vec::new();
    let mut left = MAX_WORDS;
    for line in without_blocks(text).into_iter().filter(|line| !line.trim_start().starts_with('>')) {
        let mut sentence = Sentence::default();
        for (raw, quoted) in mark_quoted(&line.replace("](", " ")) {
            let Some((word, end)) = word(&raw, quoted) else { continue };
            if left == 0 {
                break;
            }
            left -= 1;
            sentence.words.extend(split_assignment(word));
            sentence.question |= end == End::Question;
            if matches!(end, End::Stop | End::Question) {
                found.push(std::mem::take(&mut sentence));
            }
        }
        found.push(sentence);
    }
    found.retain(|sentence| (1..=MAX_SENTENCE).contains(&sentence.words.len()));
    found
}

fn plain_quote(c: char) -> char {
    match c {
        '\u{2018}' | '\u{2019}' | '\u{201b}' => '\'',
        '\u{201c}' | '\u{201d}' | '\u{201e}' | '\u{ab}' | '\u{bb}' => '"',
        '\u{a0}' => ' ',
        other => other,
    }
}

/// A whole message in one pair of quotes is a message that was pasted with its quotes.
fn unwrap_quotes(text: &str) -> &str {
    ['"', '`', '\'']
        .into_iter()
        .find_map(|q| text.strip_prefix(q)?.strip_suffix(q).filter(|inner| !inner.contains(q) && !inner.is_empty()))
        .unwrap_or(text)
}

/// The lines outside of fenced blocks, and the line of a block that has only one.
fn without_blocks(text: &str) -> Vec<&str> {
    let mut lines = Vec::new();
    let mut block: Option<Vec<&str>> = None;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            match block.take() {
                None => block = Some(Vec::new()),
                Some(inner) if inner.len() == 1 => lines.extend(inner),
                Some(_) => {}
            }
        } else if let Some(inner) = &mut block {
            inner.push(line);
        } else {
            lines.push(line);
        }
    }
    lines
}

/// The raw words of a line and whether each is quoted; a quotation of several words becomes one that means nothing.
fn mark_quoted(line: &str) -> Vec<(String, bool)> {
    let raw: Vec<&str> = line.split_whitespace().collect();
    let mut marked = Vec::new();
    let mut index = 0;
    while let Some(word) = raw.get(index) {
        let inner = word.trim_start_matches(['(', '[', '*', '_']);
        let quote = inner.chars().next().filter(|c| matches!(c, '"' | '`' | '\''));
        let closes = |q: char, at: usize, word: &str| {
            let word = word.trim_end_matches(['.', ',', ';', ':', '!', '?', ')', ']', '*', '_']);
            word.ends_with(q) && (at > index || inner.trim_end_matches(['.', ',', ';', ':', '!', '?']).len() > 1)
        };
        let end = quote.and_then(|q| (index..raw.len().min(index + MAX_SENTENCE)).find(|at| closes(q, *at, raw[*at])));
        match end {
            Some(end) if end > index => {
                let tail: String = raw[end]
                    .chars()
                    .rev()
                    .take_while(|c| !c.is_alphanumeric())
                    .filter(|c| ".,;:!?".contains(*c))
                    .collect();
                marked.push((format!("\u{2026}{tail}"), true));
                index = end + 1;
            }
            Some(_) => {
                marked.push(((*word).to_owned(), true));
                index += 1;
            }
            None => {
                marked.push(((*word).to_owned(), false));
                index += 1;
            }
        }
    }
    marked
}

/// What the punctuation after a word ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Nothing,
    Clause,
    Stop,
    Question,
}

/// A raw word without what surrounds it; `None` for punctuation alone.
fn word(raw: &str, quoted: bool) -> Option<(Word, End)> {
    let inner = raw.trim_start_matches(['(', '[', '{', '<', '"', '\'', '`', '*', '#', '~', '\u{2022}']);
    let text = inner.trim_end_matches(['.', ',', ';', ':', '!', '?', ')', ']', '}', '>', '"', '\'', '`', '*', '~']);
    let after = &inner[text.len()..];
    let end = if after.contains('?') {
        End::Question
    } else if after.contains(['.', '!', ';']) {
        End::Stop
    } else if after.contains([',', ':']) {
        End::Clause
    } else {
        End::Nothing
    };
    let is_dash = matches!(text, "-" | "--" | "\u{2013}" | "\u{2014}" | "=" | "->");
    let says_something = text.contains(char::is_alphanumeric) || text == "\u{2026}";
    if !says_something || is_dash || text.len() > 2100 {
        return None;
    }
    let text = match text {
        "-n" => "namespace",
        "-f" => "follow",
        _ => text.strip_prefix("--").unwrap_or(text),
    };
    let lower = text.to_lowercase();
    Some((Word { text: text.to_owned(), lower, quoted, ends_clause: end == End::Clause }, end))
}

/// `namespace=demo` and `namespace:demo` are two words; an address or a variable (`NAME=value`) is one.
fn split_assignment(word: Word) -> Vec<Word> {
    let key = |key: &str| key.len() > 1 && key.chars().all(|c| c.is_ascii_lowercase() || c == '_' || c == '-');
    let halves = match word.text.split_once(['=', ':']) {
        Some((left, right)) if key(left) && !right.is_empty() && !right.starts_with("//") => Some((left, right)),
        _ => None,
    };
    let half = |text: &str, ends_clause| Word {
        text: text.to_owned(),
        lower: text.to_lowercase(),
        quoted: word.quoted,
        ends_clause,
    };
    match halves {
        Some((left, right)) => vec![half(left, false), Word { quoted: true, ..half(right, word.ends_clause) }],
        None => vec![word],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lows(text: &str) -> Vec<Vec<String>> {
        sentences(text).into_iter().map(|it| it.words.into_iter().map(|word| word.lower).collect()).collect()
    }

    #[test]
    fn punctuation_around_words_and_addresses_is_taken_off() {
        assert_eq!(
            lows("Deploy (https://github.com/a/b), please. Now!"),
            [vec!["deploy", "https://github.com/a/b", "please"], vec!["now"]]
        );
        assert_eq!(lows("see [it](https://github.com/a/b)."), [["see", "it", "https://github.com/a/b"]]);
    }

    #[test]
    fn smart_quotes_are_quotes_and_quoted_words_are_marked() {
        let found = sentences("scale \u{201c}web\u{201d} to 3, don\u{2019}t wait");

        assert_eq!(
            found[0].words.iter().map(|it| it.quoted).collect::<Vec<_>>(),
            [false, true, false, false, false, false]
        );
        assert_eq!(found[0].words[4].lower, "don't");
    }

    #[test]
    fn longer_quotations_and_blocks_say_nothing() {
        assert_eq!(lows("it says \"deploy it now\" here"), [["it", "says", "\u{2026}", "here"]]);
        assert_eq!(lows("why?\n```\ndeploy x\nremove y\n```\n> take it down"), [["why"]]);
    }

    #[test]
    fn a_message_that_is_all_quotation_is_read() {
        assert_eq!(lows("`scale it to 3`"), [["scale", "it", "to", "3"]]);
        assert_eq!(lows("```\nscale it to 3\n```"), [["scale", "it", "to", "3"]]);
    }

    #[test]
    fn keys_and_values_are_two_words() {
        assert_eq!(lows("--namespace=demo ns:demo FOO=bar"), [["namespace", "demo", "ns", "demo", "foo=bar"]]);
    }
}
