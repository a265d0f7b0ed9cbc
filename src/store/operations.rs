//! Operations: accepted once, ended once.

use jiff::Timestamp;
use sqlx::any::AnyRow;
use sqlx::{Any, AssertSqlSafe, Row, Transaction};

use super::page::{Listing, Page, PageRequest, Within, readable};
use super::record::{Deployment, Operation, Target, VERSION, Version};
use super::secrets::{erase_resolved, insert_secrets};
use super::statement::Statement;
use super::unreadable::UnreadableOperation;
use super::{Store, StoreError, audit, parse, parse_json, timestamp, to_json};
use crate::audit::{AuditEntry, AuditEvent};
use crate::event::{EventKind, Failure, OperationState};
use crate::id::key::Right;
use crate::id::{Action, DeploymentId, OperationId, TargetId};

/// How long a key from a header or a chat stays valid.
pub(super) const KEY_TTL_MS: i64 = 24 * 60 * 60 * 1000;
/// How long after its end an operation still answers a re-send that says it is one.
const RETRY_WINDOW_MS: i64 = 60 * 1000;

/// What makes two requests the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestKey {
    /// The key.
    pub key: String,
    /// Where it comes from.
    pub kind: KeyKind,
    /// Hash of the canonical body.
    pub body_hash: String,
}

impl RequestKey {
    /// The key of the operation in that place, counted from 0, of a request that leads to several.
    #[must_use]
    pub fn nth(&self, index: usize) -> Self {
        if index == 0 {
            return self.clone();
        }
        Self { key: format!("{}/{index}", self.key), ..self.clone() }
    }
}

/// Where a request's key comes from, which decides how long it attaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum KeyKind {
    /// The `Idempotency-Key` header: valid for a day.
    Header,
    /// Chat and message ids of a chat page: valid for a day.
    Chat,
    /// A hash of principal and body: valid while the operation runs, and shortly after for a declared retry.
    Hash {
        /// The client says that it sends this request again.
        is_retry: bool,
    },
}

/// All of an operation but the graph of its engine, which is long.
const SELECT: &str = "SELECT id, action, principal, intent, plan, state, progress, deployment_id, target_id, failure,
    receipt, warnings, cancel_asked, created_ms, ended_ms, written_by,
    (SELECT COUNT(*) FROM secrets WHERE secrets.operation_id = operations.id) AS secrets FROM operations";

/// What stands around a condition on the deployment of an operation.
const OF_DEPLOYMENT: (&str, &str) = ("deployment_id IN (SELECT id FROM deployments WHERE ", ")");

/// The condition that an operation has not ended, or is stuck and nothing came after it. Both parts find their rows by an
/// index: all operations that ever were, with their plans, are too much to read.
const IS_OPEN: &str = "id IN (SELECT id FROM operations WHERE ended_ms IS NULL
    UNION SELECT o.id FROM deployments d JOIN operations o ON o.id = d.operation_id WHERE o.state = 'stuck')";

/// All that is stored when an operation is accepted, in one transaction.
#[derive(Debug)]
pub struct NewOperation {
    /// The operation, in state `queued`.
    pub operation: Operation,
    /// The deployment that it changes, as it is from now on.
    pub deployment: Deployment,
    /// The target that it runs on.
    pub target: Target,
    /// The request's key.
    pub key: Option<RequestKey>,
    /// Sealed secrets by name.
    pub secrets: Vec<(String, String)>,
    /// What the record tells of it.
    pub accepted: AuditEntry,
}

/// An operation with what its key says of it.
struct KeyedOperation {
    id: OperationId,
    body_hash: String,
    created_ms: i64,
    ended_ms: Option<i64>,
    /// No later operation has touched its deployment.
    is_latest: bool,
}

/// What became of a request to start an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acceptance {
    /// It is stored and will be carried out.
    Accepted,
    /// Another operation changes the deployment.
    Busy(OperationId),
}

/// Which operations to list.
#[derive(Debug, Clone, Default)]
pub struct OperationFilter {
    /// Only those in this state.
    pub state: Option<OperationState>,
    /// With those that are `failed`, those that are `undone` are wanted too: they have failed as well.
    pub undone_is_failed: bool,
    /// Only those of this deployment.
    pub deployment: Option<DeploymentId>,
}

