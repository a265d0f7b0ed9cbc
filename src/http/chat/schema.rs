//! The schema of a chat request, for the API document.

use utoipa::openapi::schema::{AdditionalProperties, ArrayBuilder, Object, ObjectBuilder, Schema, SchemaType, Type};
use utoipa::openapi::{OneOfBuilder, RefOr};
use utoipa::{PartialSchema, ToSchema};

use crate::http::models::DEFAULT_MODEL;
use crate::intent::fields::aws_credentials::Subfield;
use crate::intent::fields::{FIELDS, Field, FieldType, OPENAI_FIELDS, RESUME_FIELDS};

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

/// What an operation is resumed with: two of our fields, from the same table.
#[derive(Debug)]
pub struct ResumeBody;

impl ToSchema for ResumeBody {}

impl PartialSchema for ResumeBody {
    fn schema() -> RefOr<Schema> {
        let about = "Secrets in place of those that the operation has; credentials of the account that it works in.";
        let fields = FIELDS.iter().filter(|field| RESUME_FIELDS.contains(&field.name));
        let body = fields.fold(ObjectBuilder::new(), |body, field| body.property(field.name, of_field(field)));
        let none = AdditionalProperties::<Schema>::FreeForm(false);
        body.description(Some(about)).additional_properties(Some(none)).build().into()
    }
}

pub(crate) fn of_field(field: &Field) -> Schema {
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
        FieldType::Object(fields) => of_subfields(fields).description(Some(about)),
        FieldType::Variables => ObjectBuilder::new()
            .schema_type(SchemaType::Type(Type::Object))
            .additional_properties(Some(AdditionalProperties::<Schema>::RefOr(text().build().into())))
            .description(Some(about)),
    };
    schema.write_only(field.secret).build().into()
}

fn of_subfields(fields: &[Subfield]) -> ObjectBuilder {
    fields.iter().fold(ObjectBuilder::new(), |object, field| {
        let schema = text().description(Some(field.about)).write_only(field.secret);
        let object = object.property(field.name, schema);
        if field.required { object.required(field.name) } else { object }
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
