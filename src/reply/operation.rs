//! How an operation ended (or stands) -> the answer.
//!
//! Every answer says what was done, where it runs, how to reach it, and what to do next; a failure says why.

use crate::event::{Failure, OperationState};
use crate::id::{Action, Mode};
use crate::store::record::{Concern, Deployment, Operation, Version};

use super::narration::{done, nothing_to_do};
use super::view::{StepState, StepView};
use super::{bullets, code_block, dockerfile, elapsed, replicas, strip_ansi, to_sentence};

/// How many of the last lines of output an answer shows.
const OUTPUT_LINES: usize = 20;

/// The answer to a request that started (or attached to) an operation.
#[must_use]
pub fn render(operation: &Operation, deployment: Option<&Deployment>, steps: &[StepView]) -> String {
    let paragraphs = match operation.state {
        OperationState::Queued | OperationState::Running | OperationState::Waiting => {
            unfinished(operation, deployment, steps)
        }
        OperationState::Succeeded => succeeded(operation, deployment),
        OperationState::Undone => failed(
            operation,
            &format!(
                "**{} failed**, and everything that it had made was taken back.",
                the_action(operation, deployment)
            ),
            deployment,
        ),
        OperationState::Failed => {
            let as_it_was = if is_live(deployment) { " What ran before is as it was." } else { "" };
            let headline = format!("**{} failed.**{as_it_was}", the_action(operation, deployment));
            failed(operation, &headline, deployment)
        }
        OperationState::Cancelled => vec![
            Some(format!(
                "**{} was cancelled**, and what it had done was taken back.",
                the_action(operation, deployment)
            )),
            bullets("Taken back:", &operation.receipt),
            deployment.filter(|it| is_live(Some(it))).map(location),
            bullets("Worth knowing:", &operation.warnings),
        ],
        OperationState::Stuck => stuck(operation, deployment),
    };
    paragraphs.into_iter().flatten().collect::<Vec<_>>().join("\n\n")
}

fn succeeded(operation: &Operation, deployment: Option<&Deployment>) -> Vec<Option<String>> {
    let Some(deployment) = deployment else {
        return vec![Some(format!("**{} is done.**", the_action(operation, None))), bullets("", &operation.receipt)];
    };
    let name = &deployment.name;
    let version = deployment.facts.version.as_ref();
    let rolled_out = version.is_some_and(|version| version.operation == operation.id);
    let concerns = &deployment.facts.concerns;
    let but = but(concerns);
    let running = |headline: String| {
        vec![
            Some(headline),
            evidence(concerns),
            Some(location(deployment)),
            bullets("Worth knowing:", &warnings(operation, deployment)),
            Some(next(deployment)),
        ]
    };
    match operation.action {
        Action::Deploy if rolled_out || version.is_none() => {
            let mut paragraphs =
                running(format!("**`{name}` is running{but}.**{}{}", built_from(deployment), took(operation)));
            paragraphs.push(version.and_then(|it| it.build.generated.as_deref()).map(dockerfile));
            paragraphs
        }
        Action::Deploy | Action::Redeploy if !rolled_out && !operation.receipt.is_empty() => {
            let mut paragraphs = running(format!("**`{name}` is up to date{but}.**"));
            paragraphs.insert(2, bullets("Done:", &operation.receipt));
            paragraphs
        }
        Action::Deploy | Action::Redeploy if !rolled_out && deployment.facts.replicas == Some(0) => running(format!(
            "**`{name}` is scaled to 0, so nothing runs.** Nothing was built and nothing was rolled out{}; `scale {name} to 1` starts it.",
            version
                .map(|version| format!(", as it has commit `{}` already", version.commit.short()))
                .unwrap_or_default()
        )),
        Action::Deploy | Action::Redeploy if !rolled_out => running(format!(
            "**Nothing to do: `{name}` already runs{}{but}.** Nothing was built and nothing was rolled out.",
            version.map(|version| format!(" commit `{}`", version.commit.short())).unwrap_or_default()
        )),
        Action::Deploy | Action::Redeploy if deployment.facts.replicas == Some(0) => running(format!(
            "**`{name}` has its new version, and is scaled to 0, so nothing runs.**{} `scale {name} to 1` starts it.",
            built_from(deployment)
        )),
        Action::Deploy | Action::Redeploy => {
            running(format!("**`{name}` runs its new version{but}.**{}{}", built_from(deployment), took(operation)))
        }
        Action::Scale => running(match deployment.facts.replicas {
            Some(0) => format!(
                "**`{name}` is scaled to 0.** It keeps its settings and its address, but answers nobody until it is scaled up."
            ),
            Some(count) => format!("**`{name}` runs with {}{but}.**", replicas(count)),
            None => format!("**`{name}` is scaled.**"),
        }),
        Action::Restart => running(format!(
            "**`{name}` is restarted{but}.** New pods of the same version{} serve.",
            version.map(|version| format!(" (commit `{}`)", version.commit.short())).unwrap_or_default()
        )),
        Action::Rollback => running(match version {
            Some(version) => {
                let (commit, revision) = (version.commit.short(), version.revision);
                format!("**`{name}` is back on commit `{commit}`{but}** (version {revision}).")
            }
            None => format!("**`{name}` is back on its earlier version.**"),
        }),
        Action::Decommission => vec![
            Some(format!("**`{name}` is gone.** It was checked that nothing of it is left.")),
            bullets("Removed:", &operation.receipt),
            bullets("Worth knowing:", &operation.warnings),
            Some(format!("To have it again, say `{}`.", deployment.deploy_sentence())),
        ],
        Action::Status | Action::List | Action::Logs | Action::Cancel | Action::Undo | Action::Cost => {
            running(format!("**`{name}` is {}.**", deployment.state.as_str()))
        }
    }
}