/// How an operation ended, all that is stored in one transaction.
#[derive(Debug)]
pub struct OperationEnd {
    /// The final state.
    pub state: OperationState,
    /// Why it failed.
    pub failure: Option<Failure>,
    /// What it left behind or removed.
    pub receipt: Vec<String>,
    /// Things that the person should know.
    pub warnings: Vec<String>,
    /// The deployment as it is now.
    pub deployment: Deployment,
    /// The version that was rolled out.
    pub version: Option<Version>,
    /// The target no longer exists.
    pub target_gone: bool,
}

impl Store {
    /// The operations that a request with this key has led to: one, or several that were accepted at the same time;
    /// none when it does not attach to them any more.
    ///
    /// # Errors
    /// `Ok(Err(_))` when the key was used with another body; else what the database says.
    pub async fn operations_for_key(
        &self,
        principal: &str,
        key: &RequestKey,
        now: Timestamp,
    ) -> Result<Result<Vec<OperationId>, KeyReused>, StoreError> {
        let mut keyed: Vec<KeyedOperation> = Vec::new();
        while let Some(next) = self.keyed_operation(principal, &key.nth(keyed.len())).await? {
            // A key that was used before may have had more operations then.
            if keyed.first().is_some_and(|first| first.created_ms != next.created_ms) {
                break;
            }
            keyed.push(next);
        }
        let Some(first) = keyed.first() else { return Ok(Ok(Vec::new())) };
        let now_ms = now.as_millisecond();
        let attaches = match key.kind {
            KeyKind::Header | KeyKind::Chat => {
                let is_valid = now_ms - first.created_ms <= KEY_TTL_MS;
                if is_valid && first.body_hash != key.body_hash {
                    return Ok(Err(KeyReused));
                }
                is_valid
            }
            KeyKind::Hash { is_retry } => {
                let ended_ms = keyed.iter().map(|it| it.ended_ms).collect::<Option<Vec<i64>>>();
                let untouched = keyed.iter().all(|it| it.is_latest);
                match ended_ms.and_then(|it| it.into_iter().max()) {
                    None => true,
                    Some(ended_ms) => is_retry && untouched && now_ms - ended_ms <= RETRY_WINDOW_MS,
                }
            }
        };
        Ok(Ok(keyed.into_iter().filter(|_| attaches).map(|it| it.id).collect()))
    }

    async fn keyed_operation(&self, principal: &str, key: &RequestKey) -> Result<Option<KeyedOperation>, StoreError> {
        let row = sqlx::query(
            "SELECT k.body_hash, k.created_ms, o.id, o.ended_ms, d.operation_id AS latest
             FROM request_keys k JOIN operations o ON o.id = k.operation_id JOIN deployments d ON d.id = o.deployment_id
             WHERE k.principal = $1 AND k.request_key = $2",
        )
        .bind(principal)
        .bind(&key.key)
        .fetch_optional(&self.pool)
        .await?;
        let Some(row) = row else { return Ok(None) };
        let id = parse(&row, "id", OperationId::parse)?;
        Ok(Some(KeyedOperation {
            id,
            body_hash: row.try_get("body_hash")?,
            created_ms: row.try_get("created_ms")?,
            ended_ms: row.try_get("ended_ms")?,
            is_latest: row.try_get::<String, _>("latest")? == id.to_string(),
        }))
    }

    /// The last operation that somebody asked for.
    ///
    /// # Errors
    /// What the database says.
    pub async fn last_operation_of(&self, principal: &str) -> Result<Option<Operation>, StoreError> {
        let query = format!("{SELECT} WHERE principal = $1 ORDER BY id DESC LIMIT 1");
        let row = sqlx::query(AssertSqlSafe(query)).bind(principal).fetch_optional(&self.pool).await?;
        row.map(|row| read_or_fail(&row)).transpose()
    }

