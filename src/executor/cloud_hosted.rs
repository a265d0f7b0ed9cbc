//! Cloud-hosted mode: an EKS cluster behind an NLB, images in ECR, and a host name of one's own.
//!
//! The image is built and pushed, and the certificate is asked for, while the cluster comes up. The last application takes
//! the cluster with it; the ingress controller goes before the cluster, because its NLB would outlive it.

use crate::id::{ClusterName, DeploymentName, Domain, Region, cluster_name_of_target};
use crate::intent::{Decommission, Deploy, Intent};
use crate::plan::Plan;
use crate::step::await_certificate::AwaitCertificate;
use crate::step::check_hosted_account::CheckHostedAccount;
use crate::step::create_alias::CreateAlias;
use crate::step::destroy_cluster::DestroyCluster;
use crate::step::destroy_repository::DestroyRepository;
use crate::step::find_cluster::FindCluster;
use crate::step::install_ingress::InstallIngress;
use crate::step::provision_cluster::ProvisionCluster;
use crate::step::provision_repository::ProvisionRepository;
use crate::step::push_image::PushImage;
use crate::step::release_ingress::ReleaseIngress;
use crate::step::remove_alias::RemoveAlias;
use crate::step::remove_application::RemoveApplication;
use crate::step::remove_certificate::RemoveCertificate;
use crate::step::remove_images::RemoveImages;
use crate::step::remove_workspace::RemoveWorkspace;
use crate::step::request_certificate::RequestCertificate;
use crate::step::return_nodes::ReturnNodes;
use crate::step::uninstall_ingress::UninstallIngress;
use crate::step::verify_account::VerifyAccount;
use crate::step::verify_removal::VerifyRemoval;
use crate::store::record::Deployment;

use super::application::{RollOut, not_a_change, restart, scale};
use super::input::{PlanError, PlanInput};

pub(super) fn plan(intent: &Intent, input: &PlanInput<'_>) -> Result<Plan, PlanError> {
    // Steps take a kind cluster's name; in this mode only the text is used, and the endpoint comes from the target's
    // `EksCluster` record (`StepContext::kube`).
    let cluster = cluster_name_of_target(&input.deployment.target_name);
    let region = input.region("cluster")?;
    match intent {
        Intent::Deploy(deploy) => deploy_plan(deploy, region, &cluster, input),
        Intent::Redeploy(redeploy) => {
            let wanted = RollOut::of_redeploy(redeploy, input)?;
            let image = Plan::Sequence([wanted.source(input), built_and_pushed(&wanted, &region, input)].concat());
            let ready = Plan::Parallel(vec![Plan::step(FindCluster {}), image]);
            Ok(Plan::Sequence([vec![ready], wanted.apply(&cluster, input), wanted.verify(&cluster)].concat()))
        }
        Intent::Rollback(rollback) => {
            let wanted = RollOut::of_rollback(rollback, input)?;
            let found = vec![Plan::step(FindCluster {})];
            Ok(Plan::Sequence([found, wanted.apply(&cluster, input), wanted.verify(&cluster)].concat()))
        }
        Intent::Scale(it) => {
            let (found, returned) = (Plan::step(FindCluster {}), Plan::step(ReturnNodes { cluster: cluster.clone() }));
            Ok(Plan::Sequence([vec![found], scale(it, &cluster, input)?, vec![returned]].concat()))
        }
        Intent::Restart(_) => {
            Ok(Plan::Sequence([vec![Plan::step(FindCluster {})], restart(&cluster, input)?].concat()))
        }
        Intent::Decommission(decommission) => Ok(decommission_plan(decommission, region, &cluster, input)),
        Intent::DecommissionAll(_)
        | Intent::Status(_)
        | Intent::List(_)
        | Intent::Logs(_)
        | Intent::Cancel(_)
        | Intent::Undo(_)
        | Intent::Cost(_) => Err(not_a_change()),
    }
}

