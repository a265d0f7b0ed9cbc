//! Deployments, their versions, and the targets that they run on.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde_json::{Map, Value};
use sqlx::any::AnyRow;
use sqlx::{Any, Row, Transaction};

use super::page::{Listing, Page, PageRequest, Within, readable};
use super::record::{Deployment, DeploymentState, EksCluster, Instance, Target, VERSION, Version};
use super::statement::Statement;
use super::unreadable::UnreadableDeployment;
use super::{Store, StoreError, audit, parse, parse_json, timestamp, to_json};
use crate::audit::AuditEntry;
use crate::id::key::Right;
use crate::id::{
    CommitId, DeploymentId, DeploymentName, GitRef, ImageRef, Mode, Namespace, OperationId, Region, RepositoryUrl,
    SourceDirectory, TargetId,
};

/// The condition that a deployment has a text, which [`pattern`] makes the value of. No column has a line break in it.
const HAS_TEXT: &str =
    "lower(name || '\n' || namespace || '\n' || repository || '\n' || instance_id) LIKE ? ESCAPE '!'";

/// The condition that a target is there, or that a deployment is on it.
const IS_THERE: &str = "(made_here = 1 OR instance IS NOT NULL OR cluster IS NOT NULL
    OR id IN (SELECT target_id FROM deployments WHERE state <> 'removed'))";

/// What stands around a condition on the deployments on a target.
const WITH_DEPLOYMENT: (&str, &str) = ("id IN (SELECT target_id FROM deployments WHERE state <> 'removed' AND ", ")");

/// How many values a statement has at the most: databases take only so many.
const MOST_VALUES: usize = 1000;

/// Which deployments to list.
#[derive(Debug, Clone, Default)]
pub struct DeploymentFilter {
    /// Only those in this state; without one, all but the removed.
    pub state: Option<DeploymentState>,
    /// Only those of this mode.
    pub mode: Option<Mode>,
    /// Only those in this namespace.
    pub namespace: Option<Namespace>,
    /// Only those that have this text in their name, namespace, repository or target's name, in capitals or not.
    pub text: Option<String>,
}

/// What is on record of the nodes of a target.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct NodesOnRecord {
    /// The containers that are the nodes of its kind cluster.
    pub containers: Option<Vec<String>>,
    /// The variables of the module that made its EKS cluster.
    pub variables: Option<Map<String, Value>>,
}

impl Store {
    /// One deployment.
    ///
    /// # Errors
    /// [`StoreError::Unreadable`] when this version cannot read it; else what the database says.
    pub async fn deployment(&self, id: DeploymentId) -> Result<Option<Deployment>, StoreError> {
        let row = sqlx::query("SELECT * FROM deployments WHERE id = $1")
            .bind(id.to_string())
            .fetch_optional(&self.pool)
            .await?;
        let Some(row) = row else { return Ok(None) };
        let unreadable =
            |it: UnreadableDeployment| StoreError::Unreadable { row: format!("deployment `{id}`"), cause: it.cause };
        read_or_describe(&row)?.map(Some).map_err(unreadable)
    }

    /// Those of these deployments that are there, in one look.
    ///
    /// # Errors
    /// What the database says.
    pub async fn deployments_by_id(
        &self,
        ids: &BTreeSet<DeploymentId>,
    ) -> Result<BTreeMap<DeploymentId, Result<Deployment, UnreadableDeployment>>, StoreError> {
        if ids.is_empty() {
            return Ok(BTreeMap::new());
        }
        let mut statement = Statement::new("SELECT * FROM deployments WHERE id IN ");
        statement.bind_list(ids.iter().map(ToString::to_string));
        let rows = statement.fetch(&self.pool).await?;
        let found = readable(&rows, read_or_describe).into_iter();
        Ok(found.map(|it| (it.as_ref().map_or_else(|it| it.id, |it| it.id), it)).collect())
    }

    /// A page of deployments, newest first; with rights only what these cover.
    ///
    /// # Errors
    /// What the database says.
    pub async fn deployments(
        &self,
        filter: &DeploymentFilter,
        rights: Option<&[Right]>,
        wanted: &PageRequest<DeploymentId>,
    ) -> Result<Page<Result<Deployment, UnreadableDeployment>>, StoreError> {
        let state = filter.state.map_or(("state <> 'removed'", None), |it| ("state =", Some(it.as_str().to_owned())));
        let mode = filter.mode.map(|it| ("mode =", Some(it.as_str().to_owned())));
        let namespace = filter.namespace.as_ref().map(|it| ("namespace =", Some(it.as_str().to_owned())));
        let text = filter.text.as_deref().map(|it| (HAS_TEXT, Some(pattern(it))));
        let conditions = std::iter::once(state).chain(mode).chain(namespace).chain(text).collect();
        let within = rights.map(|rights| Within { rights, around: ("", "") });
        self.page(Listing { select: "SELECT * FROM deployments", conditions, within }, wanted, read_or_describe).await
    }