    /// Stores an operation before it has any effect: the operation, its key, its deployment, target and secrets.
    ///
    /// # Errors
    /// What the database says.
    pub async fn accept(&self, new: &NewOperation) -> Result<Acceptance, StoreError> {
        // The first statement writes: a SQLite transaction that begins by reading can lose its turn to write.
        let appending = self.append_lock.lock().await;
        let mut transaction = self.pool.begin().await?;
        let operation = &new.operation;
        sqlx::query(
            "INSERT INTO targets (id, mode, name, made_here, locked_by, region) VALUES ($1, $2, $3, $4, NULL, $5)
             ON CONFLICT (mode, name) DO UPDATE SET region = excluded.region
                 WHERE targets.made_here = 0 AND targets.instance IS NULL AND targets.cluster IS NULL",
        )
        .bind(new.target.id.to_string())
        .bind(new.target.mode.as_str())
        .bind(&new.target.name)
        .bind(i64::from(new.target.made_here))
        .bind(new.target.region.as_ref().map(crate::id::Region::as_str))
        .execute(&mut *transaction)
        .await?;
        let busy: Option<String> =
            sqlx::query_scalar("SELECT id FROM operations WHERE deployment_id = $1 AND ended_ms IS NULL")
                .bind(new.deployment.id.to_string())
                .fetch_optional(&mut *transaction)
                .await?;
        if let Some(busy) = busy {
            return Ok(Acceptance::Busy(
                OperationId::parse(&busy).map_err(|error| StoreError::corrupt("operations.id", error))?,
            ));
        }
        super::deployments::upsert(&mut transaction, &new.deployment).await?;
        sqlx::query(
            "INSERT INTO operations (id, action, principal, intent, plan, state, progress, deployment_id, target_id, failure,
                 receipt, warnings, cancel_asked, created_ms, ended_ms, written_by)
             VALUES ($1, $2, $3, $4, $5, $6, 0, $7, $8, NULL, '[]', '[]', 0, $9, NULL, $10)",
        )
        .bind(operation.id.to_string())
        .bind(operation.action.as_str())
        .bind(&operation.principal)
        .bind(to_json(&operation.intent))
        .bind(to_json(&operation.plan))
        .bind(operation.state.as_str())
        .bind(operation.deployment.to_string())
        .bind(operation.target.to_string())
        .bind(operation.created_at.as_millisecond())
        .bind(VERSION)
        .execute(&mut *transaction)
        .await?;
        if let Some(key) = &new.key {
            sqlx::query(
                "INSERT INTO request_keys (principal, request_key, kind, body_hash, operation_id, created_ms)
                 VALUES ($1, $2, $3, $4, $5, $6)
                 ON CONFLICT (principal, request_key) DO UPDATE SET
                     kind = excluded.kind, body_hash = excluded.body_hash,
                     operation_id = excluded.operation_id, created_ms = excluded.created_ms",
            )
            .bind(&operation.principal)
            .bind(&key.key)
            .bind(<&str>::from(key.kind))
            .bind(&key.body_hash)
            .bind(operation.id.to_string())
            .bind(operation.created_at.as_millisecond())
            .execute(&mut *transaction)
            .await?;
        }
        audit::append(&mut transaction, &new.accepted).await?;
        erase_resolved(&mut transaction, operation.deployment).await?;
        insert_secrets(&mut transaction, operation.id, &new.secrets).await?;
        let event = EventKind::OperationState { state: operation.state };
        self.commit_with(transaction, appending, operation.id, &[&event]).await?;
        Ok(Acceptance::Accepted)
    }

    /// One operation.
    ///
    /// # Errors
    /// [`StoreError::Unreadable`] when this version cannot read it; else what the database says.
    pub async fn operation(&self, id: OperationId) -> Result<Option<Operation>, StoreError> {
        let query = AssertSqlSafe(format!("{SELECT} WHERE id = $1"));
        let row = sqlx::query(query).bind(id.to_string()).fetch_optional(&self.pool).await?;
        row.map(|row| read_or_fail(&row)).transpose()
    }

    /// Whether an operation has ended, or is not there.
    pub(super) async fn has_ended(&self, id: OperationId) -> Result<bool, StoreError> {
        let ended_ms: Option<Option<i64>> = sqlx::query_scalar("SELECT ended_ms FROM operations WHERE id = $1")
            .bind(id.to_string())
            .fetch_optional(&self.pool)
            .await?;
        Ok(ended_ms.is_none_or(|it| it.is_some()))
    }

    /// A page of operations, newest first; with rights only those on deployments that these cover.
    ///
    /// # Errors
    /// What the database says.
    pub async fn operations(
        &self,
        filter: &OperationFilter,
        rights: Option<&[Right]>,
        wanted: &PageRequest<OperationId>,
    ) -> Result<Page<Result<Operation, UnreadableOperation>>, StoreError> {
        let state = filter.state.map(|it| {
            if filter.undone_is_failed && it == OperationState::Failed {
                ("state IN ('failed', 'undone')", None)
            } else {
                ("state =", Some(it.as_str().to_owned()))
            }
        });
        let deployment = filter.deployment.map(|id| ("deployment_id =", Some(id.to_string())));
        let conditions = state.into_iter().chain(deployment).collect();
        let within = rights.map(|rights| Within { rights, around: OF_DEPLOYMENT });
        self.page(Listing { select: SELECT, conditions, within }, wanted, read_or_describe).await
    }

    /// The operations that have not ended, and those that are stuck and that nothing came after, newest first; with rights
    /// only those on deployments that these cover.
    ///
    /// # Errors
    /// What the database says.
    pub async fn newest_open_operations(
        &self,
        rights: Option<&[Right]>,
        limit: u32,
    ) -> Result<Page<Result<Operation, UnreadableOperation>>, StoreError> {
        let within = rights.map(|rights| Within { rights, around: OF_DEPLOYMENT });
        let newest = PageRequest::<OperationId> { after: None, limit };
        self.page(Listing { select: SELECT, conditions: vec![(IS_OPEN, None)], within }, &newest, read_or_describe)
            .await
    }

    /// Whether rights cover an operation, by its deployment.
    ///
    /// # Errors
    /// What the database says.
    pub async fn is_operation_within(&self, id: OperationId, rights: &[Right]) -> Result<bool, StoreError> {
        let mut statement = Statement::new("SELECT id FROM operations WHERE id = ");
        statement.bind(id.to_string()).push(" AND ");
        Within { rights, around: OF_DEPLOYMENT }.push_to(&mut statement);
        Ok(!statement.fetch(&self.pool).await?.is_empty())
    }

    /// All operations that have not ended, oldest first.
    ///
    /// # Errors
    /// What the database says.
    pub async fn unfinished_operations(&self) -> Result<Vec<Result<Operation, UnreadableOperation>>, StoreError> {
        // Put in order here: to give it in order the database would rather read all rows than the index of these few.
        let query = AssertSqlSafe(format!("{SELECT} WHERE ended_ms IS NULL"));
        let rows = sqlx::query(query).fetch_all(&self.pool).await?;
        let mut unfinished = readable(&rows, read_or_describe);
        unfinished.sort_by_key(|it| it.as_ref().map_or_else(|it| it.id, |it| it.id));
        Ok(unfinished)
    }

    /// The unfinished operation on a deployment.
    ///
    /// # Errors
    /// What the database says.
    pub async fn running_operation(&self, deployment: DeploymentId) -> Result<Option<OperationId>, StoreError> {
        sqlx::query("SELECT id FROM operations WHERE deployment_id = $1 AND ended_ms IS NULL")
            .bind(deployment.to_string())
            .fetch_optional(&self.pool)
            .await?
            .map(|row| parse(&row, "id", OperationId::parse))
            .transpose()
    }

    /// Changes the state of an unfinished operation and publishes it.
    ///
    /// # Errors
    /// What the database says.
    pub async fn set_operation_state(&self, id: OperationId, state: OperationState) -> Result<(), StoreError> {
        let appending = self.append_lock.lock().await;
        let mut transaction = self.pool.begin().await?;
        sqlx::query("UPDATE operations SET state = $2, ended_ms = NULL, written_by = $3 WHERE id = $1")
            .bind(id.to_string())
            .bind(state.as_str())
            .bind(VERSION)
            .execute(&mut *transaction)
            .await?;
        let event = EventKind::OperationState { state };
        self.commit_with(transaction, appending, id, &[&event]).await?;
        Ok(())
    }

    /// Keeps the share of the work that is done.
    ///
    /// # Errors
    /// What the database says.
    pub async fn set_progress(&self, id: OperationId, percent: u8) -> Result<(), StoreError> {
        sqlx::query("UPDATE operations SET progress = $2 WHERE id = $1")
            .bind(id.to_string())
            .bind(i64::from(percent))
            .execute(&self.pool)
            .await?;
        self.note_change();
        Ok(())
    }

    /// Remembers that somebody asked to cancel, so that a restart does not forget it. False when it has ended.
    ///
    /// # Errors
    /// What the database says.
    pub async fn request_cancel(&self, id: OperationId, entry: &AuditEntry) -> Result<bool, StoreError> {
        let mut transaction = self.pool.begin().await?;
        let changed = sqlx::query("UPDATE operations SET cancel_asked = 1 WHERE id = $1 AND ended_ms IS NULL")
            .bind(id.to_string())
            .execute(&mut *transaction)
            .await?;
        if changed.rows_affected() == 0 {
            return Ok(false);
        }
        audit::append(&mut transaction, entry).await?;
        transaction.commit().await?;
        Ok(true)
    }

    /// Whether somebody asked to cancel.
    ///
    /// # Errors
    /// What the database says.
    pub async fn is_cancel_requested(&self, id: OperationId) -> Result<bool, StoreError> {
        let asked: Option<i64> = sqlx::query_scalar("SELECT cancel_asked FROM operations WHERE id = $1")
            .bind(id.to_string())
            .fetch_optional(&self.pool)
            .await?;
        Ok(asked == Some(1))
    }

    /// Ends an operation: its state, its deployment, the version, the locks; its secrets are erased unless it is stuck.
    ///
    /// # Errors
    /// What the database says.
    pub async fn end_operation(&self, id: OperationId, end: &OperationEnd) -> Result<(), StoreError> {
        let appending = self.append_lock.lock().await;
        let mut transaction = self.pool.begin().await?;
        let now = Timestamp::now();
        sqlx::query(
            "UPDATE operations SET state = $2, failure = $3, receipt = $4, warnings = $5, ended_ms = $6, progress = $7,
                 written_by = $8
             WHERE id = $1",
        )
        .bind(id.to_string())
        .bind(end.state.as_str())
        .bind(end.failure.as_ref().map(to_json))
        .bind(to_json(&end.receipt))
        .bind(to_json(&end.warnings))
        .bind(now.as_millisecond())
        .bind(100_i64)
        .bind(VERSION)
        .execute(&mut *transaction)
        .await?;
        super::deployments::upsert(&mut transaction, &end.deployment).await?;
        if let Some(version) = &end.version {
            sqlx::query(
                "INSERT INTO versions (deployment_id, revision, image, version) VALUES ($1, $2, $3, $4)
                 ON CONFLICT (deployment_id, revision) DO UPDATE SET image = excluded.image, version = excluded.version",
            )
            .bind(end.deployment.id.to_string())
            .bind(i64::from(version.revision))
            .bind(version.image.as_str())
            .bind(to_json(version))
            .execute(&mut *transaction)
            .await?;
        }
        if end.target_gone {
            sqlx::query("UPDATE targets SET made_here = 0 WHERE id = $1")
                .bind(end.deployment.target.to_string())
                .execute(&mut *transaction)
                .await?;
        }
        release(&mut transaction, id, end.state).await?;
        append_end(&mut transaction, id, end.state, end.failure.as_ref()).await?;
        let event = EventKind::OperationState { state: end.state };
        self.commit_with(transaction, appending, id, &[&event]).await?;
        Ok(())
    }
}

