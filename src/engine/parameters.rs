//! Parameters of policies: what a binding gives, over the policy's defaults and within the policy's schema.
//!
//! Knows the defaults with their types, and `custom.parametersSchema`: JSON Schema 2020-12 by parameter, without any
//! reference that would have to be fetched. Must not know what the parameters are for.

use std::collections::BTreeMap;

use jsonschema::error::{TypeKind, ValidationError, ValidationErrorKind};
use jsonschema::{Draft, Validator};
use serde_json::{Map, Value};

use crate::engine::builtins::Nowhere;
use crate::policy::{LoadError, Metadata, PolicyBinding, nearest};

/// The parameters of one policy.
pub(crate) struct Parameters<'p> {
    policy: &'p str,
    defaults: &'p Map<String, Value>,
    schemas: BTreeMap<&'p str, Validator>,
}

/// One thing that a schema does not let be.
struct Finding {
    /// Keys and numbers from the parameter on.
    path: Vec<String>,
    /// What is there and what to write.
    message: String,
}

impl<'p> Parameters<'p> {
    /// Those of the policy `policy`, whose METADATA stand in `file`.
    ///
    /// # Errors
    /// A schema that is none or of no parameter, and defaults that are not within theirs.
    pub(crate) fn of(policy: &'p str, file: &str, metadata: &'p Metadata) -> Result<Self, Vec<LoadError>> {
        let defaults = &metadata.parameters;
        let mut schemas = BTreeMap::new();
        let mut errors = Vec::new();
        for (name, schema) in &metadata.parameters_schema {
            let mut fault = |message: String| {
                let line = metadata.schema_lines.get(name).copied().unwrap_or(1);
                errors.push(LoadError::new(file, "metadata", format!("METADATA: {message}")).at(line, 1));
            };
            let Some(default) = defaults.get(name) else {
                let near = near(name, defaults);
                fault(format!("`parametersSchema` names `{name}`, which is no parameter{near}"));
                continue;
            };
            let options = jsonschema::options().with_draft(Draft::Draft202012).with_retriever(Nowhere);
            match options.build(schema) {
                Err(e) => fault(format!("the schema of parameter `{name}` is not valid: {}", in_schema(&e))),
                Ok(validator) => {
                    for Finding { path, message } in findings(&validator, default) {
                        fault(format!("the default of parameter `{name}`{} {message}", within(&path)));
                    }
                    schemas.insert(name.as_str(), validator);
                }
            }
        }
        if errors.is_empty() { Ok(Self { policy, defaults, schemas }) } else { Err(errors) }
    }

    /// The defaults, with what a binding gives in their place. Faults are added to `errors`.
    pub(crate) fn bound(&self, binding: &PolicyBinding, errors: &mut Vec<LoadError>) -> Map<String, Value> {
        let mut parameters = self.defaults.clone();
        for (key, value) in &binding.parameters {
            let mut fault = |path: &[String], message: &str| {
                let keys: Vec<&str> =
                    ["spec", "parameters", key].into_iter().chain(path.iter().map(String::as_str)).collect();
                errors.push(binding.fault_at(&keys, message));
            };
            match parameters.get_mut(key) {
                None => {
                    let near = near(key, self.defaults);
                    fault(&[], &format!("policy `{}` has no parameter `{key}`{near}", self.policy));
                }
                Some(default)
                    if !default.is_null() && std::mem::discriminant(default) != std::mem::discriminant(value) =>
                {
                    fault(&[], &format!("parameter `{key}` has another type than its default `{default}`"));
                }
                Some(default) => {
                    for Finding { path, message } in
                        self.schemas.get(key.as_str()).iter().flat_map(|s| findings(s, value))
                    {
                        fault(&path, &format!("parameter `{key}`{} {message}", within(&path)));
                    }
                    *default = value.clone();
                }
            }
        }
        parameters
    }
}

fn near(name: &str, defaults: &Map<String, Value>) -> String {
    let near = nearest(name, defaults.keys().map(String::as_str));
    near.map(|n| format!("; did you mean `{n}`?")).unwrap_or_default()
}

/// Where in a parameter.
fn within(path: &[String]) -> String {
    if path.is_empty() { String::new() } else { format!(" at `/{}`", path.join("/")) }
}

/// Findings that are told of one parameter.
const MOST_FINDINGS: usize = 10;

fn findings(validator: &Validator, value: &Value) -> Vec<Finding> {
    let told = |e: ValidationError<'_>| Finding { path: keys(e.instance_path().as_str()), message: message(&e) };
    validator.iter_errors(value).take(MOST_FINDINGS).map(told).collect()
}

