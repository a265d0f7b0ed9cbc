//! Programs that an earlier server, or a call that was given up, left at work for a step.

use std::ffi::OsString;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::event::Lines;
use crate::store::calls::BegunCall;
use crate::tool::connection::Connection;
use crate::tool::error::ToolError;
use crate::tool::files::file_error;
use crate::tool::process::GRACE;
use crate::tool::script::Script;
use crate::tool::step_calls::{StepCalls, boot_id, find_supervisor};

const ORPHANS: &str = concat!(include_str!("script/processes.sh"), include_str!("script/orphans.sh"));
const REAP: &str = concat!(include_str!("script/processes.sh"), include_str!("script/reap.sh"));

/// The folders of runs: a call's name, and an id of 32 digits. Other files of the step have other names.
const RUNS: &str = "*.????????????????????????????????";
/// How long one look waits for the ends of runs.
const LOOK: Duration = Duration::from_secs(1);
/// How long a script may take to end runs, beside their grace periods: it needs two seconds when the machine is not slow.
const REAP_TIMEOUT: Duration = Duration::from_mins(2);

impl Connection {
    /// Waits until no program that an earlier server left behind works for this step. One that has gone on for longer than its
    /// call may take is interrupted; one of which no time-out was kept, after `limit`. One of this machine is found also when
    /// its folder is gone: by its record in the store.
    ///
    /// # Errors
    /// [`ToolError`] when the folder cannot be read, or the other machine cannot be reached.
    pub async fn await_orphans(
        &self,
        calls: &StepCalls,
        limit: Duration,
        lines: &Lines,
        cancel: &CancellationToken,
    ) -> Result<(), ToolError> {
        let folder = &calls.folder;
        if self.is_local() {
            restore(calls).await?;
            if !folder.exists() {
                return Ok(());
            }
            adopt(folder)?;
        }
        let start = Instant::now();
        let mut orphans = self.orphans(folder, Duration::ZERO).await?;
        loop {
            let waited = start.elapsed();
            let rest = |orphan: &Orphan| orphan.rest.unwrap_or_else(|| limit.saturating_sub(waited));
            let Some(orphan) = orphans.iter().max_by_key(|it| rest(it)) else { return self.end_all(calls).await };
            if rest(orphan).is_zero() || cancel.is_cancelled() {
                break;
            }
            let waited_s = waited.as_secs();
            lines.progress(format!("waiting for `{}`, which was under way, {waited_s} s", orphan.name));
            let look = LOOK.min(rest(orphan));
            tokio::select! {
                left = self.orphans(folder, look) => orphans = left?,
                () = cancel.cancelled() => (),
            }
        }
        let Some(grace) = orphans.iter().map(|orphan| orphan.grace).max() else { return Ok(()) };
        self.reap(vec![folder.into(), RUNS.into()], grace).await
    }

    /// Keeps that none of the calls on this machine goes on.
    async fn end_all(&self, calls: &StepCalls) -> Result<(), ToolError> {
        if self.is_local() {
            for call in calls.begun().await?.into_iter().filter(is_of_this_boot()) {
                calls.end(&call.run).await;
            }
        }
        Ok(())
    }

