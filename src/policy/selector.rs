//! Label selectors and name globs, with the semantics of `meta.k8s.io/v1` LabelSelector.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Selects by labels; an empty selector selects everything.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct LabelSelector {
    /// Every pair must be there.
    pub match_labels: BTreeMap<String, String>,
    /// Every expression must hold.
    pub match_expressions: Vec<Expression>,
}

/// One requirement on one label.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expression {
    /// Label key.
    pub key: String,
    /// How the values are compared.
    pub operator: Operator,
    /// Values, for `In` and `NotIn`.
    #[serde(default)]
    pub values: Vec<String>,
}

/// The operators of a label selector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Operator {
    /// The label is there with one of the values.
    In,
    /// The label is absent or has none of the values.
    NotIn,
    /// The label is there.
    Exists,
    /// The label is absent.
    DoesNotExist,
}

impl LabelSelector {
    /// Whether it selects `labels`, the `metadata.labels` of an object (`null` counts as none).
    #[must_use]
    pub fn selects(&self, labels: &Value) -> bool {
        let label = |key: &str| labels.get(key).and_then(Value::as_str);
        self.match_labels.iter().all(|(key, value)| label(key) == Some(value))
            && self.match_expressions.iter().all(|e| {
                let found = label(&e.key);
                let listed = found.is_some_and(|v| e.values.iter().any(|x| x == v));
                match e.operator {
                    Operator::In => listed,
                    Operator::NotIn => !listed,
                    Operator::Exists => found.is_some(),
                    Operator::DoesNotExist => found.is_none(),
                }
            })
    }

    /// The first thing that makes the selector meaningless, if any.
    #[must_use]
    pub fn fault(&self) -> Option<String> {
        self.match_expressions.iter().find_map(|e| match (e.operator, e.values.is_empty()) {
            (Operator::In | Operator::NotIn, true) => Some(format!("`{}`: In and NotIn need values", e.key)),
            (Operator::Exists | Operator::DoesNotExist, false) => {
                Some(format!("`{}`: Exists and DoesNotExist take no values", e.key))
            }
            _ => None,
        })
    }
}

/// Whether `name` fits `glob`, in which `*` stands for any characters.
#[must_use]
pub fn glob_matches(glob: &str, name: &str) -> bool {
    let mut parts = glob.split('*');
    let Some(first) = parts.next() else { return false };
    let Some(mut rest) = name.strip_prefix(first) else { return false };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        let Some((_, after)) = rest.split_once(part) else { return false };
        rest = after;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn globs() {
        for (glob, name, fits) in [
            ("a", "a", true),
            ("a", "ab", false),
            ("*", "", true),
            ("tenant-*", "tenant-b", true),
            ("tenant-*", "my-tenant-b", false),
            ("*-system", "kube-system", true),
            ("a*b*c", "a1b2c", true),
            ("a*b*c", "a1c2b", false),
            ("a*a", "a", false),
            ("", "x", false),
        ] {
            assert_eq!(glob_matches(glob, name), fits, "{glob} {name}");
        }
    }

    #[test]
    fn selectors_follow_kubernetes() {
        let select = |expressions: Value, labels: Value| {
            let selector: LabelSelector =
                serde_json::from_value(json!({"matchExpressions": expressions})).expect("parses");
            selector.selects(&labels)
        };
        let key = |op: &str, values: Value| json!([{"key": "k", "operator": op, "values": values}]);
        assert!(select(key("In", json!(["v"])), json!({"k": "v"})));
        assert!(!select(key("In", json!(["v"])), json!({})));
        assert!(select(key("NotIn", json!(["v"])), Value::Null));
        assert!(!select(key("NotIn", json!(["v"])), json!({"k": "v"})));
        assert!(select(key("Exists", json!([])), json!({"k": ""})));
        assert!(select(key("DoesNotExist", json!([])), json!({"x": ""})));
        assert!(LabelSelector::default().selects(&Value::Null));
    }
}
