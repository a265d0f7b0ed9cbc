//! What a plan would do, in words.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use super::preview::Preview;
use super::{App, AppError, plan_facts};
use crate::cloud::aws::Aws;
use crate::config::Settings;
use crate::id::{PlanHash, Region};
use crate::intent::{AwsCredentials, Intent, Request, Secrets};
use crate::plan::Plan;
use crate::reply::view::{PlanView, PlannedStep};
use crate::step::provision_cluster::ProvisionCluster;
use crate::step::provision_instance::ProvisionInstance;
use crate::store::record::{Deployment, Target};

/// How long looking for credentials may take: a plan is not held up by what it costs.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

impl App {
    /// What a plan would do, as the world is now. When only the plan is wanted, its repository is looked at too.
    pub(super) async fn dry_run(
        &self,
        request: &Request,
        plan: &Plan,
        deployment: Deployment,
        target: Target,
        hash: PlanHash,
        shares_target: bool,
    ) -> PlanView {
        let (action, secrets) = (request.intent.action(), &request.secrets);
        let (name, namespace) = (deployment.name.to_string(), deployment.namespace.to_string());
        let (mode, target_name) = (deployment.mode, deployment.target_name.clone());
        let (before, on) = (deployment.clone(), target.clone());
        // Boxed: the futures of calls to AWS are large.
        let cost = Box::pin(self.cost_of(plan, target.cluster.is_some(), secrets.aws.as_ref()));
        let preview = async {
            if request.dry_run {
                Box::pin(self.preview(plan, secrets.git_token.as_ref())).await
            } else {
                Preview::default()
            }
        };
        let (cost, preview, looked) = tokio::join!(cost, preview, self.0.engine.dry_run(plan, deployment, target));
        let steps: Vec<PlannedStep> = plan
            .dependencies()
            .into_iter()
            .map(|(step, after)| {
                let found = looked.get(step.name());
                PlannedStep {
                    step: step.name().to_owned(),
                    title: step.title(),
                    after: after.into_iter().map(str::to_owned).collect(),
                    already: found.and_then(|it| it.already),
                    note: found.and_then(|it| it.note.clone()),
                }
            })
            .collect();
        let facts = plan_facts::of(request, plan, &before, &on, shares_target, &preview);
        let Preview { sentences, dockerfile, failure, .. } = preview;
        let summary = cost.into_iter().chain(sentences).collect();
        PlanView {
            action,
            hash,
            plan_changed: false,
            is_there_already: false,
            look_failure: failure,
            steps,
            deployment: name,
            mode,
            namespace,
            target: target_name,
            facts,
            summary,
            dockerfile,
        }
    }

    /// The hash of what a plan does to the world as it is: to whom, since which change, with which steps and which values
    /// that nobody is shown. Only this installation can make it, so that no text from elsewhere can hold the one of a plan
    /// that nobody was shown.
    pub(super) async fn plan_hash(
        &self,
        intent: &Intent,
        secrets: &Secrets,
        plan: &Plan,
        deployment: &Deployment,
        target: &Target,
    ) -> Result<PlanHash, AppError> {
        let of_existing = self.0.store.deployment(deployment.id).await?;
        let text = if let Some(it) = of_existing {
            serde_json::to_string(&(intent, plan, it.id, it.operation, it.state))
        } else {
            // The ids of a new deployment and target (UUID v7) are made for each request: with them in the hash, the
            // plan that the person confirms would never have the hash that was shown.
            let known = self.0.store.target(target.id).await?.map(|it| it.id);
            let steps: Vec<&str> = plan.steps().iter().map(|it| it.name()).collect();
            serde_json::to_string(&(intent, steps, known, &target.region))
        };
        let mut text = text.map_err(|error| AppError::Internal(error.into()))?;
        // Credentials and tokens say who does it, not what is done.
        for values in secrets.environment.iter().map(exposed).chain(secrets.build.iter().map(exposed)) {
            text = format!("{text} {values:?}");
        }
        Ok(PlanHash::of(&self.0.sealer.mac(&format!("plan {text}"))))
    }

    /// What an instance or a cluster that the plan would make costs.
    async fn cost_of(&self, plan: &Plan, has_cluster: bool, aws: Option<&AwsCredentials>) -> Option<String> {
        let (prices, Settings { ec2, eks, .. }) = (&self.0.prices, &*self.0.settings);
        let (what, size, region, cost) = if let Some(provision) = plan.parameters::<ProvisionInstance>() {
            let region = provision.region;
            let aws = self.aws_for_prices(&region, aws).await;
            let cost = prices.instance(aws.as_ref(), &region, &ec2.instance_type, ec2.volume_gib).await;
            ("instance", format!("`{}`", ec2.instance_type), region, cost)
        } else {
            let region = plan.parameters::<ProvisionCluster>().filter(|_| !has_cluster)?.region;
            let aws = self.aws_for_prices(&region, aws).await;
            let cost = prices.cluster(aws.as_ref(), &region, eks.into()).await;
            ("EKS cluster", format!("{} nodes, `{}`", eks.nodes, eks.instance_type), region, cost)
        };
        Some(match cost {
            Some(cost) => format!("A new {what} ({size}) costs {cost}."),
            None => format!(
                "**What a new {what} ({size}) costs in {region} is not known:** neither AWS' price list nor the table of this \
                 program tells it here."
            ),
        })
    }

    /// AWS, to be asked for prices; `None` when there are no credentials for it.
    async fn aws_for_prices(&self, region: &Region, given: Option<&AwsCredentials>) -> Option<Aws> {
        let connect = Aws::connect(region, self.access_keys(given)?);
        tokio::time::timeout(CONNECT_TIMEOUT, connect).await.ok()?.ok()
    }
}

/// Values with their names.
fn exposed<N: Display>(values: &BTreeMap<N, SecretString>) -> BTreeMap<String, &str> {
    values.iter().map(|(name, value)| (name.to_string(), value.expose_secret())).collect()
}
