//! JSON values that fit a schema: arguments of tool calls and structured answers.

use serde_json::{Map, Value, json};

/// Deepest nesting of a sample, so that a schema that contains itself ends.
const DEEPEST: usize = 8;
/// Most values in a sample, so that a schema that branches into itself ends soon.
const MOST_VALUES: usize = 500;

/// A value that fits `schema`, whose texts are `text`. Understands types, `enum`, `const`, references inside the schema
/// and the first of alternatives; knows no patterns and no lengths.
pub(crate) fn of_schema(schema: &Value, text: &str) -> Value {
    Sampler { root: schema, text, left: MOST_VALUES }.sample(schema, DEEPEST)
}

struct Sampler<'a> {
    root: &'a Value,
    text: &'a str,
    left: usize,
}

impl<'a> Sampler<'a> {
    fn sample(&mut self, schema: &'a Value, depth: usize) -> Value {
        if depth == 0 || self.left == 0 {
            return Value::Null;
        }
        self.left -= 1;
        let alternatives = ["anyOf", "oneOf", "allOf"].iter().find_map(|name| schema.get(name)?.get(0));
        if let Some(inner) = self.target(schema).or(alternatives) {
            return self.sample(inner, depth - 1);
        }
        if let Some(value) = schema.get("const").or_else(|| schema.get("enum")?.get(0)) {
            return value.clone();
        }
        match type_of(schema) {
            "object" => self.object(schema, depth),
            "array" => schema.get("items").map_or_else(|| json!([]), |items| json!([self.sample(items, depth - 1)])),
            "integer" => schema.get("minimum").filter(|least| least.is_i64()).cloned().unwrap_or_else(|| json!(1)),
            "number" => schema.get("minimum").filter(|least| least.is_number()).cloned().unwrap_or_else(|| json!(1.5)),
            "boolean" => json!(true),
            "null" => Value::Null,
            _ => json!(self.text),
        }
    }

    fn target(&self, schema: &Value) -> Option<&'a Value> {
        self.root.pointer(schema.get("$ref")?.as_str()?.strip_prefix('#')?)
    }

    fn object(&mut self, schema: &'a Value, depth: usize) -> Value {
        let mut object = Map::new();
        for (name, inner) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
            object.insert(name.clone(), self.sample(inner, depth - 1));
        }
        Value::Object(object)
    }
}

fn type_of(schema: &Value) -> &str {
    let stated = match schema.get("type") {
        Some(Value::Array(types)) => types.first(),
        stated => stated,
    };
    let implied = if schema.get("properties").is_some() { "object" } else { "string" };
    stated.and_then(Value::as_str).unwrap_or(implied)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_has_every_property_in_its_type() {
        let schema = json!({
            "type": "object",
            "properties": {
                "city": {"type": "string"}, "days": {"type": "integer", "minimum": 3}, "share": {"type": "number"},
                "unit": {"enum": ["celsius", "kelvin"]}, "sure": {"type": ["boolean", "null"]},
                "stops": {"type": "array", "items": {"$ref": "#/$defs/stop"}},
                "either": {"anyOf": [{"type": "null"}, {"type": "string"}]}
            },
            "$defs": {"stop": {"properties": {"name": {"type": "string"}}}}
        });

        let expected = json!({
            "city": "x", "days": 3, "share": 1.5, "unit": "celsius", "sure": true, "stops": [{"name": "x"}], "either": null
        });
        assert_eq!(of_schema(&schema, "x"), expected);
    }

    #[test]
    fn a_schema_that_contains_itself_many_times_ends() {
        let own: Map<String, Value> = (0..50).map(|place| (place.to_string(), json!({"$ref": "#"}))).collect();

        let sample = of_schema(&json!({"type": "object", "properties": own}), "x");

        assert!(sample.to_string().len() < 40_000);
    }

    #[test]
    fn whatever_stands_for_a_schema_gives_a_value() {
        for schema in [json!(null), json!(true), json!([]), json!({"$ref": 3}), json!({"type": 7}), json!({"enum": []})]
        {
            assert_eq!(of_schema(&schema, "x"), json!("x"), "{schema}");
        }
    }
}
