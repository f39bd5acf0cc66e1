//! The schema of a constraint's parameters: structural OpenAPI v3, as CustomResourceDefinitions have it.
//!
//! Knows the keywords that the API server takes; checks values, names unknown fields, applies defaults. Source:
//! `apiextensions.k8s.io/v1` JSONSchemaProps. `format` is not checked.

use std::collections::BTreeMap;

use regex::Regex;
use serde_json::{Map, Value};

/// A schema. Invariant: its patterns are regular expressions.
#[derive(Debug, Clone, Default)]
pub struct Schema {
    types: Option<String>,
    properties: BTreeMap<String, Schema>,
    required: Vec<String>,
    items: Option<Box<Schema>>,
    additional: Additional,
    default: Option<Value>,
    allowed: Option<Vec<Value>>,
    pattern: Option<Regex>,
    minimum: Option<f64>,
    maximum: Option<f64>,
    exclusive_minimum: bool,
    exclusive_maximum: bool,
    multiple_of: Option<f64>,
    lengths: Bounds,
    items_count: Bounds,
    properties_count: Bounds,
    unique_items: bool,
    nullable: bool,
    int_or_string: bool,
    all_of: Vec<Schema>,
    any_of: Vec<Schema>,
    one_of: Vec<Schema>,
    not: Option<Box<Schema>>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Bounds {
    least: Option<u64>,
    most: Option<u64>,
}

/// What becomes of properties that are not named.
#[derive(Debug, Clone, Default)]
enum Additional {
    /// They are unknown.
    #[default]
    Unknown,
    /// Anything goes.
    Keep,
    /// They are checked.
    Check(Box<Schema>),
}

/// What is wrong with a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Finding {
    /// The value does not fit.
    Misfit(String),
    /// The field is not in the schema.
    Unknown(String),
}

impl Schema {
    /// Reads a schema; in a `legacy` one every object keeps fields that it does not name.
    ///
    /// # Errors
    /// What is no schema, for the template's author.
    pub(crate) fn read(schema: &Value, legacy: bool) -> Result<Self, String> {
        let Value::Object(map) = schema else { return Err(format!("a schema must be an object, not `{schema}`")) };
        let flag = |key: &str| map.get(key).and_then(Value::as_bool).unwrap_or_default();
        let number = |key: &str| map.get(key).and_then(Value::as_f64);
        let bounds = |least: &str, most: &str| Bounds {
            least: map.get(least).and_then(Value::as_u64),
            most: map.get(most).and_then(Value::as_u64),
        };
        let one = |key: &str| map.get(key).map(|s| Self::read(s, legacy).map(Box::new)).transpose();
        let many = |key: &str| -> Result<Vec<Self>, String> {
            map.get(key).and_then(Value::as_array).into_iter().flatten().map(|s| Self::read(s, legacy)).collect()
        };
        let types = match map.get("type") {
            None | Some(Value::Null) => None,
            Some(Value::String(name)) if name.is_empty() => None,
            Some(Value::String(name)) if TYPES.contains(&name.as_str()) => Some(name.clone()),
            Some(other) => return Err(format!("`type: {other}` is none of {}", TYPES.join(", "))),
        };
        let mut properties = BTreeMap::new();
        for (name, schema) in map.get("properties").and_then(Value::as_object).into_iter().flatten() {
            properties.insert(name.clone(), Self::read(schema, legacy).map_err(|m| format!("`{name}`: {m}"))?);
        }
        let pattern = match map.get("pattern").and_then(Value::as_str) {
            None => None,
            Some(text) => Some(Regex::new(text).map_err(|_| format!("the pattern `{text}` is no regular expression"))?),
        };
        let keeps = legacy || flag("x-kubernetes-preserve-unknown-fields");
        let additional = match map.get("additionalProperties") {
            Some(Value::Bool(true)) => Additional::Keep,
            Some(schema @ Value::Object(_)) => Additional::Check(Box::new(Self::read(schema, legacy)?)),
            _ if keeps => Additional::Keep,
            _ => Additional::Unknown,
        };
        Ok(Self {
            types,
            properties,
            required: strings(map.get("required")),
            items: one("items")?,
            additional,
            default: map.get("default").filter(|d| !d.is_null()).cloned(),
            allowed: map.get("enum").and_then(Value::as_array).cloned(),
            pattern,
            minimum: number("minimum"),
            maximum: number("maximum"),
            exclusive_minimum: flag("exclusiveMinimum"),
            exclusive_maximum: flag("exclusiveMaximum"),
            multiple_of: number("multipleOf"),
            lengths: bounds("minLength", "maxLength"),
            items_count: bounds("minItems", "maxItems"),
            properties_count: bounds("minProperties", "maxProperties"),
            unique_items: flag("uniqueItems"),
            nullable: flag("nullable"),
            int_or_string: flag("x-kubernetes-int-or-string"),
            all_of: many("allOf")?,
            any_of: many("anyOf")?,
            one_of: many("oneOf")?,
            not: one("not")?,
        })
    }

