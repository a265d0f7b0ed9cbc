//! A connection to a pod itself, past every Service, by way of the API.

use std::time::Duration;

use axum::body::Body;
use axum::http::header::{HOST, USER_AGENT};
use axum::http::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::Pod;
use kube::api::Api;

use crate::cloud::kube::{Kube, MANAGER};
use crate::id::{Namespace, Port};

/// How long an answer may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

impl Kube {
    /// With which status the first page of a pod answers; `None` when the pod is gone, the port does not speak HTTP or the
    /// account may not connect to pods.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn fetch_from_pod(&self, namespace: &Namespace, pod: &str, port: Port, host: &str) -> Option<StatusCode> {
        let fetch = async {
            let pods: Api<Pod> = Api::namespaced(self.client.clone(), namespace.as_str());
            let mut forwarder = pods.portforward(pod, &[port.get()]).await.ok()?;
            let stream = forwarder.take_stream(port.get())?;
            let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.ok()?;
            let request = Request::get("/").header(HOST, host).header(USER_AGENT, MANAGER).body(Body::empty()).ok()?;
            // A connection that has ended may have brought the answer: only the sender knows.
            let connection = async {
                let _ = connection.await;
                std::future::pending::<()>().await;
            };
            let answer = tokio::select! {
                answer = sender.send_request(request) => answer.ok(),
                () = connection => None,
            };
            forwarder.abort();
            answer.map(|it| it.status())
        };
        tokio::time::timeout(ANSWER_TIMEOUT, fetch).await.ok().flatten()
    }
}