    /// All deployments that are not removed, but for those that this version cannot read.
    ///
    /// # Errors
    /// What the database says.
    pub async fn present_deployments(&self) -> Result<Vec<Deployment>, StoreError> {
        let rows =
            sqlx::query("SELECT * FROM deployments WHERE state <> 'removed' ORDER BY id").fetch_all(&self.pool).await?;
        Ok(readable(&rows, read))
    }

    /// Those deployments on these targets that are not removed, but for those that this version cannot read.
    ///
    /// # Errors
    /// What the database says.
    pub async fn deployments_on(&self, targets: &BTreeSet<TargetId>) -> Result<Vec<Deployment>, StoreError> {
        if targets.is_empty() {
            return Ok(Vec::new());
        }
        let mut statement = Statement::new("SELECT * FROM deployments WHERE state <> 'removed' AND target_id IN ");
        statement.bind_list(targets.iter().map(ToString::to_string)).push(" ORDER BY id");
        Ok(readable(&statement.fetch(&self.pool).await?, read))
    }

    /// The deployments that were decommissioned since a moment, but for those that this version cannot read. One whose
    /// first deploy was taken back is removed too, and none of them: it has never run.
    ///
    /// # Errors
    /// What the database says.
    pub async fn decommissioned_since(&self, moment: Timestamp) -> Result<Vec<Deployment>, StoreError> {
        let rows = sqlx::query(
            "SELECT d.* FROM deployments d JOIN operations o ON o.id = d.operation_id
             WHERE d.state = 'removed' AND d.updated_ms > $1 AND o.action = 'decommission'",
        )
        .bind(moment.as_millisecond())
        .fetch_all(&self.pool)
        .await?;
        Ok(readable(&rows, read))
    }

    /// The versions of a deployment that were rolled out, oldest first, but for those that this version cannot read:
    /// nobody goes back to one of those.
    ///
    /// # Errors
    /// What the database says.
    pub async fn versions(&self, id: DeploymentId) -> Result<Vec<Version>, StoreError> {
        let rows = sqlx::query("SELECT version FROM versions WHERE deployment_id = $1 ORDER BY revision")
            .bind(id.to_string())
            .fetch_all(&self.pool)
            .await?;
        Ok(readable(&rows, |row| parse_json(row, "version")))
    }

    /// Forgets versions of a deployment: nobody can go back to them any more.
    ///
    /// # Errors
    /// What the database says.
    pub async fn remove_versions(&self, id: DeploymentId, revisions: &[u32]) -> Result<(), StoreError> {
        let mut transaction = self.pool.begin().await?;
        for revision in revisions {
            sqlx::query("DELETE FROM versions WHERE deployment_id = $1 AND revision = $2")
                .bind(id.to_string())
                .bind(i64::from(*revision))
                .execute(&mut *transaction)
                .await?;
        }
        transaction.commit().await?;
        self.note_change();
        Ok(())
    }

    /// Whether any version that may run again uses the image: of a deployment that stays, but for one.
    ///
    /// # Errors
    /// What the database says.
    pub async fn is_image_used(&self, image: &ImageRef, but_for: Option<DeploymentId>) -> Result<bool, StoreError> {
        let used: i64 = sqlx::query_scalar(
            "SELECT COUNT(*) FROM versions v JOIN deployments d ON d.id = v.deployment_id
             WHERE v.image = $1 AND d.id <> $2 AND d.state NOT IN ('removing', 'removed')",
        )
        .bind(image.as_str())
        .bind(but_for.map(|id| id.to_string()).unwrap_or_default())
        .fetch_one(&self.pool)
        .await?;
        Ok(used > 0)
    }

