//! The store's promises, on SQLite and, when `TEST_DATABASE_URL` names one, on PostgreSQL.

use std::collections::BTreeSet;

use futures_util::TryStreamExt;
use jiff::{SignedDuration, Timestamp};
use secrecy::SecretString;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::audit::{AuditFilter, AuditOrder};
use super::build_options::BuildOptions;
use super::calls::{BegunCall, CallLog};
use super::deployments::{DeploymentFilter, NodesOnRecord};
use super::keys::{ApiKey, NameTaken};
use super::operations::{Acceptance, KeyKind, KeyReused, NewOperation, OperationEnd, RequestKey};
use super::page::{Page, PageRequest};
use super::record::{Deployment, DeploymentFacts, DeploymentState, Operation, Target, Version, VersionBuild};
use super::secrets::Warning;
use super::sessions::{Person, Session, SessionOwner};
use super::steps::{StepAttempt, StepPhase, outputs};
use super::stored_answers::{AnswerKind, AnswerPage};
use super::terraform::{WorkspaceOwner, WorkspaceRecord};
use super::unreadable::UnreadableDeployment;
use super::*;
use crate::audit::{AuditEntry, AuditEvent, AuditRecord, Verifier};
use crate::event::{EventKind, Failure, OperationState};
use crate::id::key::{KeyName, Right, Role};
use crate::id::{
    Action, CommitId, DeploymentId, DeploymentName, ImageRef, KeyId, Mode, Namespace, Port, Region, RepositoryUrl,
    TargetId,
};

/// A store with one target of its own, so that tests that share a database do not meet.
struct World {
    store: Store,
    target: Target,
    _folder: TempDir,
}

impl World {
    async fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&Database::Sqlite(folder.path().join("store.sqlite"))).await.unwrap();
        Self::with(store, folder)
    }

    fn with(store: Store, folder: TempDir) -> Self {
        let id = TargetId::new();
        let target = Target {
            id,
            mode: Mode::Local,
            name: id.to_string(),
            made_here: false,
            locked_by: None,
            region: None,
            instance: None,
            cluster: None,
        };
        Self { store, target, _folder: folder }
    }

    fn deployment(&self, name: &str) -> Deployment {
        Deployment {
            id: DeploymentId::new(),
            mode: Mode::Local,
            state: DeploymentState::Deploying,
            target: self.target.id,
            target_name: self.target.name.clone(),
            name: DeploymentName::parse(name).unwrap(),
            namespace: Namespace::parse("default").unwrap(),
            repository: RepositoryUrl::parse(format!("https://git.example.test/{name}.git")).unwrap(),
            git_ref: None,
            source_directory: None,
            operation: OperationId::new(),
            facts: DeploymentFacts::default(),
            created_at: Timestamp::now(),
            updated_at: Timestamp::now(),
        }
    }

    fn new_operation(&self, deployment: &Deployment, key: Option<RequestKey>) -> NewOperation {
        let id = OperationId::new();
        NewOperation {
            operation: Operation {
                id,
                action: Action::Deploy,
                principal: "someone".to_owned(),
                intent: json!({}),
                plan: json!({}),
                state: OperationState::Queued,
                progress: 0,
                deployment: deployment.id,
                target: self.target.id,
                failure: None,
                receipt: Vec::new(),
                warnings: Vec::new(),
                created_at: Timestamp::now(),
                ended_at: None,
                written_by: None,
                keeps_secrets: false,
                is_cancel_requested: false,
            },
            deployment: Deployment { operation: id, ..deployment.clone() },
            target: self.target.clone(),
            key,
            secrets: vec![("git_token".to_owned(), "sealed".to_owned())],
            accepted: AuditEntry { operation: Some(id), ..AuditEntry::of("someone".to_owned(), AuditEvent::Accepted) },
        }
    }

    async fn accepted(&self, deployment: &Deployment, key: Option<RequestKey>) -> OperationId {
        let new = self.new_operation(deployment, key);
        assert_eq!(self.store.accept(&new).await.unwrap(), Acceptance::Accepted);
        new.operation.id
    }

    async fn end(&self, id: OperationId, deployment: &Deployment, state: OperationState, version: Option<Version>) {
        let ending = OperationEnd {
            state,
            failure: None,
            receipt: vec!["all".to_owned()],
            warnings: Vec::new(),
            deployment: Deployment { operation: id, ..deployment.clone() },
            version,
            target_gone: false,
        };
        self.store.end_operation(id, &ending).await.unwrap();
    }

    /// A step that is begun.
    async fn begun(&self, id: OperationId, step: &str) -> StepAttempt {
        self.store.begin_step(id, step, &started(step)).await.unwrap()
    }

    /// A step that has come to an output.
    async fn step(&self, id: OperationId, step: &str, output: Value) {
        self.store.end_step(&self.begun(id, step).await, Ok(&output), succeeded(step)).await.unwrap();
    }

    async fn attaches(&self, key: &RequestKey, after_s: i64) -> Result<Option<OperationId>, KeyReused> {
        let now = Timestamp::now() + SignedDuration::from_secs(after_s);
        let found = self.store.operations_for_key("someone", key, now).await.unwrap()?;
        Ok(found.first().copied())
    }

    /// Tells whose image a version is.
    fn version(id: OperationId, image: &ImageRef) -> Version {
        Version {
            revision: 1,
            commit: CommitId::parse("0123456789abcdef0123456789abcdef01234567").unwrap(),
            git_ref: None,
            image: image.clone(),
            image_id: "sha256:0".to_owned(),
            main_port: serde_json::from_value::<Port>(8080.into()).unwrap(),
            ports: Vec::new(),
            port_source: Default::default(),
            container_port: None,
            stop_grace_s: None,
            source_directory: None,
            dockerfile: None,
            build: VersionBuild::default(),
            build_options: BuildOptions::default(),
            environment_secret: None,
            environment_names: Vec::new(),
            operation: id,
            deployed_at: Timestamp::now(),
        }
    }
}

fn key(kind: KeyKind, body: &str) -> RequestKey {
    RequestKey { key: OperationId::new().to_string(), kind, body_hash: body.to_owned() }
}

