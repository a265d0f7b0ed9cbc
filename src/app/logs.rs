//! What an application prints, without the colours of a terminal.

use std::future::ready;
use std::time::Duration;

use futures_util::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::time::timeout;

use super::{App, AppError};
use crate::cloud::kube::logs::{LogSpan, PodLogLine};
use crate::intent::AwsCredentials;
use crate::reply::strip_ansi;
use crate::store::record::Deployment;

/// How long a cluster may take to hand out the last lines; when they are read one by one, how long each of them.
const READING: Duration = Duration::from_secs(30);

/// Lines, one by one.
pub type LineStream = BoxStream<'static, Result<String, AppError>>;

/// Whose last lines are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogSource<'a> {
    /// Those of all pods of an application.
    AllPods,
    /// Those of one of its pods.
    Pod(&'a str),
    /// Those of a pod's container before the one that runs, with their times.
    BeforeRestart(&'a str),
}

impl App {
    /// What an application prints, line by line.
    ///
    /// # Errors
    /// [`AppError::Conflict`] when its cluster cannot be reached.
    pub async fn logs(
        &self,
        deployment: &Deployment,
        tail: u32,
        follow: bool,
        aws: Option<&AwsCredentials>,
    ) -> Result<LineStream, AppError> {
        let span = if follow { LogSpan::Follow(tail) } else { LogSpan::Last(tail) };
        self.pod_lines(deployment, span, None, aws).await
    }

    /// The same of one pod alone, when one is named.
    ///
    /// # Errors
    /// As [`App::logs`].
    pub async fn pod_lines(
        &self,
        deployment: &Deployment,
        span: LogSpan,
        pod: Option<&str>,
        aws: Option<&AwsCredentials>,
    ) -> Result<LineStream, AppError> {
        let kube = match self.kube(deployment, aws).await {
            Err(_) if deployment.facts.version.is_none() => {
                let message = format!("`{}` has not run yet, so it has printed nothing", deployment.name);
                return Err(AppError::Conflict { message, param: None });
            }
            kube => kube?,
        };
        let lines = kube.logs(&deployment.name, &deployment.namespace, span, pod).await;
        let lines = lines.map_err(|error| AppError::Conflict { message: error.to_string(), param: None })?;
        let plain = |line: PodLogLine| strip_ansi(&line.text);
        let lines = lines.map_ok(plain).map_err(|error| AppError::Internal(error.into())).boxed();
        Ok(match span {
            LogSpan::Last(_) => in_time(lines, READING),
            // Nobody knows when an application prints something again.
            LogSpan::Follow(_) => lines,
        })
    }

    /// The last lines that an application printed.
    ///
    /// # Errors
    /// As [`App::logs`], and [`AppError::Conflict`] when its cluster takes too long.
    pub async fn last_lines(
        &self,
        deployment: &Deployment,
        tail: u32,
        aws: Option<&AwsCredentials>,
    ) -> Result<Vec<String>, AppError> {
        self.matching_lines(deployment, LogSource::AllPods, tail, aws, |_| true).await
    }

    /// Those of the last lines that fit.
    ///
    /// # Errors
    /// As [`App::read_lines`], and [`AppError::Conflict`] when its cluster takes too long for all of them.
    pub async fn matching_lines(
        &self,
        deployment: &Deployment,
        source: LogSource<'_>,
        tail: u32,
        aws: Option<&AwsCredentials>,
        fits: impl Fn(&str) -> bool + Send,
    ) -> Result<Vec<String>, AppError> {
        let read = async move {
            let lines = self.read_lines(deployment, source, tail, aws).await?;
            lines.try_filter(move |line| ready(fits(line))).try_collect().await
        };
        timeout(READING, read).await.unwrap_or_else(|_| Err(too_slow(READING)))
    }

    /// The last lines, one by one.
    ///
    /// # Errors
    /// [`AppError::Conflict`] when its cluster cannot be reached or takes too long, or when there is no such pod, or none
    /// before it.
    pub async fn read_lines(
        &self,
        deployment: &Deployment,
        source: LogSource<'_>,
        tail: u32,
        aws: Option<&AwsCredentials>,
    ) -> Result<LineStream, AppError> {
        let begun = async {
            match source {
                LogSource::AllPods => self.pod_lines(deployment, LogSpan::Last(tail), None, aws).await,
                LogSource::Pod(pod) => self.pod_lines(deployment, LogSpan::Last(tail), Some(pod), aws).await,
                LogSource::BeforeRestart(pod) => {
                    let lines = self.lines_before_restart(deployment, pod, tail, aws).await?;
                    Ok(stream::iter(lines.into_iter().map(Ok)).boxed())
                }
            }
        };
        timeout(READING, begun).await.unwrap_or_else(|_| Err(too_slow(READING)))
    }

    async fn lines_before_restart(
        &self,
        deployment: &Deployment,
        pod: &str,
        tail: u32,
        aws: Option<&AwsCredentials>,
    ) -> Result<Vec<String>, AppError> {
        let conflict = |message: String| AppError::Conflict { message, param: None };
        let kube = self.kube(deployment, aws).await?;
        let (name, namespace) = (&deployment.name, &deployment.namespace);
        let pods = kube.pods(name, namespace).await.map_err(|error| conflict(error.to_string()))?;
        // Whoever may read the output of an application may not read that of others.
        if !pods.iter().any(|it| it.name == pod) {
            let names: Vec<String> = pods.iter().map(|it| format!("`{}`", it.name)).collect();
            return Err(conflict(format!("that is no pod of `{name}`; its pods are: {}", names.join(", "))));
        }
        let text = kube.pod_log(namespace.as_str(), pod, tail, true).await;
        let text = text.map_err(|error| conflict(error.to_string()))?;
        Ok(text.lines().map(strip_ansi).collect())
    }
}

/// Lines that end with an error when the next one does not come in time. A slow reader has all the time that it needs.
fn in_time(lines: LineStream, limit: Duration) -> LineStream {
    let next = move |lines: Option<LineStream>| async move {
        let mut lines = lines?;
        match timeout(limit, lines.next()).await {
            Ok(line) => Some((line?, Some(lines))),
            Err(_) => Some((Err(too_slow(limit)), None)),
        }
    };
    stream::unfold(Some(lines), next).boxed()
}

fn too_slow(limit: Duration) -> AppError {
    let message = format!("its cluster has not handed out the lines within {} s", limit.as_secs());
    AppError::Conflict { message, param: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_cluster_that_falls_silent_is_not_waited_for() {
        let printed = stream::iter(["one", "two"]).map(|it| Ok(it.to_owned()));
        let lines = in_time(printed.chain(stream::pending()).boxed(), Duration::from_millis(10));

        let read: Vec<Result<String, AppError>> = lines.collect().await;

        let read: Vec<Option<String>> = read.into_iter().map(Result::ok).collect();
        assert_eq!(read, [Some("one".to_owned()), Some("two".to_owned()), None]);
    }
}
