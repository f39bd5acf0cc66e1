//! `.manifest` of a bundle: revision, roots, Rego versions.
//! <https://www.openpolicyagent.org/docs/management-bundles#bundle-file-format>

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::policy::RegoVersion;

/// What a bundle says of itself. Unknown members are passed over, as OPA does.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Which one it is, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub revision: String,
    /// Paths below `data` that the bundle owns, without slashes around them; the empty one is all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub roots: Option<Vec<String>>,
    /// Version of all Rego in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rego_version: Option<u8>,
    /// Versions by path or glob, before `rego_version`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub file_rego_versions: BTreeMap<String, u8>,
    /// What others keep here.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, Value>,
    /// Entry points of compiled policies; not run here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub wasm: Vec<Value>,
}

impl Manifest {
    /// Reads a manifest.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn read(text: &[u8]) -> Result<Self, String> {
        let mut manifest: Self = serde_json::from_slice(text).map_err(|e| format!("`.manifest`: {e}"))?;
        if let Some(roots) = &mut manifest.roots {
            for root in roots.iter_mut() {
                *root = root.trim_matches('/').to_owned();
            }
            for (n, a) in roots.iter().enumerate() {
                if let Some(b) = roots.iter().skip(n + 1).find(|b| overlap(a, b)) {
                    return Err(format!("`.manifest`: the roots `{a}` and `{b}` overlap"));
                }
            }
        }
        let versions = manifest.rego_version.iter().chain(manifest.file_rego_versions.values());
        if let Some(version) = versions.copied().find(|v| *v > 1) {
            return Err(format!("`.manifest`: Rego version `{version}` is not known; write 0 or 1"));
        }
        Ok(manifest)
    }

    /// The roots; without any the bundle owns everything.
    pub(super) fn roots(&self) -> Vec<String> {
        self.roots.clone().unwrap_or_else(|| vec![String::new()])
    }

    /// Version of a file, if the manifest says.
    pub(super) fn rego_version(&self, path: &str) -> Option<RegoVersion> {
        let fits = |pattern: &str| {
            let pattern = pattern.trim_start_matches('/');
            pattern == path || crate::policy::glob_matches(pattern, path)
        };
        let of_file = self.file_rego_versions.iter().find(|(pattern, _)| fits(pattern)).map(|(_, v)| *v);
        of_file.or(self.rego_version).map(|v| if v == 0 { RegoVersion::V0 } else { RegoVersion::V1 })
    }
}

/// Whether `root` owns `path`: both without slashes around them.
pub(super) fn owns(root: &str, path: &str) -> bool {
    root.is_empty() || path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Whether two roots own something together.
pub(super) fn overlap(a: &str, b: &str) -> bool {
    owns(a, b) || owns(b, a)
}

/// The first place in `data` that none of the roots owns.
pub(super) fn outside(roots: &[String], data: &Value) -> Option<String> {
    fn descend(roots: &[String], path: &str, value: &Value) -> Option<String> {
        if roots.iter().any(|root| owns(root, path)) {
            return None;
        }
        match value {
            Value::Object(map) if path.is_empty() || roots.iter().any(|root| owns(path, root)) => {
                map.iter().find_map(|(key, value)| {
                    let path = if path.is_empty() { key.clone() } else { format!("{path}/{key}") };
                    descend(roots, &path, value)
                })
            }
            _ => Some(path.to_owned()),
        }
    }
    descend(roots, "", data)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn roots_own_whole_segments() {
        for (a, b, wanted) in [
            ("", "a", true),
            ("a", "a/b", true),
            ("a/b", "a", true),
            ("a/b", "a/c", false),
            ("a", "ab", false),
            ("a", "a", true),
        ] {
            assert_eq!(overlap(a, b), wanted, "{a} {b}");
        }
        let roots = ["a/b".to_owned(), "c".to_owned()];
        assert_eq!(outside(&roots, &json!({"a": {"b": {"x": 1}}, "c": 2})), None);
        assert_eq!(outside(&roots, &json!({"a": {"b": 1, "x": 1}})), Some("a/x".to_owned()));
        assert_eq!(outside(&roots, &json!({"a": 1})), Some("a".to_owned()));
        assert_eq!(outside(&[String::new()], &json!({"z": 1})), None);
        assert_eq!(outside(&[], &json!({})), None);
        assert_eq!(outside(&[], &json!({"z": 1})), Some("z".to_owned()));
    }

    #[test]
    fn a_manifest_is_read_as_opa_does() {
        let read = |text: &str| Manifest::read(text.as_bytes());
        let manifest = read(
            r#"{"revision": "r1", "roots": ["/a/", "b"], "rego_version": 1, "file_rego_versions": {"/old/*.rego": 0},
                "metadata": {"by": "ci"}, "later": true}"#,
        )
        .expect("reads");
        assert_eq!(manifest.roots(), ["a", "b"]);
        assert_eq!(manifest.rego_version("old/p.rego"), Some(RegoVersion::V0));
        assert_eq!(manifest.rego_version("p.rego"), Some(RegoVersion::V1));
        assert_eq!(read("{}").expect("reads").roots(), [""]);
        assert_eq!(read("{}").expect("reads").rego_version("p.rego"), None);
        for (text, wanted) in [
            (r#"{"roots": ["a", "a/b"]}"#, "the roots `a` and `a/b` overlap"),
            (r#"{"roots": ["", "a"]}"#, "overlap"),
            (r#"{"rego_version": 2}"#, "`2` is not known"),
            ("{", "`.manifest`: EOF"),
        ] {
            let error = read(text).expect_err(wanted);
            assert!(error.contains(wanted), "{error}");
        }
    }
}
