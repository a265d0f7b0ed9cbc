//! What an application prints, without the colours of a terminal.

use std::future::ready;
use std::time::Duration;

use futures_util::stream::BoxStream;
use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use tokio::time::timeout;

use super::{App, AppError};
use crate::cloud::kube::Kube;
use crate::cloud::kube::logs::{LogSpan, PodLogLine};
use crate::id::DeploymentName;
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
    /// Those of all pods of an application, each with the name of its pod when there are several.
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
        let kube = self.kube_with_lines(deployment, aws).await?;
        let lines = printed(&kube, deployment, span, None).await?;
        Ok(bounded(span, lines.map_ok(|it| it.text).boxed()))
    }

    /// The same for a person: of one pod alone, when one is named; else each line has the name of its pod before it, when
    /// there are several.
    ///
    /// # Errors
    /// As [`App::logs`], and [`AppError::Conflict`] when there is no such pod.
    pub async fn pod_lines(
        &self,
        deployment: &Deployment,
        span: LogSpan,
        pod: Option<&str>,
        aws: Option<&AwsCredentials>,
    ) -> Result<LineStream, AppError> {
        let kube = self.kube_with_lines(deployment, aws).await?;
        if let Some(pod) = pod {
            check_pod(&kube, deployment, pod).await?;
        }
        let lines = printed(&kube, deployment, span, pod).await?;
        if pod.is_some() {
            return Ok(bounded(span, lines.map_ok(|it| it.text).boxed()));
        }
        let pods = kube.pods(&deployment.name, &deployment.namespace).await.unwrap_or_default();
        Ok(bounded(span, named(deployment.name.clone(), pods.len() > 1, lines).boxed()))
    }

    /// The cluster of an application that has printed something.
    async fn kube_with_lines(&self, deployment: &Deployment, aws: Option<&AwsCredentials>) -> Result<Kube, AppError> {
        match self.kube(deployment, aws).await {
            Err(_) if deployment.facts.version.is_none() => {
                let message = format!("`{}` has not run yet, so it has printed nothing", deployment.name);
                Err(AppError::Conflict { message, param: None })
            }
            kube => kube,
        }
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
        let read = async { self.logs(deployment, tail, false, aws).await?.try_collect().await };
        timeout(READING, read).await.unwrap_or_else(|_| Err(too_slow(READING)))
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
        check_pod(&kube, deployment, pod).await?;
        let text = kube.pod_log(deployment.namespace.as_str(), pod, tail, true).await;
        let text = text.map_err(|error| conflict(error.to_string()))?;
        Ok(text.lines().map(strip_ansi).collect())
    }
}

/// Makes sure that a pod is one of an application: whoever may read what that prints may not read what others print.
async fn check_pod(kube: &Kube, deployment: &Deployment, pod: &str) -> Result<(), AppError> {
    let conflict = |message: String| AppError::Conflict { message, param: None };
    let pods = kube.pods(&deployment.name, &deployment.namespace).await;
    let pods = pods.map_err(|error| conflict(error.to_string()))?;
    if pods.iter().any(|it| it.name == pod) {
        return Ok(());
    }
    let names: Vec<String> = pods.iter().map(|it| format!("`{}`", it.name)).collect();
    let others = if names.is_empty() { "it has none".to_owned() } else { format!("its pods are {}", names.join(", ")) };
    Err(conflict(format!("there is no pod `{pod}` of `{}` (any more): {others}", deployment.name)))
}

/// What the pods of an application print, or one of them alone.
async fn printed(
    kube: &Kube,
    deployment: &Deployment,
    span: LogSpan,
    pod: Option<&str>,
) -> Result<BoxStream<'static, Result<PodLogLine, AppError>>, AppError> {
    let lines = kube.logs(&deployment.name, &deployment.namespace, span, pod).await;
    let lines = lines.map_err(|error| AppError::Conflict { message: error.to_string(), param: None })?;
    let plain = |line: PodLogLine| PodLogLine { text: strip_ansi(&line.text), ..line };
    Ok(lines.map_ok(plain).map_err(|error| AppError::Internal(error.into())).boxed())
}

/// Lines of which each has the name of its pod before it, without that of the application, from when there are several pods.
fn named(
    application: DeploymentName,
    has_several: bool,
    lines: impl Stream<Item = Result<PodLogLine, AppError>> + Send + 'static,
) -> impl Stream<Item = Result<String, AppError>> + Send + 'static {
    let (mut first, mut has_several) = (None::<String>, has_several);
    lines.map_ok(move |PodLogLine { pod, text }| {
        has_several |= *first.get_or_insert_with(|| pod.clone()) != pod;
        let short = pod.strip_prefix(application.as_str()).and_then(|it| it.strip_prefix('-')).unwrap_or(&pod);
        if has_several { format!("[{short}] {text}") } else { text }
    })
}

/// Last lines come in time; nobody knows when an application prints something again.
fn bounded(span: LogSpan, lines: LineStream) -> LineStream {
    match span {
        LogSpan::Last(_) => in_time(lines, READING),
        LogSpan::Follow(_) => lines,
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
    async fn lines_of_several_pods_say_whose_they_are() {
        let name = || DeploymentName::parse("notes").unwrap();
        let line = |pod: &str| Ok(PodLogLine { pod: pod.to_owned(), text: "hello".to_owned() });
        let printed = || stream::iter([line("notes-1-a"), line("notes-1-a"), line("notes-2-b")]);

        let of_one_and_then_two: Vec<String> = named(name(), false, printed()).try_collect().await.unwrap();
        let of_two: Vec<String> = named(name(), true, printed()).try_collect().await.unwrap();

        assert_eq!(of_one_and_then_two, ["hello", "hello", "[2-b] hello"]);
        assert_eq!(of_two, ["[1-a] hello", "[1-a] hello", "[2-b] hello"]);
    }

    #[tokio::test]
    async fn a_cluster_that_falls_silent_is_not_waited_for() {
        let printed = stream::iter(["one", "two"]).map(|it| Ok(it.to_owned()));
        let lines = in_time(printed.chain(stream::pending()).boxed(), Duration::from_millis(10));

        let read: Vec<Result<String, AppError>> = lines.collect().await;

        let read: Vec<Option<String>> = read.into_iter().map(Result::ok).collect();
        assert_eq!(read, [Some("one".to_owned()), Some("two".to_owned()), None]);
    }
}
