//! A Dockerfile: its stages, what the last one exposes, and what its COPY instructions want from the context.

use std::collections::BTreeMap;

use parse_dockerfile::{Instruction, Source};

use super::error::SyntaxError;
use super::expand::{assignments, expand};
use super::here_document::{Directives, directives, hide_here_documents};
use super::lint;
use super::stage::Stage;
use crate::id::{ExposedPort, Port, Protocol};

/// Stages that are looked at; every one may carry the variables of the one it stands on.
const MAX_STAGES: usize = 200;
/// Variables of a stage that are remembered; one beyond them is unknown.
const MAX_VARIABLES: usize = 1_000;
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
    /// Of the last stage, in the order of the file.
    pub(super) ports: Vec<ExposedPort>,
    /// The image that the last stage starts from; `None` when a variable hides it.
    pub(super) base: Option<String>,
    pub(super) warnings: Vec<String>,
    /// What COPY and ADD take from the context, as far as the names are known.
    pub(super) sources: Vec<String>,
}

/// Reads a Dockerfile.
///
/// A file that names a reader of its own (`# syntax=`, other than Docker's) may hold instructions that nobody here
/// knows: then a mistake is only a warning.
///
/// # Errors
/// [`SyntaxError`] with the line.
pub(super) fn read(text: &str) -> Result<DockerfileInfo, SyntaxError> {
    let text = text.trim_start_matches('\u{feff}');
    let directives = directives(text);
    let info = DockerfileReader::new(&directives).read(text);
    match (info, directives.syntax) {
        (Err(error), Some(syntax)) if !syntax.contains("docker/dockerfile") => {
            let syntax: String = syntax.chars().take(80).collect();
            let warning =
                format!("Line {}: {}; left to the reader that `# syntax={syntax}` names.", error.line, error.what);
            Ok(DockerfileInfo { warnings: vec![warning], ..DockerfileInfo::default() })
        }
        (info, _) => info,
    }
}

struct DockerfileReader {
    escape: char,
    globals: BTreeMap<String, Option<String>>,
    stages: Vec<Stage>,
    info: DockerfileInfo,
}

impl DockerfileReader {
    fn new(directives: &Directives<'_>) -> Self {
        Self {
            escape: directives.escape,
            globals: BTreeMap::new(),
            stages: Vec::new(),
            info: DockerfileInfo::default(),
        }
    }

