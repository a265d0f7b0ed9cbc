//! The files of `templates/`, embedded in the binary, rendered with strict rules: an undefined variable is an error.
//!
//! Nothing is escaped by itself. A value that lands in YAML or JSON goes through the filter `tojson` (JSON is YAML),
//! which also quotes what would otherwise change the shape of the document.

use std::borrow::Cow;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, UndefinedBehavior};
use rust_embed::Embed;
use serde::Serialize;

#[derive(Embed)]
#[folder = "templates/"]
struct Files;

/// Says why a template could not be rendered; both are faults of this program, not of a request.
#[derive(Debug, thiserror::Error)]
pub enum TemplateError {
    /// No file of that name is embedded.
    #[error("there is no template `{0}`")]
    Missing(String),
    /// The file is not text.
    #[error("the template `{0}` is not UTF-8")]
    NotText(String),
    /// The template has a mistake, or a variable in it has no value.
    #[error("the template `{name}` cannot be rendered")]
    Render {
        /// Path below `templates/`.
        name: String,
        /// What the template engine says.
        #[source]
        source: Box<minijinja::Error>,
    },
}

/// A file of `templates/` as it is.
pub struct File {
    /// What is in it.
    pub bytes: Cow<'static, [u8]>,
    /// SHA-256 of that.
    pub hash: [u8; 32],
}

/// The file of this path below `templates/`.
#[must_use]
pub fn file(path: &str) -> Option<File> {
    Files::get(path).map(|it| File { hash: it.metadata.sha256_hash(), bytes: it.data })
}

/// The files of a folder (`page/`) that are directly in it and text, with their names there.
pub fn texts(folder: &str) -> impl Iterator<Item = (String, String)> {
    Files::iter().filter_map(move |path| {
        let name = path.strip_prefix(folder).filter(|name| !name.contains('/'))?;
        Some((name.to_owned(), String::from_utf8(Files::get(&path)?.data.into_owned()).ok()?))
    })
}

/// Renders the template `name` (a path below `templates/`) with the values.
///
/// A block tag takes its line's indentation and line end with it; the newline at the end of the file stays.
///
/// # Errors
/// [`TemplateError`] when there is no such template, or it uses a variable that the values lack.
pub fn render(name: &str, values: impl Serialize) -> Result<String, TemplateError> {
    let file = Files::get(name).ok_or_else(|| TemplateError::Missing(name.to_owned()))?;
    let text = str::from_utf8(&file.data).map_err(|_| TemplateError::NotText(name.to_owned()))?;
    render_text(name, text, values)
}

fn render_text(name: &str, text: &str, values: impl Serialize) -> Result<String, TemplateError> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    let whitespace = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).keep_trailing_newline(true).build();
    whitespace
        .and_then(|syntax| {
            environment.set_syntax(syntax);
            environment.render_named_str(name, text, Serde(values))
        })
        .map_err(|error| TemplateError::Render { name: name.to_owned(), source: Box::new(error) })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_value_that_is_missing_is_an_error() {
        let error = render_text("t.yaml", "a: {{ a }}\nb: {{ b }}\n", json!({"a": 1})).unwrap_err();

        assert!(matches!(error, TemplateError::Render { .. }));
        assert_eq!(error.to_string(), "the template `t.yaml` cannot be rendered");
    }

    #[test]
    fn a_condition_on_a_missing_value_is_an_error_too() {
        assert!(render_text("t.yaml", "{% if a %}x{% endif %}", json!({})).is_err());
    }

    #[test]
    fn nothing_is_escaped_unless_asked_for() {
        let text = render_text("t.html", "{{ a }} {{ a | tojson }}\n", json!({"a": "<\"x\": y>\n"})).unwrap();

        let (plain, quoted) = text.trim_end().rsplit_once('\n').unwrap();
        assert_eq!(plain, "<\"x\": y>");
        assert_eq!(serde_json::from_str::<String>(quoted.trim()).unwrap(), "<\"x\": y>\n");
    }

    #[test]
    fn a_block_leaves_no_empty_line() {
        let text = render_text("t.yaml", "a:\n  {% for i in l %}\n  - {{ i }}\n  {% endfor %}\n", json!({"l": [1, 2]}));

        assert_eq!(text.unwrap(), "a:\n  - 1\n  - 2\n");
    }

    #[test]
    fn a_template_that_is_not_there_is_named() {
        assert_eq!(render("no/such", json!({})).unwrap_err().to_string(), "there is no template `no/such`");
    }
}
