//! `log_config.toml` to tracing layers: level per target, text or JSON, stderr or file.
//!
//! The ids of request and operation are on every line because both formats show the fields of the spans around it.
//! Every line passes the redactor on its way out; it is the last net, not the only one.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal as _, Write};
use std::path::{Path, PathBuf};

use figment::providers::{Format as _, Toml};
use serde::Deserialize;
use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_appender::rolling::{RollingFileAppender, Rotation};
use tracing_subscriber::filter::{Directive, EnvFilter, FilterExt as _, FilterFn};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::FmtSpan;
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer as _, fmt};

use crate::config::Settings;
use crate::config::value::log_level;
use crate::secret::Redactor;

/// Name of the file that overrides the built-in one.
pub const LOG_CONFIG_FILE: &str = "log_config.toml";

const OUR_TARGET: &str = "on_demand_infra";

const BUILT_IN: &str = include_str!("../log_config.toml");

/// Writes the last lines of the log when it is dropped; keep it until the program ends.
#[must_use = "lines are lost when it is dropped early"]
pub struct LogGuard {
    _worker: Option<WorkerGuard>,
}

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    /// The configuration is there and cannot be read.
    #[error("cannot read `log_config.toml`")]
    Unreadable(#[source] io::Error),
    /// The configuration says something that is not allowed.
    #[error("`log_config.toml`, line {line}: {message}")]
    Malformed {
        /// Counted from 1.
        line: usize,
        /// What is wrong there.
        message: String,
    },
    /// The log's file cannot be opened.
    #[error("cannot write the log to `{file}`: {message}")]
    File {
        /// The file.
        file: String,
        /// Why.
        message: String,
    },
    /// Something else in this process took the log already.
    #[error("the log was started twice")]
    Twice,
}

/// Starts the log of this process, as `log_config.toml` in `directory` says, else as the built-in one does.
///
/// # Errors
/// [`LoggingError`] when the file is wrong, with the place, or the log's own file cannot be opened.
pub fn init(settings: &Settings, directory: &Path) -> Result<LogGuard, LoggingError> {
    let (config, _) = LogConfig::read(directory)?;
    let (writer, worker, colors) = match &config.file {
        Some(file) if config.output == Output::File => {
            let (writer, worker) = NonBlockingBuilder::default().lossy(false).finish(config.open(directory, file)?);
            (BoxMakeWriter::new(writer), Some(worker), false)
        }
        Some(_) | None => {
            let colors = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
            (BoxMakeWriter::new(io::stderr), None, colors)
        }
    };
    let writer = Redacting { inner: writer, redactor: Redactor::from_settings(settings) };
    config.subscriber(settings.logging.level, writer, colors).try_init().map_err(|_| LoggingError::Twice)?;
    Ok(LogGuard { _worker: worker })
}

/// Whether `directory` has a `log_config.toml` of its own, which is right.
///
/// # Errors
/// [`LoggingError`] when it is wrong, with the place.
pub fn check(directory: &Path) -> Result<bool, LoggingError> {
    LogConfig::read(directory).map(|(_, is_own)| is_own)
}

