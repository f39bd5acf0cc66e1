//! Whether a query fits a schema (October 2021 specification, section 5), rule by rule; each rule is named where it is
//! checked.

use std::collections::{BTreeMap, BTreeSet};

use super::document::*;
use super::fields;
use super::schema::{Schema, fail};
use super::values;
use crate::engine::builtins::call::{CallError, at_most};

pub(super) type Checked = Result<(), CallError>;

/// Selections that are looked at: fragments in fragments multiply.
const MAX_STEPS: usize = 200_000;

pub(super) struct Validator<'a> {
    pub schema: &'a Schema,
    pub fragments: BTreeMap<&'a str, &'a Fragment>,
    steps: usize,
}

/// A variable where it is used: the type wanted there, and whether there is a default.
pub(super) struct Use<'a> {
    pub variable: &'a str,
    pub wanted: Type,
    pub has_default: bool,
}

/// Checks every rule; the first that is broken is the error.
pub(super) fn validate(schema: &Schema, query: &QueryDocument) -> Checked {
    let fragments = query.fragments.iter().map(|f| (f.name.as_str(), f)).collect();
    let mut validator = Validator { schema, fragments, steps: 0 };
    // UniqueFragmentNames, UniqueOperationNames, LoneAnonymousOperation
    unique(query.fragments.iter().map(|f| f.name.as_str()), "fragment")?;
    unique(query.operations.iter().map(|o| o.name.as_str()).filter(|n| !n.is_empty()), "operation")?;
    if query.operations.len() > 1 && query.operations.iter().any(|o| o.name.is_empty()) {
        return fail("This anonymous operation must be the only defined operation");
    }
    for fragment in &query.fragments {
        validator.fragment(fragment)?;
    }
    let mut reached = BTreeSet::new();
    for operation in &query.operations {
        validator.operation(operation, &mut reached)?;
    }
    // NoUnusedFragments
    match query.fragments.iter().find(|f| !reached.contains(f.name.as_str())) {
        Some(unused) => fail(format!("Fragment {:?} is never used", unused.name)),
        None => Ok(()),
    }
}

pub(super) fn unique<'a>(names: impl IntoIterator<Item = &'a str>, what: &str) -> Checked {
    let mut seen = BTreeSet::new();
    for name in names {
        if !seen.insert(name) {
            return fail(format!("There can be only one {what} named {name:?}"));
        }
    }
    Ok(())
}

impl<'a> Validator<'a> {
    pub(super) fn step(&mut self) -> Checked {
        self.steps += 1;
        at_most(self.steps, MAX_STEPS, "selections")
    }

    fn fragment(&mut self, fragment: &'a Fragment) -> Checked {
        // KnownTypeNames, FragmentsOnCompositeTypes, NoFragmentCycles
        self.composite(&fragment.type_condition)?;
        self.directives(&fragment.directives, "FRAGMENT_DEFINITION", &mut Vec::new())?;
        let mut path = BTreeSet::new();
        self.cycles(fragment, &mut path)?;
        self.selections(&fragment.selection_set, &fragment.type_condition, &mut Vec::new(), &mut None)
    }

    fn composite(&self, name: &str) -> Checked {
        match self.schema.kind(name) {
            "" => fail(format!("Unknown type {name:?}")),
            _ if self.schema.is_composite(name) => Ok(()),
            _ => fail(format!("Fragment cannot condition on non composite type {name:?}")),
        }
    }

    fn cycles(&mut self, fragment: &'a Fragment, path: &mut BTreeSet<&'a str>) -> Checked {
        self.step()?;
        if !path.insert(&fragment.name) {
            return fail(format!("Cannot spread fragment {:?} within itself", fragment.name));
        }
        at_most(path.len(), 200, "fragments within one another")?;
        for name in spreads(&fragment.selection_set) {
            if let Some(next) = self.fragments.get(name).copied() {
                self.cycles(next, path)?;
            }
        }
        path.remove(fragment.name.as_str());
        Ok(())
    }

