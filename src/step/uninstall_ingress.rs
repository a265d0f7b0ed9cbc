//! Takes the ingress controller off the cluster, and waits until its load balancer is gone.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::context::StepContext;
use super::error::StepError;
use super::ingress::{NAMESPACE, RELEASE, helm};
use super::release_ingress::release;
use super::removal::Removal;
use crate::cloud::aws::{Aws, load_balancer::NetworkLoadBalancer};
use crate::id::{Region, cluster_name_of_target};

/// Pause between two looks.
const POLL_INTERVAL: Duration = Duration::from_secs(2);
/// How long a namespace may take to go.
const NAMESPACE_TIMEOUT: Duration = Duration::from_mins(3);

/// Takes the ingress controller off the cluster, and waits until its load balancer is gone.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct UninstallIngress {
    /// Where.
    pub region: Region,
    /// Whether the cluster goes too, and with it whatever else has a load balancer.
    pub whole_cluster: bool,
}

impl Removal for UninstallIngress {
    const NAME: &'static str = "uninstall_ingress";

    fn title(&self) -> String {
        "Release the load balancer".to_owned()
    }

    fn weight(&self) -> u32 {
        20
    }

    async fn remove(&self, cx: &StepContext) -> Result<Vec<String>, StepError> {
        cx.lock_target().await?;
        let result = if cx.is_target_shared().await? {
            release(cx, &self.region).await
        } else {
            uninstall(cx, &self.region, self.whole_cluster).await
        };
        cx.unlock_target().await?;
        result
    }
}

/// Removes the controller; with the whole cluster, every Service of type `LoadBalancer` too.
pub(super) async fn uninstall(
    cx: &StepContext,
    region: &Region,
    whole_cluster: bool,
) -> Result<Vec<String>, StepError> {
    let aws = cx.aws_on_record(region).await?;
    let cluster = cluster_name_of_target(&cx.deployment.target_name);
    let Ok(known) = cx.cluster() else { return Ok(Vec::new()) };
    let before = aws.cluster_load_balancers(&known.name).await?;
    let mut going = Vec::new();
    if !cx.is_cluster_gone(&cluster).await? {
        let kube = cx.kube(&cluster).await?;
        let services = kube.load_balancer_services((!whole_cluster).then_some(NAMESPACE)).await?;
        cx.lines.progress("taking the ingress controller off the cluster");
        let helm = helm(cx, &aws, &known).await?;
        helm.uninstall(RELEASE, NAMESPACE, &cx.calls(), &cx.lines, &cx.cancel).await?;
        for service in &services {
            kube.delete_service(service).await?;
        }
        let names: Vec<&String> = services.iter().filter_map(|it| it.hostname.as_ref()).collect();
        going.extend(before.iter().filter(|it| names.contains(&&it.dns_name)).cloned());
        if !whole_cluster {
            kube.delete_whole_namespace(NAMESPACE, NAMESPACE_TIMEOUT).await?;
        }
    }
    if whole_cluster {
        going = before;
        delete_load_balancers(cx, &aws, Some(&known.vpc)).await?;
    } else {
        wait_until_deleted(cx, &aws, &going, None).await?;
    }
    Ok(going.iter().map(|it| format!("load balancer `{}`", it.dns_name)).collect())
}

/// Waits until a cluster's load balancers are gone; those that nobody removes any more are deleted.
pub(super) async fn delete_load_balancers(cx: &StepContext, aws: &Aws, vpc: Option<&str>) -> Result<(), StepError> {
    let cluster = &cx.target.name;
    let left = aws.cluster_load_balancers(cluster).await?;
    if !left.is_empty() {
        let has_controller =
            cx.target.cluster.is_some() && aws.cluster(cluster).await?.is_some_and(|it| !it.is_being_deleted());
        if has_controller && wait_until_deleted(cx, aws, &left, None).await.is_ok() {
            return wait_until_deleted(cx, aws, &[], vpc).await;
        }
        for balancer in aws.cluster_load_balancers(cluster).await? {
            aws.delete_load_balancer(&balancer.arn).await?;
        }
    }
    wait_until_deleted(cx, aws, &left, vpc).await
}

async fn wait_until_deleted(
    cx: &StepContext,
    aws: &Aws,
    going: &[NetworkLoadBalancer],
    vpc: Option<&str>,
) -> Result<(), StepError> {
    let limit = cx.settings.ingress.load_balancer_timeout;
    let start = tokio::time::Instant::now();
    loop {
        let mut left = Vec::new();
        for balancer in going {
            if aws.load_balancer(&balancer.dns_name).await?.is_some() {
                left.push(format!("load balancer `{}`", balancer.dns_name));
            }
        }
        if let (true, Some(vpc)) = (left.is_empty(), vpc) {
            // Their network interfaces go later than they do.
            left.extend(aws.load_balancer_interfaces(vpc).await?.iter().map(|id| format!("network interface `{id}`")));
        }
        if left.is_empty() {
            return Ok(());
        }
        let left = left.join(", ");
        if start.elapsed() > limit {
            return Err(StepError::transient(
                "load_balancer_stays",
                format!("still there after {} s: {left}", limit.as_secs()),
                "Look at it in the EC2 console, or raise `LOAD_BALANCER_TIMEOUT_S`",
            ));
        }
        cx.lines.progress(format!("waiting until it is gone: {left}, {} s", start.elapsed().as_secs()));
        tokio::select! {
            () = tokio::time::sleep(POLL_INTERVAL) => (),
            () = cx.cancel.cancelled() => return Err(StepError::Cancelled),
        }
    }
}
