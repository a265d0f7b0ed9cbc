//! A Dockerfile: its stages, what the one exposes that becomes the image, and what a build of that one takes from the
//! context and from the person.

use std::collections::BTreeSet;

use parse_dockerfile::{Instruction, Source};

use super::error::Remark;
use super::expand::{assignments, declarations};
use super::here_document::{directives, hide_here_documents};
use super::lint;
use super::stage::{self, ContextSource, SecretMount, Stage, StageInputs, UnsetArg};
use crate::id::{EnvironmentName, ExposedPort, Port, Protocol};
use crate::secret::redactor::is_secret_name;
use crate::store::build_options::BuildOptions;

/// Stages that are looked at; every one may carry the variables of the one it stands on.
const MAX_STAGES: usize = 200;
/// Variables of a stage that are remembered; one beyond them is unknown.
const MAX_VARIABLES: usize = 1_000;
/// Mistakes that are told at once.
const MAX_MISTAKES: usize = 20;
/// Ports that are reported, and the length of a range that is written out.
const MAX_PORTS: usize = 16;

const KEYWORDS: [&str; 18] = [
    "ADD",
    "ARG",
    "CMD",
    "COPY",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "FROM",
    "HEALTHCHECK",
    "LABEL",
    "MAINTAINER",
    "ONBUILD",
    "RUN",
    "SHELL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];

/// What is known of a Dockerfile without building it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct DockerfileInfo {
    /// Of the stage that becomes the image, in the order of the file.
    pub(super) ports: Vec<ExposedPort>,
    /// The image that this stage starts from; `None` when a variable hides it.
    pub(super) base: Option<String>,
    pub(super) warnings: Vec<Remark>,
    /// What the stages that are built take from the context, as far as the names are known.
    pub(super) sources: Vec<ContextSource>,
    /// Secrets that the stages that are built mount.
    pub(super) secrets: Vec<SecretMount>,
    /// ARGs without a value that the stages that are built use.
    pub(super) unset_args: Vec<UnsetArg>,
}

/// Says why a Dockerfile says nothing that holds.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum DockerfileError {
    /// Lines that cannot be read, in the order of the file; what the others say is there too.
    Mistakes(Vec<Remark>, Box<DockerfileInfo>),
    /// The stage that is asked for is not there; these are.
    NoSuchStage(Vec<String>),
}

/// Reads a Dockerfile that is built without further words, up to its first mistake.
///
/// # Errors
/// [`Remark`] with the line.
pub(super) fn read(text: &str) -> Result<DockerfileInfo, Remark> {
    read_with(text, &BuildOptions::default()).map_err(|error| match error {
        DockerfileError::Mistakes(mistakes, _) => {
            mistakes.into_iter().next().expect("there is no error without a mistake")
        }
        DockerfileError::NoSuchStage(_) => unreachable!("no stage is asked for"),
    })
}

/// Reads a Dockerfile.
///
/// A file that names a reader of its own (`# syntax=`, other than Docker's) may hold instructions that nobody here
/// knows: then a mistake is only a warning.
///
/// # Errors
/// [`DockerfileError`] with all mistakes, or the stages that there are.
pub(super) fn read_with(text: &str, options: &BuildOptions) -> Result<DockerfileInfo, DockerfileError> {
    let text = text.trim_start_matches('\u{feff}');
    let directives = directives(text);
    let info = read_all(text, directives.escape, options);
    match (info, directives.syntax) {
        (Err(DockerfileError::Mistakes(mistakes, _)), Some(syntax)) if !syntax.contains("docker/dockerfile") => {
            let syntax: String = syntax.chars().take(80).collect();
            let warning = |it: Remark| Remark {
                what: format!("{}; left to the reader that `# syntax={syntax}` names.", it.what),
                ..it
            };
            let warnings = mistakes.into_iter().next().map(warning).into_iter().collect();
            Ok(DockerfileInfo { warnings, ..DockerfileInfo::default() })
        }
        (info, _) => info,
    }
}

