//! Cloud-local mode: a kind cluster on an EC2 instance, with the steps of local mode on a host that is reached by ssh.
//!
//! Decommission of the last application destroys the instance and leaves it at that: what was on it is gone with it.

use crate::id::{KeyPairName, cluster_name_of_target};
use crate::intent::{Decommission, Deploy, Intent};
use crate::plan::Plan;
use crate::step::bootstrap_host::BootstrapHost;
use crate::step::check_account::CheckAccount;
use crate::step::destroy_instance::DestroyInstance;
use crate::step::find_instance::FindInstance;
use crate::step::provision_instance::ProvisionInstance;
use crate::step::remove_workspace::RemoveWorkspace;
use crate::step::verify_account::VerifyAccount;

use super::input::{PlanError, PlanInput};
use super::local;

pub(super) fn plan(intent: &Intent, input: &PlanInput<'_>) -> Result<Plan, PlanError> {
    let cluster = cluster_name_of_target(&input.deployment.target_name);
    let application = || local::application_plan(intent, &cluster, input);
    match intent {
        Intent::Deploy(deploy) => deploy_plan(deploy, application()?, input),
        Intent::Decommission(decommission) if is_last(decommission, input) => {
            let region = input.region("instance")?;
            Ok(Plan::Sequence(vec![
                Plan::step(DestroyInstance { region: region.clone() }),
                Plan::step(RemoveWorkspace {}),
                Plan::step(VerifyAccount { region }),
            ]))
        }
        Intent::Redeploy(_) | Intent::Scale(_) | Intent::Restart(_) | Intent::Rollback(_) | Intent::Decommission(_) => {
            Ok(Plan::Sequence(vec![Plan::step(FindInstance {}), application()?]))
        }
        Intent::DecommissionAll(_)
        | Intent::Status(_)
        | Intent::List(_)
        | Intent::Logs(_)
        | Intent::Cancel(_)
        | Intent::Undo(_)
        | Intent::Cost(_) => application(),
    }
}

fn deploy_plan(deploy: &Deploy, application: Plan, input: &PlanInput<'_>) -> Result<Plan, PlanError> {
    let region = input.region("instance")?;
    let key_pair = key_pair(deploy, input)?;
    Ok(Plan::Sequence(vec![
        Plan::step(CheckAccount { region: region.clone(), key_pair: key_pair.clone() }),
        Plan::step(ProvisionInstance { region, key_pair, keep: deploy.keep_target }),
        Plan::step(BootstrapHost {}),
        application,
    ]))
}

/// Whether the instance goes with the application.
fn is_last(decommission: &Decommission, input: &PlanInput<'_>) -> bool {
    input.target.made_here && !input.shares_target && !decommission.keep_target
}

fn key_pair(deploy: &Deploy, input: &PlanInput<'_>) -> Result<KeyPairName, PlanError> {
    let on_record = || input.target.instance.as_ref().map(|it| it.key_pair.clone());
    deploy.key_pair.clone().or_else(on_record).ok_or_else(|| PlanError::NotPossible {
        message: "the key pair of the instance is missing".to_owned(),
        param: Some("ec2_key_name"),
    })
}
