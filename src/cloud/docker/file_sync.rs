//! How `BuildKit` fetches files in a session (the protocol of `fsutil`): here all paths are told, there those are asked for
//! whose contents are wanted, and the contents go there one after the other.

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use bollard::grpc::build::fsutil::types::packet::PacketType;
use bollard::grpc::build::fsutil::types::{Packet, Stat};
use bollard::grpc::build::moby::filesync::packet::file_sync_server;
use tokio::fs::File;
use tokio::io::AsyncReadExt;
use tokio::sync::mpsc;
use tokio_stream::Empty;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::context::{BuildContext, ContextEntry, EARLIEST_S, EntryKind, IGNORE_FILE};

/// Bytes of a file that go in one packet.
const CHUNK_BYTES: usize = 32 * 1024;
/// Packets that wait to be sent.
const WAITING_PACKETS: usize = 32;
/// Bits of a mode in Go's words (`io/fs.FileMode`).
const GO_DIRECTORY: u32 = 1 << 31;
const GO_LINK: u32 = 1 << 27;

/// The name under which a build fetches its Dockerfile, and the one of its context.
const DOCKERFILE: &str = "dockerfile";
const CONTEXT: &str = "context";

/// The files of one build. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct FileSync {
    context: Arc<Vec<ContextEntry>>,
    dockerfile: Arc<DockerfileEntry>,
    transfer: Transfer,
}

/// The Dockerfile, which need not be a file here.
#[derive(Debug)]
struct DockerfileEntry {
    path: PathBuf,
    text: String,
}

/// What has become of the files on their way to the daemon. Cheap to clone.
#[derive(Debug, Default, Clone)]
pub(super) struct Transfer {
    sent_bytes: Arc<AtomicU64>,
    failed: Arc<Mutex<Option<io::Error>>>,
}

impl Transfer {
    pub(super) fn add(&self, bytes: usize) {
        self.sent_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(super) fn sent_bytes(&self) -> u64 {
        self.sent_bytes.load(Ordering::Relaxed)
    }

    pub(super) fn fail(&self, error: io::Error) {
        if let Ok(mut failed) = self.failed.lock() {
            failed.get_or_insert(error);
        }
    }

    /// What went wrong with them, once.
    pub(super) fn error(&self) -> Option<io::Error> {
        self.failed.lock().ok().and_then(|mut failed| failed.take())
    }
}

impl FileSync {
    /// The files of a context, and a Dockerfile beside it.
    pub(super) fn new(context: BuildContext, dockerfile: &str, text: &str, transfer: Transfer) -> Self {
        let dockerfile = DockerfileEntry { path: PathBuf::from(dockerfile), text: text.to_owned() };
        Self { context: Arc::new(context.entries), dockerfile: Arc::new(dockerfile), transfer }
    }

    /// What a request is told of, in order; a packet's place among them is its number.
    fn wanted(&self, directory: &str, paths: &[String]) -> Option<Vec<Wanted>> {
        let entry = |place: usize, entry: &ContextEntry| Wanted { stat: stat(entry), source: Source::Context(place) };
        match directory {
            DOCKERFILE => {
                let path = &self.dockerfile.path;
                let above = path.ancestors().skip(1).filter(|it| !it.as_os_str().is_empty());
                let mut all: Vec<Wanted> = above
                    .map(|path| {
                        let entry =
                            ContextEntry { path: path.into(), kind: EntryKind::Directory, modified_s: EARLIEST_S };
                        Wanted { stat: stat(&entry), source: Source::Dockerfile }
                    })
                    .collect();
                all.reverse();
                let size_bytes = self.dockerfile.text.len() as u64;
                let kind = EntryKind::File { source: PathBuf::new(), size_bytes, is_executable: false };
                let file = ContextEntry { path: path.clone(), kind, modified_s: EARLIEST_S };
                all.push(Wanted { stat: stat(&file), source: Source::Dockerfile });
                Some(all)
            }
            // The ignore file is asked for alone at first; what it says has been done already.
            CONTEXT if paths.iter().any(|path| path == IGNORE_FILE) && paths.len() == 1 => {
                let all = self.context.iter().enumerate();
                let found = all.filter(|(_, it)| it.path == Path::new(IGNORE_FILE));
                Some(found.map(|(place, it)| entry(place, it)).collect())
            }
            CONTEXT => Some(self.context.iter().enumerate().map(|(place, it)| entry(place, it)).collect()),
            _ => None,
        }
    }

    /// Tells the paths and sends the contents that are asked for, until the daemon has what it wants.
    async fn send(self, wanted: Vec<Wanted>, mut requests: Streaming<Packet>, packets: Packets) {
        let (ask, asked) = mpsc::unbounded_channel();
        let sources: Vec<Source> = wanted.iter().map(|it| it.source).collect();
        let tell = async {
            for it in wanted {
                packets.send(PacketType::PacketStat, 0, Some(it.stat), Vec::new()).await?;
            }
            packets.send(PacketType::PacketStat, 0, None, Vec::new()).await
        };
        let read = async {
            // Dropped at the end, so that the contents end with the requests.
            let ask = ask;
            while let Ok(Some(packet)) = requests.message().await {
                match packet.r#type() {
                    PacketType::PacketReq => drop(ask.send(packet.id)),
                    PacketType::PacketFin => return true,
                    PacketType::PacketStat | PacketType::PacketData | PacketType::PacketErr => break,
                }
            }
            false
        };
        let contents = self.send_contents(&sources, asked, &packets);
        let (told, is_done, sent) = tokio::join!(tell, read, contents);
        match sent {
            Err(SendError::File(error)) => {
                let text = error.to_string().into_bytes();
                self.transfer.fail(error);
                let _ = packets.send(PacketType::PacketErr, 0, None, text).await;
            }
            Ok(()) if told.is_ok() && is_done => {
                let _ = packets.send(PacketType::PacketFin, 0, None, Vec::new()).await;
            }
            // Nobody listens any more.
            Ok(()) | Err(SendError::Closed) => {}
        }
    }

