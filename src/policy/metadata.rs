//! What a policy says about itself: OPA METADATA annotations (YAML in comments) with our `custom` keys.
//!
//! Source: the OPA documentation "Annotations". Only the block of the package counts here; the blocks of rules are
//! checked for being YAML.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::policy::LoadError;
use crate::policy::budget::{Budget, BudgetSpec};
use crate::policy::match_spec::MatchSpec;
use crate::policy::matching::Match;
use crate::policy::nearest::nearest;
use crate::policy::yaml::{self, Offset};

/// What a violation does. Ordered from the mildest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Enforcement {
    /// It is seen only in the decision log and the metrics.
    Dryrun,
    /// The client is warned.
    Warn,
    /// The request is refused.
    #[default]
    Deny,
}

impl Enforcement {
    /// The name in metadata, records and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Deny => "deny",
            Self::Warn => "warn",
            Self::Dryrun => "dryrun",
        }
    }
}

/// How bad a violation is. Ordered from the mildest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// For information.
    Info,
    /// Low.
    Low,
    /// Medium.
    Medium,
    /// High.
    High,
    /// Critical.
    Critical,
}

impl Severity {
    /// The name in metadata and records.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

/// What an UPDATE is measured by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnUpdate {
    /// Only what the old object did not already violate counts.
    Ratchet,
    /// Everything counts.
    All,
}

/// The version of the Rego language a file is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RegoVersion {
    /// OPA before 1.0.
    V0,
    /// OPA 1.0 and later.
    #[default]
    V1,
}

/// How builtin errors (a number that is none, a bad regex) are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BuiltinErrors {
    /// The policy fails, and its failure mode answers.
    Strict,
    /// The expression is undefined, as OPA has it by default.
    Undefined,
}

/// The annotations of a package.
#[derive(Debug, Clone, Default)]
pub struct Metadata {
    /// One line.
    pub title: Option<String>,
    /// More.
    pub description: Option<String>,
    /// `custom.severity`.
    pub severity: Option<Severity>,
    /// `custom.enforcement`, default deny.
    pub enforcement: Enforcement,
    /// `custom.controls`.
    pub controls: Vec<String>,
    /// `custom.match`.
    pub matching: Match,
    /// `custom.onUpdate`.
    pub on_update: Option<OnUpdate>,
    /// `custom.parameters`: defaults by name.
    pub parameters: Map<String, Value>,
    /// `custom.parametersSchema`: JSON Schemas by parameter. The engine holds parameters against them.
    pub parameters_schema: Map<String, Value>,
    /// The line of each schema in the file.
    pub schema_lines: BTreeMap<String, u32>,
    /// `custom.regoVersion`.
    pub rego_version: RegoVersion,
    /// `custom.builtinErrors`.
    pub builtin_errors: Option<BuiltinErrors>,
    /// `custom.budget`.
    pub budget: Budget,
    /// Whether a `custom` section was written.
    pub has_custom: bool,
    /// Whether it says what is judged, or what comes of it: a library has no use for that.
    pub is_of_policy: bool,
    /// Things that are odd but not wrong.
    pub notes: Vec<LoadError>,
}

/// What is read of every block: the `custom` section of a rule is its author's.
#[derive(Deserialize)]
struct Scoped {
    scope: Option<String>,
}

