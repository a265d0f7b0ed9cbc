//! The append-only events of operations: stored, replayed, followed.

use std::collections::{BTreeMap, HashMap};
use std::sync::MutexGuard;

use futures_util::Stream;
use jiff::Timestamp;
use sqlx::any::AnyRow;
use sqlx::{Any, AnyConnection, Row, Transaction};
use tokio::sync::watch;

use super::statement::Statement;
use super::{Store, StoreError, parse, parse_json, timestamp, to_json};
use crate::event::{Event, EventKind};
use crate::id::OperationId;

/// How many events are read at once when a history is replayed.
const REPLAYED_AT_ONCE: i64 = 500;

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

    /// Ends a transaction with the events that tell of it, and wakes those who follow the operation.
    ///
    /// # Errors
    /// What the database says.
    pub(super) async fn commit_with(
        &self,
        mut transaction: Transaction<'_, Any>,
        appending: tokio::sync::MutexGuard<'_, ()>,
        id: OperationId,
        events: &[&EventKind],
    ) -> Result<(), StoreError> {
        let mut sequences = Vec::with_capacity(events.len());
        for event in events {
            sequences.push(append(&mut transaction, id, event).await?);
        }
        transaction.commit().await?;
        drop(appending);
        for (event, sequence) in events.iter().zip(sequences) {
            self.notify_followers(id, event, sequence);
        }
        Ok(())
    }

    /// Wakes those who follow an operation, and those who look at everything.
    fn notify_followers(&self, id: OperationId, kind: &EventKind, sequence: i64) {
        let mut followers = self.followers();
        if let Some(sender) = followers.get(&id) {
            sender.send_replace(sequence);
        }
        if matches!(kind, EventKind::OperationState { state } if state.is_ended()) {
            followers.remove(&id);
        }
        drop(followers);
        self.note_change();
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
        .await
        .map_err(StoreError::from);
        match rows {
            Ok(rows) => rows.iter().map(|row| read(row, id)).collect(),
            Err(error) if error.is_unreadable() => self.events_one_by_one(id, after).await,
            Err(error) => Err(error),
        }
    }

    /// Gives all events of an operation to `take`, oldest first and some at a time: a long history is never in memory as a
    /// whole.
    ///
    /// # Errors
    /// What the database says.
    pub async fn replay(&self, id: OperationId, mut take: impl FnMut(Event) + Send) -> Result<(), StoreError> {
        let mut after: i64 = 0;
        loop {
            let rows = sqlx::query(
                "SELECT sequence, at_ms, event FROM operation_events WHERE operation_id = $1 AND sequence > $2
                 ORDER BY sequence LIMIT $3",
            )
            .bind(id.to_string())
            .bind(after)
            .bind(REPLAYED_AT_ONCE)
            .fetch_all(&self.pool)
            .await
            .map_err(StoreError::from);
            let rows = match rows {
                Ok(rows) => rows,
                Err(error) if error.is_unreadable() => {
                    self.events_one_by_one(id, after).await?.into_iter().for_each(take);
                    return Ok(());
                }
                Err(error) => return Err(error),
            };
            if rows.is_empty() {
                return Ok(());
            }
            for row in &rows {
                let event = read(row, id)?;
                after = event.sequence;
                take(event);
            }
        }
    }

    /// The same, row by row: one that is no text makes the driver refuse all of them.
    async fn events_one_by_one(&self, id: OperationId, after: i64) -> Result<Vec<Event>, StoreError> {
        let sequences: Vec<i64> = sqlx::query_scalar(
            "SELECT sequence FROM operation_events WHERE operation_id = $1 AND sequence > $2 ORDER BY sequence",
        )
        .bind(id.to_string())
        .bind(after)
        .fetch_all(&self.pool)
        .await?;
        let mut events = Vec::new();
        for sequence in sequences {
            let row = sqlx::query(
                "SELECT sequence, at_ms, event FROM operation_events WHERE operation_id = $1 AND sequence = $2",
            )
            .bind(id.to_string())
            .bind(sequence)
            .fetch_one(&self.pool)
            .await;
            events.push(match row.map_err(StoreError::from).and_then(|row| read(&row, id)) {
                Ok(event) => event,
                Err(error) if error.is_unreadable() => {
                    Event { sequence, at: id.created_at(), kind: EventKind::Unreadable }
                }
                Err(error) => return Err(error),
            });
        }
        Ok(events)
    }

    /// The events of these types in an operation's history, oldest first.
    ///
    /// # Errors
    /// What the database says.
    pub async fn events_of_types(&self, id: OperationId, types: &[&str]) -> Result<Vec<EventKind>, StoreError> {
        let mut statement = Statement::new("SELECT event FROM operation_events WHERE operation_id = ");
        statement.bind(id.to_string()).push(" AND (1 = 0");
        for kind in types {
            statement.push(" OR event LIKE ").bind(format!("{{\"type\":\"{kind}\"%"));
        }
        statement.push(") ORDER BY sequence");
        let rows = statement.fetch(&self.pool).await?;
        Ok(rows.iter().map(|row| parse_json(row, "event").unwrap_or(EventKind::Unreadable)).collect())
    }

    /// What the steps of these operations have come to, in one look: every event but the progress of what has ended.
    ///
    /// # Errors
    /// What the database says.
    pub async fn histories(&self, ids: &[OperationId]) -> Result<BTreeMap<OperationId, Vec<EventKind>>, StoreError> {
        // One row per operation: a database hands out few long rows much faster than many short ones. No event has a line
        // break, as JSON escapes them.
        if ids.is_empty() {
            return Ok(BTreeMap::new());
        }
        let mut statement = Statement::new("SELECT e.operation_id AS id, string_agg(e.event, ");
        statement.bind("\n").push(
            " ORDER BY e.sequence) AS events FROM operation_events e JOIN operations o ON o.id = e.operation_id
              WHERE (o.ended_ms IS NULL OR (e.event NOT LIKE '{\"type\":\"step_progress\"%'
                  AND e.event NOT LIKE '{\"type\":\"step_retrying\"%')) AND e.operation_id IN ",
        );
        statement.bind_list(ids.iter().map(ToString::to_string)).push(" GROUP BY e.operation_id");
        let rows = match (statement.fetch(&self.pool).await, ids) {
            (Err(error), [only]) if error.is_unreadable() => {
                return Ok(BTreeMap::from([(*only, vec![EventKind::Unreadable])]));
            }
            // One event that is no text makes the driver refuse all rows.
            (Err(error), ids) if error.is_unreadable() => {
                let mut histories = BTreeMap::new();
                for id in ids {
                    histories.extend(Box::pin(self.histories(std::slice::from_ref(id))).await?);
                }
                return Ok(histories);
            }
            (rows, _) => rows?,
        };
        rows.iter()
            .map(|row| {
                let read = |line: &str| serde_json::from_str(line).unwrap_or(EventKind::Unreadable);
                let lines: String = row.try_get("events")?;
                Ok((parse(row, "id", OperationId::parse)?, lines.lines().map(read).collect()))
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
        let has_ended = self.has_ended(id).await?;
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

/// An event; one of another version, or a damaged one, is as unreadable in its place.
fn read(row: &AnyRow, id: OperationId) -> Result<Event, StoreError> {
    let at = row.try_get("at_ms").map_err(StoreError::from).and_then(|ms| timestamp(ms, "at_ms"));
    Ok(Event {
        sequence: row.try_get("sequence")?,
        at: at.unwrap_or_else(|_| id.created_at()),
        kind: parse_json(row, "event").unwrap_or(EventKind::Unreadable),
    })
}

/// Appends an event to an operation's history and gives its number.
///
/// Whoever calls this in a transaction takes `appending` before it begins: the number is free until it is committed.
async fn append(connection: &mut AnyConnection, id: OperationId, kind: &EventKind) -> Result<i64, StoreError> {
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
