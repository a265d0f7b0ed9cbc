//! Looks before anything is made whether all that an application on EKS takes is there, and what it will cost.

use serde::{Deserialize, Serialize};

use super::action::StepAction;
use super::context::StepContext;
use super::error::StepError;
use super::problems::Problems;
use crate::cloud::aws::eks::OfferedVersion;
use crate::cloud::aws::{Aws, AwsError, AwsErrorKind, instance_types};
use crate::cloud::price::ClusterSize;
use crate::id::{Domain, Region};
use crate::store::record::{ApplicationHost, Cost, Deployment};

/// Looks before anything is made whether all that an application on EKS takes is there. All problems come in one answer.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CheckHostedAccount {
    /// Where.
    pub region: Region,
    /// The host name that is asked for.
    pub domain: Option<Domain>,
}

/// All is there.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct HostedAccountChecked {
    /// Number of the account.
    pub account: String,
    /// Whose credentials these are.
    pub identity: String,
    /// The application's own host name.
    pub host: Option<ApplicationHost>,
    /// Availability zones for a new cluster.
    pub zones: Vec<String>,
    /// The Kubernetes version of a new cluster; without it, EKS chooses.
    #[serde(default)]
    pub version: Option<String>,
    /// Whether that version is past its standard support.
    #[serde(default)]
    pub is_extended: bool,
    /// The processor architecture of a new cluster's nodes, in AWS' words.
    #[serde(default)]
    pub architecture: String,
    /// What a new cluster will cost, where that is known.
    pub cost: Option<Cost>,
}

impl StepAction for CheckHostedAccount {
    const NAME: &'static str = "check_hosted_account";
    type Output = HostedAccountChecked;

    fn title(&self) -> String {
        format!("Check the AWS account in {}", self.region)
    }

    fn summary(&self, output: &HostedAccountChecked) -> String {
        let cost = output.cost.as_ref().map(|cost| format!("; {cost}")).unwrap_or_default();
        format!("account {} as {}{cost}", output.account, output.identity)
    }

    fn record(&self, output: &HostedAccountChecked, deployment: &mut Deployment) {
        deployment.facts.cost = output.cost.as_ref().map(ToString::to_string);
        deployment.facts.price.clone_from(&output.cost);
    }

    async fn run(&self, cx: &StepContext) -> Result<HostedAccountChecked, StepError> {
        cx.lines.progress("asking AWS what is there");
        let aws = cx.aws(&self.region).await?;
        let mut problems = Problems::default();
        let Some(identity) = problems.collect(aws.caller_identity().await)? else {
            return problems.into_result().map(|()| unreachable!("a refusal is a problem"));
        };
        let mut checked = HostedAccountChecked {
            account: identity.account,
            identity: identity.arn,
            host: cx.deployment.facts.host.clone(),
            zones: Vec::new(),
            version: None,
            is_extended: false,
            architecture: String::new(),
            cost: None,
        };
        if problems.collect(aws.has_region().await)? == Some(false) {
            problems.add(
                "aws_region_unavailable",
                format!("this account cannot use the region `{}`", self.region),
                "Correct `aws_region`, or enable the region for the account",
            );
        } else {
            let known = cx.store.target(cx.target.id).await?.and_then(|it| it.cluster);
            let found = problems.collect(aws.cluster(&cx.target.name).await)?.flatten();
            // In the place of one that is being deleted a new one is made.
            let found = found.filter(|it| !it.is_being_deleted());
            let ours = cx.target.id.to_string();
            // One of ours that is on no record is half made: the same takes it up again.
            let is_there = found.is_some_and(|it| known.is_some() || it.target.as_ref() != Some(&ours));
            if let Some(known) = known.filter(|known| known.account != checked.account) {
                problems.add(
                    "aws_other_account",
                    format!(
                        "the EKS cluster `{}` belongs to the account {}, and the credentials to {}",
                        known.name, known.account, checked.account
                    ),
                    "Send the credentials of that account, or another `instance_id` for a new cluster",
                );
            } else if !is_there {
                Box::pin(self.check_region(cx, &aws, &mut checked, &mut problems)).await?;
            }
            if let Some(domain) = &self.domain {
                checked.host = self.check_domain(cx, &aws, domain, &mut problems).await?.or(checked.host);
            }
        }
        problems.into_result().map(|()| checked)
    }
}

