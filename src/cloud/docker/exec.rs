//! Running a program inside a container.

use std::io;
use std::pin::Pin;
use std::time::Duration;

use bollard::container::LogOutput;
use bollard::exec::{StartExecOptions, StartExecResults};
use bollard::models::ExecConfig;
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio_util::sync::CancellationToken;

use super::{Docker, DockerError};

/// Bytes that go to a program's standard input.
pub type Stdin = Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>>;

/// What a program left behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecOutput {
    /// Its exit code.
    pub code: i64,
    /// What it wrote to standard output.
    pub stdout: Vec<u8>,
    /// What it wrote to standard error.
    pub stderr: Vec<u8>,
}

impl ExecOutput {
    /// Standard output as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// The last line that says something, of standard error or else of standard output.
    #[must_use]
    pub fn last_line(&self) -> String {
        [&self.stderr, &self.stdout]
            .iter()
            .find_map(|bytes| {
                let text = String::from_utf8_lossy(bytes);
                text.lines().rev().map(str::trim).find(|line| !line.is_empty()).map(str::to_owned)
            })
            .unwrap_or_else(|| format!("exit code {}", self.code))
    }
}

impl Docker {
    /// Runs a program inside a running container and waits for its end; any exit code is a success here.
    ///
    /// An error of `stdin` ends the call with [`DockerError::Transient`]; the program then sees its input end early.
    ///
    /// # Errors
    /// [`DockerError::NotFound`] when the container is not there, [`DockerError::Cancelled`].
    #[tracing::instrument(level = "debug", skip_all, fields(program = argv.first()))]
    pub async fn exec(
        &self,
        container: &str,
        argv: &[&str],
        stdin: Option<Stdin>,
        cancel: &CancellationToken,
    ) -> Result<ExecOutput, DockerError> {
        tokio::select! {
            biased;
            () = cancel.cancelled() => Err(DockerError::Cancelled),
            output = self.exec_to_end(container, argv, stdin) => output,
        }
    }

    async fn exec_to_end(
        &self,
        container: &str,
        argv: &[&str],
        stdin: Option<Stdin>,
    ) -> Result<ExecOutput, DockerError> {
        let action = || format!("run `{}` in container `{container}`", argv.first().unwrap_or(&""));
        let client = self.client()?;
        let config = ExecConfig {
            attach_stdin: Some(stdin.is_some()),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            cmd: Some(argv.iter().map(|word| (*word).to_owned()).collect()),
            ..Default::default()
        };
        let exec = client.create_exec(container, config).await.map_err(|error| self.error(action(), &error))?;
        let options = StartExecOptions { output_capacity: Some(64 * 1024), ..Default::default() };
        let started = client.start_exec(&exec.id, Some(options)).await.map_err(|error| self.error(action(), &error))?;
        let StartExecResults::Attached { mut output, input } = started else {
            return Err(DockerError::Permanent { action: action(), reason: "the daemon detached it".to_owned() });
        };

        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let read = async {
            while let Some(part) = output.next().await {
                match part.map_err(|error| self.error(action(), &error))? {
                    LogOutput::StdErr { message } => stderr.extend_from_slice(&message),
                    LogOutput::StdOut { message } | LogOutput::Console { message } => {
                        stdout.extend_from_slice(&message);
                    }
                    LogOutput::StdIn { .. } => {}
                }
            }
            Ok::<_, DockerError>(())
        };
        tokio::pin!(read);
        match stdin {
            None => read.await?,
            Some(stdin) => {
                let write = write_all(stdin, input);
                tokio::pin!(write);
                tokio::select! {
                    // The program has ended without reading its input to the end; the rest of it is dropped.
                    outcome = &mut read => outcome?,
                    written = &mut write => {
                        let outcome = read.await;
                        written.map_err(|error| DockerError::Transient { action: action(), reason: error.to_string() })?;
                        outcome?;
                    }
                }
            }
        }
        let code = self.exit_code(&client, &exec.id, &action()).await?;
        Ok(ExecOutput { code, stdout, stderr })
    }

    /// The daemon closes the output a moment before it knows the exit code.
    async fn exit_code(&self, client: &bollard::Docker, exec: &str, action: &str) -> Result<i64, DockerError> {
        for pause_ms in [0, 2, 5, 10, 20, 50, 100, 200, 500, 1000] {
            tokio::time::sleep(Duration::from_millis(pause_ms)).await;
            let state = client.inspect_exec(exec).await.map_err(|error| self.error(action, &error))?;
            if state.running != Some(true)
                && let Some(code) = state.exit_code
            {
                return Ok(code);
            }
        }
        Err(DockerError::Transient { action: action.to_owned(), reason: "its exit code is not known".to_owned() })
    }
}

/// Writes the whole stream, then ends the input. A program that stops reading is no error: its exit code tells.
async fn write_all(mut stdin: Stdin, mut input: Pin<Box<dyn AsyncWrite + Send>>) -> io::Result<()> {
    let mut outcome = Ok(());
    while let Some(chunk) = stdin.next().await {
        match chunk {
            Ok(chunk) => {
                if input.write_all(&chunk).await.is_err() {
                    break;
                }
            }
            Err(error) => {
                outcome = Err(error);
                break;
            }
        }
    }
    let _closed_already = input.shutdown().await;
    outcome
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_prefers_standard_error_and_never_is_empty() {
        let output = |stdout: &str, stderr: &str| ExecOutput { code: 7, stdout: stdout.into(), stderr: stderr.into() };
        assert_eq!(output("out\n", "warn\nctr: refused\n\n").last_line(), "ctr: refused");
        assert_eq!(output("out\n", "").last_line(), "out");
        assert_eq!(output("", " \n").last_line(), "exit code 7");
    }
}
