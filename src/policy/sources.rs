//! Everything that a policy set is made from, as text and documents. Where it came from is not known here.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::policy::gatekeeper::Document;
use crate::policy::match_spec::MatchSpec;
use crate::policy::{Enforcement, LoadError, Match, OnUpdate, PolicyException, RegoVersion, wording};

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
    /// Where it stands, and for digests.
    pub document: Document,
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
    /// Exceptions, from the one place that they count from.
    pub exceptions: Vec<PolicyException>,
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
    #[serde(rename = "kind")]
    _kind: String,
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
    /// Reads one binding.
    ///
    /// # Errors
    /// What is wrong with it, with its line.
    pub fn read(document: &Document) -> Result<Self, LoadError> {
        let label = format!("binding `{}`", document.name());
        let fault = |path: &[&str], message: String| document.fault_at("binding", path, format!("{label}: {message}"));
        let parsed: BindingDocument = serde_path_to_error::deserialize(&document.value).map_err(|e| {
            let (path, message) = wording::of_path(&e);
            fault(&path.iter().map(String::as_str).collect::<Vec<_>>(), message)
        })?;
        if parsed.api_version != "portcullis.io/v1alpha1" {
            let message = format!("`{}` is not known; write portcullis.io/v1alpha1", parsed.api_version);
            return Err(fault(&["apiVersion"], message));
        }
        let matching = parsed.spec.matching.map(MatchSpec::check).transpose();
        Ok(Self {
            name: parsed.metadata.name,
            policy: parsed.spec.policy_ref.name,
            parameters: parsed.spec.parameters,
            matching: matching.map_err(|m| fault(&["spec", "match"], m))?,
            enforcement: parsed.spec.enforcement,
            on_update: parsed.spec.on_update,
            document: document.clone(),
        })
    }

    /// A fault at a path of keys of the binding.
    pub(crate) fn fault_at(&self, path: &[&str], message: &str) -> LoadError {
        self.document.fault_at("binding", path, format!("binding `{}`: {message}", self.name))
    }
}
