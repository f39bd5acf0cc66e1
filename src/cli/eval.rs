//! `portcullis eval`: judges AdmissionReviews and plain manifests through the same door as the webhook; with `--query`
//! it answers a query instead.

mod print;
mod query;
mod table;

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use crate::admission::{Operation, Request, decode};
use crate::cli::eval::print::{print_pretty, to_json};
use crate::cli::manifest::{self, Circumstances};
use crate::cli::style::Style;
use crate::cli::{Exit, HttpArgs, PolicyArgs, now_ns, report_load_errors};
use crate::engine::{
    self, Cause, CompileOptions, Context, Decision, Endpoint, FailureModes, HttpDoor, Inventory, NamespaceMetadata,
    Namespaces, Pool, PoolOptions, Snapshot, Unsettled, Verdict, compile,
};
use crate::policy::gatekeeper::EnforcementPoint;
use crate::policy::{Enforcement, yaml};
use crate::source;

/// Judge AdmissionReviews and manifests, as the webhook would.
///
/// Each document is mutated first and judged then, like the API server does. Manifests become the request that the
/// given operation, user and groups would make; nothing is defaulted, so what the API server would fill in is absent.
/// What mutations come to is mutated once more: a change then is a finding, since an object must settle.
/// Exit codes: 0 all allowed, 1 at least one denied or unsettled, 2 at least one could not be judged.
///
/// With --query a query is evaluated as `opa eval` does. Exit codes: 0 whatever the answer, 1 by --fail or
/// --fail-defined, 2 on errors.
#[derive(Debug, Args)]
pub(super) struct EvalArgs {
    /// Files, directories, or `-` for standard input: JSON or YAML, one or many documents.
    #[arg(value_name = "FILE", default_value = "-")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    policies: PolicyArgs,
    #[command(flatten)]
    http: HttpArgs,
    /// Operation, for manifests [default: CREATE, with --old UPDATE].
    #[arg(long, value_parser = parse_operation)]
    operation: Option<Operation>,
    /// User name, for manifests.
    #[arg(long, default_value = "kubernetes-admin")]
    user: String,
    /// Group of the user, for manifests; may be given more than once. Default: `system:masters` while `--user` is not
    /// given; `system:authenticated` always.
    #[arg(long)]
    group: Vec<String>,
    /// Namespace of manifests that name none.
    #[arg(long, short, default_value = "default")]
    namespace: String,
    /// Labels of the namespaces of all requests, over what the data says: `tenant=a,env=prod`.
    #[arg(long, value_name = "K=V,..", value_delimiter = ',', value_parser = parse_label)]
    namespace_labels: Option<Vec<(String, String)>>,
    /// The object as it was before, for an UPDATE with one manifest.
    #[arg(long, value_name = "FILE")]
    old: Option<PathBuf>,
    /// Read only the rules of one endpoint.
    #[arg(long, value_enum, default_value_t = Endpoints::Both)]
    endpoint: Endpoints,
    /// How to print: `pretty` or `json`; the answer to a query also in OPA's other formats [default: pretty, for a
    /// query json]
    #[arg(short, long, value_enum, visible_alias = "format", short_alias = 'f')]
    output: Option<Output>,
    #[command(flatten)]
    query: query::QueryArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Endpoints {
    Both,
    Validate,
    Mutate,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For people.
    Pretty,
    /// One document.
    Json,
    /// Of a query: one row a line, strings as they are.
    Raw,
    /// Of a query: the values of each row.
    Values,
    /// Of a query: the variables of each row.
    Bindings,
    /// Of a query: only whether it is defined.
    Discard,
}

fn parse_operation(text: &str) -> Result<Operation, String> {
    let wanted = text.to_uppercase();
    let found = Operation::ALL.into_iter().find(|o| o.as_str() == wanted);
    found.ok_or_else(|| "write CREATE, UPDATE, DELETE or CONNECT".to_owned())
}

fn parse_label(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write `key=value`")?;
    Ok((key.to_owned(), value.to_owned()))
}

/// One document to judge, with where it came from.
pub(super) struct Document {
    pub(super) source: String,
    pub(super) value: Value,
}

/// What one document came to.
pub(super) struct Judged {
    source: String,
    request: Arc<Request>,
    /// As the API server goes on with it.
    pub(super) mutated: Arc<Request>,
    mutation: Option<Decision>,
    /// What a second pass would change again.
    pub(super) unsettled: Vec<Unsettled>,
    validation: Option<Decision>,
}

pub(super) fn run(args: &EvalArgs) -> anyhow::Result<Exit> {
    if let Some(text) = &args.query.query {
        return query::run(args, text);
    }
    let output = args.output.unwrap_or(Output::Pretty);
    anyhow::ensure!(
        matches!(output, Output::Pretty | Output::Json),
        "--output: that format is for the answer to a `--query`; write `pretty` or `json`"
    );
    let example_data = args.policies.data.is_empty();
    let loaded = source::load(&args.policies.load_options(&[], example_data)?);
    if let (Ok(loaded), Output::Pretty) = (&loaded, output)
        && (example_data || args.policies.policies.is_empty())
    {
        let style = Style::stderr();
        loaded.from.iter().for_each(|line| eprintln!("{}", style.dim(line)));
    }
    let compiled = loaded.and_then(|l| {
        let options = CompileOptions {
            enforcement_point: EnforcementPoint::Gator,
            http_send: args.http.http_send(),
            ..CompileOptions::default()
        };
        compile(&l.sources, options)
    });
    let snapshot = match compiled {
        Ok(compiled) => Arc::new(compiled.snapshot),
        Err(errors) => {
            report_load_errors(&errors);
            return Ok(Exit::CouldNotRun);
        }
    };
    anyhow::ensure!(snapshot.policies().next().is_some(), "no policy was found: nothing can be judged");
    let old = args.old.as_deref().map(read_one).transpose()?;
    let documents = read_documents(&args.files)?;
    anyhow::ensure!(!documents.is_empty(), "there is no document to judge");
    let operation = operation(args, old.as_ref(), &documents)?;
    let labels = args.namespace_labels.clone().map(|l| l.into_iter().collect());
    let inventory = Inventory { namespaces: Arc::new(Labelled::new(labels, &snapshot)), age: None };
    let pool = Pool::start(PoolOptions { threads: 1, queue: 1 }).context("no thread can be started to judge on")?;
    let door = args.http.door()?;
    let mut judged = Vec::new();
    for (number, document) in documents.into_iter().enumerate() {
        let request = to_request(&document, old.as_ref(), operation, args, number + 1)
            .with_context(|| format!("`{}`", document.source))?;
        let by = Judging { snapshot: &snapshot, inventory: &inventory, pool: &pool, door: door.as_ref() };
        judged.push(judge(args.endpoint, document.source, request, &by, now_ns())?);
    }
    if output == Output::Pretty {
        judged.iter().for_each(print_pretty);
    } else {
        let results: Vec<Value> = judged.iter().map(to_json).collect();
        println!("{:#}", json!({"policy_set": snapshot.policy_set(), "results": results}));
    }
    let endings: Vec<Exit> = judged.iter().map(Judged::exit).collect();
    if output == Output::Pretty && judged.len() > 1 {
        let restless = judged.iter().filter(|j| j.exit() == Exit::Finding && !j.denied()).count();
        let unsettled = if restless > 0 { format!(", {restless} unsettled") } else { String::new() };
        let count = |exit| endings.iter().filter(|e| **e == exit).count();
        println!(
            "{} allowed, {} denied{unsettled}, {} could not be judged",
            count(Exit::Fine),
            count(Exit::Finding) - restless,
            count(Exit::CouldNotRun)
        );
    }
    Ok(endings.into_iter().max_by_key(|e| *e as u8).unwrap_or(Exit::Fine))
}

impl Judged {
    pub(super) fn decisions(&self) -> impl Iterator<Item = &Decision> {
        self.mutation.iter().chain(&self.validation)
    }

