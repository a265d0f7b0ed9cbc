//! One process of the server: its memory and its descriptors.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use super::MAX_GROWTH_KIB;

/// How long after the last request a server may keep connections.
const IDLE_WITHIN: Duration = Duration::from_mins(4);

/// How many connections to the API of a cluster may be kept: kube's client has no clock for them, and closes those that are
/// too old when it is used again. It never has more than were in use at the same time.
const MAX_KEPT: usize = 16;

/// How many samples are half a minute.
const HALF_MINUTE: usize = 6;

/// A process since its start.
pub(super) struct Process {
    pid: u32,
    /// The port of the cluster's API as `/proc/net/tcp` has it.
    cluster_port: String,
    begin: Instant,
    /// What was open when it had just begun to listen.
    idle: BTreeMap<String, usize>,
    /// Memory in KiB at each time.
    samples: Vec<(Duration, u64)>,
}

impl Process {
    pub(super) fn new(pid: u32, cluster: &str) -> Self {
        let port: u16 = cluster.rsplit_once(':').unwrap().1.parse().unwrap();
        let cluster_port = format!(":{port:04X}");
        let process = Self { pid, cluster_port, begin: Instant::now(), idle: BTreeMap::new(), samples: Vec::new() };
        Self { idle: process.kinds(), ..process }
    }

    pub(super) fn sample(&mut self) {
        let (age, memory) = (self.begin.elapsed(), self.memory());
        self.samples.push((age, memory));
    }

    /// What it holds in memory, in KiB.
    pub(super) fn memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid)).unwrap();
        let line = status.lines().find(|it| it.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// What its descriptors lead to.
    pub(super) fn descriptors(&self) -> Vec<String> {
        let entries = fs::read_dir(format!("/proc/{}/fd", self.pid)).unwrap().flatten();
        entries.filter_map(|it| Some(fs::read_link(it.path()).ok()?.display().to_string())).collect()
    }

    /// Says when it has grown since it had settled. What it holds for requests that are on their way comes and goes: half
    /// minutes are compared by their medians.
    pub(super) fn growth(&self, settles_within: Duration) -> Option<String> {
        let settled: Vec<u64> = self.samples.iter().filter(|it| it.0 >= settles_within).map(|it| it.1).collect();
        let medians: Vec<u64> = settled.chunks_exact(HALF_MINUTE).map(median).collect();
        let (first, most) = (*medians.first()?, *medians.iter().max()?);
        let peak = settled.iter().max().copied().unwrap_or_default();
        println!(
            "process {}: {first} KiB once it had settled, {most} KiB after that, {peak} KiB for a moment",
            self.pid
        );
        let has_grown = most - first > MAX_GROWTH_KIB;
        has_grown.then(|| format!("process {} has grown from {first} to {most} KiB", self.pid))
    }

    /// The descriptors that it has more than at its start, once it is idle. Connections that are kept for a next call go
    /// after a minute and a half.
    pub(super) async fn left(&self) -> Vec<String> {
        let begin = Instant::now();
        loop {
            let now = self.descriptors();
            let kinds = self.kinds();
            let before = |kind: &str| self.idle.get(kind).copied().unwrap_or_default();
            let left = kinds.iter().filter(|(kind, count)| **count > before(kind));
            let left: Vec<String> =
                left.map(|(kind, count)| format!("{count} of {kind}, not {}", before(kind))).collect();
            let seconds = begin.elapsed().as_secs();
            if left.is_empty() {
                println!("descriptors: as after the start {seconds} s after the last request");
                return left;
            }
            if begin.elapsed() > IDLE_WITHIN {
                return vec![format!(
                    "descriptors {seconds} s after the last request: {left:?} of {:#?}",
                    self.told(&now)
                )];
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }

    /// How many descriptors there are of each kind. Those of the store are as many as it keeps connections, which are opened
    /// as they are needed; those to the cluster's API as many as were in use.
    fn kinds(&self) -> BTreeMap<String, usize> {
        let (mut kinds, mut kept) = (BTreeMap::new(), 0);
        for told in self.told(&self.descriptors()).iter().filter(|it| !it.contains("store.sqlite")) {
            let is_to_cluster =
                told.split_whitespace().nth(3).is_some_and(|remote| remote.ends_with(&self.cluster_port));
            if is_to_cluster && kept < MAX_KEPT {
                kept += 1;
                continue;
            }
            let kind = told.split([' ', ':']).next().unwrap_or_default();
            *kinds.entry(kind.to_owned()).or_default() += 1;
        }
        kinds
    }

    /// Descriptors with the address of each socket.
    fn told(&self, descriptors: &[String]) -> Vec<String> {
        let read = |name: &str| fs::read_to_string(format!("/proc/{}/net/{name}", self.pid)).unwrap_or_default();
        let tables = ["tcp", "unix"].map(read).concat();
        let line = |inode: &str| tables.lines().find(|it| it.split_whitespace().any(|word| word == inode));
        let told = descriptors.iter().map(|it| {
            let inode = it.strip_prefix("socket:[").and_then(|it| it.strip_suffix(']'));
            let place = inode.and_then(line).unwrap_or_default();
            format!("{it} {}", place.trim())
        });
        told.collect()
    }
}

fn median(samples: &[u64]) -> u64 {
    let mut sorted = samples.to_vec();
    sorted.sort_unstable();
    sorted[sorted.len() / 2]
}