impl Store {
    /// Ends an operation that this version cannot carry on with as `stuck`, and touches nothing else of its row: the
    /// version that can read it takes it up again. Its deployment is free.
    ///
    /// # Errors
    /// What the database says.
    pub async fn park_operation(&self, id: OperationId, failure: &Failure) -> Result<(), StoreError> {
        let appending = self.append_lock.lock().await;
        let mut transaction = self.pool.begin().await?;
        let now_ms = Timestamp::now().as_millisecond();
        let state = OperationState::Stuck;
        sqlx::query("UPDATE operations SET state = $2, failure = $3, ended_ms = $4 WHERE id = $1")
            .bind(id.to_string())
            .bind(state.as_str())
            .bind(to_json(failure))
            .bind(now_ms)
            .execute(&mut *transaction)
            .await?;
        sqlx::query(
            "UPDATE deployments SET state = 'failed', updated_ms = $2
             WHERE id = (SELECT deployment_id FROM operations WHERE id = $1)
                 AND state IN ('deploying', 'running', 'removing')",
        )
        .bind(id.to_string())
        .bind(now_ms)
        .execute(&mut *transaction)
        .await?;
        release(&mut transaction, id, state).await?;
        append_end(&mut transaction, id, state, Some(failure)).await?;
        let event = EventKind::OperationState { state };
        self.commit_with(transaction, appending, id, &[&event]).await?;
        Ok(())
    }
}

