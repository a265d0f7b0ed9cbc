//! Templates of pages: everything that is put into one is text, unless a filter here has made it.

use std::sync::LazyLock;

use axum::response::Html;
use jiff::Timestamp;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, Error, ErrorKind, State, UndefinedBehavior, Value, context};
use serde::Serialize;

use super::session::Viewer;
use super::{assets, markdown, text};
use crate::http::error::ApiError;
use crate::template;

/// The templates, read once.
static PAGES: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut pages = Environment::new();
    pages.set_undefined_behavior(UndefinedBehavior::Strict);
    pages.set_auto_escape_callback(|_| AutoEscape::Html);
    let whitespace = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
    pages.set_syntax(whitespace.expect("these are the marks of every template"));
    pages.add_function("asset", |name: &str| {
        assets::address(name)
            .ok_or_else(|| Error::new(ErrorKind::InvalidOperation, format!("there is no asset `{name}`")))
    });
    pages.add_filter("markdown", |text: &str| Value::from_safe_string(markdown::html(text)));
    pages.add_filter("moment", moment);
    pages.add_filter("prose", |text: &str| Value::from_safe_string(text::prose(text)));
    pages.add_filter("size", |bytes: u64| size(bytes));
    pages.add_filter("span", |ms: u64| span(ms));
    pages.add_filter("verb", |action: &str| text::verb(action).to_owned());
    for (name, text) in template::texts("console/") {
        pages.add_template_owned(name, text).expect("templates are embedded, and a test reads all of them");
    }
    pages
});

/// What every page has.
#[derive(Debug, Clone, Copy)]
pub(super) struct Heading<'a> {
    /// Its title.
    pub title: &'a str,
    /// Which entry of the navigation it belongs to: the path that leads there.
    pub place: &'static str,
}

/// A whole page: a template that extends `layout.html`, with its values.
///
/// # Errors
/// [`ApiError::Internal`] when the template wants what is not there.
pub(super) fn page(
    viewer: &Viewer,
    name: &str,
    heading: Heading<'_>,
    values: impl Serialize,
) -> Result<Html<String>, ApiError> {
    shown(viewer, name, heading, false, values).map(Html)
}

/// A part of a page, with the same values as the page. A moment in it is exact: what depends on when somebody looks would
/// make every part another one. A script says then how long ago it was.
///
/// # Errors
/// [`ApiError::Internal`] when the template wants what is not there.
pub(super) fn part(viewer: &Viewer, name: &str, values: impl Serialize) -> Result<String, ApiError> {
    shown(viewer, name, Heading { title: "", place: "" }, true, values)
}

fn shown(
    viewer: &Viewer,
    name: &str,
    heading: Heading<'_>,
    is_part: bool,
    values: impl Serialize,
) -> Result<String, ApiError> {
    let caller = &viewer.caller;
    let shell = context! {
        title => heading.title,
        place => heading.place,
        is_part => is_part,
        form_token => viewer.browser.form_token.as_str(),
        has_session => viewer.browser.has_session,
        who => caller.name.as_ref().map(ToString::to_string).or_else(|| viewer.browser.display_name.clone()),
        role => caller.role.as_str(),
        is_admin => caller.is_admin(),
        may_change => caller.role >= crate::id::key::Role::Deployer,
        ..Value::from(Serde(values))
    };
    bare(name, shell).map_err(|error| ApiError::Internal(error.into()))
}

/// A template with nothing but these values.
pub(super) fn bare(name: &str, values: Value) -> Result<String, Error> {
    PAGES.get_template(name)?.render(values)
}

/// A moment, as an element: how long ago it was, and exactly when; in a part of a page only that.
fn moment(state: &State<'_, '_>, text: &str) -> Result<Value, Error> {
    let at: Timestamp = text
        .parse()
        .map_err(|error| Error::new(ErrorKind::InvalidOperation, format!("`{text}` is no moment: {error}")))?;
    let exact = at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string();
    let is_part = state.lookup("is_part").is_some_and(|it| it.is_true());
    let shown = if is_part { exact.clone() } else { age(Timestamp::now().duration_since(at).as_secs()) };
    Ok(Value::from_safe_string(format!(r#"<time datetime="{at:.0}" title="{exact}">{shown}</time>"#)))
}

/// How long ago something was, from seconds.
fn age(seconds: i64) -> String {
    match seconds {
        ..5 => "just now".to_owned(),
        5..60 => format!("{seconds} s ago"),
        60..3600 => format!("{} min ago", seconds / 60),
        3600..172_800 => format!("{} h ago", seconds / 3600),
        _ => format!("{} days ago", seconds / 86_400),
    }
}

/// How large something is at the most, from bytes, in the units of Docker.
fn size(bytes: u64) -> String {
    match bytes {
        ..=999_000 => format!("{} kB", bytes.div_ceil(1000)),
        999_001..=999_000_000 => format!("{} MB", bytes.div_ceil(1_000_000)),
        _ => {
            let tenths = bytes.div_ceil(100_000_000);
            format!("{}.{} GB", tenths / 10, tenths % 10)
        }
    }
}

/// How long something took, from milliseconds.
pub(super) fn span(ms: u64) -> String {
    let seconds = ms / 1000;
    match seconds {
        0 => format!("{ms} ms"),
        1..10 => format!("{}.{} s", seconds, ms % 1000 / 100),
        10..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_template_can_be_read() {
        assert!(PAGES.templates().count() > 3);
    }

    #[test]
    fn what_is_put_into_a_page_is_text() {
        let page = bare(
            "error.html",
            context! { title => "<b>", status => 400, message => "<script>alert(1)</script>", code => "a\"b", param => (), back => () },
        );

        let page = page.unwrap();
        assert!(!page.contains("<script>alert") && !page.contains("<b>"), "{page}");
    }

    #[test]
    fn a_moment_in_a_part_does_not_depend_on_when_it_is_shown() {
        let shown = |is_part: bool| {
            let values = context! { is_part => is_part, at => "2027-01-31T12:00:00Z" };
            PAGES.render_str("{{ at | moment }}", values).unwrap()
        };

        let exact = "2027-01-31 12:00:00 UTC";
        let element = format!("<time datetime=\"2027-01-31T12:00:00Z\" title=\"{exact}\">");
        assert_eq!(shown(true), format!("{element}{exact}</time>"));
        assert!(shown(false).starts_with(&element) && !shown(false).contains(&format!(">{exact}<")));
    }

    #[test]
    fn sizes_and_times_are_told_in_the_unit_that_fits() {
        assert_eq!([size(1), size(12_345_678), size(1_250_000_000)], ["1 kB", "13 MB", "1.3 GB"]);
        assert_eq!([size(999_000), size(999_001), size(999_000_001)], ["999 kB", "1 MB", "1.0 GB"]);
        assert_eq!(
            [age(3), age(59), age(61), age(7200), age(400_000)],
            ["just now", "59 s ago", "1 min ago", "2 h ago", "4 days ago"]
        );
        assert_eq!([span(40), span(2345), span(65_000), span(7_260_000)], ["40 ms", "2.3 s", "1 min 5 s", "2 h 1 min"]);
    }
}
