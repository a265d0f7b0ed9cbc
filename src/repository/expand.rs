//! Words and variables of a Dockerfile, read as its builder reads them: quotes, escapes, `${NAME:-default}`.

/// What an expanded text may grow to; a longer one counts as unknown, so that doubling variables stay harmless.
const MAX_EXPANDED_BYTES: usize = 4096;
/// How deep defaults may lie in defaults.
const MAX_DEPTH: usize = 8;

/// Splits a line at white space outside quotes; quotes and escapes stay in the words.
pub(super) fn words(line: &str, escape: char) -> Vec<&str> {
    let mut words = Vec::new();
    let mut start = None;
    let mut quote = None;
    let mut chars = line.char_indices();
    while let Some((at, c)) = chars.next() {
        if quote.is_none() && c.is_whitespace() {
            words.extend(start.take().map(|start| &line[start..at]));
            continue;
        }
        start = start.or(Some(at));
        if quote == Some(c) {
            quote = None;
        } else if quote.is_none() && matches!(c, '"' | '\'') {
            quote = Some(c);
        } else if c == escape && quote != Some('\'') {
            chars.next();
        }
    }
    words.extend(start.map(|start| &line[start..]));
    words
}

/// The variables that an ARG instruction names, with their defaults as they are written: `A=b C` names two.
pub(super) fn declarations(line: &str, escape: char) -> Vec<(&str, Option<&str>)> {
    let split = |word| str::split_once(word, '=').map_or((word, None), |(name, value)| (name, Some(value)));
    words(line, escape).into_iter().map(split).collect()
}

/// The variables that an ENV instruction sets, with their values as they are written: `A=b C="d e"` sets two, the old form
/// `A b c` sets one.
pub(super) fn assignments(line: &str, escape: char) -> Vec<(&str, Option<&str>)> {
    match words(line, escape).as_slice() {
        [name] if !name.contains('=') => vec![(name, None)],
        [name, ..] if !name.contains('=') => {
            let rest = line.trim_start().strip_prefix(name).unwrap_or_default().trim();
            vec![(name, Some(rest))]
        }
        _ => declarations(line, escape),
    }
}

/// The text with quotes removed and variables replaced; `None` when it needs one that nobody knows.
pub(super) fn expand(text: &str, escape: char, lookup: &dyn Fn(&str) -> Option<String>) -> Option<String> {
    let chars: Vec<char> = text.chars().collect();
    let mut expansion = Expansion { chars: &chars, at: 0, escape, lookup };
    let piece = expansion.until(None, 0);
    piece.known.then_some(piece.text)
}

struct Expansion<'a> {
    chars: &'a [char],
    at: usize,
    escape: char,
    lookup: &'a dyn Fn(&str) -> Option<String>,
}

struct Piece {
    text: String,
    known: bool,
}

impl Piece {
    fn add(&mut self, other: Option<&str>) {
        match other {
            Some(text) if self.text.len() + text.len() <= MAX_EXPANDED_BYTES => self.text.push_str(text),
            _ => self.known = false,
        }
    }
}

impl Expansion<'_> {
    fn next(&mut self) -> Option<char> {
        let c = self.chars.get(self.at).copied();
        self.at += usize::from(c.is_some());
        c
    }

    fn until(&mut self, end: Option<char>, depth: usize) -> Piece {
        let mut piece = Piece { text: String::new(), known: depth <= MAX_DEPTH };
        let mut in_double = false;
        while let Some(c) = self.next() {
            match c {
                c if Some(c) == end && !in_double => break,
                '"' => in_double = !in_double,
                '\'' if !in_double => {
                    let literal: String = std::iter::from_fn(|| self.next().filter(|c| *c != '\'')).collect();
                    piece.add(Some(&literal));
                }
                '$' if depth <= MAX_DEPTH => {
                    let value = self.variable(depth);
                    piece.add(value.as_deref());
                }
                c if c == self.escape => {
                    if let Some(next) = self.next() {
                        piece.add(Some(next.encode_utf8(&mut [0; 4])));
                    }
                }
                c => piece.add(Some(c.encode_utf8(&mut [0; 4]))),
            }
        }
        piece
    }

    fn variable(&mut self, depth: usize) -> Option<String> {
        let braced = self.chars.get(self.at) == Some(&'{');
        self.at += usize::from(braced);
        let mut name = String::new();
        while let Some(c) = self.chars.get(self.at).filter(|c| c.is_ascii_alphanumeric() || **c == '_') {
            name.push(*c);
            self.at += 1;
        }
        if !braced {
            return if name.is_empty() { Some("$".to_owned()) } else { (self.lookup)(&name) };
        }
        let mut value = (self.lookup)(&name);
        let mut operator = self.next();
        if operator == Some(':') {
            value = value.filter(|value| !value.is_empty());
            operator = self.next();
        }
        if operator == Some('}') {
            return value;
        }
        let word = self.until(Some('}'), depth + 1);
        let word_text = word.known.then_some(word.text);
        match operator {
            Some('-') => value.or(word_text),
            Some('+') => value.map_or(Some(String::new()), |_| word_text),
            Some('?') => value,
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn with_port(text: &str) -> Option<String> {
        expand(text, '\\', &|name| (name == "PORT").then(|| "80".to_owned()))
    }

    #[test]
    fn variables_are_replaced_in_all_their_spellings() {
        assert_eq!(with_port("$PORT/tcp").unwrap(), "80/tcp");
        assert_eq!(with_port("${PORT}").unwrap(), "80");
        assert_eq!(with_port("${PORT:-1}${OTHER:-2}${OTHER-3}").unwrap(), "8023");
        assert_eq!(with_port("${PORT:+yes}${OTHER:+no}").unwrap(), "yes");
        assert_eq!(with_port("${A:-${B:-${PORT}}}").unwrap(), "80");
        assert_eq!(with_port(r#""a b"'$PORT'\$PORT"#).unwrap(), "a b$PORT$PORT");
    }

    #[test]
    fn a_variable_that_nobody_set_makes_the_text_unknown() {
        assert_eq!(with_port("x$OTHER"), None);
        assert_eq!(with_port("${PORT#8}"), None);
        assert_eq!(with_port("${PORT:-$OTHER}").unwrap(), "80");
    }

    #[test]
    fn a_text_that_grows_without_end_is_unknown() {
        assert_eq!(expand("$A$A$A", '\\', &|_| Some("x".repeat(MAX_EXPANDED_BYTES / 2))), None);
        assert_eq!(expand(&"${A:-".repeat(10_000), '\\', &|_| None), None);
    }

    #[test]
    fn assignments_come_in_three_forms() {
        assert_eq!(assignments(r#"A=1 B="2 3""#, '\\'), [("A", Some("1")), ("B", Some(r#""2 3""#))]);
        assert_eq!(assignments("A  one two ", '\\'), [("A", Some("one two"))]);
        assert_eq!(assignments("A", '\\'), [("A", None)]);
        assert_eq!(declarations("A B=1 C", '\\'), [("A", None), ("B", Some("1")), ("C", None)]);
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in r#"[ -~\n"'$\{\}:\\é-]{0,60}"#) {
            let _ = expand(&text, '\\', &|_| Some("é".to_owned()));
            let _ = assignments(&text, '`');
        }
    }
}
