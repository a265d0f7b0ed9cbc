//! Events of operations: what is stored, replayed and streamed, and the sink through which work reports itself.

use std::fmt;
use std::sync::Arc;

/// One thing that work in progress has to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// For a person: what is going on or waited for right now. Replaces the one before it.
    Progress(String),
    /// One line that a program printed; kept for errors and the debug log.
    Output(String),
}

/// Where work reports its lines. Cheap to clone; never blocks.
#[derive(Clone)]
pub struct Lines(Arc<dyn Fn(Line) + Send + Sync>);

impl Lines {
    /// A sink that hands every line to `take`, which must return at once.
    pub fn new(take: impl Fn(Line) + Send + Sync + 'static) -> Self {
        Self(Arc::new(take))
    }

    /// A sink that nobody reads.
    #[must_use]
    pub fn none() -> Self {
        Self::new(|_| ())
    }

    /// Says to a person what is going on.
    pub fn progress(&self, text: impl Into<String>) {
        (self.0)(Line::Progress(text.into()));
    }

    /// Passes on one line that a program printed.
    pub fn output(&self, text: impl Into<String>) {
        (self.0)(Line::Output(text.into()));
    }
}

impl fmt::Debug for Lines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Lines")
    }
}
