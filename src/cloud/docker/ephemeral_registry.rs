//! Takes single layers out of the daemon by letting it push to a registry of our own, on loopback, for a moment.
//!
//! `docker save` always writes the whole image, which takes seconds for a layer of some kilobytes. A push sends the top
//! layers first and each by itself: as soon as those that are wanted have come, the push is cut off. It works where the
//! daemon shares our loopback; elsewhere the push fails at once and the caller reads the archive instead.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bollard::query_parameters::{PushImageOptions, TagImageOptions};
use futures_util::StreamExt;
use sha2::{Digest, Sha256};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::image::LAYERS_REPOSITORY;
use super::layout::{Blob, LayerBlob, digest_text};
use super::{Docker, DockerError};
use crate::id::ImageRef;

/// An upload larger than this waits for its turn, so that the base layers do not take the processor from the small ones.
const SERIALIZED_UPLOAD_BYTES: u64 = 256 * 1024;

/// How long a push may take altogether; after that `docker save`, the way around it, would have been quicker.
const PUSH_TIMEOUT: Duration = Duration::from_secs(20);

impl Docker {
    /// Writes those layers of an image into files below `folder`; `None` when the daemon cannot push to us.
    pub(super) async fn capture_layers(
        &self,
        name: &ImageRef,
        lacking: &[String],
        folder: &Path,
    ) -> Result<Option<HashMap<String, LayerBlob>>, DockerError> {
        let local = |error: io::Error| DockerError::Transient {
            action: format!("take layers out of image `{name}`"),
            reason: error.to_string(),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.map_err(local)?;
        let repository = format!("{}/{LAYERS_REPOSITORY}", listener.local_addr().map_err(local)?);
        let (layers_in, mut layers_out) = mpsc::channel(16);
        let registry = Registry::new(folder.to_owned(), layers_in);
        let uploads = Arc::clone(&registry.uploads);
        let _serving = serve(listener, registry);
        let push = self.push(name, repository).await?;

        let mut layers = HashMap::new();
        let deadline = tokio::time::sleep(PUSH_TIMEOUT);
        tokio::pin!(deadline);
        while !lacking.iter().all(|id| layers.contains_key(id)) {
            tokio::select! {
                biased;
                layer = layers_out.recv() => match layer {
                    Some((diff_id, layer)) => layers.insert(diff_id, layer),
                    None => return Ok(None),
                },
                () = push.ended() => {
                    if uploads.load(Ordering::Relaxed) == 0 {
                        self.shares_loopback.store(false, Ordering::Relaxed);
                    }
                    return Ok(None);
                }
                () = &mut deadline => return Ok(None),
            };
        }
        layers.retain(|id, _| lacking.contains(id));
        Ok(Some(layers))
    }

    /// Starts a push that goes on until the answer is dropped; then its name is taken away again.
    async fn push(&self, name: &ImageRef, repository: String) -> Result<Push, DockerError> {
        let client = self.client()?;
        let options = TagImageOptions { repo: Some(repository.clone()), tag: Some("latest".to_owned()) };
        client
            .tag_image(name.as_str(), Some(options))
            .await
            .map_err(|error| self.error(format!("tag image `{name}`"), &error))?;
        let (stop, ended) = (CancellationToken::new(), CancellationToken::new());
        let (stopped, ends, docker) = (stop.clone(), ended.clone(), self.clone());
        tokio::spawn(async move {
            {
                let options = PushImageOptions { tag: Some("latest".to_owned()), ..Default::default() };
                let mut reports = client.push_image(&repository, Some(options), None);
                let end = async { while let Some(Ok(_)) = reports.next().await {} };
                tokio::select! {
                    () = stopped.cancelled() => {}
                    () = end => {}
                }
            }
            ends.cancel();
            if let Ok(left) = ImageRef::parse(format!("{repository}:latest"))
                && let Err(error) = docker.untag(&left).await
            {
                tracing::warn!("The name `{left}` stays on an image: {error}");
            }
        });
        Ok(Push { _stop: stop.drop_guard(), ended })
    }
}

/// A push that runs; it is cut off when this is dropped.
struct Push {
    _stop: DropGuard,
    ended: CancellationToken,
}

impl Push {
    async fn ended(&self) {
        self.ended.cancelled().await;
    }
}

/// As much of a registry as a push needs until it is cut off.
#[derive(Clone)]
struct Registry {
    folder: PathBuf,
    uploads: Arc<AtomicU64>,
    turn: Arc<Semaphore>,
    layers: mpsc::Sender<(String, LayerBlob)>,
    /// Sizes of what came, by digest: a push looks whether it did.
    sizes: Arc<Mutex<HashMap<String, u64>>>,
}

impl Registry {
    fn new(folder: PathBuf, layers: mpsc::Sender<(String, LayerBlob)>) -> Self {
        Self { folder, uploads: Arc::default(), turn: Arc::new(Semaphore::new(1)), layers, sizes: Arc::default() }
    }