/// `log_config.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct LogConfig {
    #[serde(default = "Level::info")]
    level: Level,
    #[serde(default)]
    format: Format,
    #[serde(default)]
    output: Output,
    file: Option<PathBuf>,
    #[serde(default)]
    rotation: RotationPeriod,
    #[serde(default = "LogConfig::keep_files")]
    keep_files: u16,
    #[serde(default)]
    targets: Targets,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Format {
    #[default]
    Text,
    Json,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Output {
    #[default]
    Stderr,
    File,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum RotationPeriod {
    Never,
    Hourly,
    #[default]
    Daily,
}

/// A level in a file.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "String")]
struct Level(LevelFilter);

impl Level {
    fn info() -> Self {
        Self(LevelFilter::INFO)
    }
}

impl TryFrom<String> for Level {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let level = log_level(&text).map(Self);
        level.ok_or_else(|| format!("`{text}` is not `trace`, `debug`, `info`, `warn`, `error` or `off`"))
    }
}

/// Levels of single targets in a file.
#[derive(Debug, Default, Deserialize)]
#[serde(try_from = "BTreeMap<String, Level>")]
struct Targets(Vec<Directive>);

impl TryFrom<BTreeMap<String, Level>> for Targets {
    type Error = String;

    fn try_from(levels: BTreeMap<String, Level>) -> Result<Self, String> {
        let directive = |(target, level): (String, Level)| {
            format!("{target}={}", level.0).parse().map_err(|error| format!("`{target}` is not a target: {error}"))
        };
        levels.into_iter().map(directive).collect::<Result<_, _>>().map(Self)
    }
}

impl LogConfig {
    /// The one of the directory, else the built-in one, and whether it is the directory's own.
    fn read(directory: &Path) -> Result<(Self, bool), LoggingError> {
        match std::fs::read_to_string(directory.join(LOG_CONFIG_FILE)) {
            Ok(text) => Ok((Self::parse(&text)?, true)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok((Self::parse(BUILT_IN)?, false)),
            Err(error) => Err(LoggingError::Unreadable(error)),
        }
    }

    fn parse(text: &str) -> Result<Self, LoggingError> {
        let config: Self = Toml::from_str(text).map_err(|error| LoggingError::Malformed {
            line: error.span().and_then(|span| text.get(..span.start)).map_or(1, |it| 1 + it.matches('\n').count()),
            message: error.message().trim().to_owned(),
        })?;
        if config.output == Output::File && config.file.is_none() {
            let line = 1 + text.lines().position(|line| line.trim_start().starts_with("output")).unwrap_or_default();
            let message = "`output = \"file\"` also needs `file = \"<path>\"`".to_owned();
            return Err(LoggingError::Malformed { line, message });
        }
        Ok(config)
    }

    fn keep_files() -> u16 {
        7
    }

    fn open(&self, directory: &Path, file: &Path) -> Result<RollingFileAppender, LoggingError> {
        let path = directory.join(file);
        let failed =
            |message: &str| LoggingError::File { file: path.display().to_string(), message: message.to_owned() };
        let name = path.file_name().and_then(|name| name.to_str()).ok_or_else(|| failed("it names no file"))?;
        let rotation = match self.rotation {
            RotationPeriod::Never => Rotation::NEVER,
            RotationPeriod::Hourly => Rotation::HOURLY,
            RotationPeriod::Daily => Rotation::DAILY,
        };
        let appender = RollingFileAppender::builder().rotation(rotation).filename_prefix(name);
        let appender = if self.keep_files == 0 { appender } else { appender.max_log_files(self.keep_files.into()) };
        appender.build(path.parent().unwrap_or(directory)).map_err(|error| failed(&error.to_string()))
    }

    fn subscriber<W>(&self, root: Option<LevelFilter>, writer: W, colors: bool) -> Box<dyn Subscriber + Send + Sync>
    where
        W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
    {
        let level = root.unwrap_or(self.level.0);
        let root = EnvFilter::builder().with_default_directive(level.into()).parse_lossy("");
        let levels = self.targets.0.iter().cloned().fold(root, EnvFilter::add_directive);
        // Spans of our own are never filtered: an error carries its ids also where only errors are written.
        let our_spans =
            FilterFn::new(|it| it.is_span() && *it.level() <= LevelFilter::INFO && it.target().starts_with(OUR_TARGET));
        // Who reads the details also wants to know where the time goes: the end of every request, operation, step and call.
        let is_detailed = level >= LevelFilter::DEBUG;
        let span_events = if is_detailed { FmtSpan::CLOSE } else { FmtSpan::NONE };
        let lines = fmt::layer().with_writer(writer).with_ansi(colors).with_span_events(span_events);
        let lines = match self.format {
            Format::Text => lines.boxed(),
            Format::Json => lines.json().flatten_event(true).with_current_span(is_detailed).boxed(),
        };
        let filter = levels.or(our_spans.with_max_level_hint(LevelFilter::INFO));
        Box::new(tracing_subscriber::registry().with(lines.with_filter(filter)))
    }
}

/// Redacts each line before it is written. A line comes in one piece.
struct Redacting<W> {
    inner: W,
    redactor: Redactor,
}

impl<'a, W: MakeWriter<'a>> MakeWriter<'a> for Redacting<W> {
    type Writer = Redacting<W::Writer>;

    fn make_writer(&'a self) -> Self::Writer {
        Redacting { inner: self.inner.make_writer(), redactor: self.redactor.clone() }
    }
}

impl<W: Write> Write for Redacting<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(line);
        self.inner.write_all(self.redactor.redact(&text).as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use secrecy::SecretString;

    use super::*;

    #[derive(Clone, Default)]
    struct Buffer(Arc<Mutex<Vec<u8>>>);

    impl Write for Buffer {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(line)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn written(config: &str, level: Option<LevelFilter>, work: impl FnOnce()) -> String {
        let buffer = Buffer::default();
        let sink = buffer.clone();
        let redactor = Redactor::new().with([&SecretString::from("hunter2")]);
        let writer = Redacting { inner: BoxMakeWriter::new(move || sink.clone()), redactor };
        let subscriber = LogConfig::parse(config).unwrap().subscriber(level, writer, false);
        tracing::subscriber::with_default(subscriber, work);
        let bytes = buffer.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    fn an_operation() {
        let request = tracing::info_span!("request", request.id = "req_1");
        let _request = request.enter();
        let operation = tracing::info_span!("operation", op.id = "op_1");
        let _operation = operation.enter();
        let step = tracing::info_span!("step", step.name = "clone_repository");
        let _step = step.enter();
        tracing::info!(deployment.name = "notes", tries = 2, "cloned with hunter2");
        tracing::debug!("a line of a tool");
        tracing::error!("someone must act");
    }

    #[test]
    fn the_built_in_configuration_is_right() {
        let config = LogConfig::parse(BUILT_IN).unwrap();

        assert_eq!((config.format, config.output), (Format::Text, Output::Stderr));
    }

    #[test]
    fn a_text_line_carries_the_ids_of_its_spans_and_no_secret() {
        let text = written("", None, an_operation);

        assert_eq!(text.lines().count(), 2, "{text}");
        assert!(text.lines().all(|line| line.contains("req_1") && line.contains("op_1")), "{text}");
        assert!(text.contains("cloned with ***"), "{text}");
    }

    #[test]
    fn a_json_line_is_one_object_with_the_ids_of_its_spans() {
        let text = written("format = \"json\"", None, an_operation);

        let line: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
        insta::assert_json_snapshot!(line, {".timestamp" => "[time]"}, @r#"
        {
          "deployment.name": "notes",
          "level": "INFO",
          "message": "cloned with ***",
          "spans": [
            {
              "name": "request",
              "request.id": "req_1"
            },
            {
              "name": "operation",
              "op.id": "op_1"
            },
            {
              "name": "step",
              "step.name": "clone_repository"
            }
          ],
          "target": "on_demand_infra::logging::tests",
          "timestamp": "[time]",
          "tries": 2
        }
        "#);
    }

    #[test]
    fn the_setting_overrides_the_root_level_and_leaves_the_targets() {
        let config = "level = \"error\"\n[targets]\n\"on_demand_infra::logging\" = \"warn\"";

        let lines = |config| {
            let text = written(config, Some(LevelFilter::DEBUG), an_operation);
            text.lines().filter(|line| !line.contains("time.busy")).count()
        };
        assert_eq!((lines("level = \"error\""), lines(config)), (3, 1));
    }

    #[test]
    fn who_reads_the_details_is_told_how_long_each_span_took() {
        let ends = |level| written("", level, an_operation).matches("time.busy").count();

        assert_eq!((ends(None), ends(Some(LevelFilter::DEBUG))), (0, 3));
    }

    #[test]
    fn an_error_carries_the_ids_also_where_only_errors_are_written() {
        let text = written("level = \"error\"", None, an_operation);

        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(text.contains("req_1") && text.contains("op_1"), "{text}");
    }

    #[test]
    fn a_wrong_file_is_refused_with_the_place() {
        let message = |text| LogConfig::parse(text).unwrap_err().to_string();

        assert!(
            message("level = \"info\"\nformat = \"xml\"")
                .starts_with("`log_config.toml`, line 2: unknown variant `xml`")
        );
        assert!(message("\n[targets]\nsqlx = \"loud\"").starts_with("`log_config.toml`, line 3: `loud` is not"));
        assert!(
            message("[targets]\n\"a[b\" = \"info\"").starts_with("`log_config.toml`, line 1: `a[b` is not a target")
        );
        assert!(message("colour = true").contains("line 1: unknown field `colour`"));
        assert!(message("output = \"file\"").contains("line 1: `output = \"file\"` also needs"));
    }
}