    /// Whether an unfinished operation on another deployment may be about to use an image that was built of a commit,
    /// whose first digits are given: it has built this one, or has cloned this commit and not built any yet, or has not
    /// even cloned this repository yet; and it is not being taken back itself.
    ///
    /// # Errors
    /// What the database says.
    pub async fn is_image_awaited(
        &self,
        image: &ImageRef,
        commit: &str,
        repository: &RepositoryUrl,
        but_for: DeploymentId,
    ) -> Result<bool, StoreError> {
        let rows = sqlx::query(
            "SELECT d.repository, (SELECT COUNT(*) FROM operation_steps s
                 WHERE s.operation_id = o.id AND s.output LIKE '%\"commit\":\"%') AS clones
             FROM operations o JOIN deployments d ON d.id = o.deployment_id
             WHERE o.ended_ms IS NULL AND d.id <> $1 AND o.action IN ('deploy', 'redeploy')
             AND NOT EXISTS (SELECT 1 FROM operation_steps s
                 WHERE s.operation_id = o.id AND s.phase IN ('undoing', 'undone', 'undo_failed'))
             AND (EXISTS (SELECT 1 FROM operation_steps s WHERE s.operation_id = o.id AND s.output LIKE $2)
                 OR (NOT EXISTS
                         (SELECT 1 FROM operation_steps s WHERE s.operation_id = o.id AND s.output LIKE '%\"image\":\"%')
                     AND (EXISTS (SELECT 1 FROM operation_steps s WHERE s.operation_id = o.id AND s.output LIKE $3)
                         OR NOT EXISTS (SELECT 1 FROM operation_steps s
                             WHERE s.operation_id = o.id AND s.output LIKE '%\"commit\":\"%'))))",
        )
        .bind(but_for.to_string())
        .bind(format!("%\"image\":\"{image}\"%"))
        .bind(format!("%\"commit\":\"{commit}%"))
        .fetch_all(&self.pool)
        .await?;
        for row in &rows {
            let has_cloned = row.try_get::<i64, _>("clones")? > 0;
            // One that cannot be read may be the same.
            let its = parse(row, "repository", |text| RepositoryUrl::parse(text)).ok();
            if has_cloned || its.is_none_or(|its| its.identity() == repository.identity()) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The commits that operations on a deployment have cloned that were not taken back: those that are at work or stuck.
    ///
    /// # Errors
    /// What the database says.
    pub async fn logged_commits(&self, id: DeploymentId) -> Result<Vec<CommitId>, StoreError> {
        let outputs: Vec<String> = sqlx::query_scalar(
            "SELECT s.output FROM operation_steps s JOIN operations o ON o.id = s.operation_id
             WHERE o.deployment_id = $1 AND (o.ended_ms IS NULL OR o.state = 'stuck')
                 AND s.output LIKE '%\"commit\":\"%'",
        )
        .bind(id.to_string())
        .fetch_all(&self.pool)
        .await?;
        let commit = |output: String| {
            let rest = output.split_once("\"commit\":\"")?.1;
            CommitId::parse(rest.split('"').next()?).ok()
        };
        Ok(outputs.into_iter().filter_map(commit).collect())
    }

    /// A target by its kind and name.
    ///
    /// # Errors
    /// What the database says.
    pub async fn target_by_name(&self, mode: Mode, name: &str) -> Result<Option<Target>, StoreError> {
        sqlx::query("SELECT * FROM targets WHERE mode = $1 AND name = $2")
            .bind(mode.as_str())
            .bind(name)
            .fetch_optional(&self.pool)
            .await?
            .map(|row| read_target(&row))
            .transpose()
    }

    /// A target.
    ///
    /// # Errors
    /// What the database says.
    pub async fn target(&self, id: TargetId) -> Result<Option<Target>, StoreError> {
        sqlx::query("SELECT * FROM targets WHERE id = $1")
            .bind(id.to_string())
            .fetch_optional(&self.pool)
            .await?
            .map(|row| read_target(&row))
            .transpose()
    }

    /// A page of the targets that are there or that a deployment is on, newest first; with rights only those that a
    /// deployment is on which these cover.
    ///
    /// # Errors
    /// What the database says.
    pub async fn targets(
        &self,
        rights: Option<&[Right]>,
        wanted: &PageRequest<TargetId>,
    ) -> Result<Page<Target>, StoreError> {
        let within = rights.map(|rights| Within { rights, around: WITH_DEPLOYMENT });
        let listing = Listing { select: "SELECT * FROM targets", conditions: vec![(IS_THERE, None)], within };
        self.page(listing, wanted, read_target).await
    }

    /// Those of these targets that are there and that this version can read.
    ///
    /// # Errors
    /// What the database says.
    pub async fn targets_by_id(&self, ids: &BTreeSet<TargetId>) -> Result<Vec<Target>, StoreError> {
        let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
        let mut targets = Vec::new();
        for some in ids.chunks(MOST_VALUES) {
            let mut statement = Statement::new("SELECT * FROM targets WHERE id IN ");
            statement.bind_list(some.iter().cloned());
            targets.extend(readable(&statement.fetch(&self.pool).await?, read_target));
        }
        Ok(targets)
    }

    /// What is on record of the nodes of these targets, in one look: of a kind cluster its containers, of an EKS cluster the
    /// variables of the Terraform module that made it.
    ///
    /// # Errors
    /// What the database says.
    pub async fn nodes_on_record(
        &self,
        ids: &BTreeSet<TargetId>,
        module: &str,
    ) -> Result<BTreeMap<TargetId, NodesOnRecord>, StoreError> {
        if ids.is_empty() {
            return Ok(BTreeMap::new());
        }
        let mut statement = Statement::new(
            "SELECT t.id, t.nodes, w.variables FROM targets t
             LEFT JOIN terraform_workspaces w ON w.owner = t.id AND w.module = ",
        );
        statement.bind(module).push(" WHERE t.id IN ").bind_list(ids.iter().map(ToString::to_string));
        let rows = statement.fetch(&self.pool).await?;
        Ok(readable(&rows, read_nodes).into_iter().collect())
    }

    /// All targets that this server made, but for those that this version cannot read.
    ///
    /// # Errors
    /// What the database says.
    pub async fn targets_made_here(&self) -> Result<Vec<Target>, StoreError> {
        let rows = sqlx::query("SELECT * FROM targets WHERE made_here = 1 ORDER BY id").fetch_all(&self.pool).await?;
        Ok(readable(&rows, read_target))
    }

    /// Takes the target's lock for an operation; true also when the operation has it already.
    ///
    /// # Errors
    /// What the database says.
    pub async fn lock_target(&self, id: TargetId, operation: OperationId) -> Result<bool, StoreError> {
        let taken =
            sqlx::query("UPDATE targets SET locked_by = $2 WHERE id = $1 AND (locked_by IS NULL OR locked_by = $2)")
                .bind(id.to_string())
                .bind(operation.to_string())
                .execute(&self.pool)
                .await?;
        self.note_change();
        Ok(taken.rows_affected() > 0)
    }

    /// Frees the target's lock when the operation holds it.
    ///
    /// # Errors
    /// What the database says.
    pub async fn unlock_target(&self, id: TargetId, operation: OperationId) -> Result<(), StoreError> {
        sqlx::query("UPDATE targets SET locked_by = NULL WHERE id = $1 AND locked_by = $2")
            .bind(id.to_string())
            .bind(operation.to_string())
            .execute(&self.pool)
            .await?;
        self.note_change();
        Ok(())
    }

    /// Remembers whether this server made the target: only then may it delete it.
    ///
    /// # Errors
    /// What the database says.
    pub async fn set_target_made_here(&self, id: TargetId, made_here: bool) -> Result<(), StoreError> {
        sqlx::query("UPDATE targets SET made_here = $2 WHERE id = $1")
            .bind(id.to_string())
            .bind(i64::from(made_here))
            .execute(&self.pool)
            .await?;
        self.note_change();
        Ok(())
    }

    /// Keeps the instance that a target is, or that it is gone.
    ///
    /// # Errors
    /// What the database says.
    pub async fn set_target_instance(&self, id: TargetId, instance: Option<&Instance>) -> Result<(), StoreError> {
        sqlx::query("UPDATE targets SET instance = $2 WHERE id = $1")
            .bind(id.to_string())
            .bind(instance.map(to_json))
            .execute(&self.pool)
            .await?;
        self.note_change();
        Ok(())
    }

    /// Keeps the EKS cluster that a target is, or that it is gone.
    ///
    /// # Errors
    /// What the database says.
    pub async fn set_target_cluster(&self, id: TargetId, cluster: Option<&EksCluster>) -> Result<(), StoreError> {
        sqlx::query("UPDATE targets SET cluster = $2 WHERE id = $1")
            .bind(id.to_string())
            .bind(cluster.map(to_json))
            .execute(&self.pool)
            .await?;
        self.note_change();
        Ok(())
    }

    /// Keeps which containers are the nodes of a kind cluster that this server made on a target: none at all from the
    /// beginning of its creation until it works, so that a creation that did not come to its end is known as such.
    ///
    /// # Errors
    /// What the database says.
    pub async fn set_target_nodes(&self, id: TargetId, nodes: &[String]) -> Result<(), StoreError> {
        sqlx::query("UPDATE targets SET nodes = $2 WHERE id = $1")
            .bind(id.to_string())
            .bind(to_json(&nodes))
            .execute(&self.pool)
            .await?;
        self.note_change();
        Ok(())
    }

    /// The containers that are the nodes of a kind cluster that this server made on a target, none at all while it is half
    /// made; `None` when that is not known.
    ///
    /// # Errors
    /// What the database says.
    pub async fn target_nodes(&self, id: TargetId) -> Result<Option<Vec<String>>, StoreError> {
        let row = sqlx::query("SELECT nodes FROM targets WHERE id = $1")
            .bind(id.to_string())
            .fetch_optional(&self.pool)
            .await?;
        let nodes = row.map(|row| row.try_get::<Option<String>, _>("nodes")).transpose()?.flatten();
        nodes.map(|it| serde_json::from_str(&it).map_err(|error| StoreError::corrupt("nodes", error))).transpose()
    }

    /// Takes in a target that was made by another server, with what runs on it.
    ///
    /// # Errors
    /// What the database says.
    pub async fn adopt(
        &self,
        target: &Target,
        deployments: &[Deployment],
        entry: &AuditEntry,
    ) -> Result<(), StoreError> {
        let mut transaction = self.pool.begin().await?;
        sqlx::query(
            "INSERT INTO targets (id, mode, name, made_here, locked_by, region, instance, cluster)
             VALUES ($1, $2, $3, $4, NULL, $5, $6, $7) ON CONFLICT DO NOTHING",
        )
        .bind(target.id.to_string())
        .bind(target.mode.as_str())
        .bind(&target.name)
        .bind(i64::from(target.made_here))
        .bind(target.region.as_ref().map(Region::as_str))
        .bind(target.instance.as_ref().map(to_json))
        .bind(target.cluster.as_ref().map(to_json))
        .execute(&mut *transaction)
        .await?;
        for deployment in deployments {
            upsert(&mut transaction, deployment).await?;
        }
        audit::append(&mut transaction, entry).await?;
        transaction.commit().await?;
        self.note_change();
        Ok(())
    }

    /// Whether another deployment that is not removed, or an unfinished operation on another deployment, uses the target.
    ///
    /// # Errors
    /// What the database says.
    pub async fn is_target_used_by_others(&self, id: TargetId, deployment: DeploymentId) -> Result<bool, StoreError> {
        let used: i64 = sqlx::query_scalar(
            "SELECT (SELECT COUNT(*) FROM deployments WHERE target_id = $1 AND id <> $2 AND state <> 'removed')
                  + (SELECT COUNT(*) FROM operations WHERE target_id = $1 AND deployment_id <> $2 AND ended_ms IS NULL)",
        )
        .bind(id.to_string())
        .bind(deployment.to_string())
        .fetch_one(&self.pool)
        .await?;
        Ok(used > 0)
    }
}

/// A pattern of LIKE for whatever contains a text, in which nothing stands for anything else.
fn pattern(text: &str) -> String {
    let plain = text.to_lowercase().replace('!', "!!").replace('%', "!%").replace('_', "!_");
    format!("%{plain}%")
}

/// Inserts a deployment, or replaces what can change of it.
pub(super) async fn upsert(transaction: &mut Transaction<'_, Any>, deployment: &Deployment) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO deployments (id, mode, state, target_id, instance_id, name, namespace, repository, git_ref,
             source_directory, operation_id, facts, created_ms, updated_ms, written_by)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)
         ON CONFLICT (id) DO UPDATE SET state = excluded.state, git_ref = excluded.git_ref,
             source_directory = excluded.source_directory, operation_id = excluded.operation_id, facts = excluded.facts,
             updated_ms = excluded.updated_ms, written_by = excluded.written_by",
    )
    .bind(deployment.id.to_string())
    .bind(deployment.mode.as_str())
    .bind(deployment.state.as_str())
    .bind(deployment.target.to_string())
    .bind(&deployment.target_name)
    .bind(deployment.name.as_str())
    .bind(deployment.namespace.as_str())
    .bind(deployment.repository.as_str())
    .bind(deployment.git_ref.as_ref().map(GitRef::as_str))
    .bind(deployment.source_directory.as_ref().map(SourceDirectory::as_str))
    .bind(deployment.operation.to_string())
    .bind(to_json(&deployment.facts))
    .bind(deployment.created_at.as_millisecond())
    .bind(Timestamp::now().as_millisecond())
    .bind(VERSION)
    .execute(&mut **transaction)
    .await
    // Nobody who has seen the other deployments chooses a name that is taken, so it is taken by one that cannot be read.
    .map_err(|error| {
        let is_taken = error.as_database_error().is_some_and(sqlx::error::DatabaseError::is_unique_violation);
        if is_taken { StoreError::corrupt("deployments", error) } else { error.into() }
    })?;
    Ok(())
}

