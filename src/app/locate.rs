//! What the address of a page shows: its ref, its directory, its Dockerfile.
//!
//! Which part of `tree/feature/x/api` is the ref is known to the remote alone. It is asked before a request is accepted,
//! not when its clone begins: the directory decides which deployment is meant.

use super::{App, AppError};
use crate::access::Caller;
use crate::event::Lines;
use crate::id::repository_page::{RefLocation, RefPath};
use crate::id::{DockerfilePath, GitRef, IdError, RepositoryUrl, SourceDirectory};
use crate::intent::{Intent, Request};
use crate::tool::git::RepositorySource;

impl App {
    /// Puts what the address of a page shows into the intent of a request.
    pub(super) async fn locate(&self, caller: &Caller, mut request: Request) -> Result<Request, AppError> {
        let Some(path) = request.ref_path.take() else { return Ok(request) };
        let (repository, git_ref) = match &request.intent {
            Intent::Deploy(it) => (Some(&it.repository), it.git_ref.as_ref()),
            Intent::Redeploy(it) => (it.deployment.repository.as_ref(), it.git_ref.as_ref()),
            Intent::Scale(_)
            | Intent::Restart(_)
            | Intent::Rollback(_)
            | Intent::Decommission(_)
            | Intent::DecommissionAll(_)
            | Intent::Logs(_)
            | Intent::Status(_)
            | Intent::List(_)
            | Intent::Cancel(_)
            | Intent::Undo(_)
            | Intent::Cost(_) => (request.intent.selector().and_then(|it| it.repository.as_ref()), None),
        };
        let Some(repository) = repository else { return Ok(request) };
        let location = if let Some(certain) = path.certain() {
            certain
        } else if let Some(known) = git_ref.and_then(|it| path.at(it)) {
            known
        } else if let Some(known) = self.location_on_record(caller, repository, &path).await? {
            Ok(known)
        } else {
            let token = request.secrets.git_token.as_ref();
            self.ask_remote(&RepositorySource { url: repository, git_ref: None, token }, &path).await
        };
        let location = location.map_err(|error| invalid("github_repo_url", &error.to_string()))?;
        put(&mut request.intent, &path, location)?;
        Ok(request)
    }

    /// Where the path leads, when a deployment was made at that ref and directory before.
    async fn location_on_record(
        &self,
        caller: &Caller,
        repository: &RepositoryUrl,
        path: &RefPath,
    ) -> Result<Option<RefLocation>, AppError> {
        let present = self.visible_deployments(caller).await?;
        let mut same = present.iter().filter(|it| it.repository.identity() == repository.identity());
        Ok(same.find_map(|it| {
            let location = path.at(it.git_ref.as_ref()?)?.ok()?;
            (location.directory == it.source_directory).then_some(location)
        }))
    }

    /// Where the path leads, as the remote's refs tell. When it cannot be asked the first part is taken for the ref: why
    /// not is told by the step that clones.
    async fn ask_remote(&self, source: &RepositorySource<'_>, path: &RefPath) -> Result<RefLocation, IdError> {
        let git = &self.0.hosts.local().git;
        match git.locate(source, path, &Lines::none(), &self.shutdown_token()).await {
            Ok(location) => location,
            Err(error) => {
                tracing::warn!(reason = %error, "the refs of a repository could not be read");
                path.resolve(|_| false)
            }
        }
    }
}

/// Puts a location into an intent. What was given by itself stays; what contradicts it is an error.
fn put(intent: &mut Intent, path: &RefPath, location: RefLocation) -> Result<(), AppError> {
    let RefLocation { git_ref, directory, dockerfile } = location;
    match intent {
        Intent::Deploy(it) => {
            put_ref(&mut it.git_ref, git_ref, path)?;
            put_dockerfile(&mut it.dockerfile, dockerfile, directory.as_ref())?;
            put_directory(&mut it.source_directory, directory)
        }
        Intent::Redeploy(it) => {
            put_ref(&mut it.git_ref, git_ref, path)?;
            put_dockerfile(&mut it.dockerfile, dockerfile, directory.as_ref())?;
            let mut given = it.source_directory.clone().or_else(|| it.deployment.source_directory.clone());
            put_directory(&mut given, directory)?;
            if let Some(given) = given {
                it.set_directory(given);
            }
            Ok(())
        }
        Intent::Scale(it) => put_directory(&mut it.deployment.source_directory, directory),
        Intent::Rollback(it) => put_directory(&mut it.deployment.source_directory, directory),
        Intent::Decommission(it) | Intent::DecommissionAll(it) => {
            put_directory(&mut it.deployment.source_directory, directory)
        }
        Intent::Logs(it) => put_directory(&mut it.deployment.source_directory, directory),
        Intent::Restart(it)
        | Intent::Status(it)
        | Intent::List(it)
        | Intent::Cancel(it)
        | Intent::Undo(it)
        | Intent::Cost(it) => put_directory(&mut it.source_directory, directory),
    }
}

fn put_ref(given: &mut Option<GitRef>, shown: Option<GitRef>, path: &RefPath) -> Result<(), AppError> {
    match given {
        Some(given) if path.contradicts(given) => {
            let message = format!("the address shows `{}`, not `{given}`; give the one or the other", path.text());
            Err(invalid("git_ref", &message))
        }
        Some(_) => Ok(()),
        None => {
            *given = shown;
            Ok(())
        }
    }
}

fn put_directory(given: &mut Option<SourceDirectory>, shown: Option<SourceDirectory>) -> Result<(), AppError> {
    match (&given, shown) {
        (Some(given), Some(shown)) if *given != shown => {
            let message =
                format!("the address shows the directory `{shown}`, not `{given}`; give the one or the other");
            Err(invalid("source_directory", &message))
        }
        (Some(_), _) | (None, None) => Ok(()),
        (None, shown) => {
            *given = shown;
            Ok(())
        }
    }
}

fn put_dockerfile(
    given: &mut Option<DockerfilePath>,
    shown: Option<DockerfilePath>,
    directory: Option<&SourceDirectory>,
) -> Result<(), AppError> {
    let in_directory = |name: &DockerfilePath| directory.map(|it| format!("{it}/{name}"));
    match (&given, shown) {
        (Some(given), Some(shown)) if *given != shown && in_directory(given).as_deref() != Some(shown.as_str()) => {
            let message = format!("the address shows `{shown}`, not `{given}`; give the one or the other");
            Err(invalid("dockerfile_path", &message))
        }
        (Some(_), _) | (None, None) => Ok(()),
        (None, shown) => {
            *given = shown;
            Ok(())
        }
    }
}

fn invalid(param: &'static str, message: &str) -> AppError {
    AppError::Invalid { message: format!("`{param}`: {message}"), param }
}