    /// Takes one compressed layer to its end and hands it on.
    async fn receive(&self, upload: u64, body: Body) -> io::Result<()> {
        let path = self.folder.join(format!("upload-{upload}"));
        let mut file = tokio::fs::File::create(&path).await?;
        let mut hash = Sha256::new();
        let mut size_bytes = 0;
        let mut turn = None;
        let mut body = body.into_data_stream();
        while let Some(chunk) = body.next().await {
            let chunk = chunk.map_err(io::Error::other)?;
            size_bytes += chunk.len() as u64;
            if size_bytes > SERIALIZED_UPLOAD_BYTES && turn.is_none() {
                turn = Some(self.turn.acquire().await.map_err(io::Error::other)?);
            }
            hash.update(&chunk);
            file.write_all(&chunk).await?;
        }
        file.flush().await?;
        let inside = path.clone();
        let diff_id = tokio::task::spawn_blocking(move || diff_id(&inside)).await.map_err(io::Error::other)??;
        let blob = Blob { digest: digest_text(&hash.finalize()), size_bytes, is_gzip: true };
        if let Ok(mut sizes) = self.sizes.lock() {
            sizes.insert(blob.digest.clone(), size_bytes);
        }
        self.layers.send((diff_id, LayerBlob { blob, file: path })).await.map_err(io::Error::other)
    }
}

/// Serves until the answer is dropped, at most as long as a push may take.
fn serve(listener: TcpListener, registry: Registry) -> DropGuard {
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    let router = Router::new().fallback(answer).with_state(registry);
    tokio::spawn(async move {
        tokio::select! {
            () = stopped.cancelled() => {}
            _ = axum::serve(listener, router) => {}
        }
    });
    stop.drop_guard()
}

async fn answer(State(registry): State<Registry>, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    let method = request.method().clone();
    let last: Option<u64> = path.rsplit('/').next().and_then(|last| last.parse().ok());
    if method == Method::GET && path == "/v2/" {
        return StatusCode::OK.into_response();
    }
    if method == Method::POST {
        let upload = registry.uploads.fetch_add(1, Ordering::Relaxed);
        return accepted(&format!("/v2/{LAYERS_REPOSITORY}/blobs/uploads/{upload}"));
    }
    if method == Method::HEAD {
        let size = path.rsplit('/').next().and_then(|digest| registry.sizes.lock().ok()?.get(digest).copied());
        return match size {
            Some(size) => [(header::CONTENT_LENGTH, size)].into_response(),
            None => StatusCode::NOT_FOUND.into_response(),
        };
    }
    match last {
        Some(upload) if method == Method::PATCH => match registry.receive(upload, request.into_body()).await {
            Ok(()) => accepted(&path),
            Err(_cut_off) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        },
        Some(_) if method == Method::PUT => StatusCode::CREATED.into_response(),
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}

fn accepted(location: &str) -> Response {
    let mut response = StatusCode::ACCEPTED.into_response();
    if let Ok(location) = HeaderValue::from_str(location) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response.headers_mut().insert(header::RANGE, HeaderValue::from_static("0-0"));
    response
}

/// The digest of what a compressed layer holds.
fn diff_id(path: &Path) -> io::Result<String> {
    let mut layer = flate2::read::MultiGzDecoder::new(io::BufReader::new(std::fs::File::open(path)?));
    let mut hash = Sha256::new();
    let mut piece = vec![0; 64 * 1024];
    loop {
        match io::Read::read(&mut layer, &mut piece)? {
            0 => return Ok(digest_text(&hash.finalize())),
            count => hash.update(&piece[..count]),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[tokio::test]
    async fn a_layer_that_is_pushed_comes_out_with_both_of_its_digests() {
        let folder = tempfile::tempdir().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let (layers_in, mut layers_out) = mpsc::channel(1);
        let _registry = serve(listener, Registry::new(folder.path().to_owned(), layers_in));
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(b"layer").unwrap();
        let compressed = gzip.finish().unwrap();
        let http = reqwest::Client::builder().no_proxy().build().unwrap();

        let begun = http.post(format!("{base}/v2/x/blobs/uploads/")).send().await.unwrap();
        let location = begun.headers()["location"].to_str().unwrap().to_owned();
        let sent = http.patch(format!("{base}{location}")).body(compressed.clone()).send().await.unwrap();

        let (diff_id, layer) = layers_out.recv().await.unwrap();
        let looked = http.head(format!("{base}/v2/x/blobs/{}", layer.blob.digest)).send().await.unwrap();
        assert_eq!(looked.status().as_u16(), 200);
        assert_eq!((begun.status().as_u16(), sent.status().as_u16()), (202, 202));
        assert_eq!(diff_id, digest_text(&Sha256::digest(b"layer")));
        assert_eq!(layer.blob.digest, digest_text(&Sha256::digest(&compressed)));
        assert_eq!(std::fs::read(&layer.file).unwrap(), compressed);
    }
}
