//! Schemas: a document made into types, and what makes it invalid (October 2021 specification, section 3).

use std::collections::{BTreeMap, BTreeSet};

use super::document::*;
use super::parse_schema;
use crate::engine::builtins::call::CallError;

/// What every schema has.
const PRELUDE: &str = r#"
scalar Int
scalar Float
scalar String
scalar Boolean
scalar ID
directive @include(if: Boolean!) on FIELD | FRAGMENT_SPREAD | INLINE_FRAGMENT
directive @skip(if: Boolean!) on FIELD | FRAGMENT_SPREAD | INLINE_FRAGMENT
directive @deprecated(reason: String = "No longer supported")
  on FIELD_DEFINITION | ARGUMENT_DEFINITION | INPUT_FIELD_DEFINITION | ENUM_VALUE
directive @specifiedBy(url: String!) on SCALAR
directive @defer(if: Boolean = true, label: String) on FRAGMENT_SPREAD | INLINE_FRAGMENT
type __Schema {
  description: String
  types: [__Type!]!
  queryType: __Type!
  mutationType: __Type
  subscriptionType: __Type
  directives: [__Directive!]!
}
type __Type {
  kind: __TypeKind!
  name: String
  description: String
  fields(includeDeprecated: Boolean = false): [__Field!]
  interfaces: [__Type!]
  possibleTypes: [__Type!]
  enumValues(includeDeprecated: Boolean = false): [__EnumValue!]
  inputFields(includeDeprecated: Boolean = false): [__InputValue!]
  ofType: __Type
  specifiedByURL: String
}
type __Field {
  name: String!
  description: String
  args(includeDeprecated: Boolean = false): [__InputValue!]!
  type: __Type!
  isDeprecated: Boolean!
  deprecationReason: String
}
type __InputValue {
  name: String!
  description: String
  type: __Type!
  defaultValue: String
  isDeprecated: Boolean!
  deprecationReason: String
}
type __EnumValue { name: String! description: String isDeprecated: Boolean! deprecationReason: String }
enum __TypeKind { SCALAR OBJECT INTERFACE UNION ENUM INPUT_OBJECT LIST NON_NULL }
type __Directive {
  name: String!
  description: String
  locations: [__DirectiveLocation!]!
  args(includeDeprecated: Boolean = false): [__InputValue!]!
  isRepeatable: Boolean!
}
enum __DirectiveLocation {
  QUERY MUTATION SUBSCRIPTION FIELD FRAGMENT_DEFINITION FRAGMENT_SPREAD INLINE_FRAGMENT VARIABLE_DEFINITION SCHEMA
  SCALAR OBJECT FIELD_DEFINITION ARGUMENT_DEFINITION INTERFACE UNION ENUM ENUM_VALUE INPUT_OBJECT
  INPUT_FIELD_DEFINITION
}
"#;

type Checked = Result<(), CallError>;

/// A valid schema.
pub(super) struct Schema {
    pub types: BTreeMap<String, Definition>,
    pub directives: BTreeMap<String, DirectiveDefinition>,
    /// Names of the root types by operation.
    pub roots: BTreeMap<&'static str, String>,
    possible: BTreeMap<String, BTreeSet<String>>,
}

pub(super) fn fail<T>(text: impl Into<String>) -> Result<T, CallError> {
    Err(CallError::Operand(text.into()))
}

fn unique<'a>(names: impl IntoIterator<Item = &'a str>, what: &str) -> Checked {
    let mut seen = BTreeSet::new();
    for name in names {
        if !seen.insert(name) {
            return fail(format!("{what} {name} can only be defined once."));
        }
    }
    Ok(())
}