    /// Whether a call of this name was ever begun for this step, by this server or an earlier one.
    ///
    /// # Errors
    /// [`ToolError`] when the other machine cannot be reached.
    pub async fn was_started(&self, calls: &StepCalls, name: &str) -> Result<bool, ToolError> {
        if calls.begun().await?.iter().any(|it| it.name == name) {
            return Ok(true);
        }
        // A version that kept no record in the store has only the folder.
        let call = self.call("find").arg(&calls.folder).args(["-maxdepth", "1", "-name", &format!("{name}.*")]);
        match call.run(&Lines::none(), &CancellationToken::new()).await {
            Ok(output) => Ok(!output.stdout.trim().is_empty()),
            Err(ToolError::Failed { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Interrupts one run, and kills it when it does not end within its grace period. By its record it is found also when
    /// somebody has removed its folder.
    pub(super) async fn interrupt(&self, run: &Path, record: &str, grace: Duration) -> Result<(), ToolError> {
        let (Some(folder), Some(name)) = (run.parent(), run.file_name()) else { return Ok(()) };
        let grace_s = grace.as_secs().to_string();
        self.reap(vec![folder.into(), name.into(), record.into(), grace_s.into()], grace).await
    }

    async fn reap(&self, words: Vec<OsString>, grace: Duration) -> Result<(), ToolError> {
        let script = Script { words, timeout: grace + REAP_TIMEOUT, ..Script::new("reap", REAP) };
        let output = self.run_script(&script, &Lines::none(), &CancellationToken::new()).await?;
        output.check_exit("reap").map(drop)
    }

    /// The runs in a folder that go on, after some time at most in which they may end.
    async fn orphans(&self, folder: &Path, wait: Duration) -> Result<Vec<Orphan>, ToolError> {
        let hundredths = wait.as_millis().div_ceil(10);
        let words = vec![folder.into(), RUNS.into(), hundredths.to_string().into()];
        let script = Script { words, ..Script::new("orphans", ORPHANS) };
        let output = self.run_script(&script, &Lines::none(), &CancellationToken::new()).await?;
        Ok(output.check_exit("orphans")?.stdout.lines().filter_map(Orphan::parse).collect())
    }
}

/// A run that goes on.
struct Orphan {
    grace: Duration,
    /// What is left of its time, when that was kept.
    rest: Option<Duration>,
    name: String,
}

impl Orphan {
    /// Understands a line of [`ORPHANS`].
    fn parse(line: &str) -> Option<Self> {
        let (grace_s, others) = line.split_once(' ')?;
        let (rest_s, name) = others.split_once(' ')?;
        let seconds = |text: &str| text.parse().ok().map(Duration::from_secs);
        Some(Self { grace: seconds(grace_s)?, rest: seconds(rest_s), name: name.to_owned() })
    }
}

/// Makes the folders of runs of this boot again that are gone, so that the scripts find the programs, and so that none can be
/// started any more by a script that is late: whoever makes the folder starts the program.
async fn restore(calls: &StepCalls) -> Result<(), ToolError> {
    for call in calls.begun().await?.into_iter().filter(is_of_this_boot()) {
        let run = calls.folder.join(format!("{}.{}", call.name, call.run));
        if run.exists() {
            continue;
        }
        let record = RunRecord {
            process: call.process.or_else(|| find_supervisor(&call.run)),
            grace_s: call.grace_s,
            timeout_s: Some(call.timeout_s),
            is_interrupted: false,
        };
        record.write(&run).map_err(|error| file_error(&run, error))?;
    }
    Ok(())
}

/// Tells the calls whose programs may be at work on this machine.
fn is_of_this_boot() -> impl Fn(&BegunCall) -> bool {
    let boot = boot_id();
    move |call| !call.has_ended && call.boot.is_some() && call.boot == boot
}

/// What a run's folder holds of it.
struct RunRecord {
    process: Option<(i64, i64)>,
    grace_s: i64,
    timeout_s: Option<i64>,
    is_interrupted: bool,
}

impl RunRecord {
    fn write(&self, run: &Path) -> io::Result<()> {
        let Self { process, grace_s, timeout_s, is_interrupted } = self;
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(run)?;
        std::fs::write(run.join("grace_s"), format!("{grace_s}\n"))?;
        if let Some(timeout_s) = timeout_s {
            std::fs::write(run.join("timeout_s"), format!("{timeout_s}\n"))?;
        }
        if *is_interrupted {
            std::fs::write(run.join("interrupted"), "")?;
        }
        if let Some((id, start)) = process {
            std::fs::write(run.join("process"), format!("{id} {start}\n"))?;
        }
        Ok(())
    }
}

/// What was kept of a program on this machine, in `NAME.pid`, before every run had a folder. The program led its group.
#[derive(Deserialize)]
struct OldRecord {
    pid: i64,
    started: i64,
    grace_s: Option<i64>,
    #[serde(default)]
    interrupted: bool,
}

/// Makes runs of the old records in a folder, so that the scripts find them. What is no such record stays as it is.
fn adopt(folder: &Path) -> Result<(), ToolError> {
    for entry in std::fs::read_dir(folder).map_err(|error| file_error(folder, error))? {
        let path = entry.map_err(|error| file_error(folder, error))?.path();
        if path.extension().is_none_or(|extension| extension != "pid") || !path.is_file() {
            continue;
        }
        let text = std::fs::read(&path).map_err(|error| file_error(&path, error))?;
        let Ok(record) = serde_json::from_slice::<OldRecord>(&text) else { continue };
        let run = path.with_extension("0".repeat(32));
        RunRecord::from(record).write(&run).map_err(|error| file_error(&run, error))?;
        std::fs::remove_file(&path).map_err(|error| file_error(&path, error))?;
    }
    Ok(())
}

impl From<OldRecord> for RunRecord {
    fn from(record: OldRecord) -> Self {
        let OldRecord { pid, started, grace_s, interrupted } = record;
        let grace_s = grace_s.unwrap_or_else(|| i64::try_from(GRACE.as_secs()).unwrap_or_default());
        Self { process: Some((pid, started)), grace_s, timeout_s: None, is_interrupted: interrupted }
    }
}