    fn operation(&mut self, operation: &'a Operation, reached: &mut BTreeSet<&'a str>) -> Checked {
        // KnownRootType
        let kind = operation.operation.as_str();
        let Some(root) = self.schema.roots.get(kind).cloned() else {
            return fail(format!("Schema does not support operation type {kind:?}"));
        };
        // SingleFieldSubscriptions
        let fields =
            || operation.selection_set.iter().filter(|s| !matches!(s, Selection::Field(f) if f.name == "__typename"));
        if kind == "subscription" && (fields().count() != 1 || operation.selection_set.len() != 1) {
            return fail("Subscription must select only one top level field");
        }
        self.variables(operation)?;
        let mut uses = Vec::new();
        self.directives(&operation.directives, &kind.to_uppercase(), &mut uses)?;
        let mut seen = Some(BTreeSet::new());
        self.selections(&operation.selection_set, &root, &mut uses, &mut seen)?;
        fields::can_be_merged(self, &operation.selection_set, &root)?;
        reached.extend(seen.into_iter().flatten());
        let name =
            if operation.name.is_empty() { String::new() } else { format!(" in operation {:?}", operation.name) };
        for used in &uses {
            // NoUndefinedVariables, VariablesInAllowedPosition
            let Some(variable) = operation.variable_definitions.iter().find(|v| v.variable == used.variable) else {
                return fail(format!("Variable \"${}\" is not defined{name}", used.variable));
            };
            let mut given = variable.r#type.clone();
            let defaults = variable.default_value.as_ref().is_some_and(|v| v.kind != NULL) || used.has_default;
            given.non_null |= defaults;
            if !given.fits(&used.wanted) {
                return fail(format!("Variable \"${}\" is used in a position of another type", used.variable));
            }
        }
        // NoUnusedVariables
        match operation.variable_definitions.iter().find(|v| !uses.iter().any(|u| u.variable == v.variable)) {
            Some(unused) => fail(format!("Variable \"${}\" is never used{name}", unused.variable)),
            None => Ok(()),
        }
    }