/// A deployment, or what can be read of it.
fn read_or_describe(row: &AnyRow) -> Result<Result<Deployment, UnreadableDeployment>, StoreError> {
    read(row).map_or_else(|error| UnreadableDeployment::of(row, &error).map(Err), |it| Ok(Ok(it)))
}

fn read(row: &AnyRow) -> Result<Deployment, StoreError> {
    let git_ref: Option<String> = row.try_get("git_ref")?;
    let source_directory: Option<String> = row.try_get("source_directory")?;
    Ok(Deployment {
        id: parse(row, "id", DeploymentId::parse)?,
        mode: parse(row, "mode", Mode::parse)?,
        state: parse(row, "state", |text| DeploymentState::parse(text).ok_or("not a deployment state"))?,
        target: parse(row, "target_id", TargetId::parse)?,
        target_name: row.try_get("instance_id")?,
        name: parse(row, "name", |text| DeploymentName::parse(text))?,
        namespace: parse(row, "namespace", |text| Namespace::parse(text))?,
        repository: parse(row, "repository", |text| RepositoryUrl::parse(text))?,
        git_ref: git_ref
            .map(|text| GitRef::parse(text).map_err(|error| StoreError::corrupt("git_ref", error)))
            .transpose()?,
        source_directory: source_directory
            .map(|text| SourceDirectory::parse(text).map_err(|error| StoreError::corrupt("source_directory", error)))
            .transpose()?,
        operation: parse(row, "operation_id", OperationId::parse)?,
        facts: parse_json(row, "facts")?,
        created_at: timestamp(row.try_get("created_ms")?, "created_ms")?,
        updated_at: timestamp(row.try_get("updated_ms")?, "updated_ms")?,
    })
}

