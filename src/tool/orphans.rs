//! Programs that an earlier server, or a call that was given up, left at work in a step's folder.

use std::ffi::OsString;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::event::Lines;
use crate::tool::connection::Connection;
use crate::tool::error::ToolError;
use crate::tool::files::file_error;
use crate::tool::process::GRACE;
use crate::tool::script::Script;

const ORPHANS: &str = concat!(include_str!("script/processes.sh"), include_str!("script/orphans.sh"));
const REAP: &str = concat!(include_str!("script/processes.sh"), include_str!("script/reap.sh"));

/// The folders of runs: a call's name, and an id of 32 digits. Other files of the step have other names.
const RUNS: &str = "*.????????????????????????????????";
/// How long one look waits for the ends of runs.
const LOOK: Duration = Duration::from_secs(1);
/// How long a script may take to end runs, beside their grace periods: it needs two seconds when the machine is not slow.
const REAP_TIMEOUT: Duration = Duration::from_mins(2);

impl Connection {
    /// Waits until no program that an earlier server left behind works in this folder; after `limit` it is interrupted.
    ///
    /// # Errors
    /// [`ToolError`] when the folder cannot be read, or the other machine cannot be reached.
    pub async fn await_orphans(
        &self,
        folder: &Path,
        limit: Duration,
        lines: &Lines,
        cancel: &CancellationToken,
    ) -> Result<(), ToolError> {
        if self.is_local() {
            if !folder.exists() {
                return Ok(());
            }
            adopt(folder)?;
        }
        let start = Instant::now();
        let mut orphans = self.orphans(folder, Duration::ZERO).await?;
        while let Some(orphan) = orphans.first()
            && start.elapsed() < limit
            && !cancel.is_cancelled()
        {
            let waited_s = start.elapsed().as_secs();
            lines.progress(format!("waiting for `{}`, which was under way, {waited_s} s", orphan.name));
            let look = LOOK.min(limit.saturating_sub(start.elapsed()));
            tokio::select! {
                left = self.orphans(folder, look) => orphans = left?,
                () = cancel.cancelled() => (),
            }
        }
        let Some(grace) = orphans.iter().map(|orphan| orphan.grace).max() else { return Ok(()) };
        self.reap(vec![folder.into(), RUNS.into()], grace).await
    }

    /// Whether a call of this name was ever started with this folder, by this server or an earlier one.
    ///
    /// # Errors
    /// [`ToolError`] when the other machine cannot be reached.
    pub async fn was_started(&self, folder: &Path, name: &str) -> Result<bool, ToolError> {
        let call = self.call("find").arg(folder).args(["-maxdepth", "1", "-name", &format!("{name}.*")]);
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
    name: String,
}

impl Orphan {
    /// Understands a line of [`ORPHANS`].
    fn parse(line: &str) -> Option<Self> {
        let (grace_s, name) = line.split_once(' ')?;
        Some(Self { grace: Duration::from_secs(grace_s.parse().ok()?), name: name.to_owned() })
    }
}

/// What was kept of a program on this machine, in `NAME.pid`, before every run had a folder. The program led its group.
#[derive(Deserialize)]
struct OldRecord {
    pid: i32,
    started: u64,
    grace_s: Option<u64>,
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
        let Ok(record) = serde_json::from_slice(&text) else { continue };
        let run = path.with_extension("0".repeat(32));
        write_run(&run, &record).map_err(|error| file_error(&run, error))?;
        std::fs::remove_file(&path).map_err(|error| file_error(&path, error))?;
    }
    Ok(())
}

fn write_run(run: &Path, record: &OldRecord) -> io::Result<()> {
    let OldRecord { pid, started, grace_s, interrupted } = record;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(run)?;
    std::fs::write(run.join("grace_s"), format!("{}\n", grace_s.unwrap_or(GRACE.as_secs())))?;
    if *interrupted {
        std::fs::write(run.join("interrupted"), "")?;
    }
    std::fs::write(run.join("process"), format!("{pid} {started}\n"))
}
