//! Answers that are being made: what each has said so far, for the pages that show it. What is kept of a chat has only
//! whole ones.
//!
//! Unlike a response (`http/responses/live.rs`), which is made once and tells every event, an answer gives way to that to
//! the next message, and a page wants just all its words so far.

use std::collections::HashMap;
use std::future::pending;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::{Stream, stream};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};
use uuid::Uuid;

use crate::access::Caller;

/// How often a page looks at the record of its chat, and at the operations that it tells of.
const LOOK: Duration = Duration::from_secs(1);

/// The most bytes of an answer of which every few words are sent: all of it is made and sent anew each time. A longer one
/// is shown by the looks.
const LONGEST: usize = 32 * 1024;

/// Whose chat, and which.
type Key = (String, Uuid);
type Answers = HashMap<Key, watch::Receiver<String>>;

/// All answers of this server that are being made for pages. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct AnswersInProgress(Arc<Mutex<Answers>>);

/// An answer that is being made, until it is dropped.
#[derive(Debug)]
pub(super) struct AnswerInProgress {
    words: watch::Sender<String>,
    all: AnswersInProgress,
    key: Key,
}

/// What of a chat may have become another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// Only the words of an answer that is being made.
    Words,
    /// Anything.
    Anything,
}

impl AnswersInProgress {
    /// Begins an answer.
    pub(super) fn begin(&self, caller: &Caller, chat: Uuid) -> AnswerInProgress {
        let (words, receiver) = watch::channel(String::new());
        let key = key(caller, chat);
        self.answers().insert(key.clone(), receiver);
        AnswerInProgress { words, all: self.clone(), key }
    }

    /// What the answer that is being made in a chat has said so far; nothing when none is.
    pub(super) fn words(&self, caller: &Caller, chat: Uuid) -> Option<String> {
        self.answers().get(&key(caller, chat)).map(|it| it.borrow().clone())
    }

    /// Something whenever a chat may show something else.
    pub(super) fn changes(&self, caller: &Caller, chat: Uuid) -> impl Stream<Item = Change> + Send + 'static + use<> {
        let (all, key) = (self.clone(), key(caller, chat));
        let mut looks = interval(LOOK);
        // Whoever was slow needs no second look at once.
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        stream::unfold((looks, None), move |(mut looks, receiver)| {
            let mut receiver: Option<watch::Receiver<String>> = receiver.or_else(|| all.answers().get(&key).cloned());
            async move {
                let more = async {
                    match &mut receiver {
                        Some(words) => words.changed().await.is_ok(),
                        None => pending().await,
                    }
                };
                let more = tokio::select! {
                    _ = looks.tick() => None,
                    more = more => Some(more),
                };
                // It has ended, and is kept by now.
                if more == Some(false) {
                    receiver = None;
                }
                let change = if more == Some(true) { Change::Words } else { Change::Anything };
                Some((change, (looks, receiver)))
            }
        })
    }

    fn answers(&self) -> MutexGuard<'_, Answers> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AnswerInProgress {
    /// Says the next words.
    pub(super) fn say(&self, words: &str) {
        self.words.send_if_modified(|said| {
            said.push_str(words);
            said.len() <= LONGEST
        });
    }

    /// What was said so far.
    pub(super) fn said(&self) -> String {
        self.words.borrow().clone()
    }

    /// Whether anything was said.
    pub(super) fn has_words(&self) -> bool {
        !self.words.borrow().is_empty()
    }

    /// Tells of the next words, and of the end.
    pub(super) fn subscribe(&self) -> watch::Receiver<String> {
        self.words.subscribe()
    }
}

impl Drop for AnswerInProgress {
    fn drop(&mut self) {
        let mut answers = self.all.answers();
        // Another message may have taken the place of the one that it is for.
        if answers.get(&self.key).is_some_and(|it| it.same_channel(&self.words.subscribe())) {
            answers.remove(&self.key);
        }
    }
}

fn key(caller: &Caller, chat: Uuid) -> Key {
    (caller.principal.clone(), chat)
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures_util::{FutureExt, StreamExt};

    use super::*;
    use crate::access::Surface;

    #[tokio::test]
    async fn words_are_told_until_the_answer_is_made() {
        let caller = Caller::administrator("a".to_owned(), "127.0.0.1".to_owned(), Surface::Console);
        let (answers, chat) = (AnswersInProgress::default(), Uuid::new_v4());
        let mut changes = pin!(answers.changes(&caller, chat));
        assert_eq!(changes.next().await, Some(Change::Anything));

        let in_progress = answers.begin(&caller, chat);
        in_progress.say("hello");
        assert_eq!(changes.next().await, Some(Change::Words));
        assert_eq!(answers.words(&caller, chat).as_deref(), Some("hello"));
        drop(in_progress);

        assert_eq!(changes.next().await, Some(Change::Anything));
        assert_eq!(answers.words(&caller, chat), None);
    }

    #[tokio::test]
    async fn the_words_of_a_long_answer_wait_for_the_next_look() {
        let caller = Caller::administrator("a".to_owned(), "127.0.0.1".to_owned(), Surface::Console);
        let (answers, chat) = (AnswersInProgress::default(), Uuid::new_v4());
        let in_progress = answers.begin(&caller, chat);
        let mut changes = pin!(answers.changes(&caller, chat));
        assert_eq!(changes.next().await, Some(Change::Anything));

        in_progress.say(&"x".repeat(LONGEST + 1));

        assert_eq!(changes.next().now_or_never(), None);
        assert_eq!(changes.next().await, Some(Change::Anything));
        assert_eq!(answers.words(&caller, chat).map(|it| it.len()), Some(LONGEST + 1));
    }
}