fn started(step: &str) -> EventKind {
    EventKind::StepStarted { step: step.to_owned(), title: "A step".to_owned() }
}

fn succeeded(step: &str) -> EventKind {
    EventKind::StepSucceeded { step: step.to_owned(), summary: String::new(), already: false, elapsed_ms: 0 }
}

/// Runs a statement that has no place in a transaction.
async fn execute(server: &str, statement: String) {
    use sqlx::Connection;
    let mut connection = sqlx::postgres::PgConnection::connect(server).await.unwrap();
    sqlx::raw_sql(sqlx::AssertSqlSafe(statement)).execute(&mut connection).await.unwrap();
}

/// Runs a story on every database that is there.
macro_rules! stories {
    ($($(#[$note:meta])* async fn $name:ident($world:ident: World) $body:block)+) => {
        $($(#[$note])* async fn $name($world: World) $body)+

        mod sqlite {
            $(#[tokio::test] async fn $name() { super::$name(super::World::sqlite().await).await; })+
        }

        #[tokio::test]
        async fn postgres_keeps_the_same_promises() {
            let Ok(server) = std::env::var("TEST_DATABASE_URL") else { return };
            // Of its own: one that an earlier run has made may be of another version.
            let name = format!("store_{}", OperationId::new().uuid().simple());
            let mut url = url::Url::parse(&server).unwrap();
            url.set_path(&name);
            execute(&server, format!("CREATE DATABASE {name}")).await;
            let store = Store::open(&Database::Postgres(SecretString::from(String::from(url)))).await.unwrap();
            $($name(World::with(store.clone(), tempfile::tempdir().unwrap())).await;)+
            store.close().await;
            execute(&server, format!("DROP DATABASE {name} WITH (FORCE)")).await;
        }
    };
}

stories! {
    async fn an_answer_is_kept_for_its_principal_until_it_is_deleted_or_too_old(world: World) {
        let (store, now) = (&world.store, Timestamp::now());
        let who = OperationId::new().to_string();
        let kind = AnswerKind::ChatCompletion;
        let earlier = |days: i64| now - SignedDuration::from_hours(24 * days);
        for (id, age) in [("a", 40), ("b", 2), ("c", 1)] {
            store.insert_answer(&who, kind, id, "sealed", earlier(age)).await.unwrap();
            store.insert_answer(&who, kind, id, "not kept", now).await.unwrap();
        }
        let list = async |after: Option<&str>, newest_first: bool| {
            let page = AnswerPage { after: after.map(str::to_owned), limit: 2, newest_first };
            let rows = store.answers(&who, kind, &page).await.unwrap();
            rows.into_iter().map(|(id, _)| id).collect::<Vec<_>>()
        };

        assert_eq!(list(None, false).await, ["a", "b"]);
        assert_eq!((list(Some("b"), false).await, list(Some("b"), true).await), (vec!["c".to_owned()], vec!["a".to_owned()]));
        assert!(store.update_answer(&who, kind, "b", "sealed anew").await.unwrap());
        assert_eq!(store.answer(&who, kind, "b").await.unwrap().as_deref(), Some("sealed anew"));
        assert_eq!(store.answer("another", kind, "b").await.unwrap(), None);
        assert_eq!(store.answer(&who, AnswerKind::Response, "b").await.unwrap(), None);

        store.prune_answers(earlier(30)).await.unwrap();
        assert_eq!(list(None, false).await, ["b", "c"]);
        assert!(store.delete_answer(&who, kind, "b").await.unwrap() && !store.delete_answer(&who, kind, "b").await.unwrap());
        assert!(!store.update_answer(&who, kind, "b", "again").await.unwrap());
    }

    async fn a_deployment_is_changed_by_one_operation_at_a_time(world: World) {
        let deployment = world.deployment("app");
        let first = world.accepted(&deployment, None).await;

        let second = world.store.accept(&world.new_operation(&deployment, None)).await.unwrap();
        world.end(first, &deployment, OperationState::Succeeded, None).await;
        let third = world.store.accept(&world.new_operation(&deployment, None)).await.unwrap();

        assert_eq!((second, third), (Acceptance::Busy(first), Acceptance::Accepted));
    }

    async fn a_key_is_kept_with_the_hashes_of_its_secrets_and_told_to_the_record(world: World) {
        let (store, now) = (&world.store, Timestamp::from_millisecond(1_700_000_000_000).unwrap());
        let name = KeyName::parse(format!("ci-{}", world.target.name)).unwrap();
        let right = Right { mode: Some(Mode::Local), namespace: Some(Namespace::parse("team").unwrap()) };
        let key = ApiKey {
            id: KeyId::new(),
            name,
            role: Role::Deployer,
            rights: vec![right],
            asks: true,
            created_at: now,
            expires_at: None,
            revoked_at: None,
        };
        let entry = AuditEntry { key: Some(key.id), ..AuditEntry::of("someone".to_owned(), AuditEvent::KeyCreated) };
        let hashes = [format!("{}-a", key.id), format!("{}-b", key.id)];

        assert_eq!(store.create_key(&key, &hashes[0], &entry).await.unwrap(), Ok(()));
        let namesake = ApiKey { id: KeyId::new(), ..key.clone() };
        assert_eq!(store.create_key(&namesake, "another", &entry).await.unwrap(), Err(NameTaken));
        let rotated = ApiKey { expires_at: Some(now + SignedDuration::from_hours(2)), ..key.clone() };
        let overlap = now + SignedDuration::from_hours(1);
        store.rotate_key(&rotated, &hashes[1], now, overlap, &entry).await.unwrap();

        assert!(store.keys().await.unwrap().contains(&rotated));
        let secrets = store.key_secrets().await.unwrap();
        let end = |hash: &str| secrets.iter().find(|it| it.hash == hash).map(|it| it.expires_at);
        assert_eq!((end(&hashes[0]), end(&hashes[1]), end("another")), (Some(Some(overlap)), Some(None), None));
        store.revoke_key(key.id, now, &entry).await.unwrap();
        assert!(!store.keys().await.unwrap().iter().any(|it| it.id == key.id && it.is_valid(now)));
        // Its name is free again.
        assert_eq!(store.create_key(&namesake, &format!("{}-c", key.id), &entry).await.unwrap(), Ok(()));
    }

    async fn a_session_is_of_a_key_or_of_a_person_and_is_forgotten_when_it_ends(world: World) {
        let (store, now) = (&world.store, Timestamp::from_millisecond(1_700_000_000_000).unwrap());
        let session = |id: &str, owner| Session {
            id: format!("{id} of {}", world.target.id),
            owner,
            created_at: now,
            used_at: now,
        };
        let person = |ends_ms| {
            SessionOwner::Person(Person {
                issuer: "https://login.example.test".to_owned(),
                principal: "oidc:ann@login.example.test".to_owned(),
                name: None,
                role: Role::Viewer,
                ends_at: Timestamp::from_millisecond(ends_ms).unwrap(),
            })
        };
        let of_key = session("a", SessionOwner::Key { secret_hash: "hash".to_owned() });
        let (short, long) = (session("b", person(1_700_000_000_000)), session("c", person(1_700_000_000_001)));

        for session in [&of_key, &short, &long] {
            store.insert_session(session).await.unwrap();
            assert_eq!(store.session(&session.id).await.unwrap().as_ref(), Some(session));
        }
        store.delete_sessions(now).await.unwrap();

        assert_eq!(store.session(&short.id).await.unwrap(), None);
        assert_eq!(store.session(&long.id).await.unwrap(), Some(long));
        assert_eq!(store.session(&of_key.id).await.unwrap(), Some(of_key));
    }

    async fn the_record_is_chained_across_what_it_tells_of_and_pruned_from_its_beginning(world: World) {
        let deployment = world.deployment("app");
        let id = world.accepted(&deployment, None).await;
        world.end(id, &deployment, OperationState::Failed, None).await;
        let of_operation = AuditFilter { operation: Some(id), ..AuditFilter::default() };

        let newest_first = AuditOrder::NewestFirst { before: None };
        let lines = world.store.audit_lines(&of_operation, newest_first, 10).await.unwrap();

        let told: Vec<AuditRecord> = lines.iter().map(|it| serde_json::from_str(&it.line).unwrap()).collect();
        assert_eq!(told.iter().map(|it| it.entry.event).collect::<Vec<_>>(), [AuditEvent::Ended, AuditEvent::Accepted]);
        assert_eq!(told[0].entry.outcome.as_deref(), Some("failed"));
        assert_eq!(told[0].entry.deployment_name.as_deref(), Some(deployment.name.as_str()));
        // Many at once take their turns.
        let entry = AuditEntry::of("someone".to_owned(), AuditEvent::Refused);
        let appended = (0..20).map(|_| world.store.append_audit(&entry));
        futures_util::future::try_join_all(appended).await.unwrap();
        let mut verifier = Verifier::new(vec![world.store.audit_head().await.unwrap()]);
        let mut batches = std::pin::pin!(world.store.clone().all_audit_lines(AuditFilter::default()));
        while let Some(batch) = batches.try_next().await.unwrap() {
            for it in batch {
                verifier.check(&it.line).unwrap();
            }
        }
        verifier.finish().unwrap();
        assert_eq!(world.store.prune_audit(Timestamp::MIN).await.unwrap(), 0);
    }

    async fn a_header_key_attaches_for_a_day_and_only_with_the_same_body(world: World) {
        let deployment = world.deployment("app");
        let header = key(KeyKind::Header, "body");
        let id = world.accepted(&deployment, Some(header.clone())).await;
        world.end(id, &deployment, OperationState::Succeeded, None).await;

        let other_body = RequestKey { body_hash: "other".to_owned(), ..header.clone() };

        assert_eq!(world.attaches(&header, 23 * 3600).await, Ok(Some(id)));
        assert_eq!(world.attaches(&header, 25 * 3600).await, Ok(None));
        assert_eq!(world.attaches(&other_body, 0).await, Err(KeyReused));
    }

    async fn a_hashed_key_attaches_while_it_runs_and_then_only_a_declared_retry(world: World) {
        let deployment = world.deployment("app");
        let fresh = key(KeyKind::Hash { is_retry: false }, "body");
        let retry = RequestKey { kind: KeyKind::Hash { is_retry: true }, ..fresh.clone() };
        let id = world.accepted(&deployment, Some(fresh.clone())).await;
        assert_eq!(world.attaches(&fresh, 3600).await, Ok(Some(id)));

        world.end(id, &deployment, OperationState::Succeeded, None).await;
        assert_eq!(world.attaches(&fresh, 1).await, Ok(None));
        assert_eq!(world.attaches(&retry, 1).await, Ok(Some(id)));
        assert_eq!(world.attaches(&retry, 120).await, Ok(None));

        world.accepted(&deployment, None).await;
        assert_eq!(world.attaches(&retry, 1).await, Ok(None));
    }

    async fn an_end_erases_secrets_frees_the_target_and_is_the_last_event(world: World) {
        let deployment = world.deployment("app");
        let id = world.accepted(&deployment, None).await;
        assert!(world.store.lock_target(world.target.id, id).await.unwrap());
        assert!(!world.store.lock_target(world.target.id, OperationId::new()).await.unwrap());
        world.store.append_saga_event(id, 1, &"started").await.unwrap();

        world.end(id, &deployment, OperationState::Succeeded, None).await;

        assert_eq!(world.store.secret_names(id).await.unwrap(), Vec::<String>::new());
        assert_eq!(world.store.target(world.target.id).await.unwrap().unwrap().locked_by, None);
        assert!(world.store.saga_events::<String>(id).await.unwrap().is_empty());
        let states: Vec<EventKind> =
            world.store.follow(id, 0).map_ok(|event| event.kind).try_collect().await.unwrap();
        let state = |state| EventKind::OperationState { state };
        assert_eq!(states, [state(OperationState::Queued), state(OperationState::Succeeded)]);
    }

    async fn a_stuck_operation_keeps_its_log_and_can_be_taken_up_again(world: World) {
        let deployment = world.deployment("app");
        let id = world.accepted(&deployment, None).await;
        let failed = json!({"undo_failed": {"reason": "x"}});
        world.store.append_saga_event(id, 1, &"undo_started").await.unwrap();
        world.store.append_saga_event(id, 1, &failed).await.unwrap();
        world.end(id, &deployment, OperationState::Stuck, None).await;
        assert_eq!(world.store.running_operation(deployment.id).await.unwrap(), None);

        world.store.remove_saga_event(id, 1, &failed).await.unwrap();
        world.store.set_operation_state(id, OperationState::Running).await.unwrap();

        assert_eq!(world.store.saga_events::<String>(id).await.unwrap(), [(1, "undo_started".to_owned())]);
        assert_eq!(world.store.running_operation(deployment.id).await.unwrap(), Some(id));
        assert_eq!(world.store.secret_names(id).await.unwrap(), ["git_token"]);
    }

    async fn a_stuck_operation_keeps_its_secrets_until_they_are_erased_or_it_is_resolved(world: World) {
        let deployment = world.deployment("app");
        let id = world.accepted(&deployment, None).await;
        let warning = |rest: &str| Warning { subject: "They are", rest: rest.to_owned() };
        assert!(!world.store.erase_secrets(id, &warning("gone"), None).await.unwrap(), "it is at work");
        world.end(id, &deployment, OperationState::Stuck, None).await;
        let stuck = world.store.stuck_with_secrets().await.unwrap();
        assert_eq!(stuck.iter().map(|it| it.id).collect::<Vec<_>>(), [id]);
        assert!(world.store.operation(id).await.unwrap().unwrap().keeps_secrets);

        assert!(world.store.warn_of_stuck(id, &warning("going")).await.unwrap());
        assert!(!world.store.warn_of_stuck(id, &warning("going")).await.unwrap());
        assert!(world.store.erase_secrets(id, &warning("gone"), None).await.unwrap());
        assert!(!world.store.erase_secrets(id, &warning("gone again"), None).await.unwrap());

        let operation = world.store.operation(id).await.unwrap().unwrap();
        assert_eq!((operation.keeps_secrets, operation.warnings), (false, vec!["They are gone".to_owned()]));
        assert!(world.store.is_cancel_requested(id).await.unwrap(), "it can only be taken back");
        world.store.replace_secrets(id, &[("git_token".to_owned(), "other".to_owned())]).await.unwrap();
        assert_eq!(world.store.sealed_secret(id, "git_token").await.unwrap().as_deref(), Some("other"));
        let later = world.accepted(&deployment, None).await;
        assert!(world.store.secret_names(id).await.unwrap().is_empty());
        assert_eq!(world.store.secret_names(later).await.unwrap(), ["git_token"]);
    }

    async fn a_request_that_led_to_several_operations_attaches_to_all_of_them(world: World) {
        let (one, two) = (world.deployment("one"), world.deployment("two"));
        let key = key(KeyKind::Hash { is_retry: false }, "body");
        let (first, mut second) =
            (world.new_operation(&one, Some(key.clone())), world.new_operation(&two, Some(key.nth(1))));
        second.operation.created_at = first.operation.created_at;
        let ids = [first.operation.id, second.operation.id];
        world.store.accept(&first).await.unwrap();
        world.store.accept(&second).await.unwrap();
        let found = async || world.store.operations_for_key("someone", &key, Timestamp::now()).await.unwrap().unwrap();

        assert_eq!(found().await, ids);
        world.end(ids[0], &one, OperationState::Succeeded, None).await;
        assert_eq!(found().await, ids);
        world.end(ids[1], &two, OperationState::Succeeded, None).await;
        assert!(found().await.is_empty());

        let third = world.accepted(&one, Some(key.clone())).await;
        assert_eq!(found().await, [third], "what the key had before is not mixed with what it has now");
    }

    async fn a_cancel_is_remembered_and_comes_too_late_after_the_end(world: World) {
        let deployment = world.deployment("app");
        let id = world.accepted(&deployment, None).await;
        let entry = AuditEntry::of("someone".to_owned(), AuditEvent::CancelRequested);

        assert!(world.store.request_cancel(id, &entry).await.unwrap());
        assert!(world.store.is_cancel_requested(id).await.unwrap());
        world.end(id, &deployment, OperationState::Cancelled, None).await;
        assert!(!world.store.request_cancel(id, &entry).await.unwrap());
    }

    async fn what_a_workspace_owns_is_known_until_it_is_removed(world: World) {
        let deployment = world.deployment("app");
        let operation = world.accepted(&deployment, None).await;
        let owner = WorkspaceOwner::Deployment(deployment.id);
        let record = WorkspaceRecord {
            account: Some("123456789012".to_owned()),
            caller: Some("arn:aws:iam::123456789012:user/ops".to_owned()),
            region: Region::parse("eu-central-1").unwrap(),
            state_schema: Some("terraform_app".to_owned()),
            variables: serde_json::from_value(json!({"host": "app.example.test", "keep_images": 9})).unwrap(),
            operation: Some(operation),
            begun_at: Timestamp::from_millisecond(1_700_000_000_000).unwrap(),
        };
        let unrecorded = WorkspaceRecord { account: None, caller: None, operation: None, ..record.clone() };

        world.store.set_terraform_workspace(owner, "alias", &unrecorded).await.unwrap();
        world.store.set_terraform_workspace(owner, "alias", &record).await.unwrap();
        let known = world.store.terraform_workspace(owner, "alias").await.unwrap();
        world.store.remove_terraform_workspace(owner, "alias").await.unwrap();

        assert_eq!(known.as_ref().and_then(|it| it.variable("host")), Some("app.example.test"));
        assert_eq!(known, Some(record));
        assert_eq!(world.store.terraform_workspace(owner, "alias").await.unwrap(), None);
        let target = WorkspaceOwner::Target(world.target.id);
        assert_eq!(world.store.terraform_workspace(target, "alias").await.unwrap(), None);
    }

    async fn calls_are_on_record_until_their_operation_has_ended(world: World) {
        let deployment = world.deployment("app");
        let operation = world.accepted(&deployment, None).await;
        let log = CallLog::new(world.store.clone(), operation, "build_image");
        let call = BegunCall {
            run: OperationId::new().to_string(),
            name: "build".to_owned(),
            boot: None,
            process: None,
            grace_s: 10,
            timeout_s: 60,
            has_ended: false,
        };

        log.begin(&call).await.unwrap();
        log.set_process(&call.run, (42, 7)).await.unwrap();
        let begun = log.begun().await.unwrap();
        log.end(&call.run).await.unwrap();
        assert!(log.begun().await.unwrap()[0].has_ended);
        world.end(operation, &deployment, OperationState::Stuck, None).await;
        let of_stuck = log.begun().await.unwrap().len();
        world.end(operation, &deployment, OperationState::Undone, None).await;

        assert_eq!(begun, [BegunCall { process: Some((42, 7)), ..call }]);
        assert_eq!((of_stuck, log.begun().await.unwrap().len()), (1, 0));
    }

    async fn an_image_is_used_by_deployments_that_stay(world: World) {
        let (one, two) = (world.deployment("one"), world.deployment("two"));
        let image = ImageRef::parse(format!("on-demand-infra/app:{}", OperationId::new())).unwrap();
        let first = world.accepted(&one, None).await;
        world.end(first, &one, OperationState::Succeeded, Some(World::version(first, &image))).await;
        assert!(world.store.is_image_used(&image, None).await.unwrap());
        assert!(world.store.is_image_used(&image, Some(two.id)).await.unwrap());
        assert!(!world.store.is_image_used(&image, Some(one.id)).await.unwrap());

        let leaving = Deployment { state: DeploymentState::Removing, ..one.clone() };
        world.accepted(&leaving, None).await;

        assert!(!world.store.is_image_used(&image, Some(two.id)).await.unwrap());
    }

    async fn versions_that_are_removed_are_gone_and_the_others_stay(world: World) {
        let deployment = world.deployment("app");
        let image = ImageRef::parse("on-demand-infra/app:1").unwrap();
        for revision in 1..=3 {
            let id = world.accepted(&deployment, None).await;
            let version = Version { revision, ..World::version(id, &image) };
            world.end(id, &deployment, OperationState::Succeeded, Some(version)).await;
        }

        world.store.remove_versions(deployment.id, &[1, 2]).await.unwrap();

        let versions = world.store.versions(deployment.id).await.unwrap();
        assert_eq!(versions.iter().map(|it| it.revision).collect::<Vec<_>>(), [3]);
    }

    async fn deployments_are_found_by_a_part_of_their_names_in_which_nothing_stands_for_something_else(world: World) {
        let (one, two) = (world.deployment("one"), world.deployment("two"));
        world.accepted(&one, None).await;
        world.accepted(&two, None).await;
        let newest = PageRequest { after: None, limit: 10 };
        let filter = |text: String| DeploymentFilter { text: Some(text), ..DeploymentFilter::default() };
        let target = &world.target.name;

        let both = world.store.deployments(&filter(target.to_uppercase()), None, &newest).await.unwrap();
        let first = world.store.deployments(&filter(format!("One.git\n{target}")), None, &newest).await.unwrap();
        let none = world.store.deployments(&filter(target.replace('_', "%")), None, &newest).await.unwrap();

        let ids = |page: Page<Result<Deployment, UnreadableDeployment>>| {
            page.items.into_iter().flatten().map(|it| it.id).collect::<Vec<_>>()
        };
        assert_eq!((ids(both), ids(first), ids(none)), (vec![two.id, one.id], vec![one.id], vec![]));
    }

    async fn operations_are_told_in_short_for_those_that_are_there(world: World) {
        let deployment = world.deployment("app");
        let first = world.accepted(&deployment, None).await;
        world.end(first, &deployment, OperationState::Succeeded, None).await;
        let second = world.accepted(&deployment, None).await;

        let wanted = BTreeSet::from([first, OperationId::new()]);
        let some = world.store.operation_summaries(&wanted).await.unwrap();
        let last = world.store.last_operations(deployment.id, 1).await.unwrap();

        assert_eq!(some.keys().copied().collect::<Vec<_>>(), [first]);
        assert_eq!(some[&first].state, OperationState::Succeeded);
        assert_eq!(last.iter().map(|it| it.id).collect::<Vec<_>>(), [second]);
    }

    async fn a_month_after_its_end_an_operation_keeps_only_what_matters_and_a_day_after_no_key(world: World) {
        let deployment = world.deployment("app");
        let key = key(KeyKind::Header, "body");
        let id = world.accepted(&deployment, Some(key.clone())).await;
        let progress = EventKind::StepProgress { step: "build_image".to_owned(), text: "half way".to_owned() };
        world.store.publish(id, progress).await.unwrap();
        world.end(id, &deployment, OperationState::Succeeded, None).await;
        let in_days = |days: i64| Timestamp::now() + SignedDuration::from_hours(24 * days);

        world.store.delete_expired(in_days(0)).await.unwrap();
        assert_eq!((world.store.events(id, 0).await.unwrap().len(), world.attaches(&key, 0).await), (3, Ok(Some(id))));
        world.store.delete_expired(in_days(2)).await.unwrap();
        assert_eq!((world.store.events(id, 0).await.unwrap().len(), world.attaches(&key, 0).await), (3, Ok(None)));
        world.store.delete_expired(in_days(31)).await.unwrap();

        let events = world.store.events(id, 0).await.unwrap();
        assert!(events.iter().all(|it| matches!(it.kind, EventKind::OperationState { .. })), "{events:?}");
        assert_eq!(events.iter().map(|it| it.sequence).collect::<Vec<_>>(), [1, 3]);
        assert!(world.store.is_expired(id).await.unwrap());
    }

    async fn the_log_of_a_stuck_operation_goes_when_a_later_one_has_changed_the_deployment(world: World) {
        let deployment = world.deployment("app");
        let stuck = world.accepted(&deployment, None).await;
        world.store.append_saga_event(stuck, 0, &"an entry").await.unwrap();
        world.end(stuck, &deployment, OperationState::Stuck, None).await;
        let later = Timestamp::now() + SignedDuration::from_secs(1);
        let log = async || world.store.saga_events::<String>(stuck).await.unwrap().len();

        world.store.delete_expired(later).await.unwrap();
        assert_eq!((log().await, world.store.is_expired(stuck).await.unwrap()), (1, false));
        world.accepted(&deployment, None).await;
        world.store.delete_expired(later).await.unwrap();

        assert_eq!((log().await, world.store.is_expired(stuck).await.unwrap()), (0, true));
    }

    async fn an_image_is_awaited_until_the_other_deployment_of_its_repository_has_another(world: World) {
        let name = format!("app-{}", &TargetId::new().uuid().simple().to_string()[20..]);
        let one = world.deployment(&name);
        let two = Deployment { repository: one.repository.clone(), ..world.deployment("two") };
        let spelled_otherwise = RepositoryUrl::parse(format!("https://git.example.test/{name}")).unwrap();
        let elsewhere = RepositoryUrl::parse(format!("https://example.com/other/{name}")).unwrap();
        let id = world.accepted(&one, None).await;
        let [mine, other, newer] = ["app:a1-1", "app:a1-2", "app:b2-1"].map(|it| ImageRef::parse(it).unwrap());
        let awaited = async |image: &ImageRef, repository: &RepositoryUrl| {
            let commit = &image.as_str()[4..6];
            world.store.is_image_awaited(image, commit, repository, two.id).await.unwrap()
        };

        assert!(!world.store.is_image_awaited(&mine, "a1", &one.repository, one.id).await.unwrap());
        assert!(awaited(&mine, &one.repository).await && awaited(&newer, &one.repository).await);
        assert!(awaited(&mine, &spelled_otherwise).await);
        assert!(!awaited(&mine, &elsewhere).await);
        world.step(id, "clone_repository", json!({"commit": "a1b2"})).await;
        assert!(awaited(&mine, &one.repository).await && awaited(&other, &elsewhere).await);
        assert!(!awaited(&newer, &one.repository).await);
        world.step(id, "build_image", json!({"image": other})).await;
        assert!(!awaited(&mine, &one.repository).await);
        assert!(awaited(&other, &one.repository).await);
        world.end(id, &one, OperationState::Failed, None).await;
        assert!(!awaited(&other, &one.repository).await);
    }

    async fn a_history_is_read_as_far_as_it_is_needed(world: World) {
        let (one, two) = (world.deployment("one"), world.deployment("two"));
        let ids = [world.accepted(&one, None).await, world.accepted(&two, None).await];
        let started = EventKind::StepStarted { step: "build_image".to_owned(), title: "Build\nit".to_owned() };
        let progress = EventKind::StepProgress { step: "build_image".to_owned(), text: "half way".to_owned() };
        for id in ids {
            world.store.publish(id, started.clone()).await.unwrap();
            world.store.publish(id, progress.clone()).await.unwrap();
            world.store.publish(id, EventKind::Warning { text: "late".to_owned() }).await.unwrap();
        }
        world.end(ids[0], &one, OperationState::Succeeded, None).await;
        let state = |state| EventKind::OperationState { state };
        let warning = EventKind::Warning { text: "late".to_owned() };

        let histories = world.store.histories(&ids).await.unwrap();

        let queued = state(OperationState::Queued);
        let ended = [queued.clone(), started.clone(), warning.clone(), state(OperationState::Succeeded)];
        assert_eq!(histories[&ids[0]], ended);
        assert_eq!(histories[&ids[1]], [queued, started, progress, warning.clone()]);
        assert_eq!(world.store.events_of_types(ids[0], &["warning", "step_undone"]).await.unwrap(), [warning]);
    }

    async fn a_step_belongs_to_whoever_began_it_last(world: World) {
        let id = world.accepted(&world.deployment("app"), None).await;
        let store = &world.store;
        let kinds = async || store.events(id, 0).await.unwrap().into_iter().map(|it| it.kind).collect::<Vec<_>>();
        let is_refused = |result: Result<(), StoreError>| matches!(result, Err(StoreError::Superseded { .. }));
        let failure = Failure { code: "late".into(), message: String::new(), next_step: String::new(), output: Vec::new() };
        let failed = EventKind::StepFailed { step: "build_image".to_owned(), failure: failure.clone() };
        let undoing = EventKind::StepUndoing { step: "build_image".to_owned() };
        let undone = EventKind::StepUndone { step: "build_image".to_owned(), removed: Vec::new() };
        let output = json!({"image": "app:1"});

        let frozen = world.begun(id, "build_image").await;
        let next = world.begun(id, "build_image").await;
        let before = (store.steps(id).await.unwrap(), kinds().await);
        assert!(is_refused(store.end_step(&frozen, Err(&failure), failed.clone()).await));
        assert!(is_refused(store.park_step(&frozen, None, Some(failed.clone())).await));
        assert_eq!((store.steps(id).await.unwrap(), kinds().await), before, "it changes nothing, and tells nothing");
        store.end_step(&next, Ok(&output), succeeded("build_image")).await.unwrap();
        let begun_again = store.begin_step(id, "build_image", &started("build_image")).await;
        assert!(is_refused(begun_again.map(drop)), "what has come to its end is not begun again");

        let first_undo = store.begin_undo(id, "build_image", &undoing).await.unwrap().unwrap();
        let undo = store.begin_undo(id, "build_image", &undoing).await.unwrap().unwrap();
        assert!(is_refused(store.end_step(&next, Err(&failure), failed).await));
        assert!(is_refused(store.end_undo(&first_undo, Ok(()), undone.clone()).await));
        store.end_undo(&undo, Ok(()), undone).await.unwrap();

        let steps = store.steps(id).await.unwrap();
        let record = &steps["build_image"];
        assert_eq!((record.attempt, record.phase, &record.failure), (4, StepPhase::Undone, &None));
        assert_eq!(outputs(&steps)["build_image"], output, "what it left is known to other undos");
        assert!(store.begin_undo(id, "build_image", &undoing).await.unwrap().is_none(), "it is undone");
        assert!(store.begin_undo(id, "push_image", &undoing).await.unwrap().is_none(), "it was never begun");
    }

    async fn an_operation_waits_while_one_of_its_steps_does(world: World) {
        let id = world.accepted(&world.deployment("app"), None).await;
        let store = &world.store;
        let state = async || store.operation(id).await.unwrap().unwrap().state;
        let until = Timestamp::from_millisecond(Timestamp::now().as_millisecond() + 60_000).unwrap();
        let missing = EventKind::StepProgress { step: "one".to_owned(), text: "add a record".to_owned() };
        let waiting = EventKind::OperationState { state: OperationState::Waiting };
        let running = EventKind::OperationState { state: OperationState::Running };

        let (one, two) = (world.begun(id, "one").await, world.begun(id, "two").await);
        store.park_step(&two, Some(until), None).await.unwrap();
        assert_eq!(state().await, OperationState::Queued, "what comes by itself is no matter of somebody");
        store.park_step(&one, Some(until), Some(missing.clone())).await.unwrap();
        store.park_step(&two, Some(until), Some(missing.clone())).await.unwrap();
        let one_again = world.begun(id, "one").await;
        store.end_step(&two, Ok(&Value::Null), succeeded("two")).await.unwrap();
        assert_eq!((state().await, one_again.waits_until), (OperationState::Waiting, Some(until)));
        assert_eq!(one_again.begun_at, one.begun_at);
        store.end_step(&one_again, Ok(&Value::Null), succeeded("one")).await.unwrap();

        assert_eq!(state().await, OperationState::Running);
        let kinds: Vec<EventKind> = store.events(id, 3).await.unwrap().into_iter().map(|it| it.kind).collect();
        let expected =
            [missing.clone(), waiting, missing, started("one"), succeeded("two"), running, succeeded("one")];
        assert_eq!(kinds, expected);
    }

    async fn steps_go_a_month_after_the_end_and_with_a_stuck_operation_when_it_is_resolved(world: World) {
        let deployment = world.deployment("app");
        let (ended, stuck) = (world.accepted(&deployment, None).await, world.deployment("other"));
        world.step(ended, "clone_repository", json!({})).await;
        world.end(ended, &deployment, OperationState::Succeeded, None).await;
        let id = world.accepted(&stuck, None).await;
        world.step(id, "clone_repository", json!({})).await;
        world.end(id, &stuck, OperationState::Stuck, None).await;
        let in_days = |days: i64| Timestamp::now() + SignedDuration::from_hours(24 * days);
        let left = async || {
            (world.store.steps(ended).await.unwrap().len(), world.store.steps(id).await.unwrap().len())
        };

        world.store.delete_expired(in_days(29)).await.unwrap();
        assert_eq!(left().await, (1, 1));
        world.store.delete_expired(in_days(31)).await.unwrap();
        assert_eq!(left().await, (0, 1), "it can be resumed");
        world.accepted(&stuck, None).await;
        world.store.delete_expired(in_days(31)).await.unwrap();
        assert_eq!(left().await, (0, 0));
    }

    async fn open_operations_are_counted_until_they_end_or_are_resolved(world: World) {
        let (ended, stuck) = (world.deployment("app"), world.deployment("other"));
        let counted = async || {
            let open = world.store.open_operations().await.unwrap();
            let of = |state| open.iter().find(|it| it.state == state).map_or(0, |it| it.count);
            (of(OperationState::Queued), of(OperationState::Stuck))
        };
        let before = counted().await;
        let since = async || {
            let now = counted().await;
            (now.0 - before.0, now.1 - before.1)
        };

        let first = world.accepted(&ended, None).await;
        let second = world.accepted(&stuck, None).await;
        assert_eq!(since().await, (2, 0));
        world.end(first, &ended, OperationState::Succeeded, None).await;
        world.end(second, &stuck, OperationState::Stuck, None).await;
        assert_eq!(since().await, (0, 1));
        world.accepted(&stuck, None).await;
        assert_eq!(since().await, (1, 0), "a later operation resolves it");
    }

    async fn what_is_open_is_listed_newest_first_and_nothing_that_was_superseded(world: World) {
        let (one, two, three) = (world.deployment("one"), world.deployment("two"), world.deployment("three"));
        let superseded = world.accepted(&one, None).await;
        world.end(superseded, &one, OperationState::Stuck, None).await;
        let queued = world.accepted(&one, None).await;
        let stuck = world.accepted(&two, None).await;
        world.end(stuck, &two, OperationState::Stuck, None).await;
        let ended = world.accepted(&three, None).await;
        world.end(ended, &three, OperationState::Succeeded, None).await;
        let listed = async |rights: Option<&[Right]>| {
            let page = world.store.newest_open_operations(rights, 100).await.unwrap();
            let ids = page.items.into_iter().map(|it| it.unwrap().id);
            ids.filter(|it| [superseded, queued, stuck, ended].contains(it)).collect::<Vec<_>>()
        };

        assert_eq!(listed(None).await, [stuck, queued]);
        let elsewhere = Right { mode: Some(Mode::CloudLocal), namespace: None };
        assert!(listed(Some([elsewhere].as_slice())).await.is_empty());
        assert_eq!(world.store.newest_open_operations(None, 1).await.unwrap().items.len(), 1);
    }

    async fn whoever_looks_hears_of_each_change(world: World) {
        let mut changes = world.store.changes();
        let deployment = world.deployment("app");
        let has_changed = |changes: &mut watch::Receiver<()>| {
            let has = changes.has_changed().unwrap();
            changes.mark_unchanged();
            has
        };

        let id = world.accepted(&deployment, None).await;
        assert!(has_changed(&mut changes));
        world.store.set_progress(id, 50).await.unwrap();
        assert!(has_changed(&mut changes));
        world.store.publish(id, EventKind::Warning { text: "slow".to_owned() }).await.unwrap();
        assert!(has_changed(&mut changes));
        world.store.set_target_made_here(world.target.id, true).await.unwrap();
        assert!(has_changed(&mut changes));
        world.store.operation(id).await.unwrap();
        assert!(!has_changed(&mut changes));
    }

    async fn a_history_is_replayed_whole_however_long_it_is(world: World) {
        let id = world.accepted(&world.deployment("app"), None).await;
        for number in 0..520 {
            world.store.publish(id, EventKind::Warning { text: number.to_string() }).await.unwrap();
        }
        let mut replayed = Vec::new();

        world.store.replay(id, |event| replayed.push(event)).await.unwrap();

        assert_eq!(replayed, world.store.events(id, 0).await.unwrap());
    }

    async fn targets_are_read_by_their_ids_with_what_is_known_of_their_nodes(world: World) {
        world.accepted(&world.deployment("app"), None).await;
        let (store, id) = (&world.store, world.target.id);
        let wanted = BTreeSet::from([id, TargetId::new()]);
        let nodes = async || store.nodes_on_record(&wanted, "cloud-hosted").await.unwrap().remove(&id).unwrap();

        let targets = store.targets_by_id(&wanted).await.unwrap();
        assert_eq!(targets.iter().map(|it| it.id).collect::<Vec<_>>(), [id]);
        assert_eq!(nodes().await, NodesOnRecord::default());
        assert_eq!(store.target_nodes(id).await.unwrap(), None);
        store.set_target_nodes(id, &[]).await.unwrap();
        assert_eq!((nodes().await.containers, store.target_nodes(id).await.unwrap()), (None, Some(Vec::new())));
        store.set_target_nodes(id, &["one".to_owned(), "two".to_owned()]).await.unwrap();
        assert_eq!(nodes().await.containers, Some(vec!["one".to_owned(), "two".to_owned()]));
    }

    async fn what_was_decommissioned_lately_is_listed_and_no_deploy_that_was_taken_back(world: World) {
        let (gone, undone) = (world.deployment("gone"), world.deployment("undone"));
        let removed = |it: &Deployment| Deployment { state: DeploymentState::Removed, ..it.clone() };
        let deploy = world.accepted(&undone, None).await;
        world.end(deploy, &removed(&undone), OperationState::Undone, None).await;
        let mut removal = world.new_operation(&gone, None);
        removal.operation.action = Action::Decommission;
        world.store.accept(&removal).await.unwrap();
        let hour = SignedDuration::from_hours(1);
        let listed = async |since: Timestamp| {
            let listed = world.store.decommissioned_since(since).await.unwrap().into_iter().map(|it| it.id);
            listed.filter(|it| [gone.id, undone.id].contains(it)).collect::<Vec<_>>()
        };
        assert!(listed(Timestamp::now() - hour).await.is_empty());

        world.end(removal.operation.id, &removed(&gone), OperationState::Succeeded, None).await;

        assert_eq!(listed(Timestamp::now() - hour).await, [gone.id]);
        assert!(listed(Timestamp::now() + hour).await.is_empty());
    }

    async fn targets_are_listed_while_they_are_there_or_used(world: World) {
        let deployment = world.deployment("app");
        let id = world.accepted(&deployment, None).await;
        let (store, target) = (&world.store, world.target.id);
        let newest = PageRequest { after: None, limit: 100_000 };
        let is_listed = async |rights: Option<&[Right]>| {
            store.targets(rights, &newest).await.unwrap().items.iter().any(|it| it.id == target)
        };
        let right = |mode: Mode| [Right { mode: Some(mode), namespace: None }];

        assert!(is_listed(None).await && is_listed(Some(right(Mode::Local).as_slice())).await);
        assert!(!is_listed(Some(right(Mode::CloudLocal).as_slice())).await);
        assert_eq!(store.deployments_on(&BTreeSet::from([target])).await.unwrap().len(), 1);
        let removed = Deployment { state: DeploymentState::Removed, ..deployment };
        world.end(id, &removed, OperationState::Undone, None).await;
        assert!(!is_listed(None).await);
        store.set_target_made_here(target, true).await.unwrap();
        assert!(is_listed(None).await && !is_listed(Some(right(Mode::Local).as_slice())).await);
        assert!(store.deployments_on(&BTreeSet::from([target])).await.unwrap().is_empty());
    }

    async fn followers_hear_every_event_once_and_in_order(world: World) {
        let deployment = world.deployment("app");
        let id = world.accepted(&deployment, None).await;
        let following = tokio::spawn(world.store.follow(id, 0).map_ok(|event| event.sequence).try_collect::<Vec<i64>>());

        for number in 0..20 {
            world.store.publish(id, EventKind::Warning { text: number.to_string() }).await.unwrap();
        }
        world.end(id, &deployment, OperationState::Succeeded, None).await;

        assert_eq!(following.await.unwrap().unwrap(), (1..=22).collect::<Vec<i64>>());
    }
}

#[tokio::test]
async fn what_is_stored_survives_a_power_cut() {
    let World { store, _folder, .. } = World::sqlite().await;

    let mut connections = Vec::new();
    for _ in 0..4 {
        connections.push(store.pool.acquire().await.unwrap());
    }

    for connection in &mut connections {
        let synchronous: i64 = sqlx::query_scalar("PRAGMA synchronous").fetch_one(&mut **connection).await.unwrap();
        let journal: String = sqlx::query_scalar("PRAGMA journal_mode").fetch_one(&mut **connection).await.unwrap();
        assert_eq!((synchronous, journal.as_str()), (2, "wal"), "2 is FULL");
    }
}

#[tokio::test]
async fn a_copy_is_made_while_a_server_writes_and_replaces_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (file, copy) = (folder.path().join("store.sqlite"), folder.path().join("copy.sqlite"));
    let store = Store::open(&Database::Sqlite(file.clone())).await.unwrap();
    let world = World::with(store, folder);
    let id = world.accepted(&world.deployment("app"), None).await;
    let mut writing = world.store.pool.begin().await.unwrap();
    sqlx::query("UPDATE operations SET progress = 50").execute(&mut *writing).await.unwrap();

    Store::copy_to(&file, &copy).await.unwrap();
    let again = Store::copy_to(&file, &copy).await;
    writing.commit().await.unwrap();

    assert!(again.is_err());
    let copied = Store::open(&Database::Sqlite(copy)).await.unwrap();
    assert_eq!(copied.operation(id).await.unwrap().unwrap().progress, 0);
}

#[tokio::test]
async fn a_second_server_on_the_same_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::Sqlite(folder.path().join("store.sqlite"));
    let first = Store::open(&database).await.unwrap();

    let second = Store::open(&database).await;

    assert!(matches!(second, Err(StoreError::Owned(_))));
    first.close().await;
}
