//! Where somebody comes back to: always a page of this server.

use axum::http::header::REFERER;
use axum::http::{HeaderMap, Uri};
use axum::response::Redirect;
use url::Url;

/// Whether an address leads to a page of this server: a browser takes `//host` and `/\host` for another one.
pub(super) fn is_here(address: &str) -> bool {
    let rest = address.strip_prefix('/');
    rest.is_some_and(|it| !it.starts_with(['/', '\\'])) && !address.contains(char::is_control)
}

/// The page that a form was on, as its browser tells. One that answered another form is not there to be loaded again: it is
/// the one before then, or none where that depends on the form.
pub(super) fn page_of_form(headers: &HeaderMap) -> Option<String> {
    let told = Url::parse(headers.get(REFERER)?.to_str().ok()?).ok()?;
    let place = told[url::Position::BeforePath..url::Position::AfterQuery].to_owned();
    let parts: Vec<&str> = told.path().split('/').collect();
    let page = match parts.as_slice() {
        ["", "plan" | "confirm"] => return None,
        ["", "keys", ..] => "/keys".to_owned(),
        ["", "operations", id, ..] => format!("/operations/{id}"),
        _ => place,
    };
    is_here(&page).then_some(page)
}

/// Leads from an address that only takes a form to the page above it, which has that form.
pub(super) async fn to_page_above(uri: Uri) -> Redirect {
    let above = uri.path().rsplit_once('/').map_or("", |(page, _)| page);
    Redirect::to(if above.is_empty() { "/" } else { above })
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn a_form_leads_back_to_its_page_and_nowhere_else() {
        let back =
            |referer: &'static str| page_of_form(&HeaderMap::from_iter([(REFERER, HeaderValue::from_static(referer))]));

        assert_eq!(back("http://127.0.0.1:8000/new?git_ref=main").as_deref(), Some("/new?git_ref=main"));
        assert_eq!(back("http://127.0.0.1:8000/keys/key_1/rotate").as_deref(), Some("/keys"));
        assert_eq!(back("http://127.0.0.1:8000/operations/op_1/cancel").as_deref(), Some("/operations/op_1"));
        assert_eq!(back("http://127.0.0.1:8000/plan/a-draft").as_deref(), Some("/plan/a-draft"));
        assert_eq!(back("http://127.0.0.1:8000/plan"), None);
        assert_eq!(back("http://127.0.0.1:8000//evil.example.test/"), None);
        assert_eq!(page_of_form(&HeaderMap::new()), None);
    }
}
