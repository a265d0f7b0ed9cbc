//! The log lines of all pods of an application, merged.

use std::collections::BTreeSet;

use futures_util::io::{AsyncBufRead, AsyncBufReadExt};
use futures_util::{Stream, StreamExt};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{Api, ListParams, LogParams};
use kube::runtime::{WatchStreamExt, watcher};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;

use crate::cloud::kube::Kube;
use crate::cloud::kube::error::KubeError;
use crate::id::{DeploymentName, Namespace};

/// Lines that wait for a slow reader before the pods' streams are held up.
const BUFFER: usize = 256;
/// The longest line that is kept whole.
const MAX_LINE_BYTES: usize = 16 * 1024;
/// How much is read of a pod's last lines.
const MAX_LAST_BYTES: usize = 2 * 1024 * 1024;

/// A line that a pod printed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodLogLine {
    /// The pod.
    pub pod: String,
    /// What it printed, without the line end.
    pub text: String,
}

/// Which lines are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogSpan {
    /// The last lines of each pod, then the end.
    Last(u32),
    /// The last lines of each pod, then those to come, also of pods that replace the present ones.
    Follow(u32),
}

impl Kube {
    /// Reads the logs of all pods of an application, or of one of them alone. Dropping the stream ends the reading.
    ///
    /// # Errors
    /// What the API answers when its pods cannot be listed.
    pub async fn logs(
        &self,
        name: &DeploymentName,
        namespace: &Namespace,
        span: LogSpan,
        only: Option<&str>,
    ) -> Result<impl Stream<Item = Result<PodLogLine, KubeError>> + Send + use<>, KubeError> {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), namespace.as_str());
        let selector = format!("app={name}");
        let mut listed = self.call(pods.list(&ListParams::default().labels(&selector))).await?.items;
        listed.retain(|it| only.is_none_or(|only| it.name_any() == only));
        let (sender, receiver) = mpsc::channel(BUFFER);
        let only = only.map(str::to_owned);
        let reader = Reader { pods, only, server: self.server.clone(), sender };
        match span {
            LogSpan::Last(tail) => drop(tokio::spawn(reader.read_all(listed, tail))),
            LogSpan::Follow(tail) => drop(tokio::spawn(reader.follow(selector, tail))),
        }
        Ok(ReceiverStream::new(receiver))
    }

    /// The last lines of one pod with their times: of the process that ended last when `previous`.
    ///
    /// # Errors
    /// What the API answers.
    pub async fn pod_log(&self, namespace: &str, pod: &str, tail: u32, previous: bool) -> Result<String, KubeError> {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), namespace);
        let params = LogParams {
            tail_lines: Some(tail.into()),
            limit_bytes: Some(256 * 1024),
            timestamps: true,
            previous,
            ..LogParams::default()
        };
        self.call(pods.logs(pod, &params)).await
    }
}

#[derive(Clone)]
struct Reader {
    pods: Api<Pod>,
    /// The pod that is read alone.
    only: Option<String>,
    server: String,
    sender: mpsc::Sender<Result<PodLogLine, KubeError>>,
}

impl Reader {
    /// Pod after pod: short texts in a steady order.
    async fn read_all(self, pods: Vec<Pod>, tail: u32) {
        for pod in pods.iter().filter(|pod| process(pod).is_some()) {
            self.read(&pod.name_any(), Some(tail), false).await;
        }
    }

    /// One task per process of a pod; a pod that restarts or is replaced begins another.
    async fn follow(self, selector: String, tail: u32) {
        let config = watcher::Config::default().labels(&selector);
        let mut events = std::pin::pin!(watcher(self.pods.clone(), config).default_backoff());
        let mut followed = BTreeSet::new();
        let mut tasks = JoinSet::new();
        let mut first = true;
        loop {
            let event = tokio::select! {
                () = self.sender.closed() => return,
                Some(_) = tasks.join_next() => continue,
                event = events.next() => event,
            };
            let pod = match event {
                Some(Ok(watcher::Event::InitApply(pod) | watcher::Event::Apply(pod))) => pod,
                Some(Ok(watcher::Event::InitDone)) => {
                    first = false;
                    continue;
                }
                Some(Ok(watcher::Event::Init | watcher::Event::Delete(_))) => continue,
                Some(Err(error)) => {
                    let error = KubeError::from_watch(error, &self.server);
                    if !error.is_transient() {
                        // A closed channel means that nobody reads any more.
                        let _ = self.sender.send(Err(error)).await;
                        return;
                    }
                    continue;
                }
                None => return,
            };
            if self.only.as_ref().is_some_and(|only| *only != pod.name_any()) {
                continue;
            }
            let Some(process) = process(&pod) else { continue };
            if followed.insert(process) {
                let (reader, name) = (self.clone(), pod.name_any());
                let tail = first.then_some(tail);
                tasks.spawn(async move { reader.read(&name, tail, true).await });
            }
        }
    }

