//! Whether a value is of a type (ValuesOfCorrectType, UniqueInputFieldNames), and which variables it holds.

use super::document::*;
use super::schema::{Schema, fail};
use super::validate::{Checked, Use, unique};

/// Checks a value where `wanted` is wanted; variables are noted in `uses`.
pub(super) fn check<'a>(
    schema: &Schema,
    value: &'a Literal,
    wanted: &Type,
    has_default: bool,
    uses: &mut Vec<Use<'a>>,
) -> Checked {
    if value.kind == VARIABLE {
        uses.push(Use { variable: &value.raw, wanted: wanted.clone(), has_default });
        return Ok(());
    }
    if value.kind == NULL {
        return if wanted.non_null {
            fail(format!("Expected value of type {:?}, found null", wanted.name()))
        } else {
            Ok(())
        };
    }
    if let Some(elem) = &wanted.elem {
        if value.kind == LIST {
            return value.children.iter().try_for_each(|c| check(schema, &c.value, elem, false, uses));
        }
        // A single value stands for a list of one.
        return check(schema, value, elem, false, uses);
    }
    let name = wanted.named_type.as_str();
    let Some(definition) = schema.types.get(name) else { return fail(format!("Unknown type {name:?}")) };
    let wrong = || fail(format!("Expected value of type {name:?}, found {}", value.raw));
    match definition.kind.as_str() {
        "ENUM" if value.kind == ENUM && definition.enum_values.iter().any(|v| v.name == value.raw) => Ok(()),
        "SCALAR" => {
            let fits = match name {
                "Int" => value.kind == INT && value.raw.parse::<i32>().is_ok(),
                "Float" => value.kind == INT || value.kind == FLOAT,
                "String" => value.kind == STRING || value.kind == BLOCK,
                "Boolean" => value.kind == BOOLEAN,
                "ID" => [INT, STRING, BLOCK].contains(&value.kind),
                // What a scalar of the schema's own takes is not known; variables in it are of any type.
                _ => true,
            };
            if fits { Ok(()) } else { wrong() }
        }
        "INPUT_OBJECT" if value.kind == OBJECT => {
            unique(value.children.iter().map(|c| c.name.as_str()), "input field")?;
            for child in &value.children {
                let Some(field) = definition.fields.iter().find(|f| f.name == child.name) else {
                    return fail(format!("Field {:?} is not defined by type {name:?}", child.name));
                };
                check(schema, &child.value, &field.r#type, field.default_value.is_some(), uses)?;
            }
            let missing = definition.fields.iter().find(|f| {
                f.r#type.non_null && f.default_value.is_none() && !value.children.iter().any(|c| c.name == f.name)
            });
            match missing {
                Some(missing) => fail(format!("Field {name:?}.{:?} of required type was not provided", missing.name)),
                None => Ok(()),
            }
        }
        _ => wrong(),
    }
}