    async fn send_contents(
        &self,
        sources: &[Source],
        mut asked: mpsc::UnboundedReceiver<u32>,
        packets: &Packets,
    ) -> Result<(), SendError> {
        while let Some(id) = asked.recv().await {
            match usize::try_from(id).ok().and_then(|place| sources.get(place)) {
                Some(Source::Dockerfile) => {
                    for chunk in self.dockerfile.text.as_bytes().chunks(CHUNK_BYTES) {
                        packets.send(PacketType::PacketData, id, None, chunk.to_vec()).await?;
                    }
                }
                Some(Source::Context(place)) => self.send_file(id, &self.context[*place], packets).await?,
                None => {}
            }
            packets.send(PacketType::PacketData, id, None, Vec::new()).await?;
        }
        Ok(())
    }

    async fn send_file(&self, id: u32, entry: &ContextEntry, packets: &Packets) -> Result<(), SendError> {
        let EntryKind::File { source, size_bytes, .. } = &entry.kind else { return Ok(()) };
        let named = |error: io::Error| {
            SendError::File(io::Error::new(error.kind(), format!("`{}`: {error}", entry.path.display())))
        };
        let mut file = File::open(source).await.map_err(named)?.take(*size_bytes);
        loop {
            let mut chunk = Vec::with_capacity(CHUNK_BYTES);
            while chunk.len() < CHUNK_BYTES && file.read_buf(&mut chunk).await.map_err(named)? > 0 {}
            if chunk.is_empty() {
                return Ok(());
            }
            self.transfer.add(chunk.len());
            packets.send(PacketType::PacketData, id, None, chunk).await?;
        }
    }
}

/// A path that is told, and where its contents are.
struct Wanted {
    stat: Stat,
    source: Source,
}

#[derive(Clone, Copy)]
enum Source {
    /// An entry of the context, by its place.
    Context(usize),
    Dockerfile,
}

/// Why contents were not sent.
enum SendError {
    /// The daemon went away.
    Closed,
    /// They cannot be read.
    File(io::Error),
}

/// Where packets for the daemon go.
struct Packets(mpsc::Sender<Result<Packet, Status>>);

impl Packets {
    async fn send(&self, kind: PacketType, id: u32, stat: Option<Stat>, data: Vec<u8>) -> Result<(), SendError> {
        let packet = Packet { r#type: kind.into(), stat, id, data };
        self.0.send(Ok(packet)).await.map_err(|_| SendError::Closed)
    }
}

fn stat(entry: &ContextEntry) -> Stat {
    let text = |path: &Path| String::from_utf8_lossy(path.as_os_str().as_bytes()).into_owned();
    let (bits, size_bytes, linkname) = match &entry.kind {
        EntryKind::Directory => (GO_DIRECTORY, 0, String::new()),
        EntryKind::Link { target } => (GO_LINK, 0, text(target)),
        EntryKind::File { size_bytes, .. } => (0, *size_bytes, String::new()),
    };
    Stat {
        path: text(&entry.path),
        mode: bits | entry.mode(),
        size: i64::try_from(size_bytes).unwrap_or(i64::MAX),
        mod_time: i64::try_from(entry.modified_s).unwrap_or_default().saturating_mul(1_000_000_000),
        linkname,
        ..Stat::default()
    }
}

#[async_trait::async_trait]
impl file_sync_server::FileSync for FileSync {
    type DiffCopyStream = ReceiverStream<Result<Packet, Status>>;

    async fn diff_copy(&self, request: Request<Streaming<Packet>>) -> Result<Response<Self::DiffCopyStream>, Status> {
        let values = |name: &str| -> Vec<String> {
            let all = request.metadata().get_all(name).iter();
            all.filter_map(|value| value.to_str().ok().map(str::to_owned)).collect()
        };
        let (directory, paths) = (values("dir-name").pop().unwrap_or_default(), values("followpaths"));
        let wanted = self.wanted(&directory, &paths);
        let wanted =
            wanted.ok_or_else(|| Status::not_found(format!("there are no files of the name `{directory}`")))?;
        let (packets, receiver) = mpsc::channel(WAITING_PACKETS);
        tokio::spawn(self.clone().send(wanted, request.into_inner(), Packets(packets)));
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    type TarStreamStream = Empty<Result<Packet, Status>>;

    async fn tar_stream(&self, _: Request<Streaming<Packet>>) -> Result<Response<Self::TarStreamStream>, Status> {
        Err(Status::unimplemented("`DiffCopy` is offered"))
    }
}
