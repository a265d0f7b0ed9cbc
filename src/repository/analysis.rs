//! How a clone is built and what it serves: by its Dockerfile, or by one that is made for an application that is recognised.

use std::path::Path;

use globset::GlobBuilder;
use serde::{Deserialize, Serialize};

use super::application::{Generated, is_plain};
use super::builder::{BuilderChoice, ForeignBuild};
use super::dockerfile::{self, DockerfileError, DockerfileInfo};
use super::error::{Remark, RepositoryError};
use super::readme::{self, RunHints};
use super::recognise::{self, Place, Recognition};
use super::stage::ContextSource;
pub use super::stage::SecretMount;
use super::survey;
use super::tree::{Tree, is_secondary, join, parent};
use crate::id::{DockerfilePath, ExposedPort, Port, Protocol, SourceDirectory, short_hash};
use crate::store::build_options::BuildOptions;

/// Bytes of a Dockerfile; one that is longer is refused.
pub(super) const MAX_DOCKERFILE_BYTES: u64 = 1 << 20;
/// Bytes of a README that are read.
const MAX_README_BYTES: u64 = 256 * 1024;
/// Warnings that are passed on.
pub(super) const MAX_WARNINGS: usize = 20;
/// The name that a Dockerfile gets in the context when the clone has none there.
pub(super) const GENERATED_NAME: &str = ".on-demand-infra.Dockerfile";

/// What a clone holds, as far as it matters for building and running it. Paths are relative to the clone's root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Analysis {
    /// The Dockerfile; the name of the one that is made when the clone has none.
    pub dockerfile: String,
    /// The directory of the build context; empty for the root.
    pub context: String,
    /// The Dockerfile's path inside the build context, as the builder is told.
    pub dockerfile_in_context: String,
    /// The Dockerfile that was made, when the clone has none.
    pub generated: Option<Generated>,
    /// The builder of others that makes the image, when there is neither a Dockerfile nor one that was made.
    #[serde(default)]
    pub foreign: Option<ForeignBuild>,
    /// The image that the stage starts from that becomes the image, as far as it is known without building.
    pub base_image: Option<String>,
    /// What this stage exposes, in the order of the Dockerfile; without what its base image exposes.
    pub ports: Vec<ExposedPort>,
    /// Sentences for the person, with lines of the Dockerfile.
    pub warnings: Vec<String>,
    /// How the README says that the application is started.
    pub hints: RunHints,
    /// What only the person or the repository can give it.
    #[serde(default)]
    pub needs: BuildNeeds,
    /// What the clone holds beside the files of its commit, such as submodules: a text that differs when that does, empty
    /// for nothing.
    #[serde(default)]
    pub extras: String,
}

/// What a build by a Dockerfile wants that only the person or the repository can give.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildNeeds {
    /// Secrets that its RUN lines mount.
    pub secrets: Vec<SecretMount>,
    /// What its COPY and ADD lines take that is not there.
    pub missing: Vec<MissingSource>,
}

/// What COPY or ADD takes from the context, and is not there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MissingSource {
    /// The line of the Dockerfile.
    pub line: usize,
    /// A sentence without its end: what is taken, and from where.
    pub what: String,
}

impl Analysis {
    /// The first TCP port that the Dockerfile exposes.
    #[must_use]
    pub fn first_tcp_port(&self) -> Option<Port> {
        self.ports.iter().find(|port| port.protocol == Protocol::Tcp).map(|port| port.number)
    }

    /// What is built and from where, as part of a sentence.
    #[must_use]
    pub fn described(&self) -> String {
        let place =
            |directory: &str| if directory.is_empty() { "the root".to_owned() } else { format!("`{directory}`") };
        match (&self.foreign, &self.generated) {
            (Some(ForeignBuild { builder, language, .. }), _) => {
                format!("no Dockerfile; it is {language}, built by {} in {}", builder.described(), place(&self.context))
            }
            (None, Some(generated)) => {
                let kind = generated.kind.described();
                format!("no Dockerfile in {}; it is {kind}, so one was made for the build", place(&self.context))
            }
            (None, None) if parent(&self.dockerfile) == self.context => format!("`{}`", self.dockerfile),
            (None, None) => format!("`{}`, with {} as its context", self.dockerfile, place(&self.context)),
        }
    }