/// Erases what only a running operation needs. A stuck one keeps its log, its calls and its secrets, so that it can be
/// resumed, but no lock: others go on. What it has begun to make must be known by something else than its lock.
async fn release(
    transaction: &mut Transaction<'_, Any>,
    id: OperationId,
    state: OperationState,
) -> Result<(), StoreError> {
    let id = id.to_string();
    sqlx::query("UPDATE targets SET locked_by = NULL WHERE locked_by = $1")
        .bind(&id)
        .execute(&mut **transaction)
        .await?;
    if state != OperationState::Stuck {
        for statement in [
            "DELETE FROM secrets WHERE operation_id = $1",
            "DELETE FROM saga_log WHERE operation_id = $1",
            "DELETE FROM calls WHERE operation_id = $1",
        ] {
            sqlx::query(statement).bind(&id).execute(&mut **transaction).await?;
        }
    }
    Ok(())
}

/// Tells the record how an operation has ended.
async fn append_end(
    transaction: &mut Transaction<'_, Any>,
    id: OperationId,
    state: OperationState,
    failure: Option<&Failure>,
) -> Result<(), StoreError> {
    let query = "SELECT o.principal, o.action, o.deployment_id, d.name, k.name AS key_name
         FROM operations o JOIN deployments d ON d.id = o.deployment_id LEFT JOIN api_keys k ON k.id = o.principal
         WHERE o.id = $1";
    let row = sqlx::query(query).bind(id.to_string()).fetch_optional(&mut **transaction).await?;
    let Some(row) = row else { return Ok(()) };
    let cause = failure.map(|it| format!(" ({})", it.code)).unwrap_or_default();
    let entry = AuditEntry {
        key_name: row.try_get("key_name")?,
        // Those of another version may be none of this one's.
        action: parse(&row, "action", Action::parse).ok(),
        deployment: parse(&row, "deployment_id", DeploymentId::parse).ok(),
        deployment_name: row.try_get("name")?,
        operation: Some(id),
        outcome: Some(format!("{}{cause}", state.as_str())),
        ..AuditEntry::of(row.try_get("principal")?, AuditEvent::Ended)
    };
    audit::append(transaction, &entry).await
}

