//! Makes the instance ready for applications: waits for ssh, then installs what is missing there.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::action::StepAction;
use super::context::StepContext;
use super::error::StepError;
use super::host_keys;
use crate::event::{Failure, Line, Lines};
use crate::tool::ToolError;

/// The fixed program that does it.
const SCRIPT: &str = include_str!("../../templates/host/bootstrap");
/// How its lines for a person begin.
const PROGRESS_PREFIX: &str = "=> ";
/// How the line begins that tells why it ended.
const ERROR_PREFIX: &str = "error: ";
/// How long it may take.
const TIMEOUT: Duration = Duration::from_mins(15);

/// Makes the instance ready for applications: Docker, kind, kubectl and git. No check here: the script tests each
/// prerequisite itself and skips what is installed. What was installed goes with the instance, or serves the next
/// deployment.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct BootstrapHost {}

/// The instance is ready.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Bootstrapped {
    /// What had to be done, in words.
    pub done: Vec<String>,
}

impl StepAction for BootstrapHost {
    const NAME: &'static str = "bootstrap_host";
    type Output = Bootstrapped;

    fn title(&self) -> String {
        "Prepare the instance for applications".to_owned()
    }

    fn weight(&self) -> u32 {
        20
    }

    fn summary(&self, output: &Bootstrapped) -> String {
        if output.done.is_empty() { "everything is there".to_owned() } else { output.done.join(", ") }
    }

    fn had_nothing_to_do(&self, output: &Bootstrapped) -> bool {
        output.done.is_empty()
    }

    async fn run(&self, cx: &StepContext) -> Result<Bootstrapped, StepError> {
        if let Some(address) = cx.ssh_address()? {
            let ssh = cx.hosts.ssh(cx.target.id, &address)?;
            ssh.wait_until_reachable(cx.settings.ssh.timeout, &cx.lines, &cx.cancel).await?;
            cx.record_host_keys(&address).await?;
        }
        let host = cx.host().await?;
        let settings = &cx.settings.bootstrap;
        let mut call = host.connection.call("bash").args(["-c", SCRIPT, "bootstrap"]).timeout(TIMEOUT);
        if let Some(proxy) = &settings.proxy {
            call = call.secret_env("PROXY", proxy);
        }
        for (name, value) in [
            ("PACKAGE_MIRROR", &settings.package_mirror),
            ("DOWNLOAD_MIRROR", &settings.download_mirror),
            ("REGISTRY_MIRROR", &settings.registry_mirror),
        ] {
            if let Some(url) = value {
                call = call.env(name, url.as_str().trim_end_matches('/'));
            }
        }
        let done = Arc::new(Mutex::new(Vec::new()));
        let lines = with_progress(&cx.lines, Arc::clone(&done));
        let result = call.run_durably(&cx.calls_on(&host), "bootstrap", &lines, &cx.cancel).await;
        let done = std::mem::take(&mut *done.lock().expect("nobody panics while holding this lock"));
        match result {
            Ok(_) => {
                confirm_host_keys(cx).await?;
                if let (Some(ssh), false) = (host.ssh(), done.is_empty()) {
                    // The script adds the user to the group `docker`; groups are read at login, so the connection is
                    // closed and the next use logs in again.
                    ssh.disconnect().await;
                }
                Ok(Bootstrapped { done })
            }
            Err(ToolError::Failed { lines, .. }) => Err(bootstrap_error(lines)),
            Err(error) => Err(error.into()),
        }
    }
}

/// Asks the console of the instance again, which was often still empty when the instance was made.
async fn confirm_host_keys(cx: &StepContext) -> Result<(), StepError> {
    let Some(instance) = cx.store.target(cx.target.id).await?.and_then(|it| it.instance) else { return Ok(()) };
    let aws = cx.aws(&instance.region).await?;
    let instance = host_keys::confirm(cx, &aws, instance).await?;
    if !instance.are_host_keys_confirmed {
        cx.lines.warning(format!(
            "The console of the EC2 instance `{}` does not show its host keys yet, so the one that the first contact has \
             shown is not confirmed: the console is asked again by the next operation.",
            instance.id
        ));
    }
    Ok(())
}