/// Reads all instructions: one that cannot be read is told and passed over, so that all of them are told at once.
fn read_all(text: &str, escape: char, options: &BuildOptions) -> Result<DockerfileInfo, DockerfileError> {
    let alone = |mistake| DockerfileError::Mistakes(vec![mistake], Box::default());
    let mut hidden = without_empty_lists(&hide_here_documents(text, escape).map_err(alone)?);
    let lines: Vec<&str> = text.lines().collect();
    let mut mistakes: Vec<Remark> = Vec::new();
    let reader = loop {
        let mut reader = DockerfileReader::new(escape, options);
        let Err(mistake) = reader.read(&lines, &hidden) else { break reader };
        let line = mistake.line;
        // Without the FROM that could not be read every line behind it is in the wrong place.
        let follows = !mistakes.is_empty() && (mistake.what.starts_with("expected") && mistake.what.contains("FROM"));
        if follows || mistakes.iter().any(|it| it.line == line) {
            break reader;
        }
        mistakes.push(mistake);
        if line == 0 || mistakes.len() == MAX_MISTAKES {
            break reader;
        }
        hidden = without_instruction(&hidden, line, escape);
    };
    mistakes.sort_unstable_by_key(|mistake| mistake.line);
    let last = reader.stages.len().checked_sub(1);
    if !mistakes.is_empty() {
        let info = last.map(|last| reader.info(last)).unwrap_or_default();
        return Err(DockerfileError::Mistakes(mistakes, Box::new(info)));
    }
    match stage::target(&reader.stages, options.target.as_ref()) {
        Some(target) => Ok(reader.info(target)),
        None if last.is_none() => Err(alone(Remark { line: 0, what: "there is no FROM instruction".to_owned() })),
        None => Err(DockerfileError::NoSuchStage(stage::names(&reader.stages))),
    }
}

/// The text in which no instruction lies on this line; the others keep theirs.
fn without_instruction(text: &str, line: usize, escape: char) -> String {
    let lines: Vec<&str> = text.split('\n').collect();
    let goes_on = |at: usize| lines.get(at).is_some_and(|line| line.trim_end().ends_with(escape));
    let at = line.saturating_sub(1);
    let first = (0..at).rev().take_while(|before| goes_on(*before)).last().unwrap_or(at);
    let last = (at..lines.len()).find(|at| !goes_on(*at)).unwrap_or(at);
    let kept = lines.iter().enumerate().map(|(at, line)| if (first..=last).contains(&at) { "" } else { line });
    kept.collect::<Vec<_>>().join("\n")
}

/// The text with something in the lists of `ENTRYPOINT []`, which resets what the base image has, and which the parser
/// does not know.
fn without_empty_lists(text: &str) -> String {
    let lines = text.split('\n').map(|line| {
        let is_empty_list = |rest: &str| {
            rest.trim()
                .strip_prefix('[')
                .and_then(|rest| rest.strip_suffix(']'))
                .is_some_and(|rest| rest.trim().is_empty())
        };
        let keyword = line.trim_start().get(.."ENTRYPOINT".len());
        let is_entrypoint = keyword.is_some_and(|keyword| keyword.eq_ignore_ascii_case("ENTRYPOINT"));
        match line.find('[').filter(|at| is_entrypoint && is_empty_list(&line[*at..])) {
            Some(at) => format!("{}[\"\"]", &line[..at]),
            None => line.to_owned(),
        }
    });
    lines.collect::<Vec<_>>().join("\n")
}

struct DockerfileReader<'a> {
    escape: char,
    options: &'a BuildOptions,
    /// ARGs before the first FROM.
    globals: Stage,
    /// Names of all ARGs.
    args: BTreeSet<String>,
    stages: Vec<Stage>,
    /// ARGs without a value that a FROM uses.
    unset_args: Vec<UnsetArg>,
    warnings: Vec<Remark>,
}

impl<'a> DockerfileReader<'a> {
    fn new(escape: char, options: &'a BuildOptions) -> Self {
        Self {
            escape,
            options,
            globals: Stage::default(),
            args: BTreeSet::new(),
            stages: Vec::new(),
            unset_args: Vec::new(),
            warnings: Vec::new(),
        }
    }

    /// What a build of this stage comes to.
    fn info(mut self, target: usize) -> DockerfileInfo {
        self.warn_of_args();
        let mut info = DockerfileInfo { warnings: self.warnings, unset_args: self.unset_args, ..Default::default() };
        for place in stage::needed(&self.stages, target) {
            let inputs = &mut self.stages[place].inputs;
            info.sources.append(&mut inputs.sources);
            info.secrets.append(&mut inputs.secrets);
            info.unset_args.append(&mut inputs.unset_args);
        }
        let target = self.stages.swap_remove(target);
        for UnsetArg { line, name } in &info.unset_args {
            let what = format!("ARG `{name}` has no value; send one in `build_args`.");
            info.warnings.push(Remark { line: *line, what });
        }
        lint::last_stage(&target, &mut info.warnings);
        DockerfileInfo { ports: target.ports, base: target.base, ..info }
    }

