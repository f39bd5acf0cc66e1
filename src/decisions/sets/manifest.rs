//! What a policy set is made of, by the digests of its parts. Knows the file's fields; must not know where contents lie.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{KeptSet, SetError, SetId};
use crate::engine::{CompileOptions, HttpSend};
use crate::policy::gatekeeper::Document;
use crate::policy::{Digest, Enforcement, PolicyBinding, PolicyException, RegoVersion, SourceFile, Sources};

/// A file of a set: its path as it was loaded, and the digest of its content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Part {
    file: String,
    digest: Digest,
}

/// `<policy_set>.<data_digest>.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Manifest {
    v: u32,
    policy_set: Digest,
    data_digest: Digest,
    /// `--max-enforcement`, if it was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    max_enforcement: Option<Enforcement>,
    /// Whether policies might call `http.send`.
    http_send: bool,
    /// Rego, without tests.
    modules: Vec<Part>,
    /// Files of Rego v0 that do not say so themselves.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    rego_v0: Vec<String>,
    /// Files of Rego v1 that somebody said so of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    rego_v1: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    bindings: Vec<Part>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    exceptions: Vec<Part>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    gatekeeper: Vec<Part>,
    /// The data document.
    data: Digest,
    /// Metadata of Namespaces among the data files, by name.
    namespaces: Digest,
}

const VERSION: u32 = 1;

impl Manifest {
    /// The manifest of a set, and the contents that it names.
    pub(super) fn of(id: SetId, sources: &Sources, options: CompileOptions) -> (Self, Vec<(Digest, String)>) {
        let mut contents = Vec::new();
        let mut keep = |text: String| {
            let digest = Digest::of(text.as_bytes());
            contents.push((digest, text));
            digest
        };
        let modules = sources.modules.iter().filter(|m| !m.is_test());
        let modules: Vec<Part> =
            modules.map(|m| Part { file: m.path.to_string(), digest: keep(m.text.to_string()) }).collect();
        let mut parts = |documents: Vec<&Document>| -> Vec<Part> {
            documents.into_iter().map(|d| Part { file: d.file.clone(), digest: keep(d.value.to_string()) }).collect()
        };
        let bindings = parts(sources.bindings.iter().map(|b| &b.document).collect());
        let exceptions = parts(sources.exceptions.iter().map(|e| &e.document).collect());
        let gatekeeper = parts(sources.gatekeeper.iter().collect());
        let data = keep(Value::Object(sources.data.clone()).to_string());
        let namespaces = keep(serde_json::to_string(&sources.namespaces).unwrap_or_default());
        let declared = |version| {
            let of = sources.rego_versions.iter().filter(move |(_, v)| **v == version);
            of.map(|(path, _)| path.clone()).collect()
        };
        let manifest = Self {
            v: VERSION,
            policy_set: id.policy_set,
            data_digest: id.data_digest,
            max_enforcement: options.max_enforcement,
            http_send: options.http_send == HttpSend::Allow,
            modules,
            rego_v0: declared(RegoVersion::V0),
            rego_v1: declared(RegoVersion::V1),
            bindings,
            exceptions,
            gatekeeper,
            data,
            namespaces,
        };
        (manifest, contents)
    }

    /// The file's text.
    pub(super) fn text(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }

    /// Reads it; what is wrong with it otherwise.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        let manifest: Self = serde_json::from_str(text).map_err(|e| e.to_string())?;
        if manifest.v == VERSION { Ok(manifest) } else { Err(format!("version {} is not known", manifest.v)) }
    }

    /// All contents that it names.
    pub(super) fn digests(&self) -> impl Iterator<Item = Digest> {
        let parts = [&self.modules, &self.bindings, &self.exceptions, &self.gatekeeper];
        parts.into_iter().flatten().map(|p| p.digest).chain([self.data, self.namespaces])
    }

    /// The set, with the contents that `content` finds.
    pub(super) fn open(self, content: &dyn Fn(Digest) -> Result<String, SetError>) -> Result<KeptSet, SetError> {
        let altered = |what: &str, e: String| SetError::Altered(format!("{what}: {e}"));
        let documents = |parts: &[Part]| -> Result<Vec<Document>, SetError> {
            let read = |part: &Part| {
                let value = serde_json::from_str(&content(part.digest)?);
                Ok(Document::of_value(&part.file, value.map_err(|e| altered(&part.file, e.to_string()))?))
            };
            parts.iter().map(read).collect()
        };
        let modules = self
            .modules
            .iter()
            .map(|part| Ok(SourceFile { path: part.file.as_str().into(), text: content(part.digest)? }));
        let modules = modules.collect::<Result<_, SetError>>()?;
        let bindings = documents(&self.bindings)?;
        let bindings = bindings.iter().map(|d| PolicyBinding::read(d).map_err(|e| altered(&d.file, e.to_string())));
        let exceptions = documents(&self.exceptions)?;
        let exceptions =
            exceptions.iter().map(|d| PolicyException::read(d).map_err(|e| altered(&d.file, e.to_string())));
        let data: Map<String, Value> =
            serde_json::from_str(&content(self.data)?).map_err(|e| altered("the data", e.to_string()))?;
        let namespaces: BTreeMap<String, Value> =
            serde_json::from_str(&content(self.namespaces)?).map_err(|e| altered("the namespaces", e.to_string()))?;
        let declared = [(self.rego_v0, RegoVersion::V0), (self.rego_v1, RegoVersion::V1)];
        let rego_versions = declared.into_iter().flat_map(|(paths, v)| paths.into_iter().map(move |path| (path, v)));
        let sources = Sources {
            modules,
            rego_versions: rego_versions.collect(),
            bindings: bindings.collect::<Result<_, _>>()?,
            exceptions: exceptions.collect::<Result<_, _>>()?,
            gatekeeper: documents(&self.gatekeeper)?,
            data,
            namespaces,
        };
        let http_send = if self.http_send { HttpSend::Allow } else { HttpSend::Refuse };
        let options = CompileOptions { max_enforcement: self.max_enforcement, http_send, ..CompileOptions::default() };
        Ok(KeptSet { sources, options })
    }
}
