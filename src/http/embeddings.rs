//! `POST /v1/embeddings`: what a chat page needs for documents, passed through to the embedding model of the settings.

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Number, Value};
use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, Schema, SchemaType, Type};
use utoipa::openapi::{OneOfBuilder, RefOr};
use utoipa::{PartialSchema, ToSchema};

use crate::access::Caller;
use crate::app::App;
use crate::http::body::JsonObject;
use crate::http::error::{ApiError, ErrorBody};
use crate::http::models;

const ENCODING_FORMATS: &[&str] = &["float", "base64"];

/// Turns texts into vectors.
///
/// # Errors
/// [`ApiError`] when the request cannot be accepted, when the settings name no embedding model, or when it gives no
/// answer.
#[utoipa::path(post, path = "/v1/embeddings", tag = "models", request_body = EmbeddingBody,
    responses((status = 200, body = EmbeddingList), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody),
        (status = 408, body = ErrorBody), (status = 413, body = ErrorBody), (status = 415, body = ErrorBody),
        (status = 422, body = ErrorBody)))]
pub async fn create(State(app): State<App>, _: Caller, JsonObject(body): JsonObject) -> Result<Response, ApiError> {
    let model = app.embedding_model().ok_or(ApiError::NoEmbeddingModel)?;
    check_model(body.get("model"), model.name())?;
    let answer = model.embed(forwarded_fields(&body)?).await?;
    Ok(([(CONTENT_TYPE, "application/json")], answer).into_response())
}

/// The embedding model by its name, or none named: there is but one.
fn check_model(named: Option<&Value>, model: &str) -> Result<(), ApiError> {
    match named {
        None | Some(Value::Null) => Ok(()),
        Some(Value::String(name)) if name == model => Ok(()),
        Some(Value::String(name)) if models::find(name).is_ok() => {
            Err(ApiError::invalid("model", format!("`{name}` makes no embeddings: send `{model}` as `model`")))
        }
        Some(Value::String(name)) => Err(models::not_found(name)),
        Some(_) => Err(ApiError::invalid("model", "`model` must be a string")),
    }
}

/// What goes to the model: `OpenAI`'s fields, in the kind that they have there. What else a caller sends is left out.
fn forwarded_fields(body: &Map<String, Value>) -> Result<Map<String, Value>, ApiError> {
    let present = |name: &str| body.get(name).filter(|it| !it.is_null());
    let mut fields = Map::new();
    let input = present("input").ok_or_else(|| ApiError::MissingParameter {
        param: Some("input".into()),
        message: "`input` is missing: send a text, or an array of texts".to_owned(),
    })?;
    if !is_input(input) {
        return Err(ApiError::invalid(
            "input",
            "`input` must be a text, an array of texts, an array of tokens, or an array of such arrays",
        ));
    }
    fields.insert("input".to_owned(), input.clone());
    if let Some(value) = present("dimensions") {
        let number = whole_number(value).filter(|it| *it > 0);
        let number = number.ok_or_else(|| ApiError::invalid("dimensions", "`dimensions` must be a number above 0"))?;
        fields.insert("dimensions".to_owned(), Value::Number(Number::from(number)));
    }
    if let Some(value) = present("encoding_format") {
        if !value.as_str().is_some_and(|it| ENCODING_FORMATS.contains(&it)) {
            return Err(ApiError::invalid("encoding_format", "`encoding_format` must be `float` or `base64`"));
        }
        fields.insert("encoding_format".to_owned(), value.clone());
    }
    // Open WebUI sends an object, which the model would refuse.
    if let Some(user) = present("user").filter(|it| it.is_string()) {
        fields.insert("user".to_owned(), user.clone());
    }
    Ok(fields)
}

fn is_input(input: &Value) -> bool {
    let are = |items: &[Value], is: fn(&Value) -> bool| !items.is_empty() && items.iter().all(is);
    let is_tokens = |it: &Value| it.as_array().is_some_and(|it| !it.is_empty() && it.iter().all(Value::is_u64));
    match input {
        Value::String(_) => true,
        Value::Array(items) => are(items, Value::is_string) || is_tokens(input) || are(items, is_tokens),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => false,
    }
}

/// A whole number, also from a string.
fn whole_number(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.trim().parse().ok())
}

/// The body of a request for embeddings, as `OpenAI`'s API has it.
#[derive(Debug)]
pub struct EmbeddingBody;

impl ToSchema for EmbeddingBody {}

