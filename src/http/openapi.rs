//! `/openapi.json`: the API as a document, generated from the code.

use axum::Json;
use utoipa::openapi::response::ResponseBuilder;
use utoipa::openapi::schema::{AdditionalProperties, ArrayBuilder, Object, ObjectBuilder, Schema, SchemaType, Type};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{Content, OneOfBuilder, OpenApi as Document, Ref, RefOr};
use utoipa::{Modify, OpenApi, PartialSchema, ToSchema};

use crate::event::Event;
use crate::http::models::DEFAULT_MODEL;
use crate::http::{chat, deployments, health, models, operations};
use crate::intent::fields::{FIELDS, Field, FieldType, OPENAI_FIELDS, Subfield};

/// The document.
#[derive(OpenApi)]
#[openapi(
    info(title = "on-demand-infra", description = "Infrastructure on demand, in a chat: OpenAI's API and what it leads to."),
    paths(
        chat::complete,
        models::list,
        models::show,
        operations::list,
        operations::show,
        operations::events,
        operations::cancel,
        operations::resume,
        deployments::list,
        deployments::show,
        deployments::logs,
        health::live,
        health::ready,
        health::metrics,
    ),
    components(schemas(Event)),
    modifiers(&Bearer, &CommonErrors),
    security(("bearer" = []))
)]
struct Api;

struct Bearer;

impl Modify for Bearer {
    fn modify(&self, document: &mut Document) {
        let bearer = SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build());
        document.components.get_or_insert_default().add_security_scheme("bearer", bearer);
    }
}

/// What any route may answer, whatever it is for.
struct CommonErrors;

const OF_EVERY_ROUTE: &[(&str, &str)] = &[
    ("431", "The header of the request is too large"),
    ("500", "A fault of ours; the message has the id of the request"),
];
const OF_ROUTES_WITH_A_KEY: &[(&str, &str)] = &[
    ("401", "The API key is missing or not one of ours"),
    ("403", "A server without keys is asked under a name that is not this machine's"),
    ("429", "Too many requests; `retry-after` says when to come back"),
    ("503", "The server is about to stop, or too many streams are open; `retry-after` says when to come back"),
];

impl Modify for CommonErrors {
    fn modify(&self, document: &mut Document) {
        let body = || Content::new(Some(Ref::from_schema_name("ErrorBody")));
        for (path, item) in &mut document.paths.paths {
            let with_a_key = if path.starts_with("/v1/") { OF_ROUTES_WITH_A_KEY } else { &[] };
            for operation in [&mut item.get, &mut item.post].into_iter().flatten() {
                for (status, description) in OF_EVERY_ROUTE.iter().chain(with_a_key) {
                    let refusal = ResponseBuilder::new().description(*description).content("application/json", body());
                    operation.responses.responses.entry((*status).to_owned()).or_insert(refusal.build().into());
                }
            }
        }
    }
}

/// The document as data.
#[must_use]
pub fn document() -> Document {
    Api::openapi()
}

/// Shows the document.
pub async fn show() -> Json<Document> {
    Json(document())
}

/// The body of a chat request: OpenAI's fields, and ours from the table that requests are read by.
#[derive(Debug)]
pub struct ChatBody;

impl ToSchema for ChatBody {}

impl PartialSchema for ChatBody {
    fn schema() -> RefOr<Schema> {
        let message = ObjectBuilder::new()
            .property("role", one_of_texts(&["system", "developer", "user", "assistant", "tool", "function"]))
            .property("content", Object::builder().description(Some("A string, an array of parts, or null.")))
            .required("role");
        let mut body = ObjectBuilder::new()
            .description(Some(
                "OpenAI's request with our fields at the top level. Numbers and booleans may come as strings.",
            ))
            .property("model", text().default(Some(DEFAULT_MODEL.into())))
            .property("messages", ArrayBuilder::new().items(message).min_items(Some(1)))
            .property("stream", kind(Type::Boolean))
            .property("n", kind(Type::Integer).maximum(Some(1)).minimum(Some(1)))
            .required("messages");
        for name in OPENAI_FIELDS.iter().filter(|name| !["model", "messages", "stream", "n"].contains(name)) {
            body = body.property(*name, Object::builder().description(Some("Accepted, as in OpenAI's API.")));
        }
        for field in FIELDS {
            body = body.property(field.name, of_field(field));
        }
        body.build().into()
    }
}

/// One event of a stream.
#[derive(Debug)]
pub struct Frame;

impl ToSchema for Frame {}

impl PartialSchema for Frame {
    fn schema() -> RefOr<Schema> {
        let data = text().content_media_type("application/json").description(Some("An object as JSON."));
        ObjectBuilder::new().property("data", data).required("data").build().into()
    }
}

fn of_field(field: &Field) -> Schema {
    let about = field.about;
    let schema = match field.kind {
        FieldType::Text => text().description(Some(about)),
        FieldType::Choice(words) => one_of_texts(words).description(Some(about)),
        FieldType::Integer { min, max } => {
            kind(Type::Integer).minimum(Some(min)).maximum(Some(max)).description(Some(about))
        }
        FieldType::Boolean => kind(Type::Boolean).description(Some(about)),
        FieldType::Version => {
            let either = OneOfBuilder::new().item(text()).item(kind(Type::Integer).minimum(Some(1)));
            return either.description(Some(about)).build().into();
        }
        FieldType::Confirmation => {
            let either = OneOfBuilder::new().item(kind(Type::Boolean)).item(text());
            return either.description(Some(about)).build().into();
        }
        FieldType::Object(parts) => of_parts(parts).description(Some(about)),
        FieldType::Variables => ObjectBuilder::new()
            .schema_type(SchemaType::Type(Type::Object))
            .additional_properties(Some(AdditionalProperties::<Schema>::RefOr(text().build().into())))
            .description(Some(about)),
    };
    schema.write_only(field.secret).build().into()
}

fn of_parts(parts: &[Subfield]) -> ObjectBuilder {
    parts.iter().fold(ObjectBuilder::new(), |object, part| {
        let schema = text().description(Some(part.about)).write_only(part.secret);
        let object = object.property(part.name, schema);
        if part.required { object.required(part.name) } else { object }
    })
}

fn one_of_texts(words: &[&str]) -> ObjectBuilder {
    text().enum_values(Some(words.iter().copied()))
}

fn text() -> ObjectBuilder {
    kind(Type::String)
}

fn kind(kind: Type) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(SchemaType::Type(kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_of_ours_is_documented() {
        let document = serde_json::to_value(document()).unwrap();

        let properties = &document["components"]["schemas"]["ChatBody"]["properties"];
        assert_eq!(properties["deployment_mode"]["enum"], serde_json::json!(["local", "cloud-local", "cloud-hosted"]));
        assert!(FIELDS.iter().all(|field| properties[field.name].is_object()));
        assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    }

    #[test]
    fn every_reference_in_the_document_leads_somewhere() {
        let document = serde_json::to_value(document()).unwrap();
        let text = document.to_string();

        let names: Vec<&str> =
            text.split("#/components/schemas/").skip(1).filter_map(|rest| rest.split('"').next()).collect();

        assert!(!names.is_empty());
        let schemas = &document["components"]["schemas"];
        assert!(names.iter().all(|name| schemas[name].is_object()), "{names:?}");
    }

    #[test]
    fn the_routes_of_the_document_are_an_api() {
        let paths: Vec<String> = document().paths.paths.into_keys().collect();

        insta::assert_snapshot!(paths.join("\n"));
    }
}