    /// Twelve hexadecimal digits that differ when the same commit is built in another way.
    #[must_use]
    pub fn build_key(&self, options: &BuildOptions) -> String {
        let generated = self.generated.as_ref().map_or("", |generated| &generated.dockerfile);
        let mut parts = vec![self.dockerfile.as_str(), &self.context, generated];
        let options = options.key();
        parts.extend(Some(self.extras.as_str()).filter(|extras| !extras.is_empty()));
        parts.extend(self.foreign.as_ref().map(|foreign| foreign.builder.described()));
        parts.extend(options.iter().map(String::as_str));
        short_hash(&parts, 12)
    }
}

/// Finds out how a clone is built and what it serves, beginning in its root or in `directory`.
///
/// `default_port` is what a Dockerfile that is made here exposes when nothing else tells a port; `choice` is who builds what
/// has none.
///
/// # Errors
/// [`RepositoryError`] that says what is wrong with the repository, or what to add or send.
pub fn analyse(
    root: &Path,
    directory: Option<&SourceDirectory>,
    dockerfile: Option<&DockerfilePath>,
    options: &BuildOptions,
    default_port: Port,
    choice: BuilderChoice,
) -> Result<Analysis, RepositoryError> {
    let tree = Tree::open(root)?;
    let base = directory.filter(|it| !it.is_root()).map_or("", SourceDirectory::as_str);
    if !tree.is_directory(base) {
        return Err(no_such_directory(&tree, base));
    }
    let hints = readme_hints(&tree, base);
    let made_by = Maker { tree: &tree, base, hints: &hints, options, default_port, choice };
    let found = find_dockerfile(&tree, base, dockerfile);
    let is_meant =
        dockerfile.is_some() || matches!(&found, Ok(Some(path)) if tree.dockerfile_in(base).as_ref() == Some(path));
    let mut analysis = match found {
        Ok(Some(path)) if is_meant => from_dockerfile(&tree, base, path, options, hints.clone())?,
        Ok(None) => from_application(&made_by)?,
        Err(error) if is_meant => return Err(error),
        found => from_either(&made_by, found)?,
    };
    let more = analysis.warnings.len().saturating_sub(MAX_WARNINGS);
    if more > 0 {
        analysis.warnings.truncate(MAX_WARNINGS);
        analysis.warnings.push(format!("{more} more warnings of this kind."));
    }
    Ok(analysis)
}

/// Builds by the only Dockerfile that is elsewhere when it is for what is here, else what is here when it is recognised: a
/// Dockerfile deeper down is often that of a database, a linter or a test.
fn from_either(maker: &Maker<'_>, found: Result<Option<String>, RepositoryError>) -> Result<Analysis, RepositoryError> {
    let Maker { tree, base, hints, options, .. } = *maker;
    let path = found.as_ref().ok().cloned().flatten();
    let by_file = found.and_then(|path| from_dockerfile(tree, base, path.unwrap_or_default(), options, hints.clone()));
    let is_development = path.as_deref().is_some_and(|path| {
        path.rsplit('/')
            .next()
            .unwrap_or_default()
            .split('.')
            .any(|it| matches!(it, "dev" | "development" | "test" | "ci" | "debug"))
    });
    if let Ok(analysis) = &by_file
        && analysis.context == base
        && !is_development
    {
        return by_file;
    }
    // A request about a Dockerfile means one.
    if *options != BuildOptions::default() {
        return by_file;
    }
    match maker.look(base)? {
        (_, Recognition::Nothing(_) | Recognition::Builder(..)) => by_file,
        (context, found @ Recognition::Dockerfile(..)) => {
            let mut analysis = maker.made(&context, found)?;
            let others =
                path.map_or_else(|| "The Dockerfiles deeper down are".to_owned(), |path| format!("`{path}` is"));
            analysis.warnings.push(format!("{others} not taken, because there is an application in the directory above; send `dockerfile_path` to build by one."));
            Ok(analysis)
        }
    }
}

/// Says what stands where a directory should be: a file, or other directories.
fn no_such_directory(tree: &Tree, path: &str) -> RepositoryError {
    if tree.is_file(path) {
        return RepositoryError::NotADirectory { path: path.to_owned(), parent: parent(path).to_owned() };
    }
    let mut above = parent(path);
    while !tree.is_directory(above) {
        above = parent(above);
    }
    RepositoryError::NoSuchDirectory { path: path.to_owned(), found: tree.directories(above) }
}