impl Schema {
    /// Makes the types of a document and of what every schema has, and checks them.
    pub(super) fn new(document: &SchemaDocument) -> Result<Self, CallError> {
        let prelude = parse_schema::schema(PRELUDE)?;
        let mut types = BTreeMap::new();
        for mut definition in prelude.definitions {
            definition.built_in = true;
            types.insert(definition.name.clone(), definition);
        }
        for definition in &document.definitions {
            if types.insert(definition.name.clone(), definition.clone()).is_some() {
                return fail(format!("Cannot redeclare type {}.", definition.name));
            }
        }
        for extension in &document.extensions {
            extend(&mut types, extension)?;
        }
        let mut directives: BTreeMap<_, _> = prelude.directives.into_iter().map(|d| (d.name.clone(), d)).collect();
        let known: BTreeSet<String> = directives.keys().cloned().collect();
        for directive in &document.directives {
            // What the specification defines may be written out.
            let again = directives.insert(directive.name.clone(), directive.clone()).is_some();
            if again && !known.contains(&directive.name) {
                return fail(format!("Cannot redeclare directive {}.", directive.name));
            }
        }
        unique(document.directives.iter().map(|d| d.name.as_str()), "Directive")?;
        let mut possible: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for definition in types.values() {
            match definition.kind.as_str() {
                "UNION" => {
                    possible.entry(definition.name.clone()).or_default().extend(definition.types.iter().cloned());
                }
                "OBJECT" => {
                    for owner in definition.interfaces.iter().chain([&definition.name]) {
                        possible.entry(owner.clone()).or_default().insert(definition.name.clone());
                    }
                }
                _ => {}
            }
        }
        let roots = roots(document, &types)?;
        let mut schema = Self { types, directives, roots, possible };
        for definition in schema.types.values() {
            schema.check_definition(definition)?;
        }
        for directive in &document.directives {
            check_name(&directive.name, "Name")?;
            schema.check_arguments(&directive.arguments)?;
        }
        schema.add_introspection();
        Ok(schema)
    }

    /// The object types that a value of the type may be of.
    pub(super) fn possible(&self, name: &str) -> BTreeSet<&str> {
        self.possible.get(name).into_iter().flatten().map(String::as_str).collect()
    }

    pub(super) fn kind(&self, name: &str) -> &str {
        self.types.get(name).map_or("", |d| d.kind.as_str())
    }

    pub(super) fn is_input(&self, name: &str) -> bool {
        ["SCALAR", "ENUM", "INPUT_OBJECT"].contains(&self.kind(name))
    }

    pub(super) fn is_composite(&self, name: &str) -> bool {
        ["OBJECT", "INTERFACE", "UNION"].contains(&self.kind(name))
    }

    fn add_introspection(&mut self) {
        let Some(query) = self.roots.get("query").and_then(|name| self.types.get_mut(name)) else { return };
        let named = |name: &str, non_null: bool| Type { named_type: name.to_owned(), elem: None, non_null };
        let argument = Member { name: "name".to_owned(), r#type: named("String", true), ..Member::default() };
        let field = |name: &str, r#type: Type, arguments: Vec<Member>| Member {
            name: name.to_owned(),
            arguments,
            r#type,
            ..Member::default()
        };
        query.fields.push(field("__schema", named("__Schema", true), Vec::new()));
        query.fields.push(field("__type", named("__Type", false), vec![argument]));
    }