impl CheckHostedAccount {
    /// What a new cluster takes.
    async fn check_region(
        &self,
        cx: &StepContext,
        aws: &Aws,
        checked: &mut HostedAccountChecked,
        problems: &mut Problems,
    ) -> Result<(), StepError> {
        let eks = &cx.settings.eks;
        let (zones, room, vcpus_left, instance_type, offered) = tokio::join!(
            aws.zones_offering(&eks.instance_type),
            aws.cluster_quota_headroom(),
            aws.vcpus_left(&eks.instance_type),
            aws.instance_type(&eks.instance_type),
            aws.offered_versions(),
        );
        Self::check_version(cx, offered, checked, problems)?;
        let size = ClusterSize { is_in_extended_support: checked.is_extended, ..eks.into() };
        checked.cost = cx.prices.cluster(Some(aws), &self.region, size).await;
        let (zones, instance_type) = (problems.collect(zones)?.unwrap_or_default(), problems.collect(instance_type)?);
        let wanted = usize::from(eks.zones);
        if zones.len() < wanted {
            problems.add(
                "instance_type_not_offered",
                format!(
                    "the type `{}` is offered in {} availability zones of {}, and {wanted} are wanted",
                    eks.instance_type,
                    zones.len(),
                    self.region
                ),
                "Set `EKS_NODE_INSTANCE_TYPE` to a type that is, or `EKS_ZONES` to less",
            );
        }
        // Sorted before it is cut: AWS lists zones in any order, and other zones in the variables of a retry would make
        // Terraform replace the subnets that an earlier attempt created.
        let mut zones = zones;
        zones.sort();
        zones.truncate(wanted);
        checked.zones = zones;
        let gateways = eks.nat.gateways(eks.zones);
        for room in room {
            let takes = if room.what.starts_with("Elastic") { i64::from(gateways) } else { 1 };
            if room.left < takes {
                problems.add(
                    AwsErrorKind::Quota.code(),
                    format!(
                        "a cluster takes {takes} more {}, and the account's quota in {} leaves {}",
                        room.what, self.region, room.left
                    ),
                    &format!(
                        "Ask for more with the quota `{}` in the Service Quotas console, or remove some",
                        room.code
                    ),
                );
            }
        }
        let instance_type = instance_type.flatten();
        instance_types::architecture(instance_type.as_ref()).clone_into(&mut checked.architecture);
        self.check_architecture(cx, &checked.architecture, problems).await?;
        let vcpus = instance_type.map_or(0, |it| it.vcpus) * i64::from(eks.nodes);
        if let Some(left) = vcpus_left.filter(|&left| left < vcpus) {
            problems.add(
                AwsErrorKind::Quota.code(),
                format!(
                    "{} nodes of `{}` take {vcpus} vCPUs, and the account's quota in {} leaves {left}",
                    eks.nodes, eks.instance_type, self.region
                ),
                "Ask for more in the Service Quotas console, or set `EKS_NODES` to less",
            );
        }
        Ok(())
    }