fn failed(operation: &Operation, headline: &str, deployment: Option<&Deployment>) -> Vec<Option<String>> {
    let failure = operation.failure.as_ref();
    vec![
        Some(headline.to_owned()),
        failure.map(failure_reason),
        bullets("Taken back:", &operation.receipt),
        deployment.filter(|it| is_live(Some(it))).map(location),
        bullets("Worth knowing:", &operation.warnings),
        Some(format!("(operation `{}`)", operation.id)),
    ]
}

fn stuck(operation: &Operation, deployment: Option<&Deployment>) -> Vec<Option<String>> {
    let headline = format!(
        "**{} is stuck:** it failed, and not everything that it had made could be taken back. A person has to look.",
        the_action(operation, deployment)
    );
    let mut paragraphs = failed(operation, &headline, None);
    paragraphs.pop();
    paragraphs.push(Some(format!(
        "When the cause is gone, `POST /v1/operations/{}/resume` takes back the rest, with other `aws_credentials` or \
         another `git_token` if they are in its body.",
        operation.id
    )));
    paragraphs
}

/// How far an operation is that has not ended, without a word on how to follow it.
#[must_use]
pub fn progress(operation: &Operation, deployment: Option<&Deployment>, steps: &[StepView]) -> String {
    let verb = match operation.state {
        OperationState::Queued => "waits for its turn",
        OperationState::Waiting => "waits for something outside of this server",
        OperationState::Running
        | OperationState::Succeeded
        | OperationState::Undone
        | OperationState::Failed
        | OperationState::Cancelled
        | OperationState::Stuck => "is still running",
    };
    let is_idle = |it: &&StepView| it.state == StepState::Succeeded && it.already;
    let idle: Vec<String> = steps.iter().filter(is_idle).map(|it| strip_ansi(&it.title)).collect();
    let lines = steps.iter().filter(|it| !is_idle(it)).filter_map(step);
    let lines: Vec<String> = lines.chain(nothing_to_do(&idle)).collect();
    let headline = format!(
        "**{} {verb}** ({} % done). It goes on without you.",
        the_action(operation, deployment),
        operation.progress
    );
    if lines.is_empty() { headline } else { format!("{headline}\n\n{}", lines.join("\n")) }
}

