//! A session: a connection through which `BuildKit` fetches from here what it builds with, and no more than that.
//!
//! The Dockerfile is not part of the context there, as it is in an uploaded tar, so that `COPY . .` takes it only when the
//! ignore file leaves it in; and secrets reach the RUN that mounts them, without being part of the request.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use bollard::grpc::build::health::health_check_response::ServingStatus;
use bollard::grpc::build::health::health_server::{Health, HealthServer};
use bollard::grpc::build::health::{HealthCheckRequest, HealthCheckResponse, HealthListRequest, HealthListResponse};
use bollard::grpc::build::moby::buildkit::secrets::v1::secrets_server::{Secrets, SecretsServer};
use bollard::grpc::build::moby::buildkit::secrets::v1::{GetSecretRequest, GetSecretResponse};
use bollard::grpc::build::moby::filesync::packet::file_sync_server::FileSyncServer;
use hyper::StatusCode;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use secrecy::{ExposeSecret, SecretString};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_stream::Empty;
use tokio_util::task::AbortOnDropHandle;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::file_sync::FileSync;
use super::{Docker, DockerError};
use crate::id::BuildSecretName;

/// What the session offers, as the daemon wants it told.
const METHODS: [&str; 2] = ["/moby.filesync.v1.FileSync/DiffCopy", "/moby.buildkit.secrets.v1.Secrets/GetSecret"];

/// An open session; it ends with this value.
#[derive(Debug)]
pub(super) struct Session {
    /// The name under which a build uses it.
    pub(super) id: String,
    _serving: AbortOnDropHandle<()>,
}

impl Docker {
    /// Opens a session in which these files and secrets can be had.
    pub(super) async fn open_session(
        &self,
        files: FileSync,
        secrets: BTreeMap<BuildSecretName, SecretString>,
    ) -> Result<Session, DockerError> {
        let failed = |reason: String| DockerError::Transient { action: "begin a build session".to_owned(), reason };
        let id = Uuid::now_v7().simple().to_string();
        let mut request = hyper::Request::post("/session")
            .header("Host", "docker")
            .header("Connection", "Upgrade")
            .header("Upgrade", "h2c")
            .header("X-Docker-Expose-Session-Uuid", &id)
            .header("X-Docker-Expose-Session-Name", "on-demand-infra")
            // What one build sent must not be taken for what another one has: sizes and times of files may be the same.
            .header("X-Docker-Expose-Session-Sharedkey", &id);
        for method in METHODS {
            request = request.header("X-Docker-Expose-Session-Grpc-Method", method);
        }
        let request = request.body(Body::empty()).map_err(|error| failed(error.to_string()))?;

        let stream = self.stream().await.map_err(|error| failed(error.to_string()))?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| failed(error.to_string()))?;
        let connection = AbortOnDropHandle::new(tokio::spawn(async move {
            let _ = connection.with_upgrades().await;
        }));
        let response = sender.send_request(request).await.map_err(|error| failed(error.to_string()))?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Err(failed(format!("the daemon answered {}", response.status())));
        }
        let upgraded = hyper::upgrade::on(response).await.map_err(|error| failed(error.to_string()))?;

        let secrets = BuildSecrets(Arc::new(secrets));
        let router = Router::new()
            .route_service("/grpc.health.v1.Health/{method}", HealthServer::new(Alive))
            .route_service("/moby.filesync.v1.FileSync/{method}", FileSyncServer::new(files))
            .route_service("/moby.buildkit.secrets.v1.Secrets/{method}", SecretsServer::new(secrets));
        let serving = tokio::spawn(async move {
            let _connection = connection;
            let server = auto::Builder::new(TokioExecutor::new()).http2_only();
            // It ends when the daemon has no more use for it; what goes wrong before is told as the build's failure.
            let _ = server.serve_connection(upgraded, TowerToHyperService::new(router)).await;
        });
        Ok(Session { id, _serving: AbortOnDropHandle::new(serving) })
    }

    /// A connection of its own to the daemon.
    async fn stream(&self) -> std::io::Result<Box<dyn Stream>> {
        if let Some(path) = self.host.strip_prefix("unix://") {
            return Ok(Box::new(UnixStream::connect(Path::new(path)).await?));
        }
        let address = self.host.split_once("://").map_or(self.host.as_str(), |(_, address)| address);
        Ok(Box::new(TcpStream::connect(address.trim_end_matches('/')).await?))
    }
}

/// A connection of any kind.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Tells the daemon now and then that the session still stands.
struct Alive;

#[async_trait::async_trait]
impl Health for Alive {
    async fn check(&self, _: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        Ok(Response::new(HealthCheckResponse { status: ServingStatus::Serving.into() }))
    }

    async fn list(&self, _: Request<HealthListRequest>) -> Result<Response<HealthListResponse>, Status> {
        Err(Status::unimplemented("there is one service"))
    }

    type WatchStream = Empty<Result<HealthCheckResponse, Status>>;

    async fn watch(&self, _: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        Err(Status::unimplemented("the service is asked now and then"))
    }
}

/// The secrets of a build, for the RUN lines that mount them.
struct BuildSecrets(Arc<BTreeMap<BuildSecretName, SecretString>>);

#[async_trait::async_trait]
impl Secrets for BuildSecrets {
    async fn get_secret(&self, request: Request<GetSecretRequest>) -> Result<Response<GetSecretResponse>, Status> {
        let id = request.into_inner().id;
        let found = self.0.iter().find(|(name, _)| name.as_str() == id);
        let (_, value) = found.ok_or_else(|| Status::not_found(format!("`build_secrets` has no `{id}`")))?;
        Ok(Response::new(GetSecretResponse { data: value.expose_secret().as_bytes().to_vec() }))
    }
}
