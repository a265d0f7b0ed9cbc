//! The schemas of a request and of a response, for the API document.

use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ArrayBuilder, Object, ObjectBuilder, Schema, SchemaType, Type};
use utoipa::{PartialSchema, ToSchema};

use crate::http::chat::schema::of_field;
use crate::http::models::DEFAULT_MODEL;
use crate::intent::fields::FIELDS;

/// Fields of the request that need no more words than OpenAI has for them.
const ACCEPTED: &[&str] = &[
    "include",
    "max_output_tokens",
    "max_tool_calls",
    "metadata",
    "parallel_tool_calls",
    "prompt_cache_key",
    "reasoning",
    "safety_identifier",
    "service_tier",
    "temperature",
    "text",
    "tool_choice",
    "tools",
    "top_logprobs",
    "top_p",
    "truncation",
    "user",
];

/// The body of a request: OpenAI's fields, and ours from the table that requests are read by.
#[derive(Debug)]
pub struct ResponsesBody;

impl ToSchema for ResponsesBody {}

impl PartialSchema for ResponsesBody {
    fn schema() -> RefOr<Schema> {
        let input = "Text, or items: messages, calls of functions and custom tools, and their outputs.";
        let mut body = ObjectBuilder::new()
            .description(Some("OpenAI's request with our fields at the top level."))
            .property("model", kind(Type::String).default(Some(DEFAULT_MODEL.into())))
            .property("input", Object::builder().description(Some(input)))
            .property("instructions", kind(Type::String))
            .property("stream", kind(Type::Boolean))
            .property("background", kind(Type::Boolean))
            .property("store", kind(Type::Boolean).default(Some(true.into())))
            .property("previous_response_id", kind(Type::String))
            .required("input");
        for name in ACCEPTED {
            body = body.property(*name, Object::builder().description(Some("Accepted, as in OpenAI's API.")));
        }
        for field in FIELDS {
            body = body.property(field.name, of_field(field));
        }
        body.build().into()
    }
}

/// A response: OpenAI's object with `operation` and `deployment` beside its output.
#[derive(Debug)]
pub struct ResponseObject;

impl ToSchema for ResponseObject {
    fn name() -> std::borrow::Cow<'static, str> {
        "Response".into()
    }
}

impl PartialSchema for ResponseObject {
    fn schema() -> RefOr<Schema> {
        let status = ["queued", "in_progress", "completed", "incomplete", "failed", "cancelled"];
        ObjectBuilder::new()
            .property("id", kind(Type::String))
            .property("object", kind(Type::String))
            .property("created_at", kind(Type::Integer))
            .property("status", kind(Type::String).enum_values(Some(status)))
            .property("model", kind(Type::String))
            .property("output", ArrayBuilder::new().items(kind(Type::Object)))
            .property("operation", Object::builder().description(Some("The operation that it tells of, if it does.")))
            .property("deployment", Object::builder().description(Some("The deployment that it tells of, if it does.")))
            .required("id")
            .required("object")
            .required("status")
            .required("output")
            .build()
            .into()
    }
}

fn kind(kind: Type) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(SchemaType::Type(kind))
}