fn deploy_plan(
    deploy: &Deploy,
    region: Region,
    cluster: &ClusterName,
    input: &PlanInput<'_>,
) -> Result<Plan, PlanError> {
    let domain = deploy.domain.clone();
    let has_host = domain.is_some() || input.deployment.facts.host.is_some();
    if !has_host {
        require_load_balancer_name_free(input)?;
    }
    require_same_host(domain.as_ref(), input)?;
    let wanted = RollOut::of_deploy(deploy, input);
    let image = Plan::Sequence(vec![
        Plan::Parallel(vec![
            Plan::step(ProvisionRepository { region: region.clone() }),
            Plan::Sequence([wanted.source(input), vec![Plan::step(wanted.build(input))]].concat()),
        ]),
        Plan::step(PushImage { region: region.clone() }),
    ]);
    let made = Plan::step(ProvisionCluster { region: region.clone(), keep: deploy.keep_target });
    let ready = if has_host {
        Plan::Parallel(vec![
            made,
            Plan::Sequence(vec![
                Plan::step(RequestCertificate { region: region.clone() }),
                Plan::step(AwaitCertificate { region: region.clone() }),
            ]),
        ])
    } else {
        made
    };
    let reachable = Plan::Sequence(vec![ready, Plan::step(InstallIngress { region: region.clone() })]);
    let applied = Plan::Sequence(wanted.apply(cluster, input));
    let applied = if has_host {
        Plan::Parallel(vec![Plan::step(CreateAlias { region: region.clone() }), applied])
    } else {
        applied
    };
    let parts =
        vec![Plan::step(CheckHostedAccount { region, domain }), Plan::Parallel(vec![image, reachable]), applied];
    Ok(Plan::Sequence([parts, wanted.verify(cluster)].concat()))
}

fn built_and_pushed(wanted: &RollOut, region: &Region, input: &PlanInput<'_>) -> Vec<Plan> {
    vec![Plan::step(wanted.build(input)), Plan::step(PushImage { region: region.clone() })]
}

fn decommission_plan(
    decommission: &Decommission,
    region: Region,
    cluster: &ClusterName,
    input: &PlanInput<'_>,
) -> Plan {
    let is_last = !input.shares_target && !decommission.keep_target;
    let takes_cluster = is_last && input.target.made_here;
    let mut parts = vec![Plan::step(RemoveApplication { cluster: cluster.clone() })];
    parts.push(if is_last {
        Plan::step(UninstallIngress { region: region.clone(), whole_cluster: takes_cluster })
    } else {
        Plan::step(ReleaseIngress { region: region.clone() })
    });
    // Destroying the EKS cluster and its VPC takes many minutes; alias, certificate, registry, images and workspace do
    // not depend on it and are removed in parallel.
    let mut at_once = vec![
        Plan::step(RemoveAlias { region: region.clone() }),
        Plan::step(RemoveCertificate { region: region.clone() }),
    ];
    if takes_cluster {
        at_once.push(Plan::step(DestroyCluster { region: region.clone() }));
    }
    at_once.push(Plan::Sequence(vec![
        Plan::step(DestroyRepository { region: region.clone() }),
        Plan::step(RemoveImages { cluster: cluster.clone() }),
        Plan::step(RemoveWorkspace {}),
    ]));
    parts.push(Plan::Parallel(at_once));
    if takes_cluster {
        parts.push(Plan::step(VerifyAccount { region }));
    } else {
        parts.push(Plan::step(VerifyRemoval { cluster: cluster.clone(), cluster_may_go: false }));
        parts.push(Plan::step(ReturnNodes { cluster: cluster.clone() }));
    }
    Plan::Sequence(parts)
}

/// Without a host name of its own one application per cluster answers, at the load balancer's name.
fn require_load_balancer_name_free(input: &PlanInput<'_>) -> Result<(), PlanError> {
    let bare = input.other_deployments.iter().find(|it| it.facts.host.is_none());
    bare.map_or(Ok(()), |other: &Deployment| {
        let name: &DeploymentName = &other.name;
        Err(PlanError::NotPossible {
            message: format!(
                "`{name}` has the load balancer's name on `{}`; another application there needs a host name of its own: \
                 send `base_hosted_zone_id` and `app_subdomain_label`",
                input.target.name
            ),
            param: Some("app_subdomain_label"),
        })
    })
}

/// A deployment keeps its host name: under another one it would be another deployment.
fn require_same_host(domain: Option<&Domain>, input: &PlanInput<'_>) -> Result<(), PlanError> {
    let (Some(domain), Some(host)) = (domain, &input.deployment.facts.host) else { return Ok(()) };
    let label = host.name.split('.').next().unwrap_or_default();
    if host.zone == domain.zone && label == domain.label.as_str() {
        return Ok(());
    }
    Err(PlanError::NotPossible {
        message: format!(
            "`{}` answers at `{}`; decommission it first, or send another `instance_name`",
            input.deployment.name, host.name
        ),
        param: Some("app_subdomain_label"),
    })
}
