//! `Suite` of `portcullis.io/v1alpha1`: requests, and what the policies are expected to say of them and to make of them.

use std::collections::BTreeMap;

use regex::Regex;
use serde::Deserialize;
use serde_json::Value;

use crate::admission::Operation;
use crate::policy::gatekeeper::{Document, Lines};
use crate::policy::{Enforcement, Instant, LoadError, PolicyException, wording};

/// A suite of cases.
#[derive(Debug, Clone)]
pub struct CaseSuite {
    /// File it stands in.
    pub file: String,
    /// The cases, in order; at least one.
    pub cases: Vec<PolicyCase>,
}

/// A request, and what is expected.
#[derive(Debug, Clone)]
pub struct PolicyCase {
    /// Name.
    pub name: String,
    /// Line of the suite's file.
    pub line: u32,
    /// What is asked.
    pub request: CaseRequest,
    /// Exceptions that count in this case, beside those that are loaded.
    pub exceptions: Vec<PolicyException>,
    /// What `time.now_ns()` gives, and what exceptions are measured by. `None`: the time of the test.
    pub now: Option<Instant>,
    /// What must come of it.
    pub expect: Expectation,
}

/// What is asked, and by whom.
#[derive(Debug, Clone)]
pub struct CaseRequest {
    /// The manifest, or a whole AdmissionReview.
    pub object: Given,
    /// The object before an UPDATE.
    pub old: Option<Given>,
    /// CREATE, or UPDATE where there is an old object.
    pub operation: Option<Operation>,
    /// User name.
    pub user: String,
    /// Groups of the user.
    pub groups: Vec<String>,
    /// Labels of the namespaces of the request, over what the data says.
    pub namespace_labels: Option<BTreeMap<String, String>>,
}

/// A document, as it stands or in a file beside the suite.
#[derive(Debug, Clone, PartialEq)]
pub enum Given {
    /// In the suite.
    Here(Value),
    /// In this file, relative to the suite.
    File(String),
}

/// What must come of a request. A second pass of mutations must never change anything.
#[derive(Debug, Clone)]
pub struct Expectation {
    /// The answer.
    pub verdict: ExpectedVerdict,
    /// Exactly these are found; `None`: any.
    pub violations: Option<Vec<ExpectedViolation>>,
    /// Is part of the object after all mutations: mappings may hold more, all else is the same.
    pub result: Option<Value>,
    /// Exactly this goes out (RFC 6902); empty: the object stays as it is.
    pub patch: Option<Vec<Value>>,
}

/// How a request is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ExpectedVerdict {
    /// It goes on.
    Allow,
    /// A policy refuses it.
    Deny,
    /// A policy that refuses could not be judged.
    Error,
}

/// A violation that must be found.
#[derive(Debug, Clone)]
pub struct ExpectedViolation {
    /// Policy name.
    pub policy: String,
    /// The message matches.
    pub message: Option<Regex>,
    /// What it does, or would do.
    pub enforcement: Option<Enforcement>,
    /// The exception that lets it pass; `None`: none does.
    pub exception: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct SuiteDocument {
    api_version: String,
    #[serde(rename = "kind")]
    _kind: String,
    #[serde(default, rename = "metadata")]
    _metadata: Value,
    cases: Vec<CaseDocument>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct CaseDocument {
    name: String,
    object: Given,
    old: Option<Given>,
    operation: Option<Operation>,
    #[serde(default = "nobody")]
    user: String,
    #[serde(default)]
    groups: Vec<String>,
    namespace_labels: Option<BTreeMap<String, String>>,
    #[serde(default)]
    exceptions: Vec<Value>,
    now: Option<String>,
    verdict: ExpectedVerdict,
    violations: Option<Vec<ViolationDocument>>,
    result: Option<Value>,
    patch: Option<Vec<Value>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ViolationDocument {
    policy: String,
    message: Option<String>,
    enforcement: Option<Enforcement>,
    exception: Option<String>,
}

fn nobody() -> String {
    "system:anonymous".to_owned()
}

impl<'de> Deserialize<'de> for Given {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::String(file) => Ok(Self::File(file)),
            value @ Value::Object(_) => Ok(Self::Here(value)),
            _ => Err(serde::de::Error::custom("must be an object, or the name of a file that holds one")),
        }
    }
}

impl CaseSuite {
    /// Whether a document is one.
    #[must_use]
    pub fn is_one(document: &Document) -> bool {
        document.group() == "portcullis.io" && document.kind() == "Suite"
    }

    /// Reads a suite. Keys that it does not know are errors: a slip must not pass for no expectation.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(document: &Document) -> Result<Self, LoadError> {
        let parsed: SuiteDocument = serde_path_to_error::deserialize(&document.value)
            .map_err(|e| document.fault("suite", format!("suite: {}", wording::of_path(&e).1)))?;
        if parsed.api_version != "portcullis.io/v1alpha1" {
            let message = format!("suite: `{}` is not known; write portcullis.io/v1alpha1", parsed.api_version);
            return Err(document.fault("suite", message));
        }
        if parsed.cases.is_empty() {
            return Err(document.fault("suite", "suite: it has no case"));
        }
        let mut lines = Lines::new(document);
        let cases = parsed.cases.into_iter().map(|case| {
            let line = lines.of_name(&case.name);
            let name = case.name.clone();
            case.check(document, line).map_err(|message| {
                LoadError::new(&document.file, "suite", format!("suite: case `{name}`: {message}")).at(line, 1)
            })
        });
        Ok(Self { file: document.file.clone(), cases: cases.collect::<Result<_, _>>()? })
    }

    /// Every file that the suite names.
    pub fn references(&self) -> impl Iterator<Item = &str> {
        let given = self.cases.iter().flat_map(|c| std::iter::once(&c.request.object).chain(&c.request.old));
        given.filter_map(|g| match g {
            Given::File(name) => Some(name.as_str()),
            Given::Here(_) => None,
        })
    }
}

impl CaseDocument {
    fn check(self, document: &Document, line: u32) -> Result<PolicyCase, String> {
        let exceptions = self
            .exceptions
            .into_iter()
            .map(|e| PolicyException::read(&Document::of_value(&document.file, e)).map_err(|fault| fault.message));
        let violations = self.violations.map(|all| all.into_iter().map(ViolationDocument::check).collect());
        Ok(PolicyCase {
            name: self.name,
            line,
            request: CaseRequest {
                object: self.object,
                old: self.old,
                operation: self.operation,
                user: self.user,
                groups: self.groups,
                namespace_labels: self.namespace_labels,
            },
            exceptions: exceptions.collect::<Result<_, _>>()?,
            now: self.now.map(|text| Instant::parse(&text)).transpose()?,
            expect: Expectation {
                verdict: self.verdict,
                violations: violations.transpose()?,
                result: self.result,
                patch: self.patch,
            },
        })
    }
}

impl ViolationDocument {
    fn check(self) -> Result<ExpectedViolation, String> {
        let message = self
            .message
            .map(|text| Regex::new(&text).map_err(|_| format!("the message `{text}` is no regular expression")));
        Ok(ExpectedViolation {
            policy: self.policy,
            message: message.transpose()?,
            enforcement: self.enforcement,
            exception: self.exception,
        })
    }
}
