//! `portcullis webhook config`: the webhook configurations that the loaded policies need.

use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use serde_json::Value;

use crate::cli::webhook::label;
use crate::cli::{Exit, HttpArgs, PolicyArgs, report_load_errors};
use crate::engine::{CompileOptions, PolicySummary, compile};
use crate::policy::names;
use crate::source;
use crate::webhook::{RegistrationOptions, Target, mutating, taking_the_cluster, validating};

/// Print the Validating- and the MutatingWebhookConfiguration for the loaded policies
///
/// Rules and match conditions come from what the policies match. Each configuration has two entries: `enforce`, which
/// leaves the system namespaces and Portcullis' own out, and `observe`, which takes them and never holds a request up.
#[derive(Debug, Args)]
pub(super) struct ConfigArgs {
    #[command(flatten)]
    policies: PolicyArgs,
    #[command(flatten)]
    http: HttpArgs,
    /// Name of both configurations
    #[arg(long, value_name = "NAME", default_value = "portcullis")]
    name: String,
    /// Service that the API server calls
    #[arg(long, value_name = "NAME", default_value = "portcullis", conflicts_with = "url")]
    service: String,
    /// Namespace of the Service; the `enforce` entries leave it out
    #[arg(long, value_name = "NAME", default_value = "portcullis-system")]
    namespace: String,
    /// Base URL instead of a Service, such as `https://127.0.0.1:8443`
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// PEM file of the certificate authority that the API server must trust; without it `caBundle` is left out
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// More namespaces for the `enforce` entries to leave out; may be given more than once
    #[arg(long, value_name = "NAME")]
    exclude_namespace: Vec<String>,
    /// `failurePolicy` of the `enforce` entries
    #[arg(long, value_enum, default_value_t = FailurePolicy::Fail)]
    failure_policy: FailurePolicy,
    /// Seconds the API server waits for an answer
    #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(i32).range(1..=30))]
    timeout_seconds: i32,
    /// How to print
    #[arg(short, long, value_enum, default_value_t = Output::Yaml)]
    output: Output,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum FailurePolicy {
    #[value(name = "Fail", alias = "fail")]
    Fail,
    #[value(name = "Ignore", alias = "ignore")]
    Ignore,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    Yaml,
    Json,
}

/// Runs the command.
///
/// # Errors
/// Policies that cannot be loaded, a file that holds no certificate.
pub(super) fn run(args: &ConfigArgs) -> anyhow::Result<Exit> {
    let loaded = source::load(&args.policies.load_options(&[], false)?);
    let options = CompileOptions { http_send: args.http.http_send(), ..CompileOptions::default() };
    let compiled = match loaded.and_then(|l| compile(&l.sources, options)) {
        Ok(compiled) => compiled,
        Err(errors) => {
            report_load_errors(&errors);
            return Ok(Exit::CouldNotRun);
        }
    };
    let policies: Vec<PolicySummary> = compiled.snapshot.policies().cloned().collect();
    let options = registration(args)?;
    for policy in taking_the_cluster(&policies) {
        eprintln!(
            "note: policy `{}` takes every cluster-scoped object, so `enforce` holds all of them up when nobody answers; \
             give it a `match`",
            policy.name
        );
    }
    let documents: Vec<Value> = [
        validating(&policies, &options).map(serde_json::to_value).transpose()?,
        mutating(&policies, &options).map(serde_json::to_value).transpose()?,
    ]
    .into_iter()
    .flatten()
    .collect();
    if documents.is_empty() {
        bail!("no policy was found: there is nothing to register");
    }
    match args.output {
        Output::Json => println!("{:#}", serde_json::json!({"apiVersion": "v1", "kind": "List", "items": documents})),
        Output::Yaml => {
            for document in documents {
                print!("---\n{}", serde_saphyr::to_string(&document)?);
            }
        }
    }
    Ok(Exit::Fine)
}

fn registration(args: &ConfigArgs) -> anyhow::Result<RegistrationOptions> {
    let ca_bundle = match &args.ca_file {
        None => None,
        Some(path) => {
            let pem = std::fs::read(path).with_context(|| format!("--ca-file: cannot read `{}`", path.display()))?;
            if !String::from_utf8_lossy(&pem).contains("-----BEGIN CERTIFICATE-----") {
                bail!("--ca-file: `{}` holds no PEM certificate", path.display());
            }
            Some(pem)
        }
    };
    if !names::is_subdomain(&args.name) {
        let rule = "lower case letters, digits, `-` and `.` inside, at most 253";
        bail!("--name: `{}` is not a name of RFC 1123: {rule}", args.name);
    }
    label("service", &args.service)?;
    label("namespace", &args.namespace)?;
    args.exclude_namespace.iter().try_for_each(|name| label("exclude-namespace", name))?;
    let target = match &args.url {
        Some(url) if url.starts_with("https://") => Target::Url(url.clone()),
        Some(url) => bail!("--url: `{url}` must begin with https://; the API server calls nothing else"),
        None => Target::Service { name: args.service.clone(), namespace: args.namespace.clone() },
    };
    let own = args.url.is_none().then(|| args.namespace.clone());
    Ok(RegistrationOptions {
        name: args.name.clone(),
        target,
        ca_bundle,
        excluded_namespaces: own.into_iter().chain(args.exclude_namespace.iter().cloned()).collect(),
        failure_policy: match args.failure_policy {
            FailurePolicy::Fail => "Fail".to_owned(),
            FailurePolicy::Ignore => "Ignore".to_owned(),
        },
        timeout_seconds: args.timeout_seconds,
    })
}
