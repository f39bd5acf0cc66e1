//! Everything that a policy set is made from, as text and documents. Where it came from is not known here.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::policy::gatekeeper::Document;
use crate::policy::match_spec::MatchSpec;
use crate::policy::{Enforcement, LoadError, Match, OnUpdate, RegoVersion};

/// A file of Rego.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFile {
    /// Path as messages show it.
    pub path: String,
    /// Content.
    pub text: String,
}

impl SourceFile {
    /// Whether it is a test by its name (`*_test.rego`), which is never part of a policy set.
    #[must_use]
    pub fn is_test(&self) -> bool {
        self.path.ends_with("_test.rego")
    }
}

/// `PolicyBinding` of `portcullis.io/v1alpha1`: a policy with parameters, a narrower match, another enforcement.
#[derive(Debug, Clone)]
pub struct PolicyBinding {
    /// `metadata.name`.
    pub name: String,
    /// File it stands in.
    pub file: String,
    /// `spec.policyRef.name`: the policy's name.
    pub policy: String,
    /// Laid over the policy's defaults.
    pub parameters: Map<String, Value>,
    /// Requests must fit this beside the policy's own match.
    pub matching: Option<Match>,
    /// In place of the policy's.
    pub enforcement: Option<Enforcement>,
    /// In place of the policy's.
    pub on_update: Option<OnUpdate>,
    /// The document, for digests.
    pub document: Value,
}

/// What a [`Snapshot`](crate::engine::Snapshot) is compiled from.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// Rego files, tests included; they are told apart by name.
    pub modules: Vec<SourceFile>,
    /// Versions of Rego that somebody has declared from outside (a bundle's manifest), by path.
    pub rego_versions: BTreeMap<String, RegoVersion>,
    /// Bindings.
    pub bindings: Vec<PolicyBinding>,
    /// Documents of Gatekeeper.
    pub gatekeeper: Vec<Document>,
    /// The `data` document: an object.
    pub data: Map<String, Value>,
    /// `metadata` of Namespace manifests found among the data files, by name.
    pub namespaces: BTreeMap<String, Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct BindingDocument {
    api_version: String,
    kind: String,
    metadata: Named,
    spec: BindingSpec,
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct BindingSpec {
    policy_ref: Named,
    #[serde(default)]
    parameters: Map<String, Value>,
    #[serde(default, rename = "match")]
    matching: Option<MatchSpec>,
    enforcement: Option<Enforcement>,
    on_update: Option<OnUpdate>,
}

impl PolicyBinding {
    /// Reads one binding from a YAML document already parsed to JSON.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn from_document(file: &str, document: Value) -> Result<Self, LoadError> {
        let fault = |message: String| LoadError::new(file, "binding", message);
        let parsed: BindingDocument = serde_path_to_error::deserialize(&document)
            .map_err(|e| fault(format!("PolicyBinding: `{}`: {}", e.path(), e.inner())))?;
        debug_assert_eq!(parsed.kind, "PolicyBinding");
        if parsed.api_version != "portcullis.io/v1alpha1" {
            return Err(fault(format!(
                "PolicyBinding of `{}` is not known; write portcullis.io/v1alpha1",
                parsed.api_version
            )));
        }
        let matching = parsed.spec.matching.map(MatchSpec::check).transpose().map_err(fault)?;
        Ok(Self {
            name: parsed.metadata.name,
            file: file.to_owned(),
            policy: parsed.spec.policy_ref.name,
            parameters: parsed.spec.parameters,
            matching,
            enforcement: parsed.spec.enforcement,
            on_update: parsed.spec.on_update,
            document,
        })
    }
}
