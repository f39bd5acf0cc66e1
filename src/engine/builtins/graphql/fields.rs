//! OverlappingFieldsCanBeMerged: fields that answer under one name must be the same field with the same arguments, or
//! can never meet in one object.

use std::collections::{BTreeMap, BTreeSet};

use super::document::*;
use super::schema::{Schema, fail};
use super::validate::{Checked, Validator};

/// A field with the type that it is asked of and the type that it has.
struct Found<'a> {
    parent: String,
    field: &'a Field,
    r#type: Option<Type>,
}

/// Checks the selections of an operation, and what is below them.
pub(super) fn can_be_merged<'a>(validator: &mut Validator<'a>, selections: &'a [Selection], root: &str) -> Checked {
    let mut by_name = BTreeMap::new();
    collect(validator, selections, root, &mut BTreeSet::new(), &mut by_name)?;
    same(validator, by_name)
}

fn same<'a>(validator: &mut Validator<'a>, by_name: BTreeMap<&'a str, Vec<Found<'a>>>) -> Checked {
    for (name, found) in by_name {
        let mut below = BTreeMap::new();
        if let Some((first, rest)) = found.split_first() {
            for other in rest {
                validator.step()?;
                conflict(validator.schema, name, first, other)?;
            }
        }
        for found in &found {
            if let Some(r#type) = &found.r#type {
                collect(validator, &found.field.selection_set, r#type.name(), &mut BTreeSet::new(), &mut below)?;
            }
        }
        same(validator, below)?;
    }
    Ok(())
}

fn conflict(schema: &Schema, name: &str, a: &Found<'_>, b: &Found<'_>) -> Checked {
    let object = |parent: &str| schema.kind(parent) == "OBJECT";
    let apart = a.parent != b.parent && object(&a.parent) && object(&b.parent);
    if !apart && (a.field.name != b.field.name || !same_arguments(a.field, b.field)) {
        return fail(format!("Fields {name:?} conflict because they are different fields or have differing arguments"));
    }
    match (&a.r#type, &b.r#type) {
        (Some(a), Some(b)) if !same_shape(schema, a, b) => {
            fail(format!("Fields {name:?} conflict because they return conflicting types"))
        }
        _ => Ok(()),
    }
}

fn same_arguments(a: &Field, b: &Field) -> bool {
    a.arguments.len() == b.arguments.len() && a.arguments.iter().all(|x| b.arguments.contains(x))
}

fn same_shape(schema: &Schema, a: &Type, b: &Type) -> bool {
    let leaf = |name: &str| !schema.is_composite(name);
    a.non_null == b.non_null
        && match (&a.elem, &b.elem) {
            (Some(a), Some(b)) => same_shape(schema, a, b),
            (None, None) => a.named_type == b.named_type || (!leaf(&a.named_type) && !leaf(&b.named_type)),
            _ => false,
        }
}

/// The fields by the name that they answer under, through all fragments.
fn collect<'a>(
    validator: &mut Validator<'a>,
    selections: &'a [Selection],
    parent: &str,
    entered: &mut BTreeSet<&'a str>,
    by_name: &mut BTreeMap<&'a str, Vec<Found<'a>>>,
) -> Checked {
    for selection in selections {
        validator.step()?;
        match selection {
            Selection::Field(field) => {
                let definition = validator.schema.types.get(parent);
                let member = definition.and_then(|d| d.fields.iter().find(|f| f.name == field.name));
                let r#type = member.map(|m| m.r#type.clone());
                by_name.entry(&field.alias).or_default().push(Found { parent: parent.to_owned(), field, r#type });
            }
            Selection::Inline(inline) => {
                let on = if inline.type_condition.is_empty() { parent } else { &inline.type_condition };
                collect(validator, &inline.selection_set, on, entered, by_name)?;
            }
            Selection::Spread(spread) => {
                if let Some(fragment) = validator.fragments.get(spread.name.as_str()).copied()
                    && entered.insert(&spread.name)
                {
                    collect(validator, &fragment.selection_set, &fragment.type_condition, entered, by_name)?;
                }
            }
        }
    }
    Ok(())
}
