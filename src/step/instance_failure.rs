//! What a failure of a step has to do with the machine that it worked on: gone, stopped, at another address, full.

use super::action::StepAction;
use super::check_account::CheckAccount;
use super::cloud_target::instance_terminated;
use super::context::StepContext;
use super::destroy_instance::DestroyInstance;
use super::error::StepError;
use super::find_instance::FindInstance;
use super::provision_instance::{ProvisionInstance, refresh};
use super::verify_account::VerifyAccount;
use crate::event::Failure;
use crate::id::Mode;
use crate::store::record::Instance;

/// The steps that work on no machine: what they say is of AWS, or of the disk here.
const STEPS_WITHOUT_HOST: [&str; 5] =
    [CheckAccount::NAME, ProvisionInstance::NAME, FindInstance::NAME, DestroyInstance::NAME, VerifyAccount::NAME];
/// Code of the failure of a step whose machine is gone.
const INSTANCE_GONE: &str = "instance_gone";

impl StepContext {
    /// Puts a failure that has to do with the machine in the words of what became of the machine.
    pub(super) async fn explain_failure<T>(&self, result: Result<T, StepError>) -> Result<T, StepError> {
        match result {
            Err(error) if self.target.mode == Mode::CloudLocal && !STEPS_WITHOUT_HOST.contains(&self.step) => {
                Err(Box::pin(self.diagnose_instance(error)).await)
            }
            Err(error) if self.target.mode == Mode::CloudHosted => {
                Err(Box::pin(self.explain_refused_entry(error)).await)
            }
            result => result,
        }
    }

    async fn diagnose_instance(&self, error: StepError) -> StepError {
        let failure = match &error {
            StepError::Transient(it) | StepError::Permanent(it) | StepError::Explained(it) => it,
            StepError::Settling(_) | StepError::Waiting(_) | StepError::Cancelled => return error,
        };
        let Ok(Some(instance)) = self.cloud_target::<Instance>() else { return error };
        if is_disk_full(failure) {
            return StepError::Permanent(disk_full(failure, &instance));
        }
        if !["host_unreachable", "host_connection_lost", "docker_failed"].contains(&failure.code.as_str()) {
            return error;
        }
        // Without credentials, or when AWS does not answer either, what ssh said is all there is.
        let Ok(aws) = self.aws(&instance.region).await else { return error };
        match refresh(self, &aws, &instance).await {
            Ok(None) => instance_terminated(&instance.id),
            Ok(Some(now)) if now.public_ip != instance.public_ip => {
                StepError::Permanent(address_changed(&instance, &now))
            }
            Err(StepError::Permanent(failure) | StepError::Explained(failure))
                if failure.code.starts_with("instance_") =>
            {
                StepError::Explained(failure)
            }
            Ok(Some(_)) | Err(_) => error,
        }
    }
}

/// Whether a step failed because its machine is no longer there: what it left on it is gone too.
pub(super) fn is_instance_gone(error: &StepError) -> bool {
    matches!(error, StepError::Permanent(failure) | StepError::Explained(failure) if failure.code == INSTANCE_GONE)
}

fn is_disk_full(failure: &Failure) -> bool {
    let says = |text: &str| text.to_ascii_lowercase().contains("no space left on device");
    failure.code == "disk_full" || says(&failure.message) || failure.output.iter().any(|line| says(line))
}

fn disk_full(failure: &Failure, instance: &Instance) -> Failure {
    let Instance { id, user, public_ip, .. } = instance;
    Failure {
        code: "disk_full".into(),
        message: format!("the disk of the EC2 instance `{id}` is full ({})", failure.message),
        next_step: format!(
            "Free some space, for example with `ssh {user}@{public_ip} docker system prune -a`, or decommission it, set \
             `EC2_VOLUME_GIB` to more, and deploy again"
        ),
        output: failure.output.clone(),
    }
}

fn address_changed(before: &Instance, now: &Instance) -> Failure {
    Failure {
        code: "instance_moved".into(),
        message: format!(
            "the EC2 instance `{}` has another public address than when this began: {}, it was {}",
            before.id, now.public_ip, before.public_ip
        ),
        next_step: "Was it stopped and started? Send the request again, which goes to the new address".into(),
        output: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(message: &str, output: &[&str]) -> Failure {
        Failure {
            code: "tool_failed".into(),
            message: message.into(),
            next_step: String::new(),
            output: output.iter().map(|&line| line.to_owned()).collect(),
        }
    }

    #[test]
    fn a_full_disk_is_known_by_what_programs_say_of_it() {
        assert!(is_disk_full(&failure(
            "`git fetch` ended with exit code 128: fatal: write error: No space left on device",
            &[]
        )));
        assert!(is_disk_full(&failure("it failed", &["write /var/lib/docker/tmp: no space left on device", ""])));
        assert!(!is_disk_full(&failure("it failed", &["connection reset"])));
    }
}