    fn check_definition(&self, definition: &Definition) -> Checked {
        let name = &definition.name;
        if !definition.built_in {
            check_name(name, "Name")?;
        }
        let what = format!("Field {name}.");
        unique(definition.fields.iter().map(|f| f.name.as_str()), what.trim_end_matches('.'))?;
        match definition.kind.as_str() {
            "OBJECT" | "INTERFACE" => {
                if definition.fields.is_empty() {
                    return fail(format!("{} {name}: must define one or more fields.", definition.kind));
                }
                for field in &definition.fields {
                    check_name(&field.name, "Name")?;
                    self.check_type(&field.r#type)?;
                    if self.kind(field.r#type.name()) == "INPUT_OBJECT" {
                        return fail(format!("{what}{}: must be an output type.", field.name));
                    }
                    self.check_arguments(&field.arguments)?;
                    self.check_directives(&field.directives, "FIELD_DEFINITION")?;
                }
                for interface in &definition.interfaces {
                    self.check_implements(definition, interface)?;
                }
            }
            "INPUT_OBJECT" => {
                if definition.fields.is_empty() {
                    return fail(format!("INPUT_OBJECT {name}: must define one or more input fields."));
                }
                self.check_members(&definition.fields, "INPUT_FIELD_DEFINITION")?;
            }
            "ENUM" => {
                if definition.enum_values.is_empty() {
                    return fail(format!("ENUM {name}: must define one or more unique enum values."));
                }
                unique(definition.enum_values.iter().map(|v| v.name.as_str()), "Enum value")?;
                for value in &definition.enum_values {
                    check_name(&value.name, "Name")?;
                    if ["true", "false", "null"].contains(&value.name.as_str()) {
                        return fail(format!("ENUM {name}: non-enum value {}.", value.name));
                    }
                    self.check_directives(&value.directives, "ENUM_VALUE")?;
                }
            }
            "UNION" => {
                for member in &definition.types {
                    match self.kind(member) {
                        "OBJECT" => {}
                        "" => return fail(format!("Undefined type {member:?}.")),
                        kind => return fail(format!("UNION type {member:?} must be OBJECT, not {kind}.")),
                    }
                }
            }
            _ => {}
        }
        self.check_directives(&definition.directives, &definition.kind)
    }

    fn check_type(&self, r#type: &Type) -> Checked {
        if self.types.contains_key(r#type.name()) {
            return Ok(());
        }
        fail(format!("Undefined type {}.", r#type.name()))
    }

    fn check_arguments(&self, arguments: &[Member]) -> Checked {
        unique(arguments.iter().map(|a| a.name.as_str()), "Argument")?;
        self.check_members(arguments, "ARGUMENT_DEFINITION")
    }

    fn check_members(&self, members: &[Member], location: &str) -> Checked {
        for member in members {
            check_name(&member.name, "Name")?;
            self.check_type(&member.r#type)?;
            if !self.is_input(member.r#type.name()) {
                let kind = self.kind(member.r#type.name());
                return fail(format!(
                    "cannot use {} as argument {} because {kind} is not a valid input type",
                    member.r#type.name(),
                    member.name
                ));
            }
            self.check_directives(&member.directives, location)?;
        }
        Ok(())
    }

    /// Directives of a schema: known, in their place, with the arguments they need.
    fn check_directives(&self, directives: &[Directive], location: &str) -> Checked {
        for directive in directives {
            check_name(&directive.name, "Name")?;
            let Some(definition) = self.directives.get(&directive.name) else {
                return fail(format!("Undefined directive {}.", directive.name));
            };
            if !definition.locations.iter().any(|l| l == location) {
                return fail(format!("Directive {} is not applicable on {location}.", directive.name));
            }
            for argument in &directive.arguments {
                if !definition.arguments.iter().any(|a| a.name == argument.name) {
                    return fail(format!("Undefined argument {} for directive {}.", argument.name, directive.name));
                }
            }
            for wanted in definition.arguments.iter().filter(|a| a.r#type.non_null && a.default_value.is_none()) {
                if !directive.arguments.iter().any(|a| a.name == wanted.name && a.value.kind != NULL) {
                    return fail(format!("Argument {} for directive {} cannot be null.", wanted.name, directive.name));
                }
            }
        }
        Ok(())
    }

    fn check_implements(&self, definition: &Definition, name: &str) -> Checked {
        let Some(interface) = self.types.get(name) else { return fail(format!("Undefined type {name:?}.")) };
        if interface.kind != "INTERFACE" {
            return fail(format!("{name:?} is a non interface type {}.", interface.kind));
        }
        for parent in &interface.interfaces {
            if !definition.interfaces.contains(parent) && definition.name != *parent {
                return fail(format!(
                    "Type {} must implement {parent} because it is implemented by {name}.",
                    definition.name
                ));
            }
        }
        for wanted in &interface.fields {
            let Some(field) = definition.fields.iter().find(|f| f.name == wanted.name) else {
                return fail(format!(
                    "For {} to implement {name} it must have a field called {}.",
                    definition.name, wanted.name
                ));
            };
            if !self.is_covariant(&wanted.r#type, &field.r#type) {
                return fail(format!(
                    "For {} to implement {name} the field {} must have its type.",
                    definition.name, wanted.name
                ));
            }
            for argument in &wanted.arguments {
                let given = field.arguments.iter().find(|a| a.name == argument.name);
                if given.is_none_or(|given| given.r#type != argument.r#type) {
                    return fail(format!(
                        "For {} to implement {name} the field {} must have its arguments.",
                        definition.name, wanted.name
                    ));
                }
            }
            for more in &field.arguments {
                let known = wanted.arguments.iter().any(|a| a.name == more.name);
                if !known && more.r#type.non_null && more.default_value.is_none() {
                    return fail(format!(
                        "For {} to implement {name} any additional arguments of {} must be optional.",
                        definition.name, wanted.name
                    ));
                }
            }
        }
        Ok(())
    }

    fn is_covariant(&self, wanted: &Type, given: &Type) -> bool {
        if wanted.non_null && !given.non_null {
            return false;
        }
        match (&wanted.elem, &given.elem) {
            (Some(wanted), Some(given)) => self.is_covariant(wanted, given),
            (None, None) => {
                wanted.named_type == given.named_type
                    || self.possible(&wanted.named_type).contains(given.named_type.as_str())
                    || self.types.get(&given.named_type).is_some_and(|d| d.interfaces.contains(&wanted.named_type))
            }
            _ => false,
        }
    }
}

fn check_name(name: &str, what: &str) -> Checked {
    if name.starts_with("__") {
        return fail(format!(
            "{what} {name:?} must not begin with \"__\", which is reserved by GraphQL introspection."
        ));
    }
    Ok(())
}

/// Adds to a type; a type that is not there yet begins with its extension.
fn extend(types: &mut BTreeMap<String, Definition>, extension: &Definition) -> Checked {
    let new = || Definition { kind: extension.kind.clone(), name: extension.name.clone(), ..Definition::default() };
    let definition = types.entry(extension.name.clone()).or_insert_with(new);
    if definition.kind != extension.kind {
        return fail(format!("Cannot extend type {} because the base type is a {}.", extension.name, definition.kind));
    }
    let Definition { directives, interfaces, fields, types, enum_values, .. } = extension.clone();
    definition.directives.extend(directives);
    definition.interfaces.extend(interfaces);
    definition.fields.extend(fields);
    definition.types.extend(types);
    definition.enum_values.extend(enum_values);
    Ok(())
}

const ROOTS: [(&str, &str); 3] = [("query", "Query"), ("mutation", "Mutation"), ("subscription", "Subscription")];

fn roots(
    document: &SchemaDocument,
    types: &BTreeMap<String, Definition>,
) -> Result<BTreeMap<&'static str, String>, CallError> {
    if document.schema.len() > 1 {
        return fail("Cannot have multiple schema entry points, consider schema extensions instead.");
    }
    let mut roots = BTreeMap::new();
    for entry in document.schema.iter().chain(&document.schema_extension).flat_map(|s| &s.operation_types) {
        if !types.contains_key(&entry.r#type) {
            return fail(format!(
                "Schema root {} refers to a type {} that does not exist.",
                entry.operation, entry.r#type
            ));
        }
        if let Some((operation, _)) = ROOTS.iter().find(|(operation, _)| *operation == entry.operation) {
            roots.insert(*operation, entry.r#type.clone());
        }
    }
    for (operation, name) in ROOTS {
        // The default names hold where the document does not say otherwise.
        let says = document.schema.first().is_some_and(|s| !s.operation_types.is_empty());
        if !roots.contains_key(operation) && !says && types.contains_key(name) {
            roots.insert(operation, name.to_owned());
        }
    }
    Ok(roots)
}