/// The parts of a JSON pointer, as they are written there.
fn keys(pointer: &str) -> Vec<String> {
    pointer.split('/').skip(1).map(|k| k.replace("~1", "/").replace("~0", "~")).collect()
}

/// What is wrong with a schema, and where in it.
fn in_schema(error: &ValidationError<'_>) -> String {
    let path = keys(error.instance_path().as_str());
    match (error.kind(), path.last().map(String::as_str)) {
        (ValidationErrorKind::Referencing(_), _) => {
            "a `$ref` leads nowhere within it, and nothing is fetched".to_owned()
        }
        (ValidationErrorKind::AnyOf { .. }, Some("type")) => {
            let types = "array, boolean, integer, null, number, object and string";
            format!("`/{}` is `{}`; types are {types}", path.join("/"), shown(error.instance()))
        }
        (ValidationErrorKind::Format { format }, _) if format == "regex" => {
            format!("`/{}` is `{}`, which is no regular expression", path.join("/"), shown(error.instance()))
        }
        (_, None) => format!("it {}", message(error)),
        (_, Some(_)) => format!("`/{}` {}", path.join("/"), message(error)),
    }
}

/// What stands there, and what to write instead.
fn message(error: &ValidationError<'_>) -> String {
    match error.kind() {
        ValidationErrorKind::Required { property } => format!("has no `{}`", shown(property)),
        ValidationErrorKind::AdditionalProperties { unexpected }
        | ValidationErrorKind::UnevaluatedProperties { unexpected } => {
            let names: Vec<String> = unexpected.iter().map(|u| format!("`{u}`")).collect();
            format!("has {}, which means nothing there", names.join(", "))
        }
        ValidationErrorKind::UniqueItems => "has an item twice".to_owned(),
        ValidationErrorKind::FalseSchema => "may not be there".to_owned(),
        ValidationErrorKind::PropertyNames { error } => {
            let key = shown(error.instance());
            match wanted(error) {
                Some(wanted) => format!("has the key `{key}`; a key must be {wanted}"),
                None => format!("has the key `{key}`, which {}", message(error)),
            }
        }
        _ => match wanted(error) {
            Some(wanted) => format!("is `{}`; it must be {wanted}", shown(error.instance())),
            // Schemas of schemas, and what else there is: the words of the library.
            None => format!("is not what the schema says: {error}"),
        },
    }
}

/// What a value must be, as far as one thing can be told.
fn wanted(error: &ValidationError<'_>) -> Option<String> {
    let listed = |values: &Value| match values {
        Value::Array(items) => items.iter().map(|v| format!("`{}`", shown(v))).collect::<Vec<_>>().join(", "),
        other => format!("`{}`", shown(other)),
    };
    Some(match error.kind() {
        ValidationErrorKind::Type { kind } => {
            let types: Vec<String> = match kind {
                TypeKind::Single(one) => vec![one.to_string()],
                TypeKind::Multiple(many) => many.iter().map(|t| t.to_string()).collect(),
            };
            format!("of type {}", types.join(" or "))
        }
        ValidationErrorKind::Enum { options } => match options.as_array().map(Vec::len) {
            Some(1) => listed(options),
            _ => format!("one of {}", listed(options)),
        },
        ValidationErrorKind::Constant { expected_value } => format!("`{}`", shown(expected_value)),
        ValidationErrorKind::Minimum { limit } => format!("at least {limit}"),
        ValidationErrorKind::Maximum { limit } => format!("at most {limit}"),
        ValidationErrorKind::ExclusiveMinimum { limit } => format!("more than {limit}"),
        ValidationErrorKind::ExclusiveMaximum { limit } => format!("less than {limit}"),
        ValidationErrorKind::MultipleOf { multiple_of } => format!("a multiple of {multiple_of}"),
        ValidationErrorKind::MinLength { limit } => format!("of {limit} characters or more"),
        ValidationErrorKind::MaxLength { limit } => format!("of {limit} characters or fewer"),
        ValidationErrorKind::MinItems { limit } => format!("of {limit} items or more"),
        ValidationErrorKind::MaxItems { limit } => format!("of {limit} items or fewer"),
        ValidationErrorKind::MinProperties { limit } => format!("of {limit} keys or more"),
        ValidationErrorKind::MaxProperties { limit } => format!("of {limit} keys or fewer"),
        ValidationErrorKind::Pattern { pattern } => format!("what matches `{pattern}`"),
        ValidationErrorKind::Format { format } => format!("of the format `{format}`"),
        _ => return None,
    })
}

/// A value in a message: strings as they are.
fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