    /// The Kubernetes version of a new cluster: the one that is set, else EKS' default.
    fn check_version(
        cx: &StepContext,
        offered: Result<Vec<OfferedVersion>, AwsError>,
        checked: &mut HostedAccountChecked,
        problems: &mut Problems,
    ) -> Result<(), StepError> {
        checked.version.clone_from(&cx.settings.eks.version);
        let offered = match offered {
            // EKS has a default all the same.
            Err(error) if error.kind == AwsErrorKind::Unauthorized => return Ok(()),
            offered => problems.collect(offered)?.unwrap_or_default(),
        };
        let default = offered.iter().find(|it| it.is_default);
        let Some(wanted) = &cx.settings.eks.version else {
            checked.version = default.map(|it| it.version.clone());
            return Ok(());
        };
        let default = default.map(|it| it.version.as_str()).unwrap_or_default();
        match offered.iter().find(|it| it.version == *wanted) {
            Some(found) if found.is_extended => {
                checked.is_extended = true;
                cx.lines.warning(format!(
                    "Kubernetes {wanted} is past EKS' standard support, where the control plane costs six times as much; \
                     without `EKS_VERSION` it is {default}."
                ));
            }
            None if !offered.is_empty() => {
                let versions: Vec<&str> = offered.iter().map(|it| it.version.as_str()).collect();
                problems.add(
                    "eks_version_not_offered",
                    format!("EKS makes no cluster with Kubernetes {wanted}, only with {}", versions.join(", ")),
                    &format!("Set `EKS_VERSION` to one of these, or leave it out for {default}"),
                );
            }
            Some(_) | None => (),
        }
        Ok(())
    }

    /// Images are built by this machine's Docker, for its own architecture.
    async fn check_architecture(
        &self,
        cx: &StepContext,
        of_nodes: &str,
        problems: &mut Problems,
    ) -> Result<(), StepError> {
        let of_nodes = instance_types::docker_architecture(of_nodes);
        let of_docker = cx.host().await?.docker.version().await?.architecture;
        if !of_docker.is_empty() && of_docker != of_nodes {
            problems.add(
                "architecture_mismatch",
                format!(
                    "nodes of `{}` are {of_nodes}, and Docker here builds images for {of_docker}",
                    cx.settings.eks.instance_type
                ),
                &format!(
                    "Set `EKS_NODE_INSTANCE_TYPE` to a type of {of_docker} such as `{}`, or run the server on a machine of {of_nodes}",
                    if of_docker == "arm64" { "t4g.medium" } else { "t3.medium" }
                ),
            );
        }
        Ok(())
    }

    /// The host name, when the zone is there, holds it, and nobody else has it.
    async fn check_domain(
        &self,
        cx: &StepContext,
        aws: &Aws,
        domain: &Domain,
        problems: &mut Problems,
    ) -> Result<Option<ApplicationHost>, StepError> {
        let Some(zone) = problems.collect(aws.zone(&domain.zone).await)? else { return Ok(None) };
        let Some(zone) = zone else {
            problems.add(
                "zone_missing",
                format!("there is no hosted zone `{}` in this account", domain.zone),
                "Correct `base_hosted_zone_id`",
            );
            return Ok(None);
        };
        if zone.is_private {
            problems.add(
                "zone_private",
                format!(
                    "the hosted zone `{}` ({}) is private: nobody outside would find the name",
                    domain.zone, zone.name
                ),
                "Send the id of a public zone as `base_hosted_zone_id`",
            );
            return Ok(None);
        }
        let base = cx.settings.ingress.default_domain.clone().unwrap_or_else(|| zone.name.clone());
        if base != zone.name && !base.ends_with(&format!(".{}", zone.name)) {
            problems.add(
                "domain_outside_zone",
                format!("`{base}` does not lie in the hosted zone `{}`, which is for `{}`", domain.zone, zone.name),
                "Send the zone of that domain as `base_hosted_zone_id`, or correct `DEFAULT_DOMAIN_NAME_FOR_APPS`",
            );
            return Ok(None);
        }
        let host = ApplicationHost { name: format!("{}.{base}", domain.label), zone: domain.zone.clone() };
        let is_ours = cx.deployment.facts.host.as_ref() == Some(&host) || cx.has_begun_alias().await?;
        let taken = problems.collect(aws.find_record(&host.zone, &host.name).await)?.flatten();
        if let Some(leads_to) = taken.filter(|_| !is_ours) {
            problems.add(
                "host_name_taken",
                format!("`{}` leads to `{leads_to}` already", host.name),
                "Send another `app_subdomain_label`, or remove that record",
            );
        }
        Ok(Some(host))
    }
}