#[derive(Deserialize)]
struct Block {
    title: Option<String>,
    description: Option<String>,
    custom: Option<Custom>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Custom {
    severity: Option<Severity>,
    enforcement: Option<Enforcement>,
    controls: Vec<String>,
    #[serde(rename = "match")]
    matching: Option<MatchSpec>,
    on_update: Option<OnUpdate>,
    parameters: Map<String, Value>,
    parameters_schema: Map<String, Value>,
    rego_version: Option<RegoVersion>,
    builtin_errors: Option<BuiltinErrors>,
    budget: Option<BudgetSpec>,
}

const CUSTOM_KEYS: [&str; 10] = [
    "severity",
    "enforcement",
    "controls",
    "match",
    "onUpdate",
    "parameters",
    "parametersSchema",
    "regoVersion",
    "builtinErrors",
    "budget",
];

/// Reads the METADATA of the package from the text of a Rego file; `None` when there is none.
///
/// # Errors
/// The first fault, with its place in the file.
pub fn package_metadata(file: &str, text: &str) -> Result<Option<Metadata>, LoadError> {
    let mut found: Option<(Metadata, u32)> = None;
    for annotation in annotations(text) {
        let offset = Offset { lines: annotation.first_line, columns: annotation.columns };
        let Scoped { scope } = yaml::parse(file, &annotation.yaml, offset)?;
        let of_package = match scope.as_deref() {
            Some("package" | "subpackages") => true,
            Some("rule" | "document") => false,
            None if annotation.before_import => {
                let message = "METADATA before an import belongs to nothing: put it before `package`";
                return Err(LoadError::new(file, "metadata", message).at(annotation.first_line, 1));
            }
            None => annotation.before_package,
            Some(other) => {
                return Err(LoadError::new(
                    file,
                    "metadata",
                    format!("METADATA: unknown scope `{other}`; write package, subpackages, document or rule"),
                )
                .at(annotation.first_line, 1));
            }
        };
        if !of_package {
            continue;
        }
        if let Some((_, line)) = found {
            let message = format!("a second METADATA block for the package; the first is at line {line}");
            return Err(LoadError::new(file, "metadata", message).at(annotation.first_line, 1));
        }
        let block: Block = yaml::parse(file, &annotation.yaml, offset)?;
        let metadata = check(file, block, &annotation, offset)?;
        found = Some((metadata, annotation.first_line));
    }
    Ok(found.map(|(metadata, _)| metadata))
}

fn check(file: &str, block: Block, annotation: &Annotation, offset: Offset) -> Result<Metadata, LoadError> {
    let has_custom = block.custom.is_some();
    let custom = block.custom.unwrap_or_default();
    let is_of_policy = custom.matching.is_some() || custom.enforcement.is_some() || custom.on_update.is_some();
    let place_of = |key: &str| {
        let line = annotation.yaml.lines().position(|l| l.trim_start().starts_with(&format!("{key}:")));
        u32::try_from(line.map_or(0, |l| l + 1)).unwrap_or_default() + annotation.first_line
    };
    let fault = |key: &str, message: String| LoadError::new(file, "metadata", message).at(place_of(key), 1);
    let matching = match custom.matching {
        Some(spec) => spec.check().map_err(|message| fault("match", message))?,
        None => Match::default(),
    };
    let budget = custom.budget.map(|b| b.check().map_err(|m| fault("budget", m))).transpose()?.unwrap_or_default();
    let mut notes = Vec::new();
    let raw: Value = yaml::parse(file, &annotation.yaml, offset)?;
    let keys = raw.get("custom").and_then(Value::as_object).into_iter().flat_map(Map::keys);
    for key in keys.filter(|k| !CUSTOM_KEYS.contains(&k.as_str())) {
        let near = nearest(key, CUSTOM_KEYS.into_iter()).map(|n| format!("; did you mean `{n}`?"));
        let message = format!("METADATA: `custom.{key}` means nothing here{}", near.unwrap_or_default());
        notes.push(fault(key, message));
    }
    Ok(Metadata {
        title: block.title,
        description: block.description.map(|d| d.trim().to_owned()),
        severity: custom.severity,
        enforcement: custom.enforcement.unwrap_or_default(),
        controls: custom.controls,
        matching,
        on_update: custom.on_update,
        schema_lines: custom.parameters_schema.keys().map(|k| (k.clone(), annotation.line_of_schema(k))).collect(),
        parameters: custom.parameters,
        parameters_schema: custom.parameters_schema,
        rego_version: custom.rego_version.unwrap_or_default(),
        builtin_errors: custom.builtin_errors,
        budget,
        has_custom,
        is_of_policy,
        notes,
    })
}

struct Annotation {
    yaml: String,
    /// Line of `# METADATA`, from 1: the YAML begins on the next one.
    first_line: u32,
    columns: u32,
    before_package: bool,
    before_import: bool,
}

impl Annotation {
    /// The line of the schema of a parameter.
    fn line_of_schema(&self, parameter: &str) -> u32 {
        let mut lines = (self.first_line + 1..).zip(self.yaml.lines());
        let all = lines.find(|(_, l)| l.trim_start().starts_with("parametersSchema:")).map(|(n, _)| n);
        let key = |l: &str| l.trim_start().trim_start_matches(['"', '\'']).strip_prefix(parameter).map(str::to_owned);
        let own = lines.find(|(_, l)| key(l).is_some_and(|r| r.trim_start_matches(['"', '\'']).starts_with(':')));
        own.map(|(n, _)| n).or(all).unwrap_or(self.first_line)
    }
}

fn annotations(text: &str) -> Vec<Annotation> {
    let mut found = Vec::new();
    let mut lines = (1u32..).zip(text.lines()).peekable();
    while let Some((number, line)) = lines.next() {
        if !is_marker(line) {
            continue;
        }
        let mut yaml = String::new();
        while let Some((_, comment)) = lines.next_if(|(_, l)| l.trim_start().starts_with('#') && !is_marker(l)) {
            let body = comment.trim_start().trim_start_matches('#');
            yaml.push_str(body.strip_prefix(' ').unwrap_or(body));
            yaml.push('\n');
        }
        let next = lines.clone().map(|(_, l)| l.trim()).find(|l| !l.is_empty() && !l.starts_with('#'));
        let before = |keyword| next.is_some_and(|l: &str| l.split_whitespace().next() == Some(keyword));
        let (before_package, before_import) = (before("package"), before("import"));
        found.push(Annotation { yaml, first_line: number, columns: 2, before_package, before_import });
    }
    found
}

fn is_marker(line: &str) -> bool {
    line.trim_start().strip_prefix('#').is_some_and(|l| l.trim() == "METADATA")
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: &str = "# METADATA\n# scope: package\n# title: T\n# custom:\n#   enforcement: warn\n#   severity: high\n#   match: {kinds: [Pod]}\n#   parameters: {users: []}\npackage a\n\n# METADATA\n# title: a rule\ndeny contains 1 if true\n";

    #[test]
    fn the_package_block_is_read() {
        let m = package_metadata("p.rego", POLICY).expect("reads").expect("is there");
        assert_eq!(m.title.as_deref(), Some("T"));
        assert_eq!((m.enforcement, m.severity), (Enforcement::Warn, Some(Severity::High)));
        assert!(m.matching.pod_templates && m.parameters.contains_key("users") && m.notes.is_empty());
        assert!(package_metadata("p.rego", "package a\n").expect("reads").is_none());
    }

    #[test]
    fn faults_have_places() {
        let fault = |from: &str, to: &str| {
            package_metadata("p.rego", &POLICY.replace(from, to)).expect_err("faulty").to_string()
        };
        assert!(
            fault("severity: high", "severity: hih").starts_with("p.rego:6:"),
            "{}",
            fault("severity: high", "severity: hih")
        );
        assert!(fault("kinds: [Pod]", "kind: [Pod]").starts_with("p.rego:7:"));
        assert_eq!(
            fault("kinds: [Pod]", "kinds: [Pods]"),
            "p.rego:7:1: `Pods` in `match.kinds` is not a built-in kind (did you mean `Pod`?); for custom resources write `match.rules`"
        );
        assert!(fault("title: a rule", "scope: package").starts_with("p.rego:11:1: a second METADATA block"));
        assert!(fault("scope: package", "scope: world").contains("unknown scope `world`"));
    }

    #[test]
    fn only_the_block_of_the_package_is_ours() {
        let rule = POLICY.replace("# title: a rule", "# custom: {severity: HIGHEST, match: all}");
        assert!(package_metadata("p.rego", &rule).is_ok());
        let late = "package a\n\n# METADATA\n# custom: {enforcement: warn}\nimport rego.v1\n";
        let error = package_metadata("p.rego", late).expect_err("it would count for nothing").to_string();
        assert!(error.starts_with("p.rego:3:1: METADATA before an import"), "{error}");
    }

    #[test]
    fn slips_are_noted() {
        let m = package_metadata("p.rego", &POLICY.replace("enforcement: warn", "enforcment: warn"));
        let notes = m.expect("reads").expect("is there").notes;
        assert_eq!(
            notes.first().map(ToString::to_string).as_deref(),
            Some("p.rego:5:1: METADATA: `custom.enforcment` means nothing here; did you mean `enforcement`?")
        );
    }
}
