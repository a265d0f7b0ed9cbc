//! Helm: charts on a cluster whose address and token are in the environment of the calls and nowhere else.

use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::SecretString;
use serde::Deserialize;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::config::Settings;
use crate::config::section::Ingress;
use crate::event::Lines;
use crate::tool::program_error::ProgramError;
use crate::tool::step_calls::StepCalls;
use crate::tool::{Call, Output, ToolError};

/// How long looking at a release may take.
const QUERY_TIMEOUT: Duration = Duration::from_mins(1);
/// How long a call may take to end after its SIGINT.
const GRACE: Duration = Duration::from_secs(30);

/// What helm gets of the server's environment: where it keeps and finds things, its limits, and Docker's logins for charts
/// in registries.
const INHERITED: &[&str] = &["HELM_*", "XDG_*", "DOCKER_CONFIG"];
/// What would lead it to another cluster or namespace, or have it print what it sends.
const WITHHELD: &[&str] = &["HELM_KUBE*", "HELM_NAMESPACE", "HELM_DEBUG"];

/// The helm program as the settings say, and a cluster.
#[derive(Debug, Clone)]
pub struct Helm {
    program: PathBuf,
    timeout: Duration,
    /// Address of the cluster's API.
    server: String,
    /// File with the certificate of its authority.
    authority: PathBuf,
    /// Lets the calls in; good for as long as the longest of them.
    token: SecretString,
}

/// Says why helm did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum HelmError {
    /// The chart cannot be had.
    #[error("the chart cannot be fetched: {reason}")]
    Chart {
        /// What helm said.
        reason: String,
    },
    /// Something on the cluster is in the way.
    #[error("the chart does not fit what is on the cluster: {reason}")]
    Conflict {
        /// What helm said.
        reason: String,
    },
    /// The values do not fit the chart.
    #[error("the chart does not take these values: {reason}")]
    Values {
        /// What helm said.
        reason: String,
    },
    /// It went wrong in another way.
    #[error(transparent)]
    Tool(ToolError),
}

/// A release as `helm status` tells it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Release {
    /// `deployed`, `failed`, `pending-install` and so on.
    pub status: String,
}

impl Helm {
    /// Helm as the settings say, for a cluster.
    #[must_use]
    pub fn new(settings: &Settings, server: &str, authority: &Path, token: SecretString) -> Self {
        Self {
            program: settings.helm.program.clone(),
            timeout: settings.helm.timeout,
            server: server.to_owned(),
            authority: authority.to_owned(),
            token,
        }
    }

    /// The program's version.
    ///
    /// # Errors
    /// [`ToolError`] when it cannot be run.
    pub async fn version(program: &Path) -> Result<String, ToolError> {
        let call = Call::new(program).args(["version", "--template", "{{.Version}}"]).timeout(QUERY_TIMEOUT);
        let output = call.run(&Lines::none(), &CancellationToken::new()).await?;
        Ok(output.stdout.trim().trim_start_matches('v').to_owned())
    }

    /// The release of this name; `None` when there is none.
    ///
    /// # Errors
    /// [`HelmError`] when the cluster does not answer.
    pub async fn release(
        &self,
        name: &str,
        namespace: &str,
        cancel: &CancellationToken,
    ) -> Result<Option<Release>, HelmError> {
        #[derive(Deserialize)]
        struct Status {
            info: Release,
        }
        let call = self.call(&["status", name, "--namespace", namespace, "--output", "json"]).timeout(QUERY_TIMEOUT);
        match call.run(&Lines::none(), cancel).await {
            Ok(output) => parse::<Status>(&output).map(|it| Some(it.info)),
            Err(error) if error.says("release: not found") => Ok(None),
            Err(error) => Err(HelmError::from_tool(error)),
        }
    }

    /// Installs the ingress controller's chart or brings it to these values, and waits until its pods are ready. What a
    /// killed call left half done is taken away first.
    ///
    /// # Errors
    /// [`HelmError`] says why.
    #[expect(clippy::too_many_arguments, reason = "each is a plain part of one command line")]
    pub async fn install(
        &self,
        name: &str,
        namespace: &str,
        chart: &Ingress,
        values: &Path,
        calls: &StepCalls,
        lines: &Lines,
        cancel: &CancellationToken,
    ) -> Result<(), HelmError> {
        if let Some(release) = self.release(name, namespace, cancel).await?
            && release.status.starts_with("pending")
        {
            // A killed call leaves the release `pending-*`; helm then refuses every call but `uninstall`.
            lines.progress("clearing away what an interrupted call of helm left");
            self.uninstall(name, namespace, calls, lines, cancel).await?;
        }
        let timeout = format!("{}s", self.timeout.as_secs());
        let values = values.display().to_string();
        let mut args = vec!["upgrade", "--install", name, chart.chart.as_str(), "--namespace", namespace];
        args.extend(["--create-namespace", "--wait", "--timeout", &timeout, "--history-max", "3"]);
        args.extend(["--output", "json"]);
        let is_path = Path::new(&chart.chart).exists();
        if !is_path {
            args.extend(["--version", &chart.chart_version]);
        }
        let repository = chart.chart_repository.as_ref().map(ToString::to_string);
        if let (Some(repository), false) = (&repository, is_path) {
            args.extend(["--repo", repository]);
        }
        args.extend(["--values", &values]);
        let own = chart.values.as_ref().map(|path| path.display().to_string());
        if let Some(own) = &own {
            args.extend(["--values", own]);
        }
        self.mutate("helm-upgrade", &args, calls, lines, cancel).await.map(drop)
    }

