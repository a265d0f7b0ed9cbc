//! Files that a repository keeps in Git LFS: the commit holds a pointer of a few lines, the contents are on the host.

use super::job::CloneJob;
use crate::tool::git::{GitError, LfsFiles};
use crate::tool::program_error::ProgramError as _;
use crate::tool::{Call, ToolError};

/// How a pointer begins.
const POINTER: &str = "^version https://git-lfs.github.com/spec/v1$";

impl CloneJob<'_> {
    /// Brings the contents of the files that are pointers in the commit, where `git-lfs` is installed.
    ///
    /// A `.lfsconfig` of the repository does not count: the address is always the repository's own, so the token goes to its
    /// host and no further. That host says where the contents are, often with another one, as git-lfs expects.
    ///
    /// # Errors
    /// [`GitError`] when they take too much room or time, or the host does not answer.
    pub(super) async fn fetch_lfs(&self) -> Result<LfsFiles, GitError> {
        let pointers = self.pointers().await?;
        let Some(first) = pointers.first().cloned() else { return Ok(LfsFiles::default()) };
        let reason = match self.run_bounded(self.lfs("pull"), "lfs").await? {
            Ok(_) => return Ok(LfsFiles { fetched: pointers.len(), ..LfsFiles::default() }),
            Err(error) if error.says("'lfs' is not a git command") => {
                return Ok(LfsFiles { pointers: pointers.len(), first: Some(first), ..LfsFiles::default() });
            }
            Err(error @ ToolError::Failed { .. }) => {
                let says_why = |line: &&String| {
                    !line.is_empty()
                        && !line.contains("ailed to fetch some objects")
                        && !line.starts_with("Downloading")
                };
                let reason = error.lines().iter().find(says_why).cloned().unwrap_or_else(|| error.to_string());
                let error = self.error(error);
                if error.is_transient() {
                    return Err(error);
                }
                reason
            }
            Err(error) => return Err(self.error(error)),
        };
        let listed = self.query(self.lfs("ls-files")).await?.stdout;
        let left: Vec<&str> = listed.lines().filter_map(|line| Some(line.split_once(" - ")?.1)).collect();
        let first = left.first().map(|&path| path.to_owned());
        Ok(LfsFiles {
            fetched: pointers.len().saturating_sub(left.len()),
            pointers: left.len(),
            first,
            reason: Some(reason),
        })
    }

    /// The paths that the commit marks as kept in LFS (`filter=lfs`) and that are pointers in it.
    async fn pointers(&self) -> Result<Vec<String>, GitError> {
        let call =
            self.call("grep").args(["--cached", "--files-with-matches", "-e", POINTER, "--", ":(attr:filter=lfs)"]);
        match self.try_query(call).await {
            Ok(output) => Ok(output.stdout.lines().map(str::to_owned).collect()),
            Err(ToolError::Failed { lines, .. }) if lines.is_empty() => Ok(Vec::new()),
            Err(error) => Err(self.error(error)),
        }
    }

    fn lfs(&self, command: &str) -> Call {
        let url = self.source.url;
        let address = match url.scheme() {
            "https" => format!("{}.git/info/lfs", url.as_str().trim_end_matches('/').trim_end_matches(".git")),
            _ => url.to_string(),
        };
        // Without a filter in the settings git-lfs takes itself for not installed and leaves the pointers.
        let basic = if url.scheme() == "file" { "false" } else { "true" };
        let settings = [
            ("lfs.url", address.as_str()),
            ("lfs.basictransfersonly", basic),
            ("filter.lfs.clean", "git-lfs clean -- %f"),
        ];
        self.call_with("lfs", &settings).arg(command)
    }
}
