//! `json.match_schema`, `json.is_valid` and `yaml.is_valid` where the engine answers otherwise than OPA.
//!
//! Schemas are validated by the jsonschema crate, without any reference that would have to be fetched; its findings
//! are told in the words of the library that OPA uses (gojsonschema).

use jsonschema::error::{TypeKind, ValidationError, ValidationErrorKind};
use regorus::Value;
use serde_json::Value as Json;

use super::call::{Builtin, CallError, Outcome, at_most, object, operand, string};
use super::encoding::json;

pub(super) const BUILTINS: &[Builtin] = &[
    Builtin { name: "json.is_valid", arity: 1, call: |args| Ok(parses(args, |t| Value::from_json_str(t).is_ok())) },
    Builtin { name: "json.match_schema", arity: 2, call: match_schema },
    Builtin { name: "json.verify_schema", arity: 1, call: verify_schema },
    Builtin { name: "yaml.is_valid", arity: 1, call: |args| Ok(parses(args, |t| Value::from_yaml_str(t).is_ok())) },
];

/// Findings of one document.
const MAX_FINDINGS: usize = 1_000;

/// What is no string is not valid.
fn parses(args: &[Value], test: fn(&str) -> bool) -> Value {
    string(args, 0).is_ok_and(test).into()
}

/// An operand that is JSON text, an object or an array.
fn document(args: &[Value], n: usize) -> Result<Json, CallError> {
    let text = match operand(args, n)? {
        Value::String(text) => text.as_ref().to_owned(),
        value @ (Value::Object(_) | Value::Array(_)) => json(value)?,
        _ => return Err("wrong type, expected string or object".into()),
    };
    serde_json::from_str(&text).map_err(|_| "invalid JSON string".into())
}

/// Nothing is fetched.
pub(crate) struct Nowhere;

impl jsonschema::Retrieve for Nowhere {
    fn retrieve(&self, uri: &jsonschema::Uri<String>) -> Result<Json, Box<dyn std::error::Error + Send + Sync>> {
        Err(format!("`{uri}` is not fetched").into())
    }
}

/// `[true, []]`, or `[false, findings]`.
fn match_schema(args: &[Value]) -> Outcome {
    let (document, schema) = (document(args, 0)?, document(args, 1)?);
    let validator =
        jsonschema::options().with_retriever(Nowhere).build(&schema).map_err(|e| format!("invalid schema: {e}"))?;
    let mut findings = Vec::new();
    for error in validator.iter_errors(&document) {
        findings.push(finding(&error));
        at_most(findings.len(), MAX_FINDINGS, "findings")?;
    }
    Ok(Value::from(vec![Value::from(findings.is_empty()), Value::from(findings)]))
}

/// `[true, null]`, or `[false, why]`.
fn verify_schema(args: &[Value]) -> Outcome {
    let verified = document(args, 0).map_err(|e| e.to_string()).and_then(|schema| {
        if let Some(unknown) = unknown_type(&schema) {
            return Err(format!(
                "has a primitive type that is NOT VALID -- given: /{unknown}/ Expected valid values are:[{}]",
                TYPES.join(" ")
            ));
        }
        jsonschema::options().with_retriever(Nowhere).build(&schema).map(drop).map_err(|e| e.to_string())
    });
    Ok(Value::from(match verified {
        Ok(()) => vec![Value::from(true), Value::Null],
        Err(why) => vec![Value::from(false), Value::from(format!("jsonschema: {why}"))],
    }))
}

const TYPES: [&str; 7] = ["array", "boolean", "integer", "number", "null", "object", "string"];

/// The first type in a schema that there is not.
fn unknown_type(schema: &Json) -> Option<&str> {
    let fields = schema.as_object()?;
    let types = fields.get("type").into_iter().flat_map(|t| match t {
        Json::Array(types) => types.iter().filter_map(Json::as_str).collect(),
        other => other.as_str().into_iter().collect::<Vec<_>>(),
    });
    if let Some(unknown) = types.into_iter().find(|t| !TYPES.contains(t)) {
        return Some(unknown);
    }
    let named = ["properties", "patternProperties", "definitions", "$defs", "dependencies"];
    let named = named.iter().filter_map(|n| fields.get(*n)?.as_object()).flat_map(serde_json::Map::values);
    let single = ["items", "additionalProperties", "additionalItems", "not", "if", "then", "else", "contains"];
    let listed = ["items", "allOf", "anyOf", "oneOf"];
    let listed = listed.iter().filter_map(|n| fields.get(*n)?.as_array()).flatten();
    named.chain(single.iter().filter_map(|n| fields.get(*n))).chain(listed).find_map(unknown_type)
}

