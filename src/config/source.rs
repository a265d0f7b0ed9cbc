//! Where the values of settings come from, and the findings that are made while they are read.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use figment::providers::{Format, Toml};
use figment::value::{Dict, Map, Value};
use figment::{Figment, Metadata, Profile, Provider};
use secrecy::SecretString;

use crate::config::catalog::{self, SETTINGS, Setting};
use crate::config::error::{ConfigError, InvalidSetting};

/// Name of the settings file.
pub const TOML_FILE: &str = "on-demand-infra.toml";
/// Name of the file with environment variables.
pub const DOTENV_FILE: &str = ".env";

/// What the layer of the defaults is called.
const DEFAULTS: &str = "the defaults";

/// Everything that settings can come from.
#[derive(Clone, Default)]
pub struct Sources {
    /// What relative paths start from.
    pub directory: PathBuf,
    /// The text of `on-demand-infra.toml`.
    pub toml: Option<String>,
    /// The text of `.env`.
    pub dotenv: Option<String>,
    /// The environment of the process.
    pub environment: BTreeMap<String, String>,
}

impl Sources {
    /// Reads the two files of a directory, where they are there, and the environment of this process.
    ///
    /// # Errors
    /// [`ConfigError::Unreadable`] when a file is there and cannot be read.
    pub fn read(directory: &Path) -> Result<Self, ConfigError> {
        let read = |file: &str| match std::fs::read_to_string(directory.join(file)) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(ConfigError::Unreadable { file: file.to_owned(), source }),
        };
        let environment = std::env::vars_os()
            .map(|(name, value)| (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned()))
            .collect();
        Ok(Self { directory: directory.to_owned(), toml: read(TOML_FILE)?, dotenv: read(DOTENV_FILE)?, environment })
    }

    /// Nothing but defaults, an environment of these pairs, and relative paths below `directory`.
    pub fn of<'a>(directory: &Path, environment: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let environment = environment.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        Self { directory: directory.to_owned(), toml: None, dotenv: None, environment }
    }
}

impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sources").field("directory", &self.directory).finish_non_exhaustive()
    }
}

/// Something that does not stop the start and that a person should know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning(pub String);

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The merged values, and what was found wrong with them so far.
pub(crate) struct Values {
    figment: Figment,
    directory: PathBuf,
    home: Option<PathBuf>,
    wrong: Vec<InvalidSetting>,
    warnings: Vec<Warning>,
    read: BTreeSet<&'static str>,
}

impl Values {
    pub(super) fn merge(sources: &Sources) -> Result<Self, ConfigError> {
        let mut wrong = Vec::new();
        let mut warnings = Vec::new();
        let defaults = SETTINGS.iter().map(|it| (it.name.to_owned(), it.default.to_owned())).collect();
        let figment = Figment::new()
            .merge(Layer { source: DEFAULTS, values: defaults })
            .merge(Layer {
                source: "`on-demand-infra.toml`",
                values: toml_values(sources.toml.as_deref().unwrap_or_default(), &mut wrong)?,
            })
            .merge(Layer {
                source: "`.env`",
                values: dotenv_values(sources.dotenv.as_deref().unwrap_or_default(), &mut warnings)?,
            })
            .merge(Layer {
                source: "the environment",
                values: SETTINGS
                    .iter()
                    .filter_map(|it| Some((it.name.to_owned(), sources.environment.get(it.name)?.clone())))
                    .collect(),
            });
        Ok(Self {
            figment,
            directory: sources.directory.clone(),
            home: sources.environment.get("HOME").map(PathBuf::from),
            wrong,
            warnings,
            read: BTreeSet::new(),
        })
    }

    /// What was found, in the order of the catalog.
    pub(super) fn into_findings(self) -> (Vec<InvalidSetting>, Vec<Warning>) {
        debug_assert!(
            SETTINGS.iter().all(|it| self.read.contains(it.name)),
            "every setting of the catalog has a place in `Settings`"
        );
        let mut wrong = self.wrong;
        wrong.sort_by_key(|it| SETTINGS.iter().position(|setting| setting.name == it.name));
        (wrong, self.warnings)
    }