fn readme_hints(tree: &Tree, base: &str) -> RunHints {
    let names = tree.names(base);
    let readme =
        names.iter().find(|name| matches!(name.to_lowercase().as_str(), "readme.md" | "readme.markdown" | "readme"));
    readme
        .and_then(|name| tree.read_prefix(&join(base, name), MAX_README_BYTES))
        .map(|text| readme::run_hints(&text))
        .unwrap_or_default()
}

/// A path that the person gave is one of the directory where the build begins, else one of the root.
fn find_dockerfile(tree: &Tree, base: &str, asked: Option<&DockerfilePath>) -> Result<Option<String>, RepositoryError> {
    let in_base = tree.dockerfile_in(base);
    if let Some(asked) = asked {
        let asked = plain(asked.as_str());
        let found = [join(base, &asked), asked.clone()].into_iter().find(|path| tree.is_file(path));
        return found.map(Some).ok_or_else(|| RepositoryError::NoSuchDockerfile {
            path: asked,
            found: in_base.into_iter().chain(tree.nested_dockerfiles(base)).collect(),
        });
    }
    if in_base.is_some() {
        return Ok(in_base);
    }
    let primary = |paths: Vec<String>| -> Vec<String> {
        let below = |path: &String| path[base.len()..].trim_start_matches('/').to_owned();
        paths.into_iter().filter(|path| !is_secondary(parent(&below(path)))).collect()
    };
    let mut paths = primary(tree.nested_dockerfiles(base));
    if paths.is_empty() {
        paths = primary(tree.dockerfile_variants(base));
    }
    if paths.len() > 1 {
        return Err(RepositoryError::SeveralDockerfiles {
            paths,
            seen: survey::compose(tree, base).into_iter().collect(),
        });
    }
    Ok(paths.pop())
}

/// A relative path without `.` in it.
fn plain(path: &str) -> String {
    path.split('/').filter(|part| *part != ".").collect::<Vec<_>>().join("/")
}

fn from_dockerfile(
    tree: &Tree,
    base: &str,
    path: String,
    options: &BuildOptions,
    hints: RunHints,
) -> Result<Analysis, RepositoryError> {
    let text = tree.text(&path, MAX_DOCKERFILE_BYTES)?;
    let (info, mistakes) = match dockerfile::read_with(&text, options) {
        Ok(info) => (info, Vec::new()),
        Err(DockerfileError::Mistakes(mistakes, info)) => (*info, mistakes),
        Err(DockerfileError::NoSuchStage(found)) => {
            let stage = options.target.as_ref().map(ToString::to_string).unwrap_or_default();
            return Err(RepositoryError::NoSuchStage { path, stage, found });
        }
    };
    let DockerfileInfo { ports, base: base_image, warnings, sources, secrets, .. } = info;
    let directory = parent(&path);
    let is_below = base.is_empty() || directory == base || directory.strip_prefix(&format!("{base}/")).is_some();
    let candidates = if is_below { [directory, base, ""] } else { [base, "", directory] };
    let context = candidates.into_iter().find(|it| holds(tree, it, &path, &sources)).unwrap_or(candidates[0]);
    let missing: Vec<MissingSource> = sources.iter().filter_map(|source| missing(tree, context, source)).collect();
    if !mistakes.is_empty() {
        return Err(unreadable(path, mistakes, missing));
    }
    let context = context.to_owned();
    let warnings = warnings.iter().map(|it| it.of(&path)).collect();
    // A link is named by what it points to, which the builder can open when it lies in the context.
    let dockerfile = tree.file(&path).unwrap_or(path);
    let below =
        if context.is_empty() { Some(dockerfile.as_str()) } else { dockerfile.strip_prefix(&format!("{context}/")) };
    let dockerfile_in_context = below.map_or_else(|| free_name(tree, &context), str::to_owned);
    Ok(Analysis {
        dockerfile_in_context,
        dockerfile,
        context,
        generated: None,
        foreign: None,
        base_image,
        ports,
        warnings,
        hints,
        needs: BuildNeeds { secrets, missing },
        extras: String::new(),
    })
}

