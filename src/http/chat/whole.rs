//! An answer in one piece: what was said, put together.

use crate::conversation::Listener;

/// Hears an answer to its end.
#[derive(Debug, Default)]
pub struct Whole {
    /// What was said.
    pub text: String,
}

impl Listener for Whole {
    fn is_live(&self) -> bool {
        false
    }

    fn has_heard(&self) -> bool {
        !self.text.is_empty()
    }

    async fn say(&mut self, text: String) {
        self.text.push_str(&text);
    }

    async fn status(&mut self, _: Option<&str>) {}
}
