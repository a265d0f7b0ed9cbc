//! Where the durable calls of one step are on record: in the store, and in a folder on the machine where they run.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::store::calls::{BegunCall, CallLog};
use crate::tool::error::ToolError;

/// Where the durable calls of one step are on record. Cheap to clone.
#[derive(Debug, Clone)]
pub struct StepCalls {
    /// Where each has a folder for what it prints, its process and its status.
    pub folder: PathBuf,
    /// Where they are also when that folder is gone.
    pub log: Option<CallLog>,
}

impl StepCalls {
    /// Those of a step.
    #[must_use]
    pub fn new(folder: PathBuf, log: CallLog) -> Self {
        Self { folder, log: Some(log) }
    }

    /// Those that a folder alone knows: nobody looks for them after a restart.
    #[must_use]
    pub fn in_folder(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into(), log: None }
    }

    pub(super) async fn begin(&self, call: &BegunCall) -> Result<(), ToolError> {
        match &self.log {
            Some(log) => log.begin(call).await.map_err(ToolError::Store),
            None => Ok(()),
        }
    }

    /// Keeps which process a call is, as the scripts write it.
    pub(super) async fn set_process(&self, run: &str, record: &str) -> Result<(), ToolError> {
        match (&self.log, parse_process(record)) {
            (Some(log), Some(process)) => log.set_process(run, process).await.map_err(ToolError::Store),
            (None, _) | (_, None) => Ok(()),
        }
    }

    /// Keeps that a call has ended. When that fails, its record is compared with the process that has its number by then.
    pub(super) async fn end(&self, run: &str) {
        let Some(log) = &self.log else { return };
        if let Err(error) = log.end(run).await {
            tracing::warn!(error = &error as &dyn std::error::Error, "the end of a call is not in the store");
        }
    }

    pub(super) async fn begun(&self) -> Result<Vec<BegunCall>, ToolError> {
        match &self.log {
            Some(log) => log.begun().await.map_err(ToolError::Store),
            None => Ok(Vec::new()),
        }
    }
}

/// This boot of this machine; `None` where the system does not tell. A process is known by it, its number and its start time.
pub(super) fn boot_id() -> Option<String> {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(text.trim().to_owned()).filter(|it| !it.is_empty())
}

/// Number and start time of the supervisor of a call on this machine, found by the id in its arguments: the server may have
/// been killed before it heard of them.
pub(super) fn find_supervisor(run: &str) -> Option<(i64, i64)> {
    let suffix = format!(".{run}");
    let is_of_run = |word: &[u8]| word.ends_with(suffix.as_bytes());
    fs::read_dir("/proc").ok()?.flatten().find_map(|entry| {
        let id: i64 = entry.file_name().to_str()?.parse().ok()?;
        let text = fs::read(entry.path().join("cmdline")).ok()?;
        // sh -c SCRIPT supervise RUN GRACE_S PROGRAM [ARGUMENT...]
        let mut words = text.split(|byte| *byte == 0).skip(3);
        let is_supervisor =
            words.next() == Some(OsStr::new("supervise").as_bytes()) && words.next().is_some_and(is_of_run);
        // The program's own subshell has the same arguments until it becomes the program; it does not lead the group.
        let stat = ProcessStat::read(&entry.path()).filter(|stat| is_supervisor && stat.group == id)?;
        Some((id, stat.start))
    })
}

struct ProcessStat {
    group: i64,
    start: i64,
}

impl ProcessStat {
    /// proc(5): group and start time are the 5th and the 22nd field; the 2nd is a name in brackets that may hold anything.
    fn read(process: &Path) -> Option<Self> {
        let text = fs::read_to_string(process.join("stat")).ok()?;
        let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
        Some(Self { group: fields.get(2)?.parse().ok()?, start: fields.get(19)?.parse().ok()? })
    }
}

fn parse_process(record: &str) -> Option<(i64, i64)> {
    let (id, start) = record.trim().split_once(' ')?;
    Some((id.parse().ok()?, start.parse().ok()?))
}