/// Lines in which those for a person are told, and kept.
fn with_progress(lines: &Lines, done: Arc<Mutex<Vec<String>>>) -> Lines {
    let lines = lines.clone();
    Lines::new(move |line| match line {
        Line::Output(text) => {
            if let Some(said) = text.strip_prefix(PROGRESS_PREFIX) {
                lines.progress(said);
                if said.starts_with("installing ") || said.starts_with("starting ") {
                    done.lock().expect("nobody panics while holding this lock").push(said.to_owned());
                }
            }
            lines.output(text);
        }
        Line::Progress(text) => lines.progress(text),
        Line::QuotedProgress(text) => lines.quoted_progress(text),
        Line::Warning(text) => lines.warning(text),
    })
}

/// Why the instance could not be prepared.
fn bootstrap_error(output: Vec<String>) -> StepError {
    let reason = output.iter().rev().find_map(|line| line.strip_prefix(ERROR_PREFIX));
    let last = || output.iter().rev().find(|line| !line.trim().is_empty() && !line.starts_with(PROGRESS_PREFIX));
    let reason = reason.or_else(|| last().map(String::as_str)).unwrap_or("it does not say why").to_owned();
    let is_full = output.iter().any(|line| line.to_ascii_lowercase().contains("no space left on device"));
    let is_network = ["could not resolve", "failed to download", "cannot be downloaded", "unable to fetch", "curl: ("];
    let is_network = output.iter().any(|line| is_network.iter().any(|text| line.to_ascii_lowercase().contains(text)));
    let (code, next_step) = match (is_full, is_network) {
        (true, _) => ("disk_full", "Give the instance a larger root volume (`EC2_VOLUME_GIB`), or free space on it"),
        (false, true) => (
            "bootstrap_no_network",
            "Does the instance reach the internet? Otherwise set `BOOTSTRAP_PROXY`, or `BOOTSTRAP_PACKAGE_MIRROR` and \
             `BOOTSTRAP_DOWNLOAD_MIRROR`",
        ),
        (false, false) => ("bootstrap_failed", "Read the last lines of the program, then try again"),
    };
    let failure = Failure {
        code: code.to_owned(),
        message: format!("the instance could not be prepared: {reason}"),
        next_step: next_step.to_owned(),
        output,
    };
    // A mirror or the network of an instance that has only just started may be slow to come.
    if is_network && !is_full { StepError::Transient(failure) } else { StepError::Permanent(failure) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(lines: &[&str]) -> (bool, Failure) {
        match bootstrap_error(lines.iter().map(|&line| line.to_owned()).collect()) {
            StepError::Transient(failure) | StepError::Settling(failure) => (true, failure),
            StepError::Permanent(failure) | StepError::Explained(failure) => (false, failure),
            StepError::Waiting(_) | StepError::Cancelled => panic!("it neither waits nor was cancelled"),
        }
    }

    #[test]
    fn the_reason_that_the_program_tells_is_the_message() {
        let (is_transient, failure) = failure(&[
            "=> installing docker.io",
            "E: noise",
            "error: the user ubuntu may not use sudo without a password",
        ]);

        assert!(!is_transient);
        assert_eq!(
            failure.message,
            "the instance could not be prepared: the user ubuntu may not use sudo without a password"
        );
    }

    #[test]
    fn a_full_disk_and_a_network_that_is_not_there_are_told_apart() {
        let full = failure(&["error: no space left on device: 200 MB are free on /var/lib, 3000 MB are needed"]);
        let network = failure(&["curl: (6) Could not resolve host: dl.k8s.io", "error: kubectl cannot be downloaded"]);

        assert_eq!((full.0, full.1.code.as_str()), (false, "disk_full"));
        assert_eq!((network.0, network.1.code.as_str()), (true, "bootstrap_no_network"));
    }
}
