//! `Suite` of `test.gatekeeper.sh`: what templates and constraints are expected to say of objects.

use regex::Regex;
use serde::Deserialize;
use serde_json::Value;

use crate::policy::gatekeeper::Document;
use crate::policy::{LoadError, PolicyException, wording};

/// A suite. The files that it names stand beside it.
#[derive(Debug, Clone)]
pub struct Suite {
    /// File it stands in.
    pub file: String,
    /// Line it begins at.
    pub line: u32,
    /// None of it is run.
    pub skip: bool,
    /// The tests, in order.
    pub tests: Vec<SuiteTest>,
}

/// A template with a constraint, and cases for them.
#[derive(Debug, Clone)]
pub struct SuiteTest {
    /// Name.
    pub name: String,
    /// Line of the suite's file.
    pub line: u32,
    /// File of the template.
    pub template: String,
    /// File of the constraint.
    pub constraint: String,
    /// File of the expansions.
    pub expansion: Option<String>,
    /// The constraint must be refused for its parameters.
    pub invalid: bool,
    /// It is not run.
    pub skip: bool,
    /// The cases, in order.
    pub cases: Vec<Case>,
}

/// An object, and what is expected of it.
#[derive(Debug, Clone)]
pub struct Case {
    /// Name.
    pub name: String,
    /// Line of the suite's file.
    pub line: u32,
    /// File of the object or AdmissionReview.
    pub object: String,
    /// Files of objects for `data.inventory`.
    pub inventory: Vec<String>,
    /// Exceptions that count in this case: ours, `gator` has none. They stand in the suite, because a file of them
    /// among policies would be an error.
    pub exceptions: Vec<PolicyException>,
    /// It is not run.
    pub skip: bool,
    /// Every one must hold; none: no violation is expected.
    pub assertions: Vec<Assertion>,
}

/// Something that must be true of the violations.
#[derive(Debug, Clone)]
pub struct Assertion {
    /// How many.
    pub violations: Count,
    /// Only those count whose message matches.
    pub message: Option<Regex>,
}