    /// Says what is odd about the arguments that came with the request.
    fn warn_of_args(&mut self) {
        for name in self.options.args.keys().map(EnvironmentName::as_str) {
            if !self.args.contains(name) && !is_predefined(name) {
                let what = format!("`build_args` has `{name}`, which no ARG of the Dockerfile takes.");
                self.warnings.push(Remark { line: 0, what });
            }
            if is_secret_name(name) {
                let what = format!(
                    "`build_args` has `{name}`: arguments are kept, shown and part of the image; a secret belongs into \
                     `build_secrets`."
                );
                self.warnings.push(Remark { line: 0, what });
            }
        }
    }

    /// Reads up to the first instruction that cannot be read.
    fn read(&mut self, lines: &[&str], hidden: &str) -> Result<(), Remark> {
        let located = |error: &parse_dockerfile::Error| syntax_error(error, hidden);
        let line_ends: Vec<usize> = hidden.match_indices('\n').map(|(at, _)| at).collect();
        let mut begun: Option<(usize, Instruction<'_>)> = None;
        for instruction in parse_dockerfile::parse_iter(hidden).map_err(|error| located(&error))? {
            let instruction = instruction.map_err(|error| located(&error))?;
            let line = line_ends.partition_point(|end| *end < start(&instruction)) + 1;
            if let Some((begin, before)) = begun.replace((line, instruction)) {
                self.read_instruction(begin, &before, &lines[begin - 1..line.max(begin) - 1])?;
            }
        }
        begun.map_or(Ok(()), |(begin, last)| self.read_instruction(begin, &last, &lines[begin - 1..]))
    }

    /// Reads one instruction; `lines` are those from its first to the next instruction's, with its here-documents.
    #[expect(clippy::wildcard_enum_match_arm, reason = "the parser may learn instructions that say nothing here")]
    fn read_instruction(&mut self, line: usize, instruction: &Instruction<'_>, lines: &[&str]) -> Result<(), Remark> {
        match instruction {
            Instruction::From(from) => {
                let name = from.as_.as_ref().map(|(_, name)| name.value.to_ascii_lowercase());
                return self.open_stage(line, &from.image.value, name);
            }
            Instruction::Arg(arg) => self.take_variables(line, &arg.arguments.value, Variable::Argument),
            Instruction::Env(env) => self.take_variables(line, &env.arguments.value, Variable::Environment),
            Instruction::Expose(expose) => {
                for argument in &expose.arguments {
                    self.expose(line, &argument.value);
                }
            }
            Instruction::User(user) => {
                if let Some(stage) = self.stages.last_mut() {
                    let name = stage.expand(&user.arguments.value, self.escape);
                    stage.user = Some((line, name.unwrap_or_else(|| user.arguments.value.to_string())));
                }
            }
            Instruction::Healthcheck(_) => {
                if let Some(stage) = self.stages.last_mut() {
                    stage.has_healthcheck = true;
                }
            }
            Instruction::Copy(copy) => match copy.options.iter().find(|it| it.name.value == "from") {
                Some(from) => self.take_stage(from.value.as_ref().map_or("", |it| it.value.as_ref())),
                None => self.add_sources(line, "COPY", &copy.src),
            },
            Instruction::Add(add) => self.add_sources(line, "ADD", &add.src),
            Instruction::Run(run) => {
                for option in run.options.iter().filter(|option| option.name.value == "mount") {
                    self.take_mount(line, option.value.as_ref().map_or("", |it| it.value.as_ref()));
                }
                self.take_unset_args(line, lines);
            }
            _ => {}
        }
        Ok(())
    }

    fn open_stage(&mut self, line: usize, image: &str, name: Option<String>) -> Result<(), Remark> {
        if self.stages.len() == MAX_STAGES {
            return Err(Remark { line, what: format!("there are more than {MAX_STAGES} stages") });
        }
        let unset = self.globals.unset_in(image);
        self.unset_args.extend(unset.into_iter().map(|name| UnsetArg { line, name }));
        let image = self.globals.expand(image, self.escape);
        let parent = image.as_deref().and_then(|image| {
            let is_named = |it: &Stage| it.name.as_deref().is_some_and(|name| name.eq_ignore_ascii_case(image));
            self.stages.iter().rposition(is_named)
        });
        let inputs = StageInputs { stages: parent.into_iter().collect(), ..StageInputs::default() };
        let stage = if let Some(parent) = parent {
            Stage { name, from_line: line, inputs, ..self.stages[parent].clone() }
        } else {
            lint::base_image(line, image.as_deref(), &mut self.warnings);
            Stage { name, from_line: line, base: image, inputs, ..Stage::default() }
        };
        self.stages.push(stage);
        Ok(())
    }

    fn take_variables(&mut self, line: usize, text: &str, kind: Variable) {
        let named = match kind {
            Variable::Argument => declarations(text, self.escape),
            Variable::Environment => assignments(text, self.escape),
        };
        for (name, written) in named {
            if let Some(written) = written {
                lint::secret(line, kind.keyword(), name, written, &mut self.warnings);
            }
            let is_arg = matches!(kind, Variable::Argument);
            let given = self.options.args.iter().find(|(it, _)| is_arg && it.as_str() == name);
            let given = given.map(|(_, value)| value.clone());
            if is_arg {
                self.args.insert(name.to_owned());
            }
            let globals = &self.globals;
            let inherited = || globals.arguments.get(name).cloned().flatten();
            let stage = self.stages.last().unwrap_or(globals);
            let value = match (&given, written) {
                (Some(_), _) => given,
                (None, Some(written)) => stage.expand(written, self.escape),
                (None, None) => inherited(),
            };
            let has_default =
                written.is_some() || (globals.arguments.contains_key(name) && !globals.unset.contains(name));
            let is_unset = is_arg && value.is_none() && !has_default && !is_predefined(name);
            let stage = self.stages.last_mut().unwrap_or(&mut self.globals);
            let variables = match kind {
                Variable::Argument => &mut stage.arguments,
                Variable::Environment => &mut stage.environment,
            };
            if variables.len() < MAX_VARIABLES {
                variables.insert(name.to_owned(), value);
                if is_unset {
                    stage.unset.insert(name.to_owned());
                } else if is_arg {
                    stage.unset.remove(name);
                }
            }
        }
    }

    /// A stage, or an image, that COPY or a mount takes from.
    fn take_stage(&mut self, from: &str) {
        let found = self.globals.expand(from, self.escape).and_then(|from| stage::find(&self.stages, &from));
        if let Some(stage) = self.stages.last_mut() {
            stage.inputs.stages.extend(found);
        }
    }

    /// What a `--mount` of RUN takes.
    fn take_mount(&mut self, line: usize, mount: &str) {
        let parts = || mount.split(',').map(|part| part.split_once('=').unwrap_or((part, "")));
        let value =
            |names: &[&str]| parts().find(|(name, _)| names.contains(&name.trim())).map(|(_, value)| value.trim());
        if let Some(from) = value(&["from"]) {
            self.take_stage(from);
        }
        let target = || value(&["target", "dst", "destination"]).and_then(|path| path.rsplit('/').next());
        let is_secret = value(&["type"]) == Some("secret");
        let name = value(&["id"]).or_else(target).filter(|name| is_secret && !name.is_empty() && !name.contains('$'));
        let required =
            value(&["required"]).is_some_and(|it| matches!(it.to_ascii_lowercase().as_str(), "" | "true" | "1"));
        if let (Some(name), Some(stage)) = (name, self.stages.last_mut()) {
            stage.inputs.secrets.push(SecretMount { line, name: name.to_owned(), required });
        }
    }

    /// ARGs without a value that the lines of a RUN use.
    fn take_unset_args(&mut self, line: usize, lines: &[&str]) {
        let Some(stage) = self.stages.last_mut().filter(|stage| !stage.unset.is_empty()) else { return };
        for (below, text) in lines.iter().enumerate().filter(|(_, text)| !text.trim_start().starts_with('#')) {
            for name in stage.unset_in(text) {
                if stage.inputs.unset_args.iter().all(|it| it.name != name) {
                    stage.inputs.unset_args.push(UnsetArg { line: line + below, name });
                }
            }
        }
    }

    fn expose(&mut self, line: usize, written: &str) {
        let Some(stage) = self.stages.last_mut() else { return };
        let ports: Option<Vec<ExposedPort>> = stage.expand(written, self.escape).and_then(|text| {
            let ports: Vec<_> = text.split_whitespace().map(exposed_ports).collect::<Option<Vec<_>>>()?;
            Some(ports.into_iter().flatten().collect()).filter(|ports: &Vec<_>| !ports.is_empty())
        });
        let Some(ports) = ports else {
            let written: String = written.chars().take(40).collect();
            let what = format!("EXPOSE `{written}` is no port that can be known before the build.");
            self.warnings.push(Remark { line, what });
            return;
        };
        for port in ports {
            if !stage.ports.contains(&port) && stage.ports.len() < MAX_PORTS {
                stage.ports.push(port);
            }
        }
    }

    fn add_sources(&mut self, line: usize, keyword: &'static str, sources: &[Source<'_>]) {
        let Some(stage) = self.stages.last_mut() else { return };
        for source in sources {
            let Source::Path(path) = source else { continue };
            let known = stage.expand(&path.value, self.escape);
            let known = known.filter(|path| !path.contains("://") && !path.starts_with("git@"));
            stage.inputs.sources.extend(known.map(|path| ContextSource { line, keyword, path }));
        }
    }
}