    /// All that is wrong with `value`, which stands at `path`.
    pub(crate) fn check(&self, path: &str, value: &Value) -> Vec<Finding> {
        let mut found = Vec::new();
        self.visit(path, value, &mut found);
        found
    }

    /// Fills in defaults, as the API server does: only inside objects that are there; a `null` that may not be one
    /// gives way to the default.
    pub(crate) fn apply_defaults(&self, value: &mut Value) {
        match value {
            Value::Object(map) => {
                for (name, schema) in &self.properties {
                    let absent = map.get(name).is_none_or(|v| v.is_null() && !schema.nullable);
                    if let (true, Some(default)) = (absent, &schema.default) {
                        map.insert(name.clone(), default.clone());
                    }
                }
                for (name, value) in map.iter_mut() {
                    match (self.properties.get(name), &self.additional) {
                        (Some(schema), _) => schema.apply_defaults(value),
                        (None, Additional::Check(schema)) => schema.apply_defaults(value),
                        (None, _) => {}
                    }
                }
            }
            Value::Array(items) => {
                for (item, schema) in items.iter_mut().zip(std::iter::repeat(&self.items)) {
                    if let Some(schema) = schema {
                        schema.apply_defaults(item);
                    }
                }
            }
            _ => {}
        }
    }

    /// The default of the whole value.
    pub(crate) fn default(&self) -> Option<&Value> {
        self.default.as_ref()
    }

    fn visit(&self, path: &str, value: &Value, found: &mut Vec<Finding>) {
        if value.is_null() && (self.nullable || self.default.is_some()) {
            return;
        }
        let mut misfit = |message: String| found.push(Finding::Misfit(format!("`{path}` {message}")));
        if let Some(wanted) = self.mistyped(value) {
            misfit(format!("must be of type {wanted}, not {}", type_of(value)));
            return;
        }
        if let Some(allowed) = self.allowed.as_ref().filter(|a| !a.contains(value)) {
            let allowed: Vec<String> = allowed.iter().map(ToString::to_string).collect();
            misfit(format!("must be one of {}, not `{value}`", allowed.join(", ")));
        }
        match value {
            Value::String(text) => self.visit_string(text, &mut misfit),
            Value::Number(number) => self.visit_number(number.as_f64().unwrap_or_default(), &mut misfit),
            Value::Array(items) => self.visit_array(path, items, found),
            Value::Object(map) => self.visit_object(path, map, found),
            Value::Null | Value::Bool(_) => {}
        }
        self.visit_combinations(path, value, found);
    }

    fn mistyped(&self, value: &Value) -> Option<String> {
        if self.int_or_string {
            let fits = value.is_string() || is_integer(value);
            return (!fits).then(|| "integer or string".to_owned());
        }
        let wanted = self.types.as_deref()?;
        let fits = match wanted {
            "integer" => is_integer(value),
            "number" => value.is_number(),
            other => type_of(value) == other,
        };
        (!fits).then(|| wanted.to_owned())
    }

    fn visit_string(&self, text: &str, misfit: &mut dyn FnMut(String)) {
        self.lengths.check("character", text.chars().count(), misfit);
        if let Some(pattern) = self.pattern.as_ref().filter(|p| !p.is_match(text)) {
            misfit(format!("must match `{pattern}`, and `{text}` does not"));
        }
    }

    fn visit_number(&self, number: f64, misfit: &mut dyn FnMut(String)) {
        if let Some(least) = self.minimum {
            match self.exclusive_minimum {
                true if number <= least => misfit(format!("must be greater than {least}")),
                false if number < least => misfit(format!("must be at least {least}")),
                _ => {}
            }
        }
        if let Some(most) = self.maximum {
            match self.exclusive_maximum {
                true if number >= most => misfit(format!("must be less than {most}")),
                false if number > most => misfit(format!("must be at most {most}")),
                _ => {}
            }
        }
        if let Some(step) = self.multiple_of.filter(|s| *s != 0.0 && (number / s).fract() != 0.0) {
            misfit(format!("must be a multiple of {step}"));
        }
    }

