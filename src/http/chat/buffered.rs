//! An answer in one piece: what was said, put together.

use crate::conversation::AnswerSink;

/// Hears an answer to its end.
#[derive(Debug, Default)]
pub struct Buffered {
    /// What was said.
    pub text: String,
}

impl AnswerSink for Buffered {
    fn is_streaming(&self) -> bool {
        false
    }

    fn has_content(&self) -> bool {
        !self.text.is_empty()
    }

    async fn write(&mut self, text: String) {
        self.text.push_str(&text);
    }

    async fn status(&mut self, _: Option<&str>) {}
}