fn unfinished(operation: &Operation, deployment: Option<&Deployment>, steps: &[StepView]) -> Vec<Option<String>> {
    let id = operation.id;
    vec![
        Some(progress(operation, deployment, steps)),
        (operation.state == OperationState::Waiting)
            .then(|| format!("When that is there, `POST /v1/operations/{id}/resume` lets it look again at once.")),
        Some(format!(
            "Follow it with `GET /v1/operations/{id}/events`, look at it with `GET /v1/operations/{id}`, stop it with \
             `POST /v1/operations/{id}/cancel`, or just ask how it is."
        )),
    ]
}

fn step(step: &StepView) -> Option<String> {
    let text = step.text.as_deref().filter(|text| !text.is_empty()).map(strip_ansi);
    let title = strip_ansi(&step.title);
    if title.is_empty() {
        return None;
    }
    match step.state {
        StepState::Pending => None,
        StepState::Running => {
            Some(format!("- {title}{}", text.map_or_else(|| " …".to_owned(), |it| format!(": {it}"))))
        }
        StepState::Succeeded => Some(done(&title, text.as_deref().unwrap_or_default(), step.elapsed_ms)),
        StepState::Failed => Some(format!("- ✗ {title}{}", text.map(|it| format!(": {it}")).unwrap_or_default())),
        StepState::Undoing => Some(format!("- ↩ {title}: being taken back")),
        StepState::Undone => Some(format!("- ↩ {title}: taken back")),
        StepState::UndoFailed => Some(format!("- ✗ {title}: could not be taken back")),
    }
}

/// What is not well with something that runs, as the end of a headline.
pub(super) fn but(concerns: &[Concern]) -> String {
    let what: Vec<&str> = concerns.iter().map(|it| it.what.as_str()).collect();
    if what.is_empty() { String::new() } else { format!(", but {}", what.join(", and ")) }
}

/// The lines that show it.
pub(super) fn evidence(concerns: &[Concern]) -> Option<String> {
    let lines: Vec<&str> = concerns.iter().flat_map(|it| &it.evidence).map(String::as_str).take(OUTPUT_LINES).collect();
    (!lines.is_empty()).then(|| code_block(lines))
}

/// Where it runs and how to reach it.
pub(super) fn location(deployment: &Deployment) -> String {
    let facts = &deployment.facts;
    let target = match deployment.mode {
        Mode::Local => format!("the kind cluster `{}`", deployment.target_name),
        Mode::CloudLocal => format!("the EC2 instance `{}`", deployment.target_name),
        Mode::CloudHosted => format!("the EKS cluster `{}`", deployment.target_name),
    };
    let mut lines = vec![format!(
        "- Where: namespace `{}` on {target}{}",
        deployment.namespace,
        facts.replicas.map(|count| format!(", {}", replicas(count))).unwrap_or_default()
    )];
    match (&facts.app_url, &facts.version) {
        (Some(url), _) => lines.push(format!(
            "- Address: {url}{}",
            facts
                .http_status
                .filter(|_| facts.replicas != Some(0))
                .map(|status| format!(" (answered with HTTP {status})"))
                .unwrap_or_default()
        )),
        (None, Some(version)) if deployment.mode == Mode::Local => lines.push(port_forward(deployment, version)),
        (None, _) => {}
    }
    if let (Some(id), Some(address)) = (&facts.ec2_instance_id, &facts.public_ip) {
        let key_pair = facts.ec2_key_name.as_ref().map(|it| format!(", key pair `{it}`")).unwrap_or_default();
        lines.push(format!("- Instance: `{id}` at {address}{key_pair}"));
    }
    if let Some(cost) = &facts.cost {
        lines.push(format!("- Cost: {cost}"));
    }
    if let Some(version) = &facts.version {
        lines.push(format!(
            "- Version: {} (commit `{}`, image `{}`)",
            version.revision,
            version.commit.short(),
            version.image
        ));
    }
    lines.push(format!("- Deployment: `{}`", deployment.id));
    lines.join("\n")
}

