//! What programs print: cut into lines, kept within bounds.

use std::collections::VecDeque;

/// A line that does not end is cut at this length.
const MAX_LINE_BYTES: usize = 64 * 1024;

/// What a program printed before it ended well.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Output {
    /// Standard output, redacted.
    pub stdout: String,
    /// The end of standard error, redacted.
    pub stderr: String,
}

/// Cuts bytes into lines as they come.
#[derive(Debug, Default)]
pub(super) struct LineSplitter {
    rest: Vec<u8>,
}

impl LineSplitter {
    /// Hands on every line that is complete, with its end.
    pub(super) fn push(&mut self, bytes: &[u8], mut take: impl FnMut(&str)) {
        for piece in bytes.split_inclusive(|&byte| byte == b'\n').flat_map(|line| line.chunks(MAX_LINE_BYTES)) {
            self.rest.extend_from_slice(piece);
            if piece.ends_with(b"\n") || self.rest.len() >= MAX_LINE_BYTES {
                take(&String::from_utf8_lossy(&self.rest));
                self.rest.clear();
            }
        }
    }

    /// Hands on what was printed after the last end of a line.
    pub(super) fn finish(&mut self, mut take: impl FnMut(&str)) {
        if !self.rest.is_empty() {
            take(&String::from_utf8_lossy(&self.rest));
            self.rest.clear();
        }
    }
}

/// Lines of a program within a bound: the first ones, or the last ones.
#[derive(Debug)]
pub(super) struct BoundedLines {
    lines: VecDeque<String>,
    size_bytes: usize,
    limit_bytes: usize,
    keeps_first: bool,
    is_truncated: bool,
}

impl BoundedLines {
    /// Keeps the first lines: standard output, which is parsed.
    pub(super) fn keep_first(limit_bytes: usize) -> Self {
        Self { lines: VecDeque::new(), size_bytes: 0, limit_bytes, keeps_first: true, is_truncated: false }
    }

    /// Keeps the last lines: standard error, which says at its end what went wrong.
    pub(super) fn keep_last(limit_bytes: usize) -> Self {
        Self { keeps_first: false, ..Self::keep_first(limit_bytes) }
    }

    pub(super) fn push(&mut self, line: &str) {
        self.is_truncated |= self.size_bytes + line.len() > self.limit_bytes;
        if self.is_truncated && self.keeps_first {
            return;
        }
        self.size_bytes += line.len();
        self.lines.push_back(line.to_owned());
        while self.size_bytes > self.limit_bytes {
            let Some(oldest) = self.lines.pop_front() else { break };
            self.size_bytes -= oldest.len();
        }
    }

    /// Whether something was left out.
    pub(super) fn is_truncated(&self) -> bool {
        self.is_truncated
    }

    pub(super) fn text(&self) -> String {
        self.lines.iter().map(String::as_str).collect()
    }

    /// The last lines, without their ends.
    pub(super) fn last_lines(&self, count: usize) -> Vec<String> {
        let skipped = self.lines.len().saturating_sub(count);
        self.lines.iter().skip(skipped).map(|line| line.trim_end_matches(['\n', '\r']).to_owned()).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn split(chunks: &[Vec<u8>]) -> Vec<String> {
        let (mut splitter, mut lines) = (LineSplitter::default(), Vec::new());
        for chunk in chunks {
            splitter.push(chunk, |line| lines.push(line.to_owned()));
        }
        splitter.finish(|line| lines.push(line.to_owned()));
        lines
    }

    #[test]
    fn lines_come_whole_however_they_arrive() {
        let chunks = [b"on".to_vec(), b"e\ntwo\n\nth".to_vec(), b"ree".to_vec()];

        assert_eq!(split(&chunks), ["one\n", "two\n", "\n", "three"]);
    }

    #[test]
    fn a_line_that_never_ends_is_truncated() {
        let lines = split(&[vec![b'x'; 3 * MAX_LINE_BYTES + 1]]);

        assert_eq!(lines.len(), 4);
        assert!(lines.iter().all(|line| line.len() <= MAX_LINE_BYTES));
    }

    #[test]
    fn the_first_lines_or_the_last_lines_are_kept() {
        let (mut first, mut last) = (BoundedLines::keep_first(8), BoundedLines::keep_last(8));
        for line in ["one\n", "two\n", "six\n", "x\n"] {
            first.push(line);
            last.push(line);
        }

        assert_eq!((first.text().as_str(), first.is_truncated()), ("one\ntwo\n", true));
        assert_eq!(last.text(), "six\nx\n");
        assert_eq!(last.last_lines(1), ["x"]);
    }

    proptest! {
        #[test]
        fn nothing_is_lost_between_lines(chunks in proptest::collection::vec("[a-c\n]{0,9}", 0..9)) {
            let bytes: Vec<Vec<u8>> = chunks.iter().map(|chunk| chunk.clone().into_bytes()).collect();

            prop_assert_eq!(split(&bytes).concat(), chunks.concat());
        }
    }
}