/// How many violations are expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Count {
    /// At least one.
    Some,
    /// So many.
    Exactly(u64),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SuiteDoc {
    #[serde(rename = "apiVersion")]
    _api_version: String,
    #[serde(rename = "kind")]
    _kind: String,
    #[serde(default, rename = "metadata")]
    _metadata: Value,
    #[serde(default)]
    skip: bool,
    #[serde(default)]
    tests: Vec<TestDoc>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TestDoc {
    #[serde(default)]
    name: String,
    #[serde(default)]
    template: String,
    #[serde(default)]
    constraint: String,
    #[serde(default)]
    expansion: String,
    #[serde(default)]
    invalid: bool,
    #[serde(default)]
    skip: bool,
    #[serde(default)]
    cases: Vec<CaseDoc>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CaseDoc {
    #[serde(default)]
    name: String,
    #[serde(default)]
    object: String,
    #[serde(default)]
    inventory: Vec<String>,
    #[serde(default)]
    exceptions: Vec<Value>,
    #[serde(default)]
    skip: bool,
    #[serde(default)]
    assertions: Vec<AssertionDoc>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AssertionDoc {
    violations: Option<Value>,
    message: Option<String>,
}

impl Suite {
    /// Whether a document is a suite.
    #[must_use]
    pub fn is_one(document: &Document) -> bool {
        document.group() == "test.gatekeeper.sh" && document.kind() == "Suite"
    }

    /// Reads a suite. Fields that it does not know are errors: a slip in `assertions` must not pass for no assertion.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(document: &Document) -> Result<Self, LoadError> {
        let parsed: SuiteDoc = serde_path_to_error::deserialize(&document.value)
            .map_err(|e| document.fault("suite", format!("suite: {}", wording::of_path(&e).1)))?;
        let mut lines = Lines::new(document);
        let mut tests = Vec::new();
        for test in parsed.tests {
            let line = lines.of_name(&test.name);
            let mut cases = Vec::new();
            for case in test.cases {
                let line = lines.of_name(&case.name);
                let place = |message: String| {
                    let message = format!("suite: case `{}` of `{}`: {message}", case.name, test.name);
                    LoadError::new(&document.file, "suite", message).at(line, 1)
                };
                let assertions = case.assertions.iter().map(assertion).collect::<Result<_, _>>().map_err(place)?;
                let exceptions = case.exceptions.into_iter().map(|e| Document::of_value(&document.file, e));
                let exceptions = exceptions.map(|e| PolicyException::read(&e).map_err(|e| place(e.message)));
                let exceptions = exceptions.collect::<Result<_, _>>()?;
                let CaseDoc { name, object, inventory, skip, .. } = case;
                cases.push(Case { name, line, object, inventory, exceptions, skip, assertions });
            }
            let TestDoc { name, template, constraint, expansion, invalid, skip, .. } = test;
            let expansion = Some(expansion).filter(|e| !e.is_empty());
            tests.push(SuiteTest { name, line, template, constraint, expansion, invalid, skip, cases });
        }
        Ok(Self { file: document.file.clone(), line: document.first_line(), skip: parsed.skip, tests })
    }

    /// Every file that the suite names, as it names it.
    pub fn references(&self) -> impl Iterator<Item = &str> {
        self.tests.iter().flat_map(|t| {
            let cases = t.cases.iter().flat_map(|c| std::iter::once(&c.object).chain(&c.inventory));
            [&t.template, &t.constraint].into_iter().chain(&t.expansion).chain(cases).map(String::as_str)
        })
    }
}

fn assertion(doc: &AssertionDoc) -> Result<Assertion, String> {
    let violations = match &doc.violations {
        None | Some(Value::Null) => Count::Some,
        // `yes` and `no` are booleans to some readers of YAML.
        Some(Value::Bool(true)) => Count::Some,
        Some(Value::Bool(false)) => Count::Exactly(0),
        Some(Value::String(text)) if text == "yes" => Count::Some,
        Some(Value::String(text)) if text == "no" => Count::Exactly(0),
        Some(Value::Number(number)) if number.is_u64() => Count::Exactly(number.as_u64().unwrap_or_default()),
        Some(other) => return Err(format!("`violations: {other}` is none of yes, no and a count")),
    };
    let message = match &doc.message {
        None => None,
        Some(text) => Some(Regex::new(text).map_err(|e| {
            let reason = e.to_string();
            let reason = reason.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
            format!("the message `{text}` is no regular expression: {reason}")
        })?),
    };
    Ok(Assertion { violations, message })
}

impl Assertion {
    /// Why the assertion does not hold of the messages of all violations; `None` when it does.
    #[must_use]
    pub fn misses(&self, messages: &[String]) -> Option<String> {
        let matching = messages.iter().filter(|m| self.message.as_ref().is_none_or(|r| r.is_match(m))).count() as u64;
        let holds = match self.violations {
            Count::Some => matching > 0,
            Count::Exactly(wanted) => matching == wanted,
        };
        if holds {
            return None;
        }
        let wanted = match self.violations {
            Count::Some => "at least 1 violation".to_owned(),
            Count::Exactly(0) => "no violation".to_owned(),
            Count::Exactly(1) => "1 violation".to_owned(),
            Count::Exactly(n) => format!("{n} violations"),
        };
        let matching_what = self.message.as_ref().map(|r| format!(" whose message matches `{r}`")).unwrap_or_default();
        let all = match messages {
            [] => "there is none".to_owned(),
            messages => {
                format!("all messages: {}", messages.iter().map(|m| format!("`{m}`")).collect::<Vec<_>>().join(", "))
            }
        };
        Some(format!("{wanted}{matching_what} (got {matching}; {all})"))
    }
}

/// Finds the lines of the names of tests and cases, which stand in the order of the document.
pub(crate) struct Lines<'a> {
    lines: std::iter::Peekable<std::iter::Enumerate<std::str::Lines<'a>>>,
    before: u32,
    last: u32,
}

impl<'a> Lines<'a> {
    pub(crate) fn new(document: &'a Document) -> Self {
        let last = document.first_line();
        Self { lines: document.text.lines().enumerate().peekable(), before: document.lines_before, last }
    }

    pub(crate) fn of_name(&mut self, name: &str) -> u32 {
        let is_name = |line: &str| {
            let content = line.trim_start_matches([' ', '-']);
            let value = content.strip_prefix("name:").map(|v| v.split(" #").next().unwrap_or(v).trim());
            value.is_some_and(|v| v.trim_matches(['"', '\'']) == name)
        };
        let mut ahead = self.lines.clone();
        if let Some((index, _)) = ahead.find(|(_, line)| is_name(line)) {
            self.lines = ahead;
            self.last = self.before + u32::try_from(index).unwrap_or(u32::MAX) + 1;
        }
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUITE: &str = "kind: Suite\napiVersion: test.gatekeeper.sh/v1alpha1\ntests:\n- name: t\n  template: t.yaml\n  constraint: c.yaml\n  cases:\n  - name: \"one\"\n    object: o.yaml\n    inventory: [i.yaml]\n    assertions:\n    - violations: 2\n    - violations: no\n      message: ^x\n";

    fn read(text: &str) -> Result<Suite, LoadError> {
        Suite::read(&Document::parse_all("s.yaml", text).expect("YAML")[0])
    }

    #[test]
    fn a_suite_with_its_places() {
        let suite = read(SUITE).expect("reads");
        let (test, case) = (&suite.tests[0], &suite.tests[0].cases[0]);
        assert_eq!((test.line, case.line, case.name.as_str()), (4, 8, "one"));
        assert_eq!(suite.references().collect::<Vec<_>>(), ["t.yaml", "c.yaml", "o.yaml", "i.yaml"]);
        let messages = ["xy".to_owned(), "z".to_owned()];
        assert_eq!(case.assertions[0].misses(&messages), None);
        assert_eq!(
            case.assertions[1].misses(&messages).as_deref(),
            Some("no violation whose message matches `^x` (got 1; all messages: `xy`, `z`)")
        );
    }

    #[test]
    fn slips_are_errors() {
        for (from, to, message) in [
            ("assertions:", "assertion:", "unknown field `assertion`"),
            ("violations: 2", "violations: -2", "`violations: -2` is none of yes, no and a count"),
            ("violations: 2", "violations: maybe", "`violations: \"maybe\"` is none of"),
            ("message: ^x", "message: \"(\"", "is no regular expression"),
        ] {
            let error = read(&SUITE.replace(from, to)).expect_err("a slip").to_string();
            assert!(error.contains(message), "{error}");
        }
    }
}