/// A cluster without port mappings is reached through the Kubernetes API.
fn port_forward(deployment: &Deployment, version: &Version) -> String {
    let Deployment { target_name, namespace, name, .. } = deployment;
    let port = version.main_port;
    let here = if port.get() < 1024 { 8080 } else { port.get() };
    format!(
        "- Address: the cluster maps no port to this machine. Run `kubectl --context kind-{target_name} --namespace \
         {namespace} port-forward service/{name} {here}:{port}` and open http://localhost:{here}"
    )
}

fn built_from(deployment: &Deployment) -> String {
    let commit = deployment.facts.version.as_ref().map(|version| format!(" at commit `{}`", version.commit.short()));
    format!(" It is built from {}{}.", source(deployment), commit.unwrap_or_default())
}

/// The repository, and the directory of it that is built.
pub(super) fn source(deployment: &Deployment) -> String {
    let directory = deployment.source_directory.as_ref().map(|it| format!("the directory `{it}` of "));
    format!("{}{}", directory.unwrap_or_default(), deployment.repository)
}

/// How long it took, when that is worth a word.
fn took(operation: &Operation) -> String {
    let ms = operation.ended_at.map_or(0, |ended| ended.duration_since(operation.created_at).as_millis());
    u64::try_from(ms).ok().filter(|ms| *ms >= 1000).map_or_else(String::new, |ms| format!(" It took {}.", elapsed(ms)))
}

fn next(deployment: &Deployment) -> String {
    let scale = match deployment.facts.replicas {
        Some(0 | 3..) => "scale it to 1",
        Some(1 | 2) | None => "scale it to 3",
    };
    format!("Next: `redeploy it`, `{scale}`, `show its logs` or `take it down`.")
}

/// The warnings of the operation, then those of the deployment that it did not repeat; who scales or restarts has read
/// them.
fn warnings(operation: &Operation, deployment: &Deployment) -> Vec<String> {
    let mut all = operation.warnings.clone();
    if matches!(operation.action, Action::Scale | Action::Restart) {
        return all;
    }
    all.extend(deployment.facts.warnings.iter().filter(|it| !operation.warnings.contains(it)).cloned());
    all
}

/// Why something is not well, and what to do about it.
pub(super) fn failure_reason(failure: &Failure) -> String {
    let paragraphs = [
        Some(format!("Why: {}", to_sentence(&failure.message))),
        output(failure),
        (!failure.next_step.is_empty()).then(|| format!("What to do: {}", to_sentence(&failure.next_step))),
    ];
    paragraphs.into_iter().flatten().collect::<Vec<_>>().join("\n\n")
}

fn output(failure: &Failure) -> Option<String> {
    let skipped = failure.output.len().saturating_sub(OUTPUT_LINES);
    (!failure.output.is_empty()).then(|| code_block(failure.output[skipped..].iter().map(String::as_str)))
}

/// Whether something that ran before still runs.
fn is_live(deployment: Option<&Deployment>) -> bool {
    use crate::store::record::DeploymentState::{Deploying, Failed, Removed, Removing, Running};
    deployment.is_some_and(|it| match it.state {
        Running => it.facts.version.is_some(),
        Deploying | Failed | Removing | Removed => false,
    })
}

fn the_action(operation: &Operation, deployment: Option<&Deployment>) -> String {
    let what = match operation.action {
        Action::Deploy => "The deploy",
        Action::Redeploy => "The redeploy",
        Action::Scale => "Scaling",
        Action::Restart => "The restart",
        Action::Rollback => "The rollback",
        Action::Decommission => "The removal",
        Action::Status | Action::List | Action::Logs | Action::Cancel | Action::Undo | Action::Cost => "The operation",
    };
    deployment.map_or_else(|| what.to_owned(), |it| format!("{what} of `{}`", it.name))
}

