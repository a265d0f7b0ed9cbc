//! `/openapi.json`: the API as a document, generated from the code.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use utoipa::openapi::response::ResponseBuilder;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{Content, OpenApi as Document, Ref};
use utoipa::{Modify, OpenApi};

use crate::event::Event;

/// The document.
#[derive(OpenApi)]
#[openapi(
    info(title = "on-demand-infra", description = "Infrastructure on demand, in a chat: OpenAI's API and what it leads to."),
    components(schemas(Event)),
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
    ("401", "The API key or token is missing, or opens nothing"),
    (
        "403",
        "The key or token lacks the role or right, which the message names; or the server is asked under a name, or by a web page, that it does not answer",
    ),
    ("429", "Too many requests; `retry-after` says when to come back"),
    (
        "503",
        "The server is about to stop, too many streams are open, or the issuer of tokens does not tell its keys; `retry-after` says when to come back",
    ),
];

impl Modify for CommonErrors {
    fn modify(&self, document: &mut Document) {
        let body = || Content::new(Some(Ref::from_schema_name("ErrorBody")));
        for (path, item) in &mut document.paths.paths {
            let with_a_key = if path.starts_with("/v1/") { OF_ROUTES_WITH_A_KEY } else { &[] };
            for operation in [&mut item.get, &mut item.post, &mut item.delete].into_iter().flatten() {
                for (status, description) in OF_EVERY_ROUTE.iter().chain(with_a_key) {
                    let refusal = ResponseBuilder::new().description(*description).content("application/json", body());
                    operation.responses.responses.entry((*status).to_owned()).or_insert(refusal.build().into());
                }
            }
        }
    }
}

/// The document of these routes.
pub(super) fn document(routes: impl IntoIterator<Item = Document>) -> Document {
    let mut document = Api::openapi();
    for routes in routes {
        document.merge(routes);
    }
    Bearer.modify(&mut document);
    CommonErrors.modify(&mut document);
    document
}

/// Shows this document, to anybody.
#[utoipa::path(get, path = "/openapi.json", tag = "openapi", security(()),
    responses((status = 200, content_type = "application/json", body = Object)))]
pub async fn show(State(document): State<Arc<Document>>) -> Json<Document> {
    Json(Document::clone(&document))
}

#[cfg(test)]
mod tests {
    use crate::intent::fields::FIELDS;

    #[test]
    fn every_field_of_ours_is_documented() {
        let document = serde_json::to_value(crate::http::document()).unwrap();

        let properties = &document["components"]["schemas"]["ChatBody"]["properties"];
        assert_eq!(properties["deployment_mode"]["enum"], serde_json::json!(["local", "cloud-local", "cloud-hosted"]));
        assert!(FIELDS.iter().all(|field| properties[field.name].is_object()));
        assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    }

    #[test]
    fn every_reference_in_the_document_leads_somewhere() {
        let document = serde_json::to_value(crate::http::document()).unwrap();
        let text = document.to_string();

        let names: Vec<&str> =
            text.split("#/components/schemas/").skip(1).filter_map(|rest| rest.split('"').next()).collect();

        assert!(!names.is_empty());
        let schemas = &document["components"]["schemas"];
        assert!(names.iter().all(|name| schemas[name].is_object()), "{names:?}");
    }

    #[test]
    fn the_committed_document_is_the_one_that_the_program_prints() {
        let printed = serde_json::to_string_pretty(&crate::http::document()).unwrap() + "\n";

        assert!(
            printed == include_str!("../../openapi.json"),
            "it is stale: run `cargo run --locked -- openapi > openapi.json`"
        );
    }

    #[test]
    fn the_routes_of_the_document_are_an_api() {
        let paths: Vec<String> = crate::http::document().paths.paths.into_keys().collect();

        insta::assert_snapshot!(paths.join("\n"));
    }
}
