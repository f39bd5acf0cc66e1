//! [`Sources`] to a [`Snapshot`]: parse, check, compile, bind. All errors of all files are reported at once.

use std::collections::BTreeMap;
use std::sync::Arc;

use regorus::Value;

use crate::engine::check::{self, Definitions, Package};
use crate::engine::constraints;
use crate::engine::evaluate::{self, Unit, UnitModule, UnitOptions};
use crate::engine::exceptions::Exceptions;
use crate::engine::health::{Health, Quarantine};
use crate::engine::mask_pointer::mask_pointer;
use crate::engine::needs;
use crate::engine::notes;
use crate::engine::parameters::Parameters;
use crate::engine::parse::{Parsed, load_error, parse_all};
use crate::engine::snapshot::{Bound, Dialect, Policy, PolicySummary, Selection, Snapshot, Use};
use crate::engine::system_main;
use crate::engine::{Endpoint, HttpSend, Location, Ways, http};
use crate::policy::gatekeeper::EnforcementPoint;
use crate::policy::{
    Budget, BuiltinErrors, Digest, Enforcement, LoadError, Metadata, OnUpdate, PolicyBinding, RegoVersion, SourceFile,
    Sources, digest_set, nearest,
};

/// Rules that are read, by endpoint.
pub(crate) const RULES: [(Endpoint, &[&str]); 2] = [
    (Endpoint::Validate, &["deny", "violation", "warn", "audit_annotations"]),
    (Endpoint::Mutate, &["patch", "mutate", "patches"]),
];

const LOAD_STACK_BYTES: usize = 64 << 20;

/// What compiling may be told.
#[derive(Debug, Clone, Copy, Default)]
pub struct CompileOptions {
    /// No policy does more than this, whatever it says (a rollout ceiling).
    pub max_enforcement: Option<Enforcement>,
    /// Where decisions are made: constraints may be enforced in some places only.
    pub enforcement_point: EnforcementPoint,
    /// Whether policies may call `http.send`.
    pub http_send: HttpSend,
    /// How policies may be run.
    pub ways: Ways,
    /// When a policy that keeps passing its budget is not run for a while.
    pub quarantine: Quarantine,
}

/// A snapshot with what is odd but not wrong.
#[derive(Debug)]
pub struct Compiled {
    /// The policy set.
    pub snapshot: Snapshot,
    /// For the author's eye.
    pub notes: Vec<LoadError>,
}

/// Compiles a policy set.
///
/// # Errors
/// Everything that is wrong, sorted by file and line.
pub fn compile(sources: &Sources, options: CompileOptions) -> Result<Compiled, Vec<LoadError>> {
    on_large_stack(|| compile_here(sources, options))
}

/// Runs `work` on a thread whose stack is large enough for the engine's recursive passes over any expression that
/// [`MAX_OPERATORS`] and [`MAX_NESTING`] let through.
pub(crate) fn on_large_stack<T: Send>(
    work: impl FnOnce() -> Result<T, Vec<LoadError>> + Send,
) -> Result<T, Vec<LoadError>> {
    std::thread::scope(|scope| {
        let started = std::thread::Builder::new().name("compile".to_owned()).stack_size(LOAD_STACK_BYTES);
        match started.spawn_scoped(scope, work).map(std::thread::ScopedJoinHandle::join) {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(vec![LoadError::new("", "panic", "the engine panicked while loading the policies")]),
            Err(e) => Err(vec![LoadError::new("", "thread", format!("no thread to load the policies on: {e}"))]),
        }
    })
}