/// Whether a builder sets an argument by itself.
fn is_predefined(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    let of_platform = ["TARGET", "BUILD"].iter().find_map(|prefix| name.strip_prefix(prefix));
    name.starts_with("BUILDKIT_")
        || of_platform.is_some_and(|rest| matches!(rest, "PLATFORM" | "OS" | "ARCH" | "VARIANT" | "STAGE"))
        || matches!(
            name.as_str(),
            "HTTP_PROXY" | "HTTPS_PROXY" | "FTP_PROXY" | "NO_PROXY" | "ALL_PROXY" | "SOURCE_DATE_EPOCH"
        )
}

#[derive(Clone, Copy)]
enum Variable {
    Argument,
    Environment,
}

impl Variable {
    fn keyword(self) -> &'static str {
        match self {
            Self::Argument => "ARG",
            Self::Environment => "ENV",
        }
    }
}

/// `80`, `80/udp`, `8000-8005/tcp`; a host's part in front (`127.0.0.1:80:80`) does not count.
fn exposed_ports(text: &str) -> Option<Vec<ExposedPort>> {
    let (range, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = Protocol::parse(&protocol.to_ascii_uppercase()).ok()?;
    let range = range.rsplit(':').next().unwrap_or(range);
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let (first, last): (Port, Port) = (first.parse().ok()?, last.parse().ok()?);
    let numbers = (first.get()..=last.get()).take(MAX_PORTS).filter_map(Port::new);
    (first <= last).then(|| numbers.map(|number| ExposedPort { number, protocol }).collect())
}

fn syntax_error(error: &parse_dockerfile::Error, text: &str) -> Remark {
    let mut what: String = format!("{error:#}").replace('\'', "`").chars().take(160).collect();
    if what.starts_with("unknown instruction") {
        let line = text.lines().nth(error.line().saturating_sub(1)).unwrap_or_default();
        let word: String =
            line.split_whitespace().next().unwrap_or_default().to_ascii_uppercase().chars().take(20).collect();
        let meant = KEYWORDS.iter().map(|it| (strsim::damerau_levenshtein(&word, it), it)).min();
        if let Some((1..=2, keyword)) = meant {
            what = format!("{what}, did you mean `{keyword}`?");
        }
    }
    Remark { line: error.line(), what }
}

/// Where an instruction begins.
fn start(instruction: &Instruction<'_>) -> usize {
    match instruction {
        Instruction::Add(it) => it.add.span.start,
        Instruction::Arg(it) => it.arg.span.start,
        Instruction::Cmd(it) => it.cmd.span.start,
        Instruction::Copy(it) => it.copy.span.start,
        Instruction::Entrypoint(it) => it.entrypoint.span.start,
        Instruction::Env(it) => it.env.span.start,
        Instruction::Expose(it) => it.expose.span.start,
        Instruction::From(it) => it.from.span.start,
        Instruction::Healthcheck(it) => it.healthcheck.span.start,
        Instruction::Label(it) => it.label.span.start,
        Instruction::Maintainer(it) => it.maintainer.span.start,
        Instruction::Onbuild(it) => it.onbuild.span.start,
        Instruction::Run(it) => it.run.span.start,
        Instruction::Shell(it) => it.shell.span.start,
        Instruction::Stopsignal(it) => it.stopsignal.span.start,
        Instruction::User(it) => it.user.span.start,
        Instruction::Volume(it) => it.volume.span.start,
        Instruction::Workdir(it) => it.workdir.span.start,
        _ => 0,
    }
}

#[cfg(test)]
mod tests;