    fn failed(&self) -> bool {
        self.decisions().flat_map(|d| &d.failures).any(|f| f.enforcement == Enforcement::Deny)
    }

    pub(super) fn denied(&self) -> bool {
        let refused = |d: &Decision| d.violations.iter().any(|v| v.enforcement == Enforcement::Deny);
        self.decisions().any(refused)
    }

    pub(super) fn exit(&self) -> Exit {
        if self.denied() || (!self.unsettled.is_empty() && !self.failed()) {
            Exit::Finding
        } else if self.failed() || self.decisions().any(|d| d.verdict == Verdict::Deny) {
            Exit::CouldNotRun
        } else {
            Exit::Fine
        }
    }
}

/// What requests are judged by.
#[derive(Clone, Copy)]
pub(super) struct Judging<'a> {
    pub snapshot: &'a Arc<Snapshot>,
    pub inventory: &'a Inventory,
    pub pool: &'a Pool,
    /// Where `http.send` goes out.
    pub door: Option<&'a Arc<dyn HttpDoor>>,
}

/// Mutates and judges one request, as the API server has it done.
pub(super) fn judge(
    endpoints: Endpoints,
    source: String,
    request: Arc<Request>,
    by: &Judging<'_>,
    now_ns: i64,
) -> anyhow::Result<Judged> {
    let Judging { snapshot, inventory, pool, door } = *by;
    let context = |endpoint| Context {
        endpoint,
        now_ns,
        seed: 0,
        deadline: None,
        failure: FailureModes::default(),
        http: door.cloned(),
    };
    let decide = |endpoint, request: &Arc<Request>| {
        pool.decide(snapshot, inventory, request, &context(endpoint)).context("the evaluation gave no answer")
    };
    let mutation = (endpoints != Endpoints::Validate).then(|| decide(Endpoint::Mutate, &request)).transpose()?;
    let mut mutated = Arc::clone(&request);
    let mut unsettled = Vec::new();
    if let Some(patch) = mutation.as_ref().and_then(|d| d.patch.as_ref()) {
        mutated = Arc::new(engine::mutated(&request, patch)?);
        unsettled = engine::settle(&decide(Endpoint::Mutate, &mutated)?);
    }
    // What is refused while it is mutated is never validated.
    let refused = mutation.as_ref().is_some_and(|d| d.cause == Cause::Policy);
    let validates = endpoints != Endpoints::Mutate && !refused;
    let validation = validates.then(|| decide(Endpoint::Validate, &mutated)).transpose()?;
    Ok(Judged { source, request, mutated, mutation, unsettled, validation })
}