    fn visit_array(&self, path: &str, items: &[Value], found: &mut Vec<Finding>) {
        let mut misfit = |message: String| found.push(Finding::Misfit(format!("`{path}` {message}")));
        self.items_count.check("item", items.len(), &mut misfit);
        if self.unique_items && (1..items.len()).any(|n| items.iter().take(n).any(|i| Some(i) == items.get(n))) {
            misfit("must not hold an item twice".to_owned());
        }
        if let Some(schema) = &self.items {
            for (index, item) in items.iter().enumerate() {
                schema.visit(&format!("{path}[{index}]"), item, found);
            }
        }
    }

    fn visit_object(&self, path: &str, map: &Map<String, Value>, found: &mut Vec<Finding>) {
        let mut misfit = |message: String| found.push(Finding::Misfit(format!("`{path}` {message}")));
        self.properties_count.check("field", map.len(), &mut misfit);
        for name in self.required.iter().filter(|n| !map.contains_key(*n)) {
            found.push(Finding::Misfit(format!("`{path}.{name}` is required")));
        }
        for (name, value) in map {
            let path = format!("{path}.{name}");
            match (self.properties.get(name), &self.additional) {
                (Some(schema), _) => schema.visit(&path, value, found),
                (None, Additional::Check(schema)) => schema.visit(&path, value, found),
                (None, Additional::Keep) => {}
                (None, Additional::Unknown) => found.push(Finding::Unknown(path)),
            }
        }
    }

    /// `allOf`, `anyOf`, `oneOf` and `not`: they check values, and name no fields.
    fn visit_combinations(&self, path: &str, value: &Value, found: &mut Vec<Finding>) {
        let fits = |schema: &Self| !schema.check(path, value).iter().any(|f| matches!(f, Finding::Misfit(_)));
        for schema in &self.all_of {
            found.extend(schema.check(path, value).into_iter().filter(|f| matches!(f, Finding::Misfit(_))));
        }
        let mut misfit = |message: &str| found.push(Finding::Misfit(format!("`{path}` {message}")));
        if !self.any_of.is_empty() && !self.any_of.iter().any(fits) {
            misfit("fits none of the schemas in `anyOf`");
        }
        if !self.one_of.is_empty() && self.one_of.iter().filter(|s| fits(s)).count() != 1 {
            misfit("must fit one schema of `oneOf`, no more and no less");
        }
        if self.not.as_ref().is_some_and(|s| fits(s)) {
            misfit("fits the schema in `not`");
        }
    }
}

const TYPES: [&str; 6] = ["object", "array", "string", "integer", "number", "boolean"];

impl Bounds {
    fn check(self, what: &str, count: usize, misfit: &mut dyn FnMut(String)) {
        let count = count as u64;
        let plural = |n: u64| if n == 1 { "" } else { "s" };
        if let Some(least) = self.least.filter(|l| count < *l) {
            misfit(format!("must have at least {least} {what}{}", plural(least)));
        }
        if let Some(most) = self.most.filter(|m| count > *m) {
            misfit(format!("must have at most {most} {what}{}", plural(most)));
        }
    }
}

