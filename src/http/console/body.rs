//! Fields of forms as the body of a request to the API: a name with a dot in it is a field of an object.

use serde_json::{Map, Value};

use super::page_form::PageForm;
use crate::intent::fields::RESUME_FIELDS;
use crate::intent::fields::aws_credentials::AWS_CREDENTIAL_FIELDS;

/// Puts a value into a body: that of `aws_credentials.aws_region` as `aws_region` into the object `aws_credentials`.
pub(super) fn put(body: &mut Map<String, Value>, name: &str, value: Value) {
    let Some((object, part)) = name.split_once('.') else {
        body.insert(name.to_owned(), value);
        return;
    };
    if let Value::Object(parts) = body.entry(object).or_insert_with(|| Value::Object(Map::new())) {
        parts.insert(part.to_owned(), value);
    }
}

/// What a form has of the credentials that come with one request. What is empty counts as not typed.
pub(super) fn of_credentials(form: &PageForm) -> Map<String, Value> {
    let mut body = Map::new();
    let [_, git_token] = RESUME_FIELDS;
    for name in AWS_CREDENTIAL_FIELDS.iter().map(|it| it.path).chain([git_token]) {
        if let Some(text) = form.text(name).map(str::trim).filter(|it| !it.is_empty()) {
            put(&mut body, name, Value::from(text));
        }
    }
    body
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_form_that_nothing_is_typed_into_asks_for_nothing() {
        let body = |form: &str| Value::Object(of_credentials(&PageForm::read(form.as_bytes())));

        assert_eq!(body("token=t&aws_credentials.aws_region=+&git_token="), json!({}));
        assert_eq!(
            body("aws_credentials.aws_access_key_id=id+&git_token=g"),
            json!({"aws_credentials": {"aws_access_key_id": "id"}, "git_token": "g"})
        );
    }
}