fn to_request(
    document: &Document,
    old: Option<&Value>,
    operation: Operation,
    args: &EvalArgs,
    number: usize,
) -> anyhow::Result<Arc<Request>> {
    let review = if is_review(document) {
        document.value.to_string()
    } else {
        let mut groups = args.group.clone();
        if groups.is_empty() && args.user == "kubernetes-admin" {
            groups.push("system:masters".to_owned());
        }
        if !groups.iter().any(|g| g == "system:authenticated") {
            groups.push("system:authenticated".to_owned());
        }
        let who = Circumstances { operation, user: args.user.clone(), groups, namespace: args.namespace.clone() };
        manifest::review(&document.value, old, &who, number).map_err(anyhow::Error::msg)?.to_string()
    };
    Ok(Arc::new(decode(review.as_bytes())?))
}

fn is_review(document: &Document) -> bool {
    document.value.get("kind").and_then(Value::as_str) == Some("AdmissionReview")
}

/// The operation for manifests. What would be judged in another way than the user means is an error.
fn operation(args: &EvalArgs, old: Option<&Value>, documents: &[Document]) -> anyhow::Result<Operation> {
    if documents.iter().any(is_review) && (args.operation.is_some() || old.is_some()) {
        anyhow::bail!("an AdmissionReview says itself what is done: leave `--operation` and `--old` out");
    }
    let default = if old.is_some() { Operation::Update } else { Operation::Create };
    let operation = args.operation.unwrap_or(default);
    match (operation, old, documents) {
        (Operation::Update, None, _) => {
            anyhow::bail!("`--operation UPDATE` needs `--old`, the object before the change")
        }
        (Operation::Update, Some(old), [document]) => {
            for pointer in ["/apiVersion", "/kind", "/metadata/name", "/metadata/namespace"] {
                let (new, old) = (document.value.pointer(pointer), old.pointer(pointer));
                anyhow::ensure!(
                    new == old,
                    "`--old` is another object: its `{}` differs",
                    pointer.trim_start_matches('/')
                );
            }
        }
        (Operation::Update, Some(_), _) => anyhow::bail!("`--old` goes with one document, not {}", documents.len()),
        (_, Some(_), _) => anyhow::bail!("`--old` goes with `--operation UPDATE`, not {operation}"),
        (_, None, _) => {}
    }
    Ok(operation)
}

