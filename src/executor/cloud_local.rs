//! Cloud-local mode: a kind cluster on an EC2 instance, with the steps of local mode on a host that is reached by ssh.
//!
//! Decommission of the last application destroys the instance and leaves it at that: what was on it is gone with it.

use crate::id::{KeyPairName, Region, cluster_name_of_target};
use crate::intent::{Decommission, Deploy, Intent};
use crate::plan::Plan;
use crate::step::bootstrap_host::BootstrapHost;
use crate::step::check_account::CheckAccount;
use crate::step::destroy_instance::DestroyInstance;
use crate::step::find_instance::FindInstance;
use crate::step::provision_instance::ProvisionInstance;
use crate::step::remove_workspace::RemoveWorkspace;
use crate::step::verify_account::VerifyAccount;

use super::{PlanError, PlanInput, local};

pub(super) fn plan(intent: &Intent, situation: &PlanInput<'_>) -> Result<Plan, PlanError> {
    let cluster = cluster_name_of_target(&situation.deployment.target_name);
    let application = || local::application_plan(intent, &cluster, situation);
    match intent {
        Intent::Deploy(deploy) => deploy_plan(deploy, application()?, situation),
        Intent::Decommission(decommission) if is_last(decommission, situation) => {
            let region = region(situation)?;
            Ok(Plan::Sequence(vec![
                Plan::step(DestroyInstance { region: region.clone() }),
                Plan::step(RemoveWorkspace {}),
                Plan::step(VerifyAccount { region }),
            ]))
        }
        Intent::Redeploy(_) | Intent::Scale(_) | Intent::Rollback(_) | Intent::Decommission(_) => {
            Ok(Plan::Sequence(vec![Plan::step(FindInstance {}), application()?]))
        }
        Intent::Status(_) | Intent::List(_) | Intent::Logs(_) | Intent::Cancel(_) => application(),
    }
}

fn deploy_plan(deploy: &Deploy, application: Plan, situation: &PlanInput<'_>) -> Result<Plan, PlanError> {
    let region = region(situation)?;
    let key_pair = key_pair(deploy, situation)?;
    Ok(Plan::Sequence(vec![
        Plan::step(CheckAccount { region: region.clone(), key_pair: key_pair.clone() }),
        Plan::step(ProvisionInstance { region, key_pair, keep: deploy.keep_target }),
        Plan::step(BootstrapHost {}),
        application,
    ]))
}

/// Whether the instance goes with the application.
fn is_last(decommission: &Decommission, situation: &PlanInput<'_>) -> bool {
    situation.target.made_here && !situation.shares_target && !decommission.keep_target
}

fn region(situation: &PlanInput<'_>) -> Result<Region, PlanError> {
    situation.target.region.clone().ok_or_else(|| PlanError::NotPossible {
        message: "it is not known in which region the instance is".to_owned(),
        param: Some("aws_credentials.aws_region"),
    })
}

fn key_pair(deploy: &Deploy, situation: &PlanInput<'_>) -> Result<KeyPairName, PlanError> {
    let on_record = || situation.target.instance.as_ref().map(|it| it.key_pair.clone());
    deploy.key_pair.clone().or_else(on_record).ok_or_else(|| PlanError::NotPossible {
        message: "the key pair of the instance is missing".to_owned(),
        param: Some("ec2_key_name"),
    })
}