impl PartialSchema for EmbeddingBody {
    fn schema() -> RefOr<Schema> {
        let tokens = || ArrayBuilder::new().items(of_kind(Type::Integer).minimum(Some(0))).min_items(Some(1));
        let input = OneOfBuilder::new()
            .item(of_kind(Type::String))
            .item(ArrayBuilder::new().items(of_kind(Type::String)).min_items(Some(1)))
            .item(tokens())
            .item(ArrayBuilder::new().items(tokens()).min_items(Some(1)))
            .description(Some("A text, several of them, or the tokens of one or of several."));
        ObjectBuilder::new()
            .description(Some("OpenAI's request. Other fields are accepted and left out."))
            .property("input", input)
            .property(
                "model",
                of_kind(Type::String)
                    .description(Some("The embedding model as `/v1/models` lists it; it may be left out.")),
            )
            .property("dimensions", of_kind(Type::Integer).minimum(Some(1)))
            .property("encoding_format", of_kind(Type::String).enum_values(Some(ENCODING_FORMATS.iter().copied())))
            .property("user", of_kind(Type::String))
            .required("input")
            .build()
            .into()
    }
}

/// The answer of the embedding model, as `OpenAI`'s API has it.
#[derive(Debug)]
pub struct EmbeddingList;

impl ToSchema for EmbeddingList {}

impl PartialSchema for EmbeddingList {
    fn schema() -> RefOr<Schema> {
        let vector = OneOfBuilder::new()
            .item(ArrayBuilder::new().items(of_kind(Type::Number)))
            .item(of_kind(Type::String))
            .description(Some("Numbers, or their bytes in base64."));
        let embedding = ObjectBuilder::new()
            .property("object", of_kind(Type::String))
            .property("index", of_kind(Type::Integer))
            .property("embedding", vector)
            .required("embedding");
        ObjectBuilder::new()
            .description(Some("The answer of the embedding model, as it gave it."))
            .property("object", of_kind(Type::String))
            .property("data", ArrayBuilder::new().items(embedding))
            .property("model", of_kind(Type::String))
            .property("usage", ObjectBuilder::new())
            .required("data")
            .build()
            .into()
    }
}

fn of_kind(kind: Type) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(SchemaType::Type(kind))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[expect(clippy::needless_pass_by_value, reason = "`json!` reads better at the call")]
    fn fields(body: Value) -> Result<Value, Value> {
        match forwarded_fields(body.as_object().unwrap()) {
            Ok(fields) => Ok(Value::Object(fields)),
            Err(error) => Err(serde_json::to_value(error.body("req_1")).unwrap()["error"]["param"].clone()),
        }
    }

    #[test]
    fn texts_and_tokens_are_input_and_nothing_else_is() {
        for input in [json!("a"), json!(["a", "b"]), json!([1, 2]), json!([[1, 2], [3]])] {
            assert_eq!(fields(json!({"input": input})), Ok(json!({"input": input})));
        }
        for input in [json!(1), json!([]), json!([[]]), json!(["a", 1]), json!([1.5]), json!({}), json!([["a"]])] {
            assert_eq!(fields(json!({"input": input})), Err(json!("input")), "{input}");
        }
        assert_eq!(fields(json!({"input": null})), Err(json!("input")));
    }

    #[test]
    fn only_openais_fields_are_passed_on_in_the_kind_that_they_have() {
        let request = json!({"input": "a", "dimensions": "256", "encoding_format": "base64", "user": {"id": 1},
            "model": "m", "input_type": "query", "action": "deploy"});

        assert_eq!(fields(request), Ok(json!({"input": "a", "dimensions": 256, "encoding_format": "base64"})));
        assert_eq!(fields(json!({"input": "a", "dimensions": 0})), Err(json!("dimensions")));
        assert_eq!(fields(json!({"input": "a", "encoding_format": "int8"})), Err(json!("encoding_format")));
    }

    #[test]
    fn a_model_that_makes_no_embeddings_is_told_from_one_that_is_not_there() {
        let code = |name: Value| {
            let error = check_model(Some(&name), "e3").unwrap_err();
            serde_json::to_value(error.body("req_1")).unwrap()["error"]["code"].clone()
        };

        assert!(check_model(Some(&json!("e3")), "e3").is_ok() && check_model(None, "e3").is_ok());
        assert_eq!(code(json!("app-server-default")), "invalid_value");
        assert_eq!(code(json!("text-embedding-ada-002")), "model_not_found");
        assert_eq!(code(json!(3)), "invalid_value");
    }
}