    /// What relative paths start from.
    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// A setting that always has a value. A wrong one is noted and replaced by the default.
    pub(super) fn take<T>(&mut self, name: &'static str, parse: impl Fn(&str) -> Option<T>) -> T {
        if let Some(value) = self.optional(name, &parse) {
            return value;
        }
        parse(setting(name).default).expect("every default keeps its own rule, see the tests of `catalog`")
    }

    /// Whether somebody has given the setting a value.
    pub(super) fn is_given(&self, name: &'static str) -> bool {
        self.figment.find_metadata(name).is_some_and(|it| it.name != DEFAULTS)
    }

    /// A setting that may be unset. A wrong one is noted.
    pub(super) fn optional<T>(&mut self, name: &'static str, parse: impl FnOnce(&str) -> Option<T>) -> Option<T> {
        let text = self.text(name);
        if text.is_empty() {
            return None;
        }
        let value = parse(&text);
        if value.is_none() {
            self.refuse(name, setting(name).allowed.to_owned());
        }
        value
    }

    /// A comma-separated list. One wrong item makes the setting wrong.
    pub(super) fn list<T>(&mut self, name: &'static str, parse: impl Fn(&str) -> Option<T>) -> Vec<T> {
        self.optional(name, |text| text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(parse).collect())
            .unwrap_or_default()
    }

    /// A secret that may be unset. Control characters would not survive a header or a file.
    pub(super) fn secret(&mut self, name: &'static str) -> Option<SecretString> {
        self.optional(name, |text| (!text.contains(char::is_control)).then(|| SecretString::from(text)))
    }

    /// A path that may be unset, made absolute; `~/` is the home directory.
    pub(super) fn optional_path(&mut self, name: &'static str) -> Option<PathBuf> {
        let (directory, home) = (self.directory.clone(), self.home.clone());
        self.optional(name, |text| {
            let fits = !text.contains('\0');
            fits.then(|| match (text.strip_prefix("~/"), home) {
                (Some(rest), Some(home)) => home.join(rest),
                (Some(_) | None, _) => directory.join(text.strip_prefix("./").unwrap_or(text)),
            })
        })
    }

    /// A path that always has a value, made absolute.
    pub(super) fn path(&mut self, name: &'static str) -> PathBuf {
        self.optional_path(name).unwrap_or_else(|| self.directory.clone())
    }

    /// A program: a bare name is looked up in `PATH` when it runs, a path is made absolute.
    pub(super) fn program(&mut self, name: &'static str) -> PathBuf {
        let directory = self.directory.clone();
        self.take(name, |text| {
            let fits = !text.contains('\0') && !text.starts_with('-');
            fits.then(|| if text.contains('/') { directory.join(text) } else { PathBuf::from(text) })
        })
    }

    /// Notes that the value of a setting is not allowed.
    pub(super) fn refuse(&mut self, name: &'static str, allowed: String) {
        let source = self.figment.find_metadata(name).map_or(DEFAULTS, |it| it.name.as_ref()).to_owned();
        let value = (!setting(name).secret).then(|| self.text(name).chars().take(80).collect());
        self.wrong.push(InvalidSetting { name: name.to_owned(), value, source, allowed });
    }

    fn text(&mut self, name: &'static str) -> String {
        self.read.insert(name);
        self.figment.find_value(name).ok().and_then(Value::into_string).unwrap_or_default()
    }
}

/// One layer of values; empty means unset, so an empty value never hides the one below.
struct Layer {
    source: &'static str,
    values: BTreeMap<String, String>,
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.source)
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        let trimmed = self.values.iter().map(|(name, value)| (name.clone(), value.trim()));
        let dict: Dict =
            trimmed.filter(|(_, value)| !value.is_empty()).map(|(name, value)| (name, Value::from(value))).collect();
        Ok(Profile::Default.collect(dict))
    }
}

fn setting(name: &str) -> &'static Setting {
    catalog::find(name).expect("the names in `Settings` are those of the catalog, see the tests of `catalog`")
}

