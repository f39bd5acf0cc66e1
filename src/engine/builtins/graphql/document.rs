//! GraphQL documents as OPA shows them: the JSON of the parser that OPA uses (gqlparser), without positions and
//! without what is null or empty. Strings and booleans are always there.

use serde::{Deserialize, Serialize};

/// A query document.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct QueryDocument {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub operations: Vec<Operation>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fragments: Vec<Fragment>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Operation {
    /// `query`, `mutation` or `subscription`.
    pub operation: String,
    pub name: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub variable_definitions: Vec<Variable>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub directives: Vec<Directive>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub selection_set: Vec<Selection>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Fragment {
    pub name: String,
    /// Singular in gqlparser.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub variable_definition: Vec<Variable>,
    pub type_condition: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub directives: Vec<Directive>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub selection_set: Vec<Selection>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Variable {
    pub variable: String,
    pub r#type: Type,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_value: Option<Literal>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub directives: Vec<Directive>,
    pub used: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum Selection {
    Field(Field),
    Inline(Inline),
    Spread(Spread),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Field {
    pub alias: String,
    pub name: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub arguments: Vec<Argument>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub directives: Vec<Directive>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub selection_set: Vec<Selection>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Inline {
    /// Empty if there is none.
    pub type_condition: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub directives: Vec<Directive>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub selection_set: Vec<Selection>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Spread {
    pub name: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub directives: Vec<Directive>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Directive {
    pub name: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub arguments: Vec<Argument>,
    pub location: String,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Argument {
    pub name: String,
    pub value: Literal,
}

/// A value; `kind` as gqlparser numbers them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Literal {
    pub raw: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub children: Vec<Argument>,
    pub kind: u8,
    pub expected_type_has_default: bool,
}

pub(super) const VARIABLE: u8 = 0;
pub(super) const INT: u8 = 1;
pub(super) const FLOAT: u8 = 2;
pub(super) const STRING: u8 = 3;
pub(super) const BLOCK: u8 = 4;
pub(super) const BOOLEAN: u8 = 5;
pub(super) const NULL: u8 = 6;
pub(super) const ENUM: u8 = 7;
pub(super) const LIST: u8 = 8;
pub(super) const OBJECT: u8 = 9;

/// A type: named, or a list of `elem`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Type {
    pub named_type: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub elem: Option<Box<Type>>,
    pub non_null: bool,
}

impl Type {
    /// The innermost name.
    pub(super) fn name(&self) -> &str {
        self.elem.as_ref().map_or(self.named_type.as_str(), |e| e.name())
    }

    /// Whether a value of this type may stand where `other` is wanted.
    pub(super) fn fits(&self, other: &Self) -> bool {
        if other.non_null && !self.non_null {
            return false;
        }
        match (&self.elem, &other.elem) {
            (Some(a), Some(b)) => a.fits(b),
            (None, None) => self.named_type == other.named_type,
            _ => false,
        }
    }
}

/// A schema document.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct SchemaDocument {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub schema: Vec<SchemaDefinition>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub schema_extension: Vec<SchemaDefinition>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub directives: Vec<DirectiveDefinition>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub definitions: Vec<Definition>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub extensions: Vec<Definition>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct SchemaDefinition {
    pub description: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub directives: Vec<Directive>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub operation_types: Vec<OperationType>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct OperationType {
    pub operation: String,
    pub r#type: String,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct DirectiveDefinition {
    pub description: String,
    pub name: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub arguments: Vec<Member>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub locations: Vec<String>,
    pub is_repeatable: bool,
}

/// A type of a schema. `kind` is `SCALAR`, `OBJECT`, `INTERFACE`, `UNION`, `ENUM` or `INPUT_OBJECT`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Definition {
    pub kind: String,
    pub description: String,
    pub name: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub directives: Vec<Directive>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub interfaces: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<Member>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub types: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub enum_values: Vec<EnumValue>,
    pub built_in: bool,
}

/// A field of a type, or an argument of a field or a directive.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Member {
    pub description: String,
    pub name: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub arguments: Vec<Member>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_value: Option<Literal>,
    pub r#type: Type,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub directives: Vec<Directive>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct EnumValue {
    pub description: String,
    pub name: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub directives: Vec<Directive>,
}
