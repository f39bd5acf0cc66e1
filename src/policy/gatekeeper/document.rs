//! One YAML document with its text, so that faults in it, and in the Rego it holds, have their place in the file.

use serde_json::Value;

use crate::policy::{LoadError, yaml};

/// A document of any `*.gatekeeper.sh` group.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// File as messages show it.
    pub file: String,
    /// Lines of the file before the document's text.
    pub lines_before: u32,
    /// The document's text.
    pub text: String,
    /// The document.
    pub value: Value,
}

impl Document {
    /// All documents of a YAML (or JSON) file, of whatever group; empty ones are left out, `List`s are taken apart.
    ///
    /// # Errors
    /// The first error, with its place.
    pub fn parse_all(file: &str, text: &str) -> Result<Vec<Self>, LoadError> {
        let mut found = Vec::new();
        for part in yaml::documents(text) {
            let values: Vec<Value> = yaml::parse_all_at(file, part.text, part.lines_before)?;
            for value in values.into_iter().filter(|v| !v.is_null()) {
                let is_list = value.get("kind").and_then(Value::as_str).is_some_and(|k| k.ends_with("List"));
                let items = value.get("items").and_then(Value::as_array).filter(|_| is_list).cloned();
                for value in items.unwrap_or_else(|| vec![value]) {
                    let (file, text) = (file.to_owned(), part.text.to_owned());
                    found.push(Self { file, lines_before: part.lines_before, text, value });
                }
            }
        }
        Ok(found)
    }

    /// A document whose text is not known: faults in it have the first line.
    #[must_use]
    pub fn of_value(file: &str, value: Value) -> Self {
        Self { file: file.to_owned(), lines_before: 0, text: String::new(), value }
    }

    /// API group: `templates.gatekeeper.sh`.
    #[must_use]
    pub fn group(&self) -> &str {
        self.string(&["apiVersion"]).split_once('/').map_or("", |(group, _)| group)
    }

    /// API version: `v1beta1`.
    #[must_use]
    pub fn version(&self) -> &str {
        let api_version = self.string(&["apiVersion"]);
        api_version.split_once('/').map_or(api_version, |(_, version)| version)
    }

    /// Kind.
    #[must_use]
    pub fn kind(&self) -> &str {
        self.string(&["kind"])
    }

    /// `metadata.name`.
    #[must_use]
    pub fn name(&self) -> &str {
        self.string(&["metadata", "name"])
    }

    /// Whether it is of one of Gatekeeper's groups.
    #[must_use]
    pub fn is_of_gatekeeper(&self) -> bool {
        self.group().ends_with(".gatekeeper.sh")
    }

    /// The value at a path of keys.
    #[must_use]
    pub fn at(&self, path: &[&str]) -> Option<&Value> {
        path.iter().try_fold(&self.value, |value, key| value.get(key))
    }

    /// The string at a path of keys, or the empty string.
    #[must_use]
    pub fn string(&self, path: &[&str]) -> &str {
        self.at(path).and_then(Value::as_str).unwrap_or_default()
    }

    /// A fault of the whole document, at its first line.
    pub(crate) fn fault(&self, code: &'static str, message: impl Into<String>) -> LoadError {
        LoadError::new(&self.file, code, message).at(self.first_line(), 1)
    }

    /// A fault at a path of keys, as near as the text tells.
    pub(crate) fn fault_at(&self, code: &'static str, path: &[&str], message: impl Into<String>) -> LoadError {
        let (line, column) = self.place_of(path);
        LoadError::new(&self.file, code, message).at(line, column)
    }

    /// The line where the document's content begins, from 1.
    pub(crate) fn first_line(&self) -> u32 {
        let begins = |l: &str| !l.trim().is_empty() && !l.trim_start().starts_with('#');
        self.lines_before + number(self.text.lines().position(begins).unwrap_or(0)) + 1
    }

    /// Line and column of the key that a path leads to: each key is looked for within the one before it.
    fn place_of(&self, path: &[&str]) -> (u32, u32) {
        let mut place = (self.first_line(), 1);
        let mut within = None;
        let mut lines = self.text.lines().enumerate();
        for key in path {
            let found = lines.by_ref().filter(|(_, line)| !line.trim().is_empty()).find_map(|(index, line)| {
                let content = line.trim_start_matches([' ', '-']);
                let column = line.len() - content.len();
                let rest = content.trim_start_matches('"').strip_prefix(key).map(|r| r.trim_start_matches('"'));
                let left = within.is_some_and(|parent| column <= parent);
                let here = rest.is_some_and(|r| r.starts_with(':'));
                (left || here).then_some((!left).then_some((index, column)))
            });
            match found.flatten() {
                Some((index, column)) => {
                    within = Some(column);
                    place = (self.lines_before + number(index) + 1, number(column) + 1);
                }
                None => break,
            }
        }
        place
    }

    /// Where `text`, a block scalar of the document, stands: its first line in the file, and the columns of its
    /// indentation. `None` when it was written in another way (folded, quoted).
    pub(crate) fn place_of_block(&self, text: &str) -> Option<(u32, u32)> {
        let wanted: Vec<&str> = text.lines().collect();
        let skipped = wanted.iter().position(|l| !l.trim().is_empty())?;
        let first = wanted.get(skipped)?;
        let lines: Vec<&str> = self.text.lines().collect();
        let fits = |start: usize| {
            let indent = lines.get(start)?.len().checked_sub(first.len())?;
            let same = wanted.iter().skip(skipped).enumerate().all(|(n, wanted)| {
                let found = lines.get(start + n).copied().unwrap_or_default();
                if wanted.trim().is_empty() { found.trim().is_empty() } else { found.get(indent..) == Some(*wanted) }
            });
            same.then_some(indent)
        };
        (0..lines.len()).find_map(|start| {
            let indent = fits(start)?;
            Some((self.lines_before + number(start.checked_sub(skipped)?) + 1, number(indent)))
        })
    }
}

fn number(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: &str = "# first\na: 1\n---\napiVersion: templates.gatekeeper.sh/v1\nkind: ConstraintTemplate\nmetadata:\n  name: k\nspec:\n  targets:\n    - target: t\n      rego: |\n        package k\n\n        violation[x] {\n          x\n        }\n";

    #[test]
    fn documents_know_their_places() {
        let documents = Document::parse_all("f.yaml", TWO).expect("parses");
        let [_, template] = documents.as_slice() else { panic!("two: {documents:?}") };
        assert!(template.is_of_gatekeeper());
        assert_eq!((template.group(), template.version(), template.name()), ("templates.gatekeeper.sh", "v1", "k"));
        let rego = template.string(&["spec"]).to_owned()
            + template.value["spec"]["targets"][0]["rego"].as_str().expect("text");
        assert_eq!(template.place_of_block(&rego), Some((12, 8)));
        assert_eq!(template.fault_at("c", &["metadata", "name"], "m").to_string(), "f.yaml:7:3: m");
        assert_eq!(template.fault_at("c", &["spec", "targets", "rego"], "m").to_string(), "f.yaml:11:7: m");
        assert_eq!(template.fault("c", "m").to_string(), "f.yaml:4:1: m");
    }

    #[test]
    fn errors_in_later_documents_have_their_lines() {
        let error = Document::parse_all("f.yaml", "a: 1\n---\nb: [\n").expect_err("not YAML");
        assert!(error.line.is_some_and(|l| l >= 3), "{error}");
    }
}
