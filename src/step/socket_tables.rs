//! Where the processes of a container listen, as its node sees it.

use std::future::Future;
use std::pin::Pin;

use super::context::StepContext;
use crate::cloud::kube::exec::RunningContainer;
use crate::id::Mode;

/// Reads the socket tables of containers on the nodes, where those take orders.
pub(super) fn socket_tables(
    cx: &StepContext,
) -> impl Fn(RunningContainer) -> Pin<Box<dyn Future<Output = Option<String>> + Send>> + Send {
    let context = cx.clone();
    move |container| {
        let cx = context.clone();
        Box::pin(async move {
            if cx.target.mode == Mode::CloudHosted {
                return None;
            }
            let command = container.socket_tables_command();
            let words: Vec<&str> = command.iter().map(String::as_str).collect();
            let docker = cx.host().await.ok()?.docker;
            docker.exec(&container.node, &words, None, &cx.cancel).await.ok().map(|output| output.text())
        })
    }
}