    /// UniqueVariableNames, VariablesAreInputTypes, KnownTypeNames, ValuesOfCorrectType
    fn variables(&mut self, operation: &'a Operation) -> Checked {
        unique(operation.variable_definitions.iter().map(|v| v.variable.as_str()), "variable")?;
        for variable in &operation.variable_definitions {
            let name = variable.r#type.name();
            match self.schema.kind(name) {
                "" => return fail(format!("Unknown type {name:?}")),
                _ if !self.schema.is_input(name) => {
                    return fail(format!("Variable \"${}\" cannot be non-input type {name:?}", variable.variable));
                }
                _ => {}
            }
            if let Some(value) = &variable.default_value {
                values::check(self.schema, value, &variable.r#type, false, &mut Vec::new())?;
            }
            self.directives(&variable.directives, "VARIABLE_DEFINITION", &mut Vec::new())?;
        }
        Ok(())
    }

    /// Checks selections on a type. With `seen`, the fragments are entered and noted: so variables are found where
    /// they are used.
    fn selections(
        &mut self,
        selections: &'a [Selection],
        parent: &str,
        uses: &mut Vec<Use<'a>>,
        seen: &mut Option<BTreeSet<&'a str>>,
    ) -> Checked {
        for selection in selections {
            self.step()?;
            match selection {
                Selection::Field(field) => self.field(field, parent, uses, seen)?,
                Selection::Inline(inline) => {
                    self.directives(&inline.directives, "INLINE_FRAGMENT", uses)?;
                    let on = if inline.type_condition.is_empty() { parent } else { &inline.type_condition };
                    self.composite(on)?;
                    self.spreads_on(on, parent)?;
                    self.selections(&inline.selection_set, on, uses, seen)?;
                }
                Selection::Spread(spread) => {
                    self.directives(&spread.directives, "FRAGMENT_SPREAD", uses)?;
                    // KnownFragmentNames
                    let Some(fragment) = self.fragments.get(spread.name.as_str()).copied() else {
                        return fail(format!("Unknown fragment {:?}", spread.name));
                    };
                    self.composite(&fragment.type_condition)?;
                    self.spreads_on(&fragment.type_condition, parent)?;
                    if seen.as_mut().is_some_and(|seen| seen.insert(&spread.name)) {
                        self.directives(&fragment.directives, "FRAGMENT_DEFINITION", uses)?;
                        self.selections(&fragment.selection_set, &fragment.type_condition, uses, seen)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// PossibleFragmentSpreads
    fn spreads_on(&self, on: &str, parent: &str) -> Checked {
        let (a, b) = (self.schema.possible(on), self.schema.possible(parent));
        if a.is_disjoint(&b) && on != parent {
            return fail(format!(
                "Fragment cannot be spread here as objects of type {parent:?} can never be of type {on:?}"
            ));
        }
        Ok(())
    }

    fn field(
        &mut self,
        field: &'a Field,
        parent: &str,
        uses: &mut Vec<Use<'a>>,
        seen: &mut Option<BTreeSet<&'a str>>,
    ) -> Checked {
        let (name, schema) = (field.name.as_str(), self.schema);
        self.directives(&field.directives, "FIELD", uses)?;
        if name == "__typename" {
            return if field.selection_set.is_empty() {
                Ok(())
            } else {
                fail("Field \"__typename\" must not have a selection")
            };
        }
        // FieldsOnCorrectType
        let found = schema.types.get(parent).and_then(|d| d.fields.iter().find(|f| f.name == name));
        let Some(definition) = found else {
            return fail(format!("Cannot query field {name:?} on type {parent:?}"));
        };
        self.arguments(&field.arguments, &definition.arguments, &format!("Field {name:?}"), uses)?;
        // ScalarLeafs
        let inner = definition.r#type.name();
        match (schema.is_composite(inner), field.selection_set.is_empty()) {
            (true, true) => fail(format!("Field {name:?} of type {inner:?} must have a selection of subfields")),
            (false, false) => {
                fail(format!("Field {name:?} must not have a selection since type {inner:?} has no subfields"))
            }
            (true, false) => self.selections(&field.selection_set, inner, uses, seen),
            (false, true) => Ok(()),
        }
    }

    /// UniqueArgumentNames, KnownArgumentNames, ProvidedRequiredArguments, ValuesOfCorrectType
    fn arguments(&self, given: &'a [Argument], wanted: &[Member], owner: &str, uses: &mut Vec<Use<'a>>) -> Checked {
        unique(given.iter().map(|a| a.name.as_str()), "argument")?;
        for argument in given {
            let Some(definition) = wanted.iter().find(|w| w.name == argument.name) else {
                return fail(format!("Unknown argument {:?} on {owner}", argument.name));
            };
            values::check(self.schema, &argument.value, &definition.r#type, definition.default_value.is_some(), uses)?;
        }
        let missing = wanted
            .iter()
            .find(|w| w.r#type.non_null && w.default_value.is_none() && !given.iter().any(|a| a.name == w.name));
        match missing {
            Some(missing) => fail(format!("{owner} argument {:?} is required, but it was not provided", missing.name)),
            None => Ok(()),
        }
    }

    /// KnownDirectives, UniqueDirectivesPerLocation, and the arguments of each.
    fn directives(&mut self, directives: &'a [Directive], location: &str, uses: &mut Vec<Use<'a>>) -> Checked {
        let schema = self.schema;
        for directive in directives {
            self.step()?;
            let Some(definition) = schema.directives.get(&directive.name) else {
                return fail(format!("Unknown directive \"@{}\"", directive.name));
            };
            if !definition.locations.iter().any(|l| l == location) {
                return fail(format!("Directive \"@{}\" may not be used on {location}", directive.name));
            }
            let same = directives.iter().filter(|d| d.name == directive.name).count();
            if same > 1 && !definition.is_repeatable {
                return fail(format!("The directive \"@{}\" can only be used once at this location", directive.name));
            }
            self.arguments(
                &directive.arguments,
                &definition.arguments,
                &format!("Directive \"@{}\"", directive.name),
                uses,
            )?;
        }
        Ok(())
    }
}

/// Names of the fragments that are spread somewhere below.
fn spreads(selections: &[Selection]) -> Vec<&str> {
    selections
        .iter()
        .flat_map(|selection| match selection {
            Selection::Field(field) => spreads(&field.selection_set),
            Selection::Inline(inline) => spreads(&inline.selection_set),
            Selection::Spread(spread) => vec![spread.name.as_str()],
        })
        .collect()
}