    /// Removes a release; one that is not there is fine.
    ///
    /// # Errors
    /// [`HelmError`] says why.
    pub async fn uninstall(
        &self,
        name: &str,
        namespace: &str,
        calls: &StepCalls,
        lines: &Lines,
        cancel: &CancellationToken,
    ) -> Result<(), HelmError> {
        let args = ["uninstall", name, "--namespace", namespace, "--ignore-not-found"];
        self.mutate("helm-uninstall", &args, calls, lines, cancel).await.map(drop)
    }

    async fn mutate(
        &self,
        record: &str,
        args: &[&str],
        calls: &StepCalls,
        lines: &Lines,
        cancel: &CancellationToken,
    ) -> Result<Output, HelmError> {
        let call = self.call(args).timeout(self.timeout + GRACE).grace(GRACE);
        call.run_durably(calls, record, lines, cancel).await.map_err(HelmError::from_tool)
    }

    fn call(&self, args: &[&str]) -> Call {
        Call::new(&self.program)
            .args(args)
            .inherit(INHERITED)
            .withhold(WITHHELD)
            .env("HELM_KUBEAPISERVER", &self.server)
            .env("HELM_KUBECAFILE", &self.authority)
            .secret_env("HELM_KUBETOKEN", &self.token)
    }
}

fn parse<T: serde::de::DeserializeOwned>(output: &Output) -> Result<T, HelmError> {
    serde_json::from_str::<Value>(&output.stdout).and_then(serde_json::from_value).map_err(|error| {
        HelmError::Tool(ToolError::Unexpected { program: "helm status".into(), what: error.to_string() })
    })
}

impl HelmError {
    fn from_tool(error: ToolError) -> Self {
        let reason = || {
            let told = error.lines().iter().rev().find(|line| line.contains("Error:")).or(error.lines().last());
            told.map(|line| line.trim_start_matches("Error: ").to_owned()).unwrap_or_default()
        };
        let says = |texts: &[&str]| texts.iter().any(|text| error.says(text));
        if says(&["values don't meet the specifications", "error unmarshaling", "failed to parse"]) {
            Self::Values { reason: reason() }
        } else if says(&["exists and cannot be imported", "invalid ownership metadata", "field is immutable"]) {
            Self::Conflict { reason: reason() }
        } else if says(&["failed to download", "not found in", "could not find", "no such host", "failed to fetch"]) {
            Self::Chart { reason: reason() }
        } else {
            Self::Tool(error)
        }
    }

    /// Code and next step.
    fn class(&self) -> (&'static str, &'static str) {
        match self {
            Self::Chart { .. } => (
                "chart_unavailable",
                "Let this server reach the chart, or set `INGRESS_CHART` to one that it can (a path, an OCI reference, or a name in `INGRESS_CHART_REPOSITORY`)",
            ),
            Self::Conflict { .. } => (
                "ingress_in_the_way",
                "Is another ingress controller there? Remove it, or set `INGRESS_VALUES` to values that let both live",
            ),
            Self::Values { .. } => ("chart_values_refused", "Correct the file of `INGRESS_VALUES`"),
            Self::Tool(ToolError::NotRunnable { .. }) => ("helm_missing", "Install helm, or set `HELM_PROGRAM`"),
            Self::Tool(ToolError::TimedOut { .. }) => {
                ("helm_timed_out", "Look at the pods of the ingress controller, or raise `HELM_TIMEOUT_S`")
            }
            Self::Tool(_) => ("helm_failed", "Read the output of helm, then try again"),
        }
    }
}

impl ProgramError for HelmError {
    fn tool_error(&self) -> Option<&ToolError> {
        if let Self::Tool(error) = self { Some(error) } else { None }
    }

    fn code(&self) -> &'static str {
        self.class().0
    }

    fn next_step(&self) -> String {
        self.class().1.to_owned()
    }

    fn is_transient(&self) -> bool {
        let passing = ["connection refused", "i/o timeout", "TLS handshake timeout", "the server is currently unable"];
        matches!(self, Self::Tool(error) if error.is_transient() || passing.iter().any(|text| error.says(text)))
    }
}