fn finding(error: &ValidationError<'_>) -> Value {
    let path = error.instance_path().to_string();
    let field = match path.trim_start_matches('/').replace('/', ".") {
        empty if empty.is_empty() => "(root)".to_owned(),
        field => field,
    };
    let (kind, field, text) = told(error, field);
    object([
        ("error", Value::from(format!("{field}: {text}"))),
        ("type", Value::from(kind)),
        ("field", Value::from(field.as_str())),
        ("desc", Value::from(text)),
    ])
}

/// The kind, the field and the description of a finding.
fn told(error: &ValidationError<'_>, field: String) -> (&'static str, String, String) {
    let instance = error.instance();
    let list = |value: &Json| match value {
        Json::Array(items) => items.iter().map(Json::to_string).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    };
    let (kind, text) = match error.kind() {
        ValidationErrorKind::Type { kind } => {
            let wanted: Vec<String> = match kind {
                TypeKind::Single(one) => vec![one.to_string()],
                TypeKind::Multiple(many) => many.iter().map(|t| t.to_string()).collect(),
            };
            let given = match instance.as_ref() {
                Json::Null => "null",
                Json::Bool(_) => "boolean",
                Json::Number(n) if n.is_f64() => "number",
                Json::Number(_) => "integer",
                Json::String(_) => "string",
                Json::Array(_) => "array",
                Json::Object(_) => "object",
            };
            ("invalid_type", format!("Invalid type. Expected: {}, given: {given}", wanted.join(",")))
        }
        ValidationErrorKind::Required { property } => {
            ("required", format!("{} is required", property.as_str().unwrap_or_default()))
        }
        ValidationErrorKind::AdditionalProperties { unexpected } => (
            "additional_property_not_allowed",
            format!("Additional property {} is not allowed", unexpected.first().map_or("", String::as_str)),
        ),
        ValidationErrorKind::Enum { options } => {
            ("enum", format!("{field} must be one of the following: {}", list(options)))
        }
        ValidationErrorKind::Constant { expected_value } => {
            ("const", format!("{field} does not match: {expected_value}"))
        }
        ValidationErrorKind::Minimum { limit } => ("number_gte", format!("Must be greater than or equal to {limit}")),
        ValidationErrorKind::Maximum { limit } => ("number_lte", format!("Must be less than or equal to {limit}")),
        ValidationErrorKind::ExclusiveMinimum { limit } => ("number_gt", format!("Must be greater than {limit}")),
        ValidationErrorKind::ExclusiveMaximum { limit } => ("number_lt", format!("Must be less than {limit}")),
        ValidationErrorKind::MultipleOf { multiple_of } => {
            ("multiple_of", format!("Must be a multiple of {multiple_of}"))
        }
        ValidationErrorKind::MinLength { limit } => {
            ("string_gte", format!("String length must be greater than or equal to {limit}"))
        }
        ValidationErrorKind::MaxLength { limit } => {
            ("string_lte", format!("String length must be less than or equal to {limit}"))
        }
        ValidationErrorKind::Pattern { pattern } => ("pattern", format!("Does not match pattern '{pattern}'")),
        ValidationErrorKind::Format { format } => ("format", format!("Does not match format '{format}'")),
        ValidationErrorKind::MinItems { limit } => {
            ("array_min_items", format!("Array must have at least {limit} items"))
        }
        ValidationErrorKind::MaxItems { limit } => {
            ("array_max_items", format!("Array must have at most {limit} items"))
        }
        ValidationErrorKind::UniqueItems => ("unique", "array items must be unique".to_owned()),
        ValidationErrorKind::MinProperties { limit } => {
            ("array_min_properties", format!("Must have at least {limit} properties"))
        }
        ValidationErrorKind::MaxProperties { limit } => {
            ("array_max_properties", format!("Must have at most {limit} properties"))
        }
        ValidationErrorKind::AnyOf { .. } => ("number_any_of", "Must validate at least one schema (anyOf)".to_owned()),
        ValidationErrorKind::OneOfNotValid { .. } | ValidationErrorKind::OneOfMultipleValid { .. } => {
            ("number_one_of", "Must validate one and only one schema (oneOf)".to_owned())
        }
        ValidationErrorKind::Not { .. } => ("number_not", "Must not validate the schema (not)".to_owned()),
        ValidationErrorKind::Contains => ("contains", "At least one of the items must match".to_owned()),
        _ => ("invalid", error.to_string()),
    };
    (kind, field, text)
}