fn toml_values(text: &str, wrong: &mut Vec<InvalidSetting>) -> Result<BTreeMap<String, String>, ConfigError> {
    let dict: Dict = Toml::from_str(text).map_err(|error| ConfigError::Malformed {
        file: TOML_FILE.to_owned(),
        line: error.span().and_then(|span| text.get(..span.start)).map_or(1, |before| 1 + before.matches('\n').count()),
        message: error.message().to_owned(),
    })?;
    let mut values = BTreeMap::new();
    for (name, value) in dict {
        let refused = |allowed: String| InvalidSetting {
            name: name.clone(),
            value: None,
            source: "`on-demand-infra.toml`".to_owned(),
            allowed,
        };
        match (catalog::find(&name), toml_text(&value)) {
            (Some(_), Some(text)) => {
                values.insert(name, text);
            }
            (Some(_), None) => wrong.push(refused("a string, a number, a boolean or an array of strings".to_owned())),
            (None, _) => wrong.push(refused(match catalog::nearest(&name) {
                Some(nearest) => format!("the name of a setting (`{nearest}` is one; names are in upper case)"),
                None => "the name of a setting (`.env.example` lists them all)".to_owned(),
            })),
        }
    }
    Ok(values)
}

/// A value as one would write it in `.env`; `None` for what has no such form.
fn toml_text(value: &Value) -> Option<String> {
    match value {
        Value::String(_, text) => Some(text.clone()),
        Value::Bool(_, it) => Some(it.to_string()),
        Value::Num(_, number) => {
            number.to_i128().map(|it| it.to_string()).or_else(|| number.to_f64().map(|it| it.to_string()))
        }
        Value::Array(_, items) => {
            let items: Option<Vec<&str>> = items.iter().map(Value::as_str).collect();
            items.map(|it| it.join(","))
        }
        Value::Char(..) | Value::Dict(..) | Value::Empty(..) => None,
    }
}

fn dotenv_values(text: &str, warnings: &mut Vec<Warning>) -> Result<BTreeMap<String, String>, ConfigError> {
    let text = text.trim_start_matches('\u{feff}');
    let mut values = BTreeMap::new();
    for pair in dotenvy::from_read_iter(text.as_bytes()) {
        let (name, value) = pair.map_err(|error| malformed_dotenv(text, &error))?;
        if catalog::find(&name).is_some() {
            if is_placeholder(&value) {
                warnings.push(Warning(format!("`{name}` in `.env` is still a placeholder; it counts as unset")));
            } else {
                values.insert(name, value);
            }
        } else if let Some(nearest) = catalog::nearest(&name) {
            warnings.push(Warning(format!("`{name}` in `.env` is not a setting; did you mean `{nearest}`?")));
        }
    }
    for (index, line) in text.lines().enumerate() {
        if line.contains('$') && !line.contains('\'') && !line.trim_start().starts_with('#') {
            warnings.push(Warning(format!(
                "line {} of `.env` holds a `$`, which begins the name of a variable; put single quotes around the value to keep it",
                index + 1
            )));
        }
    }
    Ok(values)
}

/// Dotenvy's own message repeats the line, which may hold a secret.
fn malformed_dotenv(text: &str, error: &dotenvy::Error) -> ConfigError {
    let part = if let dotenvy::Error::LineParse(part, _) = error { part.trim() } else { text };
    let line = text.lines().position(|line| line.contains(part));
    ConfigError::Malformed {
        file: DOTENV_FILE.to_owned(),
        line: line.unwrap_or_default() + 1,
        message: "this is not `NAME=value` (a value with spaces, `#` or `$` needs single quotes)".to_owned(),
    }
}

/// What examples write where a person should put a value of their own.
fn is_placeholder(value: &str) -> bool {
    let value = value.trim();
    let lower = value.to_ascii_lowercase();
    (value.starts_with('<') && value.ends_with('>')) || lower.starts_with("your_") || lower.starts_with("your-")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::config::Settings;

    proptest! {
        #[test]
        fn no_file_and_no_value_makes_the_settings_panic(toml in any::<String>(), dotenv in any::<String>(), index in 0..SETTINGS.len(), value in any::<String>()) {
            let mut sources = Sources::of(Path::new("/srv"), [(SETTINGS[index].name, value.as_str())]);
            let _ = Settings::load(&sources);

            sources.toml = Some(toml);
            let _ = Settings::load(&sources);

            sources.toml = None;
            sources.dotenv = Some(dotenv);
            let _ = Settings::load(&sources);
        }
    }
}
