//! Here-documents of RUN: hidden from the parser, which knows only those right behind the instruction.
//!
//! Hiding keeps every line in its place, so that line numbers stay true.

use super::error::Remark;
use super::expand::words;

/// The parser directives at the top of a Dockerfile that matter here.
pub(super) struct Directives<'a> {
    /// What continues a line and escapes a character: `\` or `` ` ``.
    pub(super) escape: char,
    /// The image that reads the file instead of the builder's own reader.
    pub(super) syntax: Option<&'a str>,
}

/// Reads the `# name=value` lines at the very top.
pub(super) fn directives(text: &str) -> Directives<'_> {
    let mut directives = Directives { escape: '\\', syntax: None };
    for line in text.trim_start_matches('\u{feff}').lines() {
        let Some((name, value)) = line.strip_prefix('#').and_then(|line| line.split_once('=')) else { break };
        match name.trim().to_ascii_lowercase().as_str() {
            "escape" if value.trim() == "`" => directives.escape = '`',
            "escape" | "check" => {}
            "syntax" => directives.syntax = directives.syntax.or(value.split_whitespace().next()),
            _ => break,
        }
    }
    directives
}

/// The text with the here-documents of RUN turned into comments.
///
/// # Errors
/// [`Remark`] at the instruction whose here-document has no end.
pub(super) fn hide_here_documents(text: &str, escape: char) -> Result<String, Remark> {
    let mut hidden = String::with_capacity(text.len());
    let mut lines = text.split_inclusive('\n').enumerate();
    while let Some((number, first)) = lines.next() {
        let mut physical = first.to_owned();
        let mut logical = String::new();
        let mut line = first;
        if !is_blank_or_comment(first) {
            loop {
                let content = line.trim_end();
                let continues = content.ends_with(escape);
                if logical.is_empty() || !is_blank_or_comment(line) {
                    logical.push_str(content.strip_suffix(escape).unwrap_or(content));
                    if !continues {
                        break;
                    }
                }
                let Some((_, next)) = lines.next() else { break };
                physical.push_str(next);
                line = next;
            }
        }
        let (keyword, ends) = here_documents(&logical, escape);
        let hide = keyword == Keyword::Run && !ends.is_empty();
        hidden.push_str(&if hide { physical.replace("<<", "__") } else { physical });
        for end in ends {
            loop {
                let Some((_, line)) = lines.next() else {
                    let what = format!("the here-document `{}` has no end", end.word);
                    return Err(Remark { line: number + 1, what });
                };
                hidden.push_str(if hide { "#\n" } else { line });
                let content = line.trim_end_matches(['\r', '\n']);
                let content = if end.strip_tabs { content.trim_start_matches('\t') } else { content };
                if content == end.word {
                    break;
                }
            }
        }
    }
    Ok(hidden)
}

fn is_blank_or_comment(line: &str) -> bool {
    let line = line.trim_start();
    line.is_empty() || line.starts_with('#')
}

#[derive(PartialEq, Eq)]
enum Keyword {
    Run,
    Copy,
    Other,
}

struct HereDocument {
    word: String,
    strip_tabs: bool,
}

fn here_documents(logical: &str, escape: char) -> (Keyword, Vec<HereDocument>) {
    let (mut first, mut rest) = head(logical);
    if first.eq_ignore_ascii_case("ONBUILD") {
        (first, rest) = head(rest);
    }
    let keyword = match first.to_ascii_uppercase().as_str() {
        "RUN" => Keyword::Run,
        "COPY" | "ADD" => Keyword::Copy,
        _ => return (Keyword::Other, Vec::new()),
    };
    if rest.starts_with('[') || !rest.contains("<<") {
        return (keyword, Vec::new());
    }
    let ends = words(rest, escape).into_iter().filter_map(|word| {
        let behind = word.trim_start_matches(|c: char| c.is_ascii_digit()).strip_prefix("<<")?;
        let strip_tabs = behind.starts_with('-');
        let word = behind.trim_start_matches('-').replace(['"', '\'', '\\'], "");
        (!word.is_empty() && !word.contains('<')).then_some(HereDocument { word, strip_tabs })
    });
    (keyword, ends.collect())
}

fn head(line: &str) -> (&str, &str) {
    let line = line.trim_start();
    let (first, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    (first, rest.trim_start())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_of_a_here_document_are_no_instructions() {
        let text = "FROM a\nRUN cat <<A >x && \\\n  # note\n  sh <<-\"B\"\nEXPOSE 1\nA\n\tEXPOSE 2\n\tB\nEXPOSE 3\n";

        let hidden = hide_here_documents(text, '\\').unwrap();

        assert_eq!(hidden, "FROM a\nRUN cat __A >x && \\\n  # note\n  sh __-\"B\"\n#\n#\n#\n#\nEXPOSE 3\n");
    }

    #[test]
    fn those_of_copy_stay_as_they_are() {
        let text = "COPY <<A /x\nRUN <<B\nA\n";

        assert_eq!(hide_here_documents(text, '\\').unwrap(), text);
    }

    #[test]
    fn one_without_an_end_is_told() {
        let error = hide_here_documents("FROM a\n\nRUN <<A\nx\n", '\\').unwrap_err();

        assert_eq!((error.line, error.what.as_str()), (3, "the here-document `A` has no end"));
    }

    #[test]
    fn a_shift_in_arithmetic_is_no_here_document() {
        let text = "RUN echo $((1<<2)) << x\nEXPOSE 1\n";

        assert_eq!(hide_here_documents(text, '\\').unwrap(), text);
    }
}
