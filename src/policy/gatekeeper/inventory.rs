//! `data.inventory` in Gatekeeper's layout: `cluster.<apiVersion>.<kind>.<name>` and
//! `namespace.<namespace>.<apiVersion>.<kind>.<name>`.

use serde_json::{Map, Value};

/// Puts `object` into the inventory, in place of one of the same name.
///
/// # Errors
/// What the object lacks.
pub fn insert_into_inventory(inventory: &mut Map<String, Value>, object: &Value) -> Result<(), String> {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let (api_version, kind, name) = (text("/apiVersion"), text("/kind"), text("/metadata/name"));
    if api_version.is_empty() || kind.is_empty() || name.is_empty() {
        return Err("an object of the inventory needs `apiVersion`, `kind` and `metadata.name`".to_owned());
    }
    let path = match text("/metadata/namespace") {
        "" => vec!["cluster", api_version, kind],
        namespace => vec!["namespace", namespace, api_version, kind],
    };
    let mut at = inventory;
    for key in path {
        let inner = at.entry(key).or_insert_with(|| Value::Object(Map::new()));
        match inner {
            Value::Object(map) => at = map,
            _ => return Err(format!("`{key}` of the inventory is no object")),
        }
    }
    at.insert(name.to_owned(), object.clone());
    Ok(())
}
