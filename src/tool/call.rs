//! Calls of external programs: one argument at a time, no shell text from outside, bounded, cancellable, redacted.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use tokio_util::sync::CancellationToken;

use crate::event::Lines;
use crate::secret::Redactor;
use crate::tool::connection::Connection;
use crate::tool::error::ToolError;
use crate::tool::output::{BoundedLines, Output};
use crate::tool::process::{self, GRACE, InheritedEnv, RawOutput, RunOptions, Status};
use crate::tool::script::{SCRIPT_TIMEOUT, Script};

const INSPECT: &str = include_str!("script/inspect.sh");

/// One external program, from argv to exit.
#[derive(Debug)]
pub struct Call {
    pub(super) program: OsString,
    pub(super) args: Vec<OsString>,
    pub(super) environment: Vec<(OsString, OsString)>,
    pub(super) inherited: InheritedEnv,
    pub(super) redactor: Redactor,
    pub(super) directory: Option<PathBuf>,
    pub(super) timeout: Duration,
    pub(super) grace: Duration,
    pub(super) streams_stdout: bool,
    pub(super) connection: Connection,
}

impl Connection {
    /// A call of a program over this connection.
    pub fn call(&self, program: impl AsRef<OsStr>) -> Call {
        Call { connection: self.clone(), ..Call::new(program) }
    }
}

