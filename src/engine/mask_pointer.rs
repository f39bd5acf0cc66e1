//! What an entry of `data.system.log.mask` names, in the forms that OPA takes. Knows pointers (RFC 6901) and the fields of
//! an AdmissionReview; pure.

use serde_json::Value;

/// Fields of an AdmissionRequest (admission.k8s.io/v1).
pub(super) const REQUEST: [&str; 15] = [
    "uid",
    "kind",
    "resource",
    "subResource",
    "requestKind",
    "requestResource",
    "requestSubResource",
    "name",
    "namespace",
    "operation",
    "userInfo",
    "object",
    "oldObject",
    "dryRun",
    "options",
];

/// The JSON pointer below `/input` that an entry names: a text, or an object with `op` and `path`. What OPA would put in
/// place of the value (`op: upsert`, `value`) is a commitment here.
///
/// # Errors
/// Why it names nothing: a mask that hides nothing must not be taken for one that does.
pub(super) fn mask_pointer(item: &Value) -> Result<String, String> {
    let shown = |text: &str| Err(format!("mask `{item}`: {text}"));
    let pointer = match item {
        Value::String(pointer) => pointer,
        Value::Object(fields) => {
            if let Some(other) = fields.keys().find(|k| !matches!(k.as_str(), "op" | "path" | "value")) {
                return shown(&format!("`{other}` is no field of a mask; they are `op`, `path` and `value`"));
            }
            match fields.get("op").map(|op| op.as_str().unwrap_or_default()) {
                Some("remove" | "upsert") => {}
                None => return shown("`op` is missing; write `remove` or `upsert`"),
                Some(_) => return shown("`op` must be `remove` or `upsert`"),
            }
            match fields.get("path") {
                Some(Value::String(pointer)) => pointer,
                _ => return shown("`path` must be a JSON pointer"),
            }
        }
        _ => return shown("write a JSON pointer below `/input/`, or an object with `op` and `path`"),
    };
    let Some(rest) = pointer.strip_prefix("/input/") else {
        return shown("write a JSON pointer below `/input/`");
    };
    let segments: Vec<&str> = rest.split('/').collect();
    let escaped = |s: &&str| s.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']));
    if !segments.iter().all(escaped) {
        return shown("`~` stands in it unescaped; write `~0` for `~` and `~1` for `/`");
    }
    if segments.iter().any(|s| s.is_empty()) {
        return shown("a segment of it is empty");
    }
    match segments.as_slice() {
        ["request" | "*"] | ["apiVersion" | "kind"] => Ok(pointer.clone()),
        ["request" | "*", field, below @ ..] if *field == "*" || REQUEST.contains(field) => match nothing(field, below)
        {
            Some(what) => shown(&what),
            None => Ok(pointer.clone()),
        },
        ["request" | "*", field, ..] => shown(&format!("an AdmissionReview has no `request.{field}`")),
        [field, ..] => {
            shown(&format!("an AdmissionReview has no `{field}` to mask; its fields are below `/input/request/`"))
        }
        [] => shown("write a JSON pointer below `/input/`"),
    }
}

/// What keeps `below` from being anything below a field of the request.
fn nothing(field: &str, below: &[&str]) -> Option<String> {
    let one_of = |known: &[&str]| match below {
        [] => None,
        [name] if *name == "*" || known.contains(name) => None,
        [name, rest @ ..] if known.contains(name) || *name == "*" => {
            rest.first().map(|_| format!("`request.{field}.{name}` has nothing below it"))
        }
        [name, ..] => Some(format!("an AdmissionReview has no `request.{field}.{name}`")),
    };
    match field {
        "uid" | "subResource" | "requestSubResource" | "name" | "namespace" | "operation" | "dryRun" => {
            below.first().map(|_| format!("`request.{field}` has nothing below it"))
        }
        "kind" | "requestKind" => one_of(&["group", "version", "kind"]),
        "resource" | "requestResource" => one_of(&["group", "version", "resource"]),
        "userInfo" => match below {
            ["groups", _, _, ..] | ["extra", _, _, _, ..] => {
                Some(format!("`request.userInfo.{}` has nothing as deep as this", below.first().unwrap_or(&"")))
            }
            ["groups" | "extra" | "*", ..] => None,
            _ => one_of(&["username", "uid", "groups", "extra"]),
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn masks_are_read_in_opas_forms_and_what_names_nothing_is_refused() {
        for (item, pointer) in [
            (json!("/input/request/object/spec/password"), "/input/request/object/spec/password"),
            (json!("/input/request/*/metadata/annotations/a~1b"), "/input/request/*/metadata/annotations/a~1b"),
            (json!({"op": "remove", "path": "/input/request/userInfo/extra"}), "/input/request/userInfo/extra"),
            (json!({"op": "upsert", "path": "/input/request/options/x", "value": "***"}), "/input/request/options/x"),
            (json!("/input/request"), "/input/request"),
            (json!("/input/request/userInfo/*"), "/input/request/userInfo/*"),
            (json!("/input/request/userInfo/groups/0"), "/input/request/userInfo/groups/0"),
            (json!("/input/request/userInfo/extra/k/0"), "/input/request/userInfo/extra/k/0"),
            (json!("/input/request/kind/kind"), "/input/request/kind/kind"),
        ] {
            assert_eq!(mask_pointer(&item), Ok(pointer.to_owned()), "{item}");
        }
        for (item, why) in [
            (json!("input/request"), "below `/input/`"),
            (json!("/result"), "below `/input/`"),
            (json!("/input"), "below `/input/`"),
            (json!("/input/request/objekt/spec"), "no `request.objekt`"),
            (json!("/input/parameters/x"), "no `parameters`"),
            (json!("/input/kind/x"), "no `kind` to mask"),
            (json!("/input/request/uid/x"), "`request.uid` has nothing below it"),
            (json!("/input/request/kind/name"), "no `request.kind.name`"),
            (json!("/input/request/resource/group/x"), "`request.resource.group` has nothing below it"),
            (json!("/input/request/userInfo/user"), "no `request.userInfo.user`"),
            (json!("/input/request/userInfo/username/x"), "`request.userInfo.username` has nothing below it"),
            (json!("/input/request/userInfo/groups/0/x"), "nothing as deep"),
            (json!("/input/request/object//x"), "empty"),
            (json!("/input/request/object/a~2"), "unescaped"),
            (json!("/input/request/object/a~"), "unescaped"),
            (json!({"path": "/input/request/name"}), "`op` is missing"),
            (json!({"op": "replace", "path": "/input/request/name"}), "`remove` or `upsert`"),
            (json!({"op": "remove"}), "`path` must be"),
            (json!({"op": "remove", "path": "/input/request/name", "paht": 1}), "`paht`"),
            (json!(7), "write a JSON pointer"),
        ] {
            let message = mask_pointer(&item).expect_err(why);
            assert!(message.contains(why), "{item}: {message}");
        }
    }
}