/// As [`compile`], on the calling thread.
pub(crate) fn compile_here(sources: &Sources, options: CompileOptions) -> Result<Compiled, Vec<LoadError>> {
    let mut errors = Vec::new();
    let mut notes = Vec::new();
    let modules = || sources.modules.iter().filter(|m| !m.is_test());
    let parsed = parse_all(modules(), &sources.rego_versions, &mut errors);
    for p in &parsed {
        notes.extend(p.metadata.iter().flat_map(|m| m.notes.iter().cloned()));
    }
    let packages = check::packages(&parsed);
    if errors.is_empty() {
        errors.extend(check::check(&packages, &sources.data));
        if options.http_send == HttpSend::Refuse {
            errors.extend(http::calls(packages.values()));
        }
        notes.extend(notes::absent_documents(&packages, &sources.data));
        notes.extend(notes::likely_slips(&packages));
        notes.extend(system_main::notes(&packages));
    }
    let policies = system_main::policies(&packages);
    for binding in &sources.bindings {
        if !policies.iter().any(|p| *policy_name(&p.path) == *binding.policy) {
            let names: Vec<String> = policies.iter().map(|p| policy_name(&p.path).to_string()).collect();
            let near =
                nearest(&binding.policy, names.iter().map(String::as_str)).map(|n| format!("; did you mean `{n}`?"));
            let message = format!("no policy `{}`{}", binding.policy, near.unwrap_or_default());
            errors.push(binding.fault_at(&["spec", "policyRef", "name"], &message));
        }
    }
    let data = Value::from(serde_json::Value::Object(sources.data.clone()));
    let mut bound = Vec::new();
    let mut summaries = Vec::new();
    if errors.is_empty() {
        for package in policies {
            match compile_policy(package, &packages, &data, &sources.bindings, options, &mut notes) {
                Ok((b, summary)) => {
                    bound.push(b);
                    summaries.push(summary);
                }
                Err(found) => errors.extend(found),
            }
        }
    }
    let library = constraints::compile(sources, options, &mut errors);
    let mask_pointers =
        if errors.is_empty() { mask_pointers(&packages, &data, &sources.data, &mut errors) } else { Vec::new() };
    if !errors.is_empty() {
        errors.sort();
        errors.dedup();
        return Err(errors);
    }
    notes.extend(library.notes);
    bound.extend(library.bound);
    summaries.extend(library.summaries);
    bound.sort_by(|a, b| a.policy.name.cmp(&b.policy.name));
    summaries.sort_by(|a: &PolicySummary, b| a.name.cmp(&b.name));
    let names = summaries.iter().map(|p| &p.name);
    let exceptions = Exceptions::new(&sources.exceptions, names.clone());
    notes.extend(exceptions.notes(names));
    let mut contents = library.contents;
    contents.extend(exceptions.contents());
    // A ceiling changes what every policy does; without one nothing is added.
    let ceiling = options.max_enforcement.map(Enforcement::as_str);
    contents.extend(ceiling.map(|most| ("max-enforcement", most.to_owned(), Digest::of(most.as_bytes()))));
    let snapshot = Snapshot {
        selection: Selection::of(&bound),
        bound,
        policy_set: policy_set(&parsed, &sources.bindings, contents),
        data_digest: Digest::of(serde_json::Value::Object(sources.data.clone()).to_string().as_bytes()),
        namespaces: sources.namespaces.iter().map(|(name, m)| (name.clone(), Arc::new(m.clone()))).collect(),
        mask_pointers,
        expansions: library.expansions,
        summaries,
        exceptions,
    };
    Ok(Compiled { snapshot, notes })
}

