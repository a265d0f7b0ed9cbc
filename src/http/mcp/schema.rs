//! The schema of a result: the one that the API document has of the same type, as a schema that stands alone.

use std::sync::Arc;

use rmcp::model::JsonObject;
use serde_json::Value;
use utoipa::ToSchema;

/// Where the API document has its schemas, and where one that stands alone has those that it refers to.
const IN_DOCUMENT: &str = "#/components/schemas/";
const IN_SCHEMA: &str = "#/$defs/";
/// What says nothing about the form of a value, or more than a program looks at.
const LEFT_OUT: [&str; 5] = ["description", "example", "format", "minimum", "propertyNames"];

/// The JSON schema of a type.
#[must_use]
pub fn schema_of<T: ToSchema>() -> Arc<JsonObject> {
    let mut parts = Vec::new();
    T::schemas(&mut parts);
    let parts = parts.into_iter().filter_map(|(name, part)| Some((name, serde_json::to_value(part).ok()?)));
    let parts: JsonObject = parts.collect();
    let mut schema = serde_json::to_value(T::schema()).unwrap_or_default();
    if !parts.is_empty() {
        schema["$defs"] = Value::Object(parts);
    }
    stand_alone(&mut schema, false);
    Arc::new(schema.as_object().cloned().unwrap_or_default())
}

/// Leads references to the schema itself, and leaves out what no program reads: every client gets all schemas at once. Nulls
/// are not in it, because they are not in answers.
fn stand_alone(schema: &mut Value, are_names: bool) {
    match schema {
        Value::Object(map) => {
            if !are_names {
                map.retain(|name, _| !LEFT_OUT.contains(&name.as_str()));
                without_null(map);
            }
            if let Some(Value::String(reference)) = map.get_mut("$ref")
                && let Some(name) = reference.strip_prefix(IN_DOCUMENT)
            {
                *reference = format!("{IN_SCHEMA}{name}");
            }
            for (name, part) in map {
                stand_alone(part, !are_names && ["properties", "$defs"].contains(&name.as_str()));
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|it| stand_alone(it, false)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// A value that may be null as what it is when it is not.
fn without_null(schema: &mut JsonObject) {
    if let Some(Value::Array(types)) = schema.get_mut("type") {
        types.retain(|it| it != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            schema.insert("type".to_owned(), only);
        }
    }
    let of_null = |it: &Value| it["type"] == "null";
    if let Some(Value::Array(choices)) = schema.get("oneOf")
        && let [Value::Object(only)] = choices.iter().filter(|it| !of_null(it)).collect::<Vec<_>>().as_slice()
    {
        let only = only.clone();
        schema.remove("oneOf");
        schema.extend(only);
    }
}

#[cfg(test)]
mod tests {
    use super::super::result::ChangeResult;
    use super::*;

    #[test]
    fn every_reference_leads_to_something_in_the_same_schema() {
        fn references(schema: &Value, found: &mut Vec<String>) {
            match schema {
                Value::Object(map) => {
                    found.extend(map.get("$ref").and_then(Value::as_str).map(str::to_owned));
                    map.values().for_each(|it| references(it, found));
                }
                Value::Array(items) => items.iter().for_each(|it| references(it, found)),
                Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
            }
        }
        let schema = Value::Object(schema_of::<ChangeResult>().as_ref().clone());
        let mut found = Vec::new();
        references(&schema, &mut found);

        assert!(!found.is_empty() && schema["type"] == "object");
        for reference in found {
            let name = reference.strip_prefix(IN_SCHEMA).unwrap_or_else(|| panic!("{reference}"));
            assert!(schema["$defs"].get(name).is_some(), "{name}");
        }
    }
}