/// The mistakes of a Dockerfile, and what else a build of it would fail for.
fn unreadable(path: String, mistakes: Vec<Remark>, missing: Vec<MissingSource>) -> RepositoryError {
    let missing = missing.into_iter().map(|it| Remark { line: it.line, what: it.what });
    let mut all: Vec<Remark> = mistakes.into_iter().chain(missing).collect();
    all.sort_by_key(|it| it.line);
    if let [Remark { line, what }] = all.as_slice() {
        return RepositoryError::Syntax { path, line: *line, what: what.clone() };
    }
    let mistakes = all.into_iter().map(|it| format!("line {}: {}", it.line, it.what)).collect();
    RepositoryError::SeveralMistakes { path, mistakes }
}

/// Says that what COPY or ADD takes is surely not there; a pattern, or a link to somewhere else, is for the builder to judge.
fn missing(tree: &Tree, context: &str, source: &ContextSource) -> Option<MissingSource> {
    let ContextSource { line, keyword, path } = source;
    let parts: Vec<&str> = path.split('/').filter(|part| !matches!(*part, "" | "." | "..")).collect();
    let place = join(context, &parts.join("/"));
    let is_listed = || {
        let name = parts.last().copied().unwrap_or_default();
        tree.names(parent(&place)).iter().any(|it| it == name)
    };
    if parts.is_empty() || path.contains(['*', '?', '[', '\\']) || tree.exists(&place) || is_listed() {
        return None;
    }
    let from = if context.is_empty() { "the repository".to_owned() } else { format!("`{context}`, its build context") };
    Some(MissingSource { line: *line, what: format!("{keyword} takes `{path}`, which is not in {from}") })
}

/// Whether a directory has everything that a Dockerfile takes from its context.
///
/// One that holds the Dockerfile alone does not count, even for `COPY .`: there would be nothing to copy.
fn holds(tree: &Tree, directory: &str, dockerfile: &str, sources: &[ContextSource]) -> bool {
    let names = tree.names(directory);
    let is_bare = names.iter().all(|name| join(directory, name) == dockerfile || name.ends_with(".dockerignore"));
    let is_there = |source: &ContextSource| {
        let source = &source.path;
        let parts: Vec<&str> = source.split('/').filter(|part| !matches!(*part, "" | "." | "..")).collect();
        if !source.contains(['*', '?', '[']) {
            return tree.exists(&join(directory, &parts.join("/")));
        }
        let literal = parts.iter().take_while(|part| !part.contains(['*', '?', '[']));
        let above = literal.fold(directory.to_owned(), |above, part| join(&above, part));
        let pattern = parts.iter().find(|part| part.contains(['*', '?', '['])).copied().unwrap_or("*");
        let glob = GlobBuilder::new(pattern).literal_separator(true).build().map(|glob| glob.compile_matcher());
        glob.is_ok_and(|glob| tree.names(&above).iter().any(|name| glob.is_match(name)))
    };
    sources.is_empty() || (!is_bare && sources.iter().all(is_there))
}

/// What a Dockerfile is made of for what has none.
#[derive(Clone, Copy)]
struct Maker<'a> {
    tree: &'a Tree,
    /// Where the build begins.
    base: &'a str,
    hints: &'a RunHints,
    options: &'a BuildOptions,
    default_port: Port,
    choice: BuilderChoice,
}

fn from_application(maker: &Maker<'_>) -> Result<Analysis, RepositoryError> {
    let Maker { tree, base, .. } = *maker;
    if tree.names("").iter().all(|name| name == ".git") {
        return Err(RepositoryError::Empty);
    }
    let mut lacking = match maker.look(base)? {
        (_, Recognition::Nothing(lacking)) => lacking,
        (context, found) => return maker.made(&context, found),
    };
    // The only application below is meant when nothing speaks for another one here.
    let mut below = Vec::new();
    for directory in survey::application_directories(tree, base) {
        if let (context, found @ (Recognition::Dockerfile(..) | Recognition::Builder(..))) = maker.look(&directory)? {
            below.push((directory, context, found));
        }
    }
    let is_primary = |directory: &str| !is_secondary(directory[base.len()..].trim_start_matches('/'));
    let is_only = below.iter().filter(|(directory, ..)| is_primary(directory)).count() == 1;
    let only = below.iter().position(|(directory, ..)| is_only && lacking.is_empty() && is_primary(directory));
    if let Some(only) = only {
        let (_, context, found) = below.swap_remove(only);
        return maker.made(&context, found);
    }
    let is_told = lacking.iter().any(|it| it.contains("`source_directory`"));
    let directories: Vec<String> = below.into_iter().map(|(directory, ..)| directory).filter(|_| !is_told).collect();
    lacking.extend(survey::seen(tree, base, &directories));
    Err(RepositoryError::NothingToBuild { directory: base.to_owned(), seen: lacking })
}