/// The key was used before with another body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyReused;

/// An operation, or what can be read of it.
fn read_or_describe(row: &AnyRow) -> Result<Result<Operation, UnreadableOperation>, StoreError> {
    read(row).map_or_else(|error| UnreadableOperation::of(row, &error).map(Err), |it| Ok(Ok(it)))
}

fn read_or_fail(row: &AnyRow) -> Result<Operation, StoreError> {
    let unreadable =
        |it: UnreadableOperation| StoreError::Unreadable { row: format!("operation `{}`", it.id), cause: it.cause };
    read_or_describe(row)?.map_err(unreadable)
}

fn read(row: &AnyRow) -> Result<Operation, StoreError> {
    let ended_ms: Option<i64> = row.try_get("ended_ms")?;
    let failure: Option<String> = row.try_get("failure")?;
    Ok(Operation {
        id: parse(row, "id", OperationId::parse)?,
        action: parse(row, "action", Action::parse)?,
        principal: row.try_get("principal")?,
        intent: parse_json(row, "intent")?,
        plan: parse_json(row, "plan")?,
        state: parse(row, "state", |text| OperationState::parse(text).ok_or("not an operation state"))?,
        progress: u8::try_from(row.try_get::<i64, _>("progress")?).unwrap_or(100),
        deployment: parse(row, "deployment_id", DeploymentId::parse)?,
        target: parse(row, "target_id", TargetId::parse)?,
        failure: failure
            .map(|text| serde_json::from_str(&text).map_err(|error| StoreError::corrupt("failure", error)))
            .transpose()?,
        receipt: parse_json(row, "receipt")?,
        warnings: parse_json(row, "warnings")?,
        created_at: timestamp(row.try_get("created_ms")?, "created_ms")?,
        ended_at: ended_ms.map(|ms| timestamp(ms, "ended_ms")).transpose()?,
        written_by: row.try_get("written_by")?,
        keeps_secrets: row.try_get::<i64, _>("secrets")? > 0,
        is_cancel_requested: row.try_get::<i64, _>("cancel_asked")? == 1,
    })
}