fn read_nodes(row: &AnyRow) -> Result<(TargetId, NodesOnRecord), StoreError> {
    let (nodes, variables): (Option<String>, Option<String>) = (row.try_get("nodes")?, row.try_get("variables")?);
    let containers = nodes.map(|text| serde_json::from_str::<Vec<String>>(&text)).transpose();
    let variables = variables.map(|text| serde_json::from_str(&text)).transpose();
    let nodes = NodesOnRecord {
        // Those of a cluster that is half made are not known.
        containers: containers.map_err(|error| StoreError::corrupt("nodes", error))?.filter(|it| !it.is_empty()),
        variables: variables.map_err(|error| StoreError::corrupt("variables", error))?,
    };
    Ok((parse(row, "id", TargetId::parse)?, nodes))
}

fn read_target(row: &AnyRow) -> Result<Target, StoreError> {
    let locked_by: Option<String> = row.try_get("locked_by")?;
    let region: Option<String> = row.try_get("region")?;
    let instance: Option<String> = row.try_get("instance")?;
    let cluster: Option<String> = row.try_get("cluster")?;
    Ok(Target {
        id: parse(row, "id", TargetId::parse)?,
        mode: parse(row, "mode", Mode::parse)?,
        name: row.try_get("name")?,
        made_here: row.try_get::<i64, _>("made_here")? != 0,
        locked_by: locked_by
            .map(|text| OperationId::parse(&text).map_err(|error| StoreError::corrupt("locked_by", error)))
            .transpose()?,
        region: region
            .map(|text| Region::parse(text).map_err(|error| StoreError::corrupt("region", error)))
            .transpose()?,
        instance: instance
            .map(|text| serde_json::from_str(&text).map_err(|error| StoreError::corrupt("instance", error)))
            .transpose()?,
        cluster: cluster
            .map(|text| serde_json::from_str(&text).map_err(|error| StoreError::corrupt("cluster", error)))
            .transpose()?,
    })
}