/// Kind, name and digest of something in a policy set.
pub(crate) type Content = (&'static str, String, Digest);

/// The package of a file.
///
/// # Errors
/// It cannot be parsed.
pub fn package_of(source: &SourceFile, declared: Option<RegoVersion>) -> Result<Vec<String>, LoadError> {
    let versions = declared.map(|version| (source.path.clone(), version)).into_iter().collect();
    let mut errors = Vec::new();
    let parsed = parse_all(std::iter::once(source), &versions, &mut errors);
    let missing = || LoadError::new(&source.path, "rego", "the file holds no package");
    let error = errors.into_iter().next();
    parsed.into_iter().next().map(|p| p.info.package).ok_or_else(|| error.unwrap_or_else(missing))
}

/// The name of the policy in `package`.
pub(crate) fn policy_name(package: &[String]) -> Arc<str> {
    match package {
        [first, rest @ ..] if first == "portcullis" && !rest.is_empty() => rest.join(".").into(),
        [only] if only == "system" => system_main::NAME.into(),
        all => all.join(".").into(),
    }
}

/// Which of the rules that are there are read where.
fn by_endpoint(rules: &BTreeMap<String, Definitions>) -> BTreeMap<Endpoint, Vec<String>> {
    RULES
        .iter()
        .map(|(e, names)| (*e, names.iter().filter(|n| rules.contains_key(**n)).map(|n| (*n).to_owned()).collect()))
        .filter(|(_, names): &(_, Vec<String>)| !names.is_empty())
        .collect()
}

fn compile_policy(
    package: &Package<'_>,
    packages: &BTreeMap<Vec<String>, Package<'_>>,
    data: &Value,
    bindings: &[PolicyBinding],
    options: CompileOptions,
    notes: &mut Vec<LoadError>,
) -> Result<(Bound, PolicySummary), Vec<LoadError>> {
    let name = policy_name(&package.path);
    let metadata = package.metadata().cloned().unwrap_or_default();
    let needed = check::closure(package, packages);
    let modules: Vec<&Parsed<'_>> = needed.iter().flat_map(|p| p.modules.iter().copied()).collect();
    let main = system_main::is_main(package);
    let rules = if main { system_main::definitions(&needed) } else { package.entry_rules() };
    let by_endpoint = if main { system_main::by_endpoint(&needed) } else { by_endpoint(&rules) };
    // Our own policies fail on a builtin error; plain OPA policies keep OPA's reading of it.
    let strict = match metadata.builtin_errors {
        Some(choice) => choice == BuiltinErrors::Strict,
        None => metadata.has_custom,
    };
    let units: Vec<UnitModule<'_>> = modules.iter().map(|m| m.unit()).collect();
    let file = package.file().to_owned();
    let unit = Unit::compile(&units, data, &package.path, &by_endpoint, UnitOptions { strict, ways: options.ways })
        .map_err(|fault| vec![load_error(&file, "rego", &fault)])?;
    let digest = match modules.as_slice() {
        [only] => Digest::of(only.source.text.as_bytes()),
        many => modules_digest(many),
    };
    let reads = check::Reads::of(&needed);
    // A plain policy of OPA says what it says, on updates too.
    let all = reads.user || !metadata.has_custom;
    let on_update = metadata.on_update.unwrap_or(if all { OnUpdate::All } else { OnUpdate::Ratchet });
    if reads.user && on_update == OnUpdate::Ratchet {
        let message = "the policy judges the user, and `onUpdate: ratchet` lets an update pass when the old object alone \
                       would be refused too: write `onUpdate: all`";
        notes.push(LoadError::new(&file, "ratchet", message));
    }
    let endpoints: Vec<Endpoint> = by_endpoint.keys().copied().collect();
    let controls: Arc<[String]> = metadata.controls.clone().into();
    let ceiling = options.max_enforcement.unwrap_or(Enforcement::Deny);
    let uses = uses(&name, &file, &metadata, on_update, bindings, ceiling)?;
    let summary = PolicySummary {
        name: Arc::clone(&name),
        title: metadata.title.clone(),
        description: metadata.description.clone(),
        enforcement: uses.iter().map(|u| u.enforcement).max().unwrap_or_default(),
        severity: metadata.severity,
        controls: Arc::clone(&controls),
        digest,
        file,
        endpoints: endpoints.clone(),
        matching: metadata.matching.clone(),
        on_update,
        obstacle: unit.obstacle().cloned(),
    };
    let policy = Policy {
        name,
        title: metadata.title,
        digest,
        severity: metadata.severity,
        controls,
        matching: metadata.matching,
        dialect: if main { Dialect::Main } else { Dialect::Opa },
        unit: Arc::new(unit),
        rules,
        endpoints,
        reads_namespace: reads.namespace,
        reads_user_namespace: reads.user_namespace,
        budget: metadata.budget,
        health: Arc::new(Health::new(options.quarantine)),
    };
    Ok((Bound { policy: Arc::new(policy), uses }, summary))
}

/// The uses of a policy: its bindings by name, then the policy as it stands where no binding takes the request.
fn uses(
    name: &str,
    file: &str,
    metadata: &Metadata,
    on_update: OnUpdate,
    bindings: &[PolicyBinding],
    ceiling: Enforcement,
) -> Result<Vec<Use>, Vec<LoadError>> {
    let mut mine: Vec<&PolicyBinding> = bindings.iter().filter(|b| b.policy == name).collect();
    mine.sort_by(|a, b| a.name.cmp(&b.name));
    let parameters = Parameters::of(name, file, metadata)?;
    let mut errors = Vec::new();
    let mut uses = Vec::new();
    for binding in mine {
        let parameters = parameters.bound(binding, &mut errors);
        uses.push(Use {
            binding: Some(binding.name.clone()),
            narrowed: binding.matching.clone(),
            parameters: Value::from(serde_json::Value::Object(parameters)),
            enforcement: binding.enforcement.unwrap_or(metadata.enforcement).min(ceiling),
            on_update: binding.on_update.unwrap_or(on_update),
        });
    }
    uses.push(Use {
        binding: None,
        narrowed: None,
        parameters: Value::from(serde_json::Value::Object(metadata.parameters.clone())),
        enforcement: metadata.enforcement.min(ceiling),
        on_update,
    });
    if errors.is_empty() { Ok(uses) } else { Err(errors) }
}

fn modules_digest(modules: &[&Parsed<'_>]) -> Digest {
    let names: Vec<(String, Digest)> =
        modules.iter().map(|m| (m.info.package.join("/"), Digest::of(m.source.text.as_bytes()))).collect();
    digest_set(names.iter().map(|(name, digest)| ("module", name.as_str(), *digest)))
}

fn policy_set(parsed: &[Parsed<'_>], bindings: &[PolicyBinding], library: Vec<Content>) -> Digest {
    // The same text is another policy under another version of the language; METADATA are part of the text.
    let declared_v0 = |m: &&Parsed<'_>| {
        m.version == RegoVersion::V0 && m.metadata.as_ref().is_none_or(|m| m.rego_version == RegoVersion::V1)
    };
    let kind = |m: &Parsed<'_>| if declared_v0(&m) { "module of Rego v0" } else { "module" };
    let modules = parsed.iter().map(|m| (kind(m), m.info.package.join("/"), Digest::of(m.source.text.as_bytes())));
    let bindings =
        bindings.iter().map(|b| ("binding", b.name.clone(), Digest::of(b.document.value.to_string().as_bytes())));
    let items: Vec<Content> = modules.chain(bindings).chain(library).collect();
    digest_set(items.iter().map(|(kind, name, digest)| (*kind, name.as_str(), *digest)))
}

/// What `data.system.log.mask` names, read once: rules that look at the decision itself are not taken. It may stand in the
/// data as well; both at once were refused before.
fn mask_pointers(
    packages: &BTreeMap<Vec<String>, Package<'_>>,
    data: &Value,
    documents: &serde_json::Map<String, serde_json::Value>,
    errors: &mut Vec<LoadError>,
) -> Vec<String> {
    let path = ["system".to_owned(), "log".to_owned()];
    let package = packages.get(path.as_slice());
    let mut fault = |at: Option<&Location>, message: String| {
        let error = LoadError::new(package.map_or("data", Package::file), "mask", message);
        errors.push(match at {
            Some(l) => error.at(l.line, l.column),
            None => error,
        });
        Vec::new()
    };
    let package = package.filter(|p| p.rules().any(|r| r.name == "mask"));
    if let Some(at) = package.and_then(|p| needs::look_at_input(p, "mask", packages)) {
        let message = "`data.system.log.mask` is read once, at load: it cannot depend on `input`".to_owned();
        return fault(Some(at), message);
    }
    let found = match package {
        Some(package) => match mask_rule(package, packages, data) {
            Ok(found) => found,
            Err(f) => return fault(f.location.as_ref(), f.msg),
        },
        None => {
            let logging = documents.get("system").and_then(|system| system.get("log"));
            logging.and_then(|log| log.get("mask")).cloned()
        }
    };
    let items = match &found {
        None => &[],
        Some(serde_json::Value::Array(items)) => items.as_slice(),
        Some(other) => {
            return fault(None, format!("`data.system.log.mask` must be a set of JSON pointers, not `{other}`"));
        }
    };
    let mut pointers = Vec::new();
    for item in items {
        match mask_pointer(item) {
            Ok(pointer) => pointers.push(pointer),
            Err(message) => return fault(None, message),
        }
    }
    pointers
}

/// The value of the rule `mask`.
fn mask_rule(
    package: &Package<'_>,
    packages: &BTreeMap<Vec<String>, Package<'_>>,
    data: &Value,
) -> Result<Option<serde_json::Value>, evaluate::Fault> {
    let units: Vec<UnitModule<'_>> =
        check::closure(package, packages).iter().flat_map(|p| p.modules.iter()).map(|m| m.unit()).collect();
    let rules = BTreeMap::from([(Endpoint::Validate, vec!["mask".to_owned()])]);
    let once = UnitOptions { strict: true, ways: Ways::Interpreter };
    let unit = Unit::compile(&units, data, &package.path, &rules, once)?;
    let world = evaluate::World::default();
    let found = unit.interpret(Endpoint::Validate, &Value::new_object(), world, Budget::default().time)?;
    Ok(found.get("mask").cloned())
}