fn strings(value: Option<&Value>) -> Vec<String> {
    value.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

fn is_integer(value: &Value) -> bool {
    value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|n| n.fract() == 0.0)
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) if is_integer(value) => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema(yaml: &str) -> Schema {
        Schema::read(&serde_saphyr::from_str(yaml).expect("YAML"), false).expect("a schema")
    }

    fn wrong(yaml: &str, value: &str) -> Vec<String> {
        let value: Value = serde_saphyr::from_str(value).expect("YAML");
        let text = |f: &Finding| match f {
            Finding::Misfit(m) => m.clone(),
            Finding::Unknown(path) => format!("unknown {path}"),
        };
        schema(yaml).check("p", &value).iter().map(text).collect()
    }

    #[test]
    fn every_keyword_tells_right_from_wrong() {
        let cases: &[(&str, &str, &str, &str)] = &[
            ("type: string", "a", "5", "`p` must be of type string, not integer"),
            ("type: integer", "3.0", "3.5", "`p` must be of type integer, not number"),
            ("type: number", "3.5", "x", "`p` must be of type number, not string"),
            ("type: object", "{}", "[]", "`p` must be of type object, not array"),
            ("{type: string, nullable: true}", "null", "true", "`p` must be of type string, not boolean"),
            ("{type: string, default: x}", "null", "5", "`p` must be of type string, not integer"),
            ("x-kubernetes-int-or-string: true", "http", "true", "`p` must be of type integer or string, not boolean"),
            ("{enum: [a, b]}", "a", "c", "`p` must be one of \"a\", \"b\", not `\"c\"`"),
            ("{type: string, pattern: '^a+$'}", "aa", "ab", "`p` must match `^a+$`, and `ab` does not"),
            ("{type: string, minLength: 2}", "ab", "a", "`p` must have at least 2 characters"),
            ("{type: string, maxLength: 1}", "a", "ab", "`p` must have at most 1 character"),
            ("{type: number, minimum: 2}", "2", "1", "`p` must be at least 2"),
            ("{type: number, minimum: 2, exclusiveMinimum: true}", "3", "2", "`p` must be greater than 2"),
            ("{type: number, maximum: 2}", "2", "3", "`p` must be at most 2"),
            ("{type: number, maximum: 2, exclusiveMaximum: true}", "1", "2", "`p` must be less than 2"),
            ("{type: integer, multipleOf: 3}", "9", "10", "`p` must be a multiple of 3"),
            ("{type: array, minItems: 1}", "[1]", "[]", "`p` must have at least 1 item"),
            ("{type: array, uniqueItems: true}", "[1, 2]", "[1, 1]", "`p` must not hold an item twice"),
            ("{type: array, items: {type: string}}", "[a]", "[a, 5]", "`p[1]` must be of type string, not integer"),
            ("{properties: {a: {type: string}}}", "{a: x}", "{a: 5}", "`p.a` must be of type string, not integer"),
            ("{properties: {a: {type: string}}, required: [a]}", "{a: x}", "{}", "`p.a` is required"),
            ("{properties: {a: {type: string}}}", "{}", "{b: 5}", "unknown p.b"),
            ("{additionalProperties: {type: string}}", "{b: x}", "{b: 5}", "`p.b` must be of type string, not integer"),
            (
                "{additionalProperties: true, maxProperties: 1}",
                "{b: x}",
                "{a: 1, b: 5}",
                "`p` must have at most 1 field",
            ),
            ("anyOf: [{type: string}, {type: integer}]", "5", "true", "`p` fits none of the schemas in `anyOf`"),
            (
                "oneOf: [{type: number}, {type: integer}]",
                "5.5",
                "5",
                "`p` must fit one schema of `oneOf`, no more and no less",
            ),
            ("allOf: [{type: string}]", "a", "5", "`p` must be of type string, not integer"),
            ("not: {type: string}", "5", "a", "`p` fits the schema in `not`"),
        ];
        for (yaml, right, bad, message) in cases {
            assert_eq!(wrong(yaml, right), Vec::<String>::new(), "{yaml}");
            assert_eq!(wrong(yaml, bad), [(*message).to_owned()], "{yaml}");
        }
    }

    #[test]
    fn unknown_fields_are_kept_where_the_schema_says_so() {
        assert!(wrong("{x-kubernetes-preserve-unknown-fields: true}", "{b: {c: 1}}").is_empty());
        let legacy = Schema::read(&serde_json::json!({"properties": {"a": {}}}), true).expect("a schema");
        assert!(legacy.check("p", &serde_json::json!({"b": 1})).is_empty());
    }

    #[test]
    fn defaults_fill_objects_that_are_there() {
        let schema = schema(
            "{properties: {a: {default: 1}, n: {nullable: true, default: 2}, o: {properties: {b: {default: x}}}, l: {items: {properties: {c: {default: true}}}}}}",
        );
        let filled = |value: &str| {
            let mut value = serde_json::from_str(value).expect("JSON");
            schema.apply_defaults(&mut value);
            value.to_string()
        };
        assert_eq!(filled("{}"), r#"{"a":1,"n":2}"#);
        assert_eq!(
            filled(r#"{"a":null,"n":null,"o":{},"l":[{},{"c":false}]}"#),
            r#"{"a":1,"l":[{"c":true},{"c":false}],"n":null,"o":{"b":"x"}}"#
        );
    }

    #[test]
    fn what_is_no_schema_is_refused() {
        assert!(Schema::read(&serde_json::json!({"type": "strin"}), false).is_err());
        assert!(Schema::read(&serde_json::json!({"properties": {"a": {"pattern": "("}}}), false).is_err());
    }
}