    async fn read(&self, pod: &str, tail: Option<u32>, follow: bool) {
        let most = if follow { usize::MAX } else { MAX_LAST_BYTES };
        let limit_bytes = if follow { None } else { i64::try_from(MAX_LAST_BYTES).ok() };
        let params = LogParams { tail_lines: tail.map(Into::into), follow, limit_bytes, ..LogParams::default() };
        let stream = match self.pods.log_stream(pod, &params).await {
            Ok(stream) => stream,
            Err(error) => {
                let error = KubeError::from_client(error, &self.server);
                // A pod that went, or whose process has not begun, has nothing to say.
                if !matches!(error, KubeError::NotFound { .. } | KubeError::Invalid { .. }) {
                    let _ = self.sender.send(Err(error)).await;
                }
                return;
            }
        };
        let mut stream = std::pin::pin!(stream);
        let (mut line, mut bytes) = (Vec::new(), 0_usize);
        loop {
            line.clear();
            let read = read_line(&mut stream, &mut line).await.unwrap_or(0);
            if read == 0 {
                break;
            }
            bytes = bytes.saturating_add(read);
            let text = String::from_utf8_lossy(&line).trim_end_matches(['\n', '\r']).to_owned();
            if !self.send(pod, text).await {
                return;
            }
        }
        if bytes >= most {
            let what = format!("-- `{pod}` has printed more: of its last lines {} MiB were read", most / (1024 * 1024));
            self.send(pod, format!("{what}, so ask for fewer lines to see the newest")).await;
        }
    }

    /// Hands a line on; false when nobody reads any more.
    async fn send(&self, pod: &str, text: String) -> bool {
        self.sender.send(Ok(PodLogLine { pod: pod.to_owned(), text })).await.is_ok()
    }
}

/// Reads a line, of which only the first part is kept when it is very long, and says how many bytes that were; none at the
/// end.
async fn read_line(stream: &mut (impl AsyncBufRead + Unpin), line: &mut Vec<u8>) -> std::io::Result<usize> {
    let mut bytes = 0;
    loop {
        let chunk = stream.fill_buf().await?;
        if chunk.is_empty() {
            return Ok(bytes);
        }
        let end = chunk.iter().position(|byte| *byte == b'\n');
        let text = &chunk[..end.unwrap_or(chunk.len())];
        line.extend_from_slice(&text[..text.len().min(MAX_LINE_BYTES - line.len())]);
        let read = end.map_or(chunk.len(), |end| end + 1);
        stream.consume_unpin(read);
        bytes += read;
        if end.is_some() {
            return Ok(bytes);
        }
    }
}

/// The pod and which of its processes has run: a restart is another one.
fn process(pod: &Pod) -> Option<(String, i32)> {
    let status = pod.status.as_ref()?.container_statuses.as_ref()?.first()?;
    let state = status.state.as_ref()?;
    (state.running.is_some() || state.terminated.is_some() || status.restart_count > 0)
        .then(|| (pod.uid().unwrap_or_default(), status.restart_count))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn of_a_very_long_line_only_the_first_part_is_kept() {
        let text = format!("{}\nnext\nlast", "x".repeat(3 * MAX_LINE_BYTES));
        let mut stream = futures_util::io::BufReader::new(text.as_bytes());
        let (mut lines, mut line) = (Vec::new(), Vec::new());

        while read_line(&mut stream, &mut line).await.unwrap() > 0 {
            lines.push(String::from_utf8(std::mem::take(&mut line)).unwrap());
        }

        assert_eq!(lines, ["x".repeat(MAX_LINE_BYTES).as_str(), "next", "last"]);
    }
}