    fn read(mut self, text: &str) -> Result<DockerfileInfo, SyntaxError> {
        let hidden = hide_here_documents(text, self.escape)?;
        let located = |error: &parse_dockerfile::Error| syntax_error(error, &hidden);
        let line_ends: Vec<usize> = hidden.match_indices('\n').map(|(at, _)| at).collect();
        for instruction in parse_dockerfile::parse_iter(&hidden).map_err(|error| located(&error))? {
            let instruction = instruction.map_err(|error| located(&error))?;
            let line = line_ends.partition_point(|end| *end < start(&instruction)) + 1;
            self.read_instruction(line, &instruction)?;
        }
        let Some(last) = self.stages.pop() else {
            return Err(SyntaxError { line: 0, what: "there is no FROM instruction".to_owned() });
        };
        lint::last_stage(&last, &mut self.info.warnings);
        self.info.ports = last.ports;
        self.info.base = last.base;
        Ok(self.info)
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "the parser may learn instructions that say nothing here")]
    fn read_instruction(&mut self, line: usize, instruction: &Instruction<'_>) -> Result<(), SyntaxError> {
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
            Instruction::Copy(copy) if copy.options.iter().all(|it| it.name.value != "from") => {
                self.add_sources(&copy.src);
            }
            Instruction::Add(add) => self.add_sources(&add.src),
            _ => {}
        }
        Ok(())
    }

    fn open_stage(&mut self, line: usize, image: &str, name: Option<String>) -> Result<(), SyntaxError> {
        if self.stages.len() == MAX_STAGES {
            return Err(SyntaxError { line, what: format!("there are more than {MAX_STAGES} stages") });
        }
        let image = expand(image, self.escape, &|name| self.globals.get(name).cloned().flatten());
        let parent = image.as_deref().and_then(|image| {
            self.stages.iter().rev().find(|it| it.name.as_deref().is_some_and(|name| name.eq_ignore_ascii_case(image)))
        });
        let stage = if let Some(parent) = parent {
            Stage { name, from_line: line, ..parent.clone() }
        } else {
            lint::base_image(line, image.as_deref(), &mut self.info.warnings);
            Stage { name, from_line: line, base: image, ..Stage::default() }
        };
        self.stages.push(stage);
        Ok(())
    }

    fn take_variables(&mut self, line: usize, text: &str, kind: Variable) {
        for (name, written) in assignments(text, self.escape) {
            if let Some(written) = written {
                lint::secret(line, kind.keyword(), name, written, &mut self.info.warnings);
            }
            let Some(stage) = self.stages.last_mut() else {
                let value = written
                    .and_then(|text| expand(text, self.escape, &|name| self.globals.get(name).cloned().flatten()));
                self.globals.insert(name.to_owned(), value);
                continue;
            };
            let value = match written {
                Some(written) => stage.expand(written, self.escape),
                None => self.globals.get(name).cloned().flatten(),
            };
            let variables = match kind {
                Variable::Argument => &mut stage.arguments,
                Variable::Environment => &mut stage.environment,
            };
            if variables.len() < MAX_VARIABLES {
                variables.insert(name.to_owned(), value);
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
            self.info
                .warnings
                .push(format!("Line {line}: EXPOSE `{written}` is no port that can be known before the build."));
            return;
        };
        for port in ports {
            if !stage.ports.contains(&port) && stage.ports.len() < MAX_PORTS {
                stage.ports.push(port);
            }
        }
    }

    fn add_sources(&mut self, sources: &[Source<'_>]) {
        let Some(stage) = self.stages.last() else { return };
        for source in sources {
            let Source::Path(path) = source else { continue };
            let known = stage.expand(&path.value, self.escape);
            self.info.sources.extend(known.filter(|path| !path.contains("://") && !path.starts_with("git@")));
        }
    }
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

fn syntax_error(error: &parse_dockerfile::Error, text: &str) -> SyntaxError {
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
    SyntaxError { line: error.line(), what }
}

/// Where an instruction begins, for those whose line is named.
#[expect(clippy::wildcard_enum_match_arm, reason = "the parser may learn instructions that say nothing here")]
fn start(instruction: &Instruction<'_>) -> usize {
    match instruction {
        Instruction::Arg(it) => it.arg.span.start,
        Instruction::Env(it) => it.env.span.start,
        Instruction::Expose(it) => it.expose.span.start,
        Instruction::From(it) => it.from.span.start,
        Instruction::User(it) => it.user.span.start,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ports(text: &str) -> Vec<String> {
        read(text).unwrap().ports.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn an_unknown_instruction_is_named_with_its_line_and_what_was_meant() {
        let error = read("FROM busybox:stable\n\nRUNN echo\n").unwrap_err();

        assert_eq!(error, SyntaxError { line: 3, what: "unknown instruction `RUNN`, did you mean `RUN`?".to_owned() });
    }

    #[test]
    fn a_file_without_a_stage_is_an_error() {
        assert!(read("").unwrap_err().what.contains("FROM"));
        assert!(read("ARG A=1\n").unwrap_err().what.contains("FROM"));
        assert!(read("RUN a\nFROM b\n").unwrap_err().what.contains("FROM"));
    }

    #[test]
    fn another_reader_may_know_more_instructions() {
        let info = read("# syntax=example.com/reader:1\nFROM a:1\nINCLUDE x\n").unwrap();

        assert_eq!(info.ports, []);
        assert!(info.warnings[0].starts_with("Line 3: unknown instruction `INCLUDE`"));
    }

    #[test]
    fn a_mistake_for_the_reader_of_docker_is_an_error() {
        assert_eq!(read("# syntax=docker/dockerfile:1\nFROM a:1\nINCLUDE x\n").unwrap_err().line, 3);
    }

    #[test]
    fn ports_are_those_of_the_last_stage_in_the_order_of_the_file() {
        assert_eq!(
            ports("FROM a AS x\nEXPOSE 1\nFROM b\nEXPOSE 8125/udp 80\nexpose 443/TCP 80\n"),
            ["8125/udp", "80/tcp", "443/tcp"]
        );
    }

    #[test]
    fn a_stage_on_a_stage_inherits_ports_and_variables() {
        assert_eq!(ports("FROM a AS Base\nENV P=7\nEXPOSE 5\nFROM base\nEXPOSE $P\n"), ["5/tcp", "7/tcp"]);
    }

    #[test]
    fn a_stage_goes_by_its_own_name_and_not_by_that_of_the_stage_it_stands_on() {
        assert_eq!(ports("FROM a AS x\nEXPOSE 1\nFROM x AS y\nEXPOSE 2\nFROM y\n"), ["1/tcp", "2/tcp"]);
        assert_eq!(ports("FROM a AS x\nEXPOSE 1\nFROM x AS y\nEXPOSE 2\nFROM x\n"), ["1/tcp"]);
    }

    #[test]
    fn the_base_is_the_image_that_the_last_chain_of_stages_starts_from() {
        let base = |text: &str| read(text).unwrap().base;

        assert_eq!(base("FROM a:1\nFROM b:1 AS x\nFROM x\n").as_deref(), Some("b:1"));
        assert_eq!(base("FROM $B\n"), None);
    }

    #[test]
    fn warnings_name_the_line_of_their_instruction() {
        let info = read("# x\nARG A_TOKEN=x\n\nFROM a\nENV B_TOKEN=x\nFROM b:1 AS x\nRUN x\nFROM x\n").unwrap();

        let lines: Vec<&str> = info.warnings.iter().filter_map(|it| it.split(':').next()).collect();
        assert_eq!(lines, ["Line 2", "Line 4", "Line 5", "Line 8", "Line 8"], "{:#?}", info.warnings);
    }

    #[test]
    fn a_variable_beyond_the_bound_is_unknown() {
        let many = (1..=MAX_VARIABLES).map(|n| format!("ENV A{n}={n}\n")).collect::<Vec<_>>().concat();

        assert_eq!(ports(&format!("FROM a\n{many}EXPOSE $A{MAX_VARIABLES}\n")), [format!("{MAX_VARIABLES}/tcp")]);
        assert!(ports(&format!("FROM a\n{many}ENV B=80\nEXPOSE $B\n")).is_empty());
    }

    #[test]
    fn variables_in_ports_come_from_arg_and_env_of_the_stage() {
        assert_eq!(
            ports("ARG P=9\nFROM a\nEXPOSE ${P:-1}\nARG P\nEXPOSE $P\nENV P=8\nARG P=7\nEXPOSE ${P}/udp\n"),
            ["1/tcp", "9/tcp", "8/udp"]
        );
        assert_eq!(
            ports("FROM a\nENV P 70\nENV A=1 \\\n  B=${P}${P}\nEXPOSE ${C:-8080} $B\n"),
            ["8080/tcp", "7070/tcp"]
        );
    }

    #[test]
    fn a_range_is_written_out_up_to_a_bound() {
        assert_eq!(ports("FROM a\nEXPOSE 8000-8002\n"), ["8000/tcp", "8001/tcp", "8002/tcp"]);
        assert_eq!(ports("FROM a\nEXPOSE 1-65535\n").len(), MAX_PORTS);
        assert_eq!(ports("FROM a\nEXPOSE 1-65535\nEXPOSE 80\n").len(), MAX_PORTS);
    }

    #[test]
    fn a_port_that_cannot_be_known_is_a_warning() {
        let info = read("FROM a:1\nUSER 1\nHEALTHCHECK NONE\nEXPOSE $P\nEXPOSE 70000\n").unwrap();

        assert_eq!(info.ports, []);
        assert_eq!(info.warnings.len(), 2);
        assert!(info.warnings[0].starts_with("Line 4: EXPOSE `$P`"));
    }

    #[test]
    fn here_documents_and_another_escape_are_understood() {
        assert_eq!(
            ports("FROM a\nRUN python3 <<EOF\nEXPOSE 1\nEOF\nCOPY <<A <<B /x/\nEXPOSE 2\nA\nUSER x\nB\nEXPOSE 3\n"),
            ["3/tcp"]
        );
        assert_eq!(ports("# escape=`\nFROM a\nEXPOSE `\n  5\n"), ["5/tcp"]);
    }

    #[test]
    fn copy_names_what_it_takes_from_the_context() {
        let info = read(
            "FROM a\nARG D=src\nCOPY $D [x /\nCOPY --from=b /y /\nADD https://h/x git@h:y z /\nCOPY [\"p q\", \"/\"]\nCOPY $N /\n",
        );

        assert_eq!(info.unwrap().sources, ["src", "[x", "z", "p q"]);
    }

    #[test]
    fn doubling_variables_end_soon() {
        let doubling = (0..10_000).map(|n| format!("ENV A{}=$A{n}$A{n}\n", n + 1)).collect::<Vec<_>>().concat();

        assert!(read(&format!("FROM a\nENV A0=xx\n{doubling}")).is_ok());
        assert!(read(&"FROM a AS b\n".repeat(MAX_STAGES + 1)).is_err());
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in ".{0,200}") {
            let _ = read(&text);
        }

        #[test]
        fn no_likely_text_makes_it_panic(parts in proptest::collection::vec(prop::sample::select(vec![
            "FROM a", "\n", " ", "\\\n", "RUN ", "COPY ", "<<A", "A\n", "EXPOSE ", "80", "-", "/udp", "$", "{P:-", "}", "ENV ",
            "ARG ", "P=", "[\"", "\"]", ",", "\"", "'", "\r\n", "\t", "#", "# escape=`\n", "`\n", "ONBUILD ", "HEALTHCHECK ",
            "CMD ", "NONE", "--from=", "SHELL ", "USER ", "é", "\u{b}", "AS ", "\\u12", "\u{feff}", "\r", "VOLUME ", "ENTRYPOINT ",
        ]), 0..40)) {
            let _ = read(&parts.concat());
            let _ = read(&format!("FROM a\n{}", parts.concat()));
        }
    }
}