/// The namespaces of the data, with the labels of `--namespace-labels` over them.
pub(super) struct Labelled {
    known: BTreeMap<String, NamespaceMetadata>,
    labels: Option<BTreeMap<String, String>>,
}

impl Labelled {
    pub(super) fn new(labels: Option<BTreeMap<String, String>>, snapshot: &Snapshot) -> Self {
        Self { known: snapshot.fixed_namespaces(), labels }
    }
}

impl Namespaces for Labelled {
    fn metadata(&self, name: &str) -> Option<NamespaceMetadata> {
        let known = self.known.get(name);
        let Some(labels) = &self.labels else { return known.cloned() };
        let mut metadata = known.map_or_else(|| json!({"name": name}), |m| m.as_ref().clone());
        let map = metadata.as_object_mut()?;
        map.insert("labels".to_owned(), json!(labels));
        Some(Arc::new(metadata))
    }
}

/// All documents of files and directories.
pub(super) fn read_documents(files: &[PathBuf]) -> anyhow::Result<Vec<Document>> {
    let mut documents = Vec::new();
    for file in files {
        if file == Path::new("-") {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).context("cannot read standard input")?;
            documents.extend(parse("<stdin>", &text)?);
            continue;
        }
        for path in source::document_files(file).with_context(|| format!("cannot read `{}`", file.display()))? {
            let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read `{}`", path.display()))?;
            documents.extend(parse(&path.display().to_string(), &text)?);
        }
    }
    Ok(documents)
}

fn read_one(path: &Path) -> anyhow::Result<Value> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read `{}`", path.display()))?;
    let mut documents = parse(&path.display().to_string(), &text)?;
    anyhow::ensure!(documents.len() == 1, "`--old {}` must hold one document", path.display());
    Ok(documents.remove(0).value)
}

/// All documents of a text; `List`s are taken apart.
fn parse(source: &str, text: &str) -> anyhow::Result<Vec<Document>> {
    let json: Result<Vec<Value>, _> = serde_json::Deserializer::from_str(text).into_iter().collect();
    let values: Vec<Value> = match json {
        Ok(values) => values,
        Err(e) if text.trim_start().starts_with(['{', '[']) && !text.contains("\n---") => {
            anyhow::bail!("`{source}` is not JSON: {e}")
        }
        Err(_) => yaml::parse_all(source, text)?,
    };
    let values = values.into_iter().flat_map(|v| match v {
        Value::Array(items) => items,
        one => vec![one],
    });
    let values = values.filter(|v| !v.is_null()).flat_map(|v| match v.get("items") {
        Some(Value::Array(items)) if v.get("kind").and_then(Value::as_str).is_some_and(|k| k.ends_with("List")) => {
            items.clone()
        }
        _ => vec![v],
    });
    Ok(values.map(|value| Document { source: source.to_owned(), value }).collect())
}
