//! The append-only events of operations: stored, replayed, followed.

use std::collections::HashMap;
use std::sync::MutexGuard;

use futures_util::Stream;
use jiff::Timestamp;
use sqlx::{AnyConnection, Row};
use tokio::sync::watch;

use super::{Store, StoreError, parse_json, timestamp, to_json};
use crate::event::{Event, EventKind};
use crate::id::OperationId;

impl Store {
    /// Appends an event to an operation's history and wakes those who follow it.
    ///
    /// # Errors
    /// What the database says.
    pub async fn publish(&self, id: OperationId, kind: EventKind) -> Result<(), StoreError> {
        let appending = self.append_lock.lock().await;
        let mut connection = self.pool.acquire().await?;
        let sequence = append(&mut connection, id, &kind).await?;
        drop((connection, appending));
        self.notify_followers(id, &kind, sequence);
        Ok(())
    }

    /// Wakes those who follow an operation.
    pub(super) fn notify_followers(&self, id: OperationId, kind: &EventKind, sequence: i64) {
        let mut followers = self.followers();
        if let Some(sender) = followers.get(&id) {
            sender.send_replace(sequence);
        }
        if matches!(kind, EventKind::OperationState { state } if state.is_ended()) {
            followers.remove(&id);
        }
    }

    /// The events of an operation after a sequence number (0 for all), oldest first.
    ///
    /// # Errors
    /// What the database says.
    pub async fn events(&self, id: OperationId, after: i64) -> Result<Vec<Event>, StoreError> {
        let rows = sqlx::query(
            "SELECT sequence, at_ms, event FROM operation_events WHERE operation_id = $1 AND sequence > $2 ORDER BY sequence",
        )
        .bind(id.to_string())
        .bind(after)
        .fetch_all(&self.pool)
        .await?;
        rows.iter()
            .map(|row| {
                Ok(Event {
                    sequence: row.try_get("sequence")?,
                    at: timestamp(row.try_get("at_ms")?, "at_ms")?,
                    kind: parse_json(row, "event")?,
                })
            })
            .collect()
    }

    /// Replays the events after a sequence number and goes on with new ones until the operation has ended.
    pub fn follow(
        &self,
        id: OperationId,
        after: i64,
    ) -> impl Stream<Item = Result<Event, StoreError>> + Send + 'static + use<> {
        let start = EventFollower {
            store: self.clone(),
            news: self.subscribe(id),
            id,
            after,
            pending: Vec::new(),
            caught_up: false,
            ended: false,
        };
        futures_util::stream::unfold(start, |mut follow| async move {
            let next = follow.next().await.transpose()?;
            Some((next, follow))
        })
    }

    /// The events after a sequence number, and whether the operation has ended and so these are the last ones.
    async fn poll_events(&self, id: OperationId, after: i64) -> Result<(Vec<Event>, bool), StoreError> {
        let events = self.events(id, after).await?;
        if !events.is_empty() {
            return Ok((events, false));
        }
        // Ended before this reader came, or the sender is gone: what is stored is all there is.
        let has_ended = self.operation(id).await?.is_none_or(|operation| operation.state.is_ended());
        let rest = if has_ended { self.events(id, after).await? } else { Vec::new() };
        Ok((rest, has_ended))
    }

    fn followers(&self) -> MutexGuard<'_, HashMap<OperationId, watch::Sender<i64>>> {
        self.followers.lock().expect("nobody panics while holding this lock")
    }

    fn subscribe(&self, id: OperationId) -> watch::Receiver<i64> {
        let mut followers = self.followers();
        followers.entry(id).or_insert_with(|| watch::Sender::new(0)).subscribe()
    }

    /// Drops the channel of an operation that nobody follows any more.
    fn forget_followers(&self, id: OperationId) {
        let mut followers = self.followers();
        if followers.get(&id).is_some_and(|sender| sender.receiver_count() <= 1) {
            followers.remove(&id);
        }
    }
}

/// Appends an event to an operation's history and gives its number.
///
/// Whoever calls this in a transaction takes `appending` before it begins: the number is free until it is committed.
pub(super) async fn append(
    connection: &mut AnyConnection,
    id: OperationId,
    kind: &EventKind,
) -> Result<i64, StoreError> {
    let sequence = sqlx::query_scalar(
        "INSERT INTO operation_events (operation_id, sequence, at_ms, event)
         SELECT $1, COALESCE(MAX(sequence), 0) + 1, $2, $3 FROM operation_events WHERE operation_id = $1
         RETURNING sequence",
    )
    .bind(id.to_string())
    .bind(Timestamp::now().as_millisecond())
    .bind(to_json(kind))
    .fetch_one(connection)
    .await?;
    Ok(sequence)
}

/// One reader's place in an operation's history.
struct EventFollower {
    store: Store,
    news: watch::Receiver<i64>,
    id: OperationId,
    after: i64,
    pending: Vec<Event>,
    /// All that was stored when the channel was subscribed to is read: from here on the channel tells.
    caught_up: bool,
    ended: bool,
}

impl EventFollower {
    async fn next(&mut self) -> Result<Option<Event>, StoreError> {
        loop {
            if let Some(event) = self.pending.pop() {
                self.after = event.sequence;
                return Ok(Some(event));
            }
            if self.ended {
                return Ok(None);
            }
            let newest = *self.news.borrow_and_update();
            // Thousands may follow one operation: nobody asks the database for what the channel would have told.
            if self.caught_up && newest <= self.after {
                if self.news.changed().await.is_err() {
                    self.news = self.store.subscribe(self.id);
                    self.caught_up = false;
                }
                continue;
            }
            // Spawned: this stream is polled only when the client reads, and a query that is suspended meanwhile would
            // keep its connection of the pool for as long.
            let (store, id, after) = (self.store.clone(), self.id, self.after);
            let look = tokio::spawn(async move { store.poll_events(id, after).await });
            (self.pending, self.ended) =
                look.await.map_err(|error| StoreError::corrupt("operation_events.event", error))??;
            if self.pending.is_empty() {
                self.caught_up = true;
                self.after = self.after.max(newest);
            }
            self.pending.reverse();
        }
    }
}

impl Drop for EventFollower {
    fn drop(&mut self) {
        self.store.forget_followers(self.id);
    }
}