#[cfg(test)]
pub(crate) mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::id::{CommitId, DeploymentName, ImageRef, Namespace, OperationId, Port, RepositoryUrl};
    use crate::store::build_options::BuildOptions;
    use crate::store::record::{DeploymentFacts, DeploymentState, VersionBuild};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + second).unwrap()
    }

    fn operation_id() -> OperationId {
        OperationId::parse("op_018bcfe568007000800000000000000a").unwrap()
    }

    pub(crate) fn a_deployment() -> Deployment {
        Deployment {
            id: crate::id::DeploymentId::parse("dep_018bcfe568007000800000000000000b").unwrap(),
            mode: Mode::Local,
            state: DeploymentState::Running,
            target: crate::id::TargetId::parse("tgt_018bcfe568007000800000000000000c").unwrap(),
            target_name: "on-demand-infra".to_owned(),
            name: DeploymentName::parse("notes").unwrap(),
            namespace: Namespace::parse("demo").unwrap(),
            repository: RepositoryUrl::parse("https://git.example.test/team/notes.git").unwrap(),
            git_ref: None,
            source_directory: None,
            operation: operation_id(),
            facts: DeploymentFacts {
                version: Some(Version {
                    revision: 1,
                    commit: CommitId::parse("3f2a1b9c0d1e4f5a6b7c8d9e0f1a2b3c4d5e6f70").unwrap(),
                    git_ref: None,
                    image: ImageRef::parse("notes:3f2a1b9c0d1e").unwrap(),
                    image_id: "sha256:0".to_owned(),
                    main_port: Port::new(8000).unwrap(),
                    ports: vec![crate::id::ExposedPort::parse("8000/tcp").unwrap()],
                    port_source: Default::default(),
                    container_port: None,
                    stop_grace_s: None,
                    source_directory: None,
                    dockerfile: None,
                    build: VersionBuild::default(),
                    build_options: BuildOptions::default(),
                    environment_secret: None,
                    environment_names: Vec::new(),
                    operation: operation_id(),
                    deployed_at: at(30),
                }),
                replicas: Some(2),
                app_url: Some("http://localhost:30001".to_owned()),
                node_port: Some(30001),
                http_status: Some(200),
                warnings: vec!["the image runs as root".to_owned()],
                ..DeploymentFacts::default()
            },
            created_at: at(0),
            updated_at: at(30),
        }
    }

    pub(crate) fn an_operation(action: Action, state: OperationState) -> Operation {
        Operation {
            id: operation_id(),
            action,
            principal: "address:127.0.0.1".to_owned(),
            intent: serde_json::Value::Null,
            plan: serde_json::Value::Null,
            state,
            progress: 45,
            deployment: a_deployment().id,
            target: a_deployment().target,
            failure: None,
            receipt: Vec::new(),
            warnings: Vec::new(),
            created_at: at(0),
            ended_at: None,
            written_by: None,
            keeps_secrets: false,
            is_cancel_requested: false,
        }
    }

    fn a_failure() -> Failure {
        Failure {
            code: "crash_loop".to_owned(),
            message: "the application ends with exit code 1 right after it starts".to_owned(),
            next_step: "mend the cause that its output names, push, and deploy again".to_owned(),
            output: vec!["Traceback (most recent call last):".to_owned(), "KeyError: 'DATABASE'".to_owned()],
        }
    }

    #[test]
    fn a_deploy_that_succeeded_says_where_it_runs() {
        let text = render(&an_operation(Action::Deploy, OperationState::Succeeded), Some(&a_deployment()), &[]);

        insta::assert_snapshot!(text);
    }

    #[test]
    fn a_deployment_without_a_mapped_port_says_how_to_reach_it() {
        let mut deployment = a_deployment();
        deployment.facts.app_url = None;

        let text = render(&an_operation(Action::Deploy, OperationState::Succeeded), Some(&deployment), &[]);

        assert!(text.contains(
            "`kubectl --context kind-on-demand-infra --namespace demo port-forward service/notes 8000:8000`"
        ));
    }

    #[test]
    fn a_redeploy_of_the_same_commit_says_that_nothing_was_done() {
        let mut operation = an_operation(Action::Redeploy, OperationState::Succeeded);
        operation.id = OperationId::new();

        insta::assert_snapshot!(render(&operation, Some(&a_deployment()), &[]));
    }

    #[test]
    fn a_scale_to_zero_says_what_it_means() {
        let mut deployment = a_deployment();
        deployment.facts.replicas = Some(0);

        let text = render(&an_operation(Action::Scale, OperationState::Succeeded), Some(&deployment), &[]);

        insta::assert_snapshot!(text);
    }

    #[test]
    fn a_rollback_names_the_version_it_went_back_to() {
        let text = render(&an_operation(Action::Rollback, OperationState::Succeeded), Some(&a_deployment()), &[]);

        assert!(text.starts_with("**`notes` is back on commit `3f2a1b9c0d1e`** (version 1)."));
    }

    #[test]
    fn a_decommission_ends_with_a_receipt() {
        let mut operation = an_operation(Action::Decommission, OperationState::Succeeded);
        operation.receipt = vec!["namespace `demo`".to_owned(), "image `notes:3f2a1b9c0d1e`".to_owned()];

        insta::assert_snapshot!(render(&operation, Some(&a_deployment()), &[]));
    }

    #[test]
    fn a_deploy_that_was_undone_says_why_and_what_to_do() {
        let mut operation = an_operation(Action::Deploy, OperationState::Undone);
        operation.failure = Some(a_failure());
        operation.receipt = vec!["namespace `demo`".to_owned()];
        let mut deployment = a_deployment();
        deployment.state = DeploymentState::Removed;

        insta::assert_snapshot!(render(&operation, Some(&deployment), &[]));
    }

    #[test]
    fn a_redeploy_that_failed_says_what_still_runs() {
        let mut operation = an_operation(Action::Redeploy, OperationState::Failed);
        operation.failure = Some(a_failure());

        insta::assert_snapshot!(render(&operation, Some(&a_deployment()), &[]));
    }

    #[test]
    fn a_cancelled_operation_says_what_was_taken_back() {
        let mut operation = an_operation(Action::Deploy, OperationState::Cancelled);
        operation.receipt = vec!["namespace `demo`".to_owned()];

        insta::assert_snapshot!(render(&operation, Some(&a_deployment()), &[]));
    }

    #[test]
    fn a_stuck_operation_says_what_a_person_can_do() {
        let mut operation = an_operation(Action::Decommission, OperationState::Stuck);
        operation.failure = Some(Failure {
            code: "undo_failed".to_owned(),
            message: "the namespace `demo` is Terminating for 5 minutes".to_owned(),
            next_step: "run `kubectl get namespace demo -o yaml` and remove the finalizer that holds it".to_owned(),
            output: Vec::new(),
        });

        insta::assert_snapshot!(render(&operation, Some(&a_deployment()), &[]));
    }

    #[test]
    fn an_operation_that_takes_long_says_how_to_follow_it() {
        let operation = an_operation(Action::Deploy, OperationState::Running);
        let view = |step: &str, title: &str, state, elapsed_ms, text: Option<&str>| StepView {
            step: step.to_owned(),
            title: title.to_owned(),
            state,
            already: false,
            elapsed_ms,
            text: text.map(str::to_owned),
        };
        let steps = [
            view("clone", "Clone the repository", StepState::Succeeded, Some(420), Some("commit 3f2a1b9c0d1e")),
            view("build", "Build the image", StepState::Running, None, Some("step 3 of 5: COPY . .")),
            view("apply", "Apply the manifests", StepState::Pending, None, None),
        ];

        insta::assert_snapshot!(render(&operation, Some(&a_deployment()), &steps));
    }
}