impl Call {
    /// A call of a program on this machine, found on PATH unless it is a path.
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        Self {
            program: program.as_ref().to_owned(),
            args: Vec::new(),
            environment: Vec::new(),
            inherited: InheritedEnv::default(),
            redactor: Redactor::default(),
            directory: None,
            timeout: Duration::from_mins(1),
            grace: GRACE,
            streams_stdout: false,
            connection: Connection::Local,
        }
    }

    /// Adds one argument.
    #[must_use]
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    /// Adds several arguments.
    #[must_use]
    pub fn args<A: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// Sets a variable of the program's environment.
    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.environment.push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Sets a variable whose value never appears in lines and errors.
    #[must_use]
    pub fn secret_env(mut self, name: impl AsRef<OsStr>, value: &SecretString) -> Self {
        self.redactor = self.redactor.with([value]);
        self.env(name, value.expose_secret())
    }

    /// Never shows this text in lines and errors.
    #[must_use]
    pub fn redact(mut self, secret: &SecretString) -> Self {
        self.redactor = self.redactor.with([secret]);
        self
    }

    /// Hands on these variables of the server's environment too, beside the few that every program gets. A name that ends
    /// with `*` stands for every variable that begins so.
    #[must_use]
    pub fn inherit(mut self, names: &[&'static str]) -> Self {
        self.inherited.own.extend(names);
        self
    }

    /// Does not hand on these of them.
    #[must_use]
    pub fn withhold(mut self, names: &[&'static str]) -> Self {
        self.inherited.withheld.extend(names);
        self
    }

    /// Sets how long the program may take to end after its one SIGINT, before SIGKILL; ten seconds without it.
    #[must_use]
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// Hands on the lines of standard output too while a durable call runs: the program tells there what it does.
    #[must_use]
    pub fn stream_stdout(mut self) -> Self {
        self.streams_stdout = true;
        self
    }

    /// Sets the working directory.
    #[must_use]
    pub fn directory(mut self, directory: impl Into<PathBuf>) -> Self {
        self.directory = Some(directory.into());
        self
    }

    /// Sets how long the program may run; a minute without it.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Runs the program to its end. It dies with us: for calls that only look. One that a broken connection took away is
    /// run again.
    ///
    /// # Errors
    /// [`ToolError`] says which program, how it ended and what it printed last.
    #[tracing::instrument(level = "debug", skip_all, fields(call = self.name()))]
    pub async fn run(&self, lines: &Lines, cancel: &CancellationToken) -> Result<Output, ToolError> {
        let output = match &self.connection {
            Connection::Local => self.run_local(lines, cancel).await?,
            Connection::Ssh(_) => self.run_remote(lines, cancel).await?,
        };
        output.check_exit(&self.name())
    }

    async fn run_local(&self, lines: &Lines, cancel: &CancellationToken) -> Result<RawOutput, ToolError> {
        let mut command = process::command(&self.program, &self.inherited);
        command.args(&self.args).envs(self.environment.iter().map(|(name, value)| (name, value)));
        if let Some(directory) = &self.directory {
            command.current_dir(directory);
        }
        let name = &self.name();
        let Self { redactor, timeout, grace, .. } = self;
        let options = RunOptions { name, input: None, redactor, timeout: *timeout, grace: *grace };
        process::run(command, &options, lines, cancel).await
    }

    async fn run_remote(&self, lines: &Lines, cancel: &CancellationToken) -> Result<RawOutput, ToolError> {
        let mut words = vec![self.directory_word(), self.timeout.as_secs().max(1).to_string().into()];
        words.extend(self.program_words());
        let timeout = self.timeout + SCRIPT_TIMEOUT;
        let script = Script { timeout, ..self.script("inspect", INSPECT, words) };
        let output = self.connection.run_script(&script, lines, cancel).await.map_err(|error| {
            if let ToolError::TimedOut { program, lines, .. } = error {
                ToolError::TimedOut { program, limit: self.timeout, lines }
            } else {
                error
            }
        })?;
        self.check_started(output.status, &output.stderr, "inspect: ")?;
        Ok(output)
    }

    /// The program and its first argument, as messages name a call.
    pub(super) fn name(&self) -> String {
        let program = Path::new(&self.program).file_name().unwrap_or(&self.program).to_string_lossy();
        self.args.first().map_or_else(
            || program.clone().into_owned(),
            |first| {
                let first = first.to_string_lossy();
                if first.starts_with('-') { program.clone().into_owned() } else { format!("{program} {first}") }
            },
        )
    }

    /// A script that runs the program: with these words, and the environment in its input, where no list of processes shows
    /// it.
    pub(super) fn script(&self, name: &'static str, text: &'static str, words: Vec<OsString>) -> Script {
        Script {
            words,
            input: self.environment_lines(),
            inherited: self.inherited.clone(),
            program: self.name(),
            redactor: self.redactor.clone(),
            ..Script::new(name, text)
        }
    }

    /// The working directory as a script gets it.
    pub(super) fn directory_word(&self) -> OsString {
        self.directory.as_ref().map_or_else(|| ".".into(), |directory| directory.clone().into_os_string())
    }

    /// The program and its arguments as a script gets them.
    pub(super) fn program_words(&self) -> impl Iterator<Item = OsString> {
        std::iter::once(&self.program).chain(&self.args).cloned()
    }

    /// The environment as a shell reads it; the last line tells that all of it has come.
    fn environment_lines(&self) -> Vec<u8> {
        let mut lines = Vec::new();
        for (name, value) in &self.environment {
            lines.extend_from_slice(b"export ");
            lines.extend_from_slice(name.as_bytes());
            lines.extend_from_slice(b"='");
            for byte in value.as_bytes() {
                match byte {
                    b'\'' => lines.extend_from_slice(br"'\''"),
                    byte => lines.push(*byte),
                }
            }
            lines.extend_from_slice(b"'\n");
        }
        lines.extend_from_slice(b"# end\n");
        lines
    }

    /// Tells a program that could not be started from one that ends with 126 or 127 by itself: in the first case the script
    /// speaks, in its own name.
    ///
    /// # Errors
    /// [`ToolError::NotRunnable`] when it could not be started.
    pub(super) fn check_started(&self, status: Status, stderr: &BoundedLines, script: &str) -> Result<(), ToolError> {
        let printed = stderr.text();
        if matches!(status, Status::Code(126 | 127)) && printed.starts_with(script) {
            let source = io::Error::new(io::ErrorKind::NotFound, printed.trim().to_owned());
            return Err(ToolError::NotRunnable { program: self.program.to_string_lossy().into_owned(), source });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};
    use std::time::Instant;

    use super::*;
    use crate::event::Line;
    use crate::tool::process::LAST_LINES;

    fn shell(script: &str) -> Call {
        Call::new("sh").args(["-c", script])
    }

    async fn run(call: Call) -> Result<Output, ToolError> {
        call.run(&Lines::none(), &CancellationToken::new()).await
    }

    #[tokio::test]
    async fn lines_of_standard_error_come_in_order_to_the_last_unfinished_one() {
        let said = Arc::new(Mutex::new(Vec::new()));
        let lines = Lines::new({
            let said = Arc::clone(&said);
            move |line| said.lock().unwrap().push(line)
        });

        let call = shell("echo data; echo one >&2; printf two >&2");
        let output = call.run(&lines, &CancellationToken::new()).await.unwrap();

        assert_eq!(output, Output { stdout: "data\n".into(), stderr: "one\ntwo".into() });
        assert_eq!(*said.lock().unwrap(), [Line::Output("one".into()), Line::Output("two".into())]);
    }

    #[tokio::test]
    async fn an_error_carries_the_last_lines_of_a_program_that_prints_without_end() {
        let error = run(shell("yes filler | head -n 700000 >&2; echo the cause >&2; exit 3")).await.unwrap_err();

        assert_eq!(error.to_string(), "`sh` ended with exit code 3: the cause");
        assert_eq!(error.lines().len(), LAST_LINES);
        assert!(error.says("THE CAUSE") && !error.says("nothing of that"));
    }

    #[tokio::test]
    async fn output_that_is_too_long_to_be_parsed_is_an_error() {
        let error = run(shell("head -c 9000000 /dev/zero")).await.unwrap_err();

        assert_eq!(error.to_string(), "`sh` printed something unexpected: more than 8 MiB");
    }

    #[tokio::test]
    async fn a_program_or_a_directory_that_is_not_there_is_named_for_what_it_is() {
        let program = run(Call::new("no-such-program")).await.unwrap_err();
        let directory = run(shell("true").directory("/nowhere")).await.unwrap_err();

        assert_eq!(program.to_string(), "cannot run `no-such-program`; install it, or set its path");
        assert!(matches!(directory, ToolError::Io { .. }));
    }

    #[tokio::test]
    async fn a_time_out_ends_the_whole_group_and_keeps_the_last_lines() {
        let start = Instant::now();
        let call = shell("echo started >&2; sleep 60 & wait").timeout(Duration::from_millis(200));

        let error = run(call).await.unwrap_err();

        assert!(matches!(&error, ToolError::TimedOut { lines, .. } if lines == &["started"]), "{error:?}");
        assert!(start.elapsed() < Duration::from_secs(5));
    }

    #[tokio::test]
    async fn a_program_that_ignores_an_interrupt_is_killed_after_its_grace() {
        let cancel = CancellationToken::new();
        let call = shell("trap '' INT; echo ready >&2; while true; do sleep 1; done");

        let lines = Lines::new({
            let cancel = cancel.clone();
            move |_| cancel.cancel()
        });
        let error = call.run(&lines, &cancel).await;

        assert!(matches!(error, Err(ToolError::Cancelled { .. })));
    }

    #[tokio::test]
    async fn a_program_that_somebody_kills_may_be_tried_again() {
        let error = run(shell("echo the end >&2; kill -9 $$")).await.unwrap_err();

        assert_eq!(error.to_string(), "`sh` was killed by somebody, or by the kernel because memory had run out");
        assert_eq!(error.lines(), ["the end"]);
        assert!(error.is_transient());
    }

    #[tokio::test]
    async fn an_interrupted_program_hears_it() {
        let (cancel, folder) = (CancellationToken::new(), tempfile::tempdir().unwrap());
        let heard = folder.path().join("heard");
        let call = shell("trap 'touch \"$0\"; exit 1' INT; echo ready >&2; while true; do sleep 0.1; done").arg(&heard);

        let lines = Lines::new({
            let cancel = cancel.clone();
            move |_| cancel.cancel()
        });
        let error = call.run(&lines, &cancel).await;

        assert!(matches!(error, Err(ToolError::Cancelled { .. })));
        assert!(heard.exists());
    }

    #[tokio::test]
    async fn an_interrupted_program_hears_it_also_where_interrupts_are_ignored() {
        let tests = std::env::current_exe().unwrap();
        let call =
            shell("trap '' INT; exec \"$0\" --exact tool::call::tests::an_interrupted_program_hears_it").arg(tests);

        let output = run(call).await.unwrap();

        assert!(output.stdout.contains("1 passed"), "{output:?}");
    }

    #[tokio::test]
    async fn what_a_program_leaves_behind_does_not_hold_its_answer_up() {
        let start = Instant::now();

        let output = run(shell("sleep 30 & echo done")).await.unwrap();

        assert_eq!(output.stdout, "done\n");
        assert!(start.elapsed() < Duration::from_secs(20));
    }

    #[tokio::test]
    async fn secrets_are_hidden_wherever_they_appear() {
        let (secret, other) = (SecretString::from("s3cr3t-t0ken"), SecretString::from("0ther-s3cr3t"));
        let call = shell("echo $TOKEN; echo 0ther-s3cr3t >&2").secret_env("TOKEN", &secret).redact(&other);

        let output = run(call).await.unwrap();

        assert!(!format!("{output:?}").contains("s3cr3t"), "{output:?}");
    }

    #[tokio::test]
    async fn nothing_is_handed_on_of_the_environment_but_what_is_named() {
        let plain = run(shell("env").env("MINE", "1")).await.unwrap().stdout;
        let more = run(shell("env").inherit(&["CARGO*"]).withhold(&["PATH"])).await.unwrap().stdout;

        assert!(plain.contains("MINE=1") && plain.contains("PATH=") && !plain.contains("CARGO"), "{plain}");
        assert!(more.contains("CARGO") && !more.contains("\nPATH="), "{more}");
    }
}