impl Maker<'_> {
    /// What a directory is taken for, and the directory in which its build begins.
    fn look(&self, directory: &str) -> Result<(String, Recognition), RepositoryError> {
        let Place { context, member } = recognise::place(self.tree, directory);
        if let Some(member) = member.as_deref().filter(|it| !is_plain(it)) {
            let sentence = format!(
                "`{member}` is the name of a directory that a shell would read otherwise: rename it, or add a `Dockerfile`"
            );
            return Ok((context, Recognition::Nothing(vec![sentence])));
        }
        let below = self.tree.below(&context).ok_or_else(|| no_such_directory(self.tree, &context))?;
        let found = recognise::recognise(&below, member.as_deref(), self.hints, self.default_port, self.choice)?;
        Ok((context, found))
    }

    /// The analysis of a clone for which a Dockerfile was made, or which a builder of others takes.
    fn made(&self, context: &str, found: Recognition) -> Result<Analysis, RepositoryError> {
        let Self { tree, hints, options, .. } = *self;
        let field = [("build_target", options.target.is_some()), ("build_secrets", !options.secrets.is_empty())];
        if let Some((field, _)) = field.into_iter().find(|(_, is_given)| *is_given) {
            return Err(RepositoryError::NeedsDockerfile { field });
        }
        let place = if context.is_empty() { "The repository".to_owned() } else { format!("The directory `{context}`") };
        let decide = "Add a `Dockerfile` to decide yourself.";
        let context = context.to_owned();
        let (generated, others) = match found {
            Recognition::Nothing(seen) => return Err(RepositoryError::NothingToBuild { directory: context, seen }),
            Recognition::Builder(foreign, others) => {
                let sign = foreign.sign.as_ref().map(|sign| format!(" (`{sign}`)")).unwrap_or_default();
                let mut warnings = vec![format!(
                    "{place} has no Dockerfile; it was taken for {}{sign}, which {} builds. {decide}",
                    foreign.language,
                    foreign.builder.described()
                )];
                warnings.extend(others);
                return Ok(Analysis {
                    dockerfile: String::new(),
                    context,
                    dockerfile_in_context: String::new(),
                    generated: None,
                    foreign: Some(foreign),
                    base_image: None,
                    ports: Vec::new(),
                    warnings,
                    hints: hints.clone(),
                    needs: BuildNeeds::default(),
                    extras: String::new(),
                });
            }
            Recognition::Dockerfile(generated, others) => (generated, others),
        };
        let info = dockerfile::read(&generated.dockerfile)
            .map_err(|Remark { line, what }| RepositoryError::Syntax { path: GENERATED_NAME.to_owned(), line, what })?;
        let name = free_name(tree, &context);
        let mut warnings = vec![format!(
            "{place} has no Dockerfile; it was taken for {} and one was made for it: {}. {decide}",
            generated.kind.described(),
            generated.choices.join(", ")
        )];
        warnings.extend(others);
        Ok(Analysis {
            dockerfile: join(&context, &name),
            context,
            dockerfile_in_context: name,
            generated: Some(generated),
            foreign: None,
            base_image: info.base,
            ports: info.ports,
            warnings,
            hints: hints.clone(),
            needs: BuildNeeds::default(),
            extras: String::new(),
        })
    }
}

/// A name for a Dockerfile that no file of a directory has.
fn free_name(tree: &Tree, directory: &str) -> String {
    let names = tree.names(directory);
    let numbered = (2..).map(|number| format!("{GENERATED_NAME}.{number}"));
    let mut candidates = std::iter::once(GENERATED_NAME.to_owned()).chain(numbered);
    candidates.find(|name| !names.contains(name)).expect("numbers do not end, the names of a directory do")
}
