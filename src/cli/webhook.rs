//! `portcullis webhook`: what a cluster needs to call us.

mod config;

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use anyhow::{Context, bail};
use clap::{Args, Subcommand, ValueEnum};
use serde_json::Value;

use crate::cli::Exit;
use crate::policy::names;
use crate::units::Span;
use crate::webhook::{self, Authority};

/// What a cluster needs to call the webhook.
#[derive(Debug, Args)]
pub(super) struct WebhookArgs {
    #[command(subcommand)]
    command: WebhookCommand,
}

#[derive(Debug, Subcommand)]
enum WebhookCommand {
    /// Make a serving certificate: one Secret for all replicas, and the caBundle that goes with it
    ///
    /// The Secret goes to stdout, ready for `kubectl apply -f -`. Its `ca.crt` is, as it stands there, the
    /// `clientConfig.caBundle` of every webhook: `-o ca-bundle` prints it alone when the Secret is written with
    /// `--out-dir`. The authority's key is thrown away, so each run makes a new authority: apply Secret and caBundle
    /// of the same run together.
    Certs(CertsArgs),
    Config(Box<config::ConfigArgs>),
}

#[derive(Debug, Args)]
struct CertsArgs {
    /// Service that the API server calls
    #[arg(long, value_name = "NAME")]
    service: String,

    /// Namespace of the Service
    #[arg(long, value_name = "NAME")]
    namespace: String,

    /// Name of the Secret
    #[arg(long, value_name = "NAME", default_value = "portcullis-tls")]
    secret_name: String,

    /// How long the certificate is good
    #[arg(long, value_name = "DURATION", default_value = "8760h")]
    validity: Span,

    /// Write ca.crt, tls.crt, tls.key and secret.yaml here
    #[arg(long, value_name = "DIR")]
    out_dir: Option<PathBuf>,

    /// What to print
    #[arg(short, long, value_enum, default_value_t = CertsOutput::Yaml)]
    output: CertsOutput,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum CertsOutput {
    /// The Secret, with the caBundle in a comment
    Yaml,
    /// The Secret
    Json,
    /// The caBundle (needs --out-dir, or the key would be lost)
    CaBundle,
}

/// Runs the command.
///
/// # Errors
/// Names that no certificate can carry, files that cannot be written.
pub(super) fn run(args: &WebhookArgs) -> anyhow::Result<Exit> {
    match &args.command {
        WebhookCommand::Certs(args) => certs(args, SystemTime::now()),
        WebhookCommand::Config(args) => config::run(args),
    }
}

fn certs(args: &CertsArgs, now: SystemTime) -> anyhow::Result<Exit> {
    for (flag, name) in [("service", &args.service), ("namespace", &args.namespace), ("secret-name", &args.secret_name)]
    {
        label(flag, name)?;
    }
    let least = Duration::from_secs(3600);
    if args.validity.0 < least || args.validity.0 > least * 24 * 3650 {
        bail!("--validity: must be between 1h and 87600h (ten years)");
    }
    if args.output == CertsOutput::CaBundle && args.out_dir.is_none() {
        bail!("--output ca-bundle: needs --out-dir; the certificate it belongs to would be lost");
    }
    let host = format!("{}.{}", args.service, args.namespace);
    let names = [args.service.clone(), host.clone(), format!("{host}.svc"), format!("{host}.svc.cluster.local")];
    // The authority signs once and its key is dropped: nobody can sign another certificate that the API server trusts.
    let authority = Authority::create(now, args.validity.0)?;
    let serving = authority.serving(&names, now, args.validity.0)?;
    let ca = &authority.pair().certificate;
    let secret = webhook::secret(&args.secret_name, &args.namespace, &serving, ca);
    let yaml = yaml(&secret, args);
    if let Some(dir) = &args.out_dir {
        std::fs::create_dir_all(dir).with_context(|| format!("--out-dir: cannot create `{}`", dir.display()))?;
        for (file, text) in
            [("ca.crt", ca), ("tls.crt", &serving.certificate), ("tls.key", &serving.key.0), ("secret.yaml", &yaml)]
        {
            webhook::write_private(&dir.join(file), text)?;
            eprintln!("wrote {}", dir.join(file).display());
        }
    }
    match args.output {
        CertsOutput::Yaml => print!("{yaml}"),
        CertsOutput::Json => println!("{}", serde_json::to_string_pretty(&secret)?),
        CertsOutput::CaBundle => println!("{}", webhook::ca_bundle(ca)),
    }
    Ok(Exit::Fine)
}

/// By hand, so that each value stays on one line: names and base64 need no quotes.
fn yaml(secret: &Value, args: &CertsArgs) -> String {
    let mut text = format!(
        "# Serving certificate of Service {service} in namespace {namespace}: kubectl apply -f this file.\n\
         # The value of `ca.crt` below is the caBundle: put it, as it stands, into `clientConfig.caBundle` of every\n\
         # webhook in the ValidatingWebhookConfiguration and the MutatingWebhookConfiguration, or read it back with\n\
         #   kubectl -n {namespace} get secret {name} -o 'jsonpath={{.data.ca\\.crt}}'\n\
         apiVersion: v1\nkind: Secret\ntype: kubernetes.io/tls\nmetadata:\n  name: {name}\n  namespace: {namespace}\n  \
         labels:\n    app.kubernetes.io/name: portcullis\ndata:\n",
        service = args.service,
        namespace = args.namespace,
        name = args.secret_name,
    );
    for key in ["ca.crt", "tls.crt", "tls.key"] {
        let value = secret.pointer(&format!("/data/{key}")).and_then(Value::as_str).unwrap_or_default();
        text.push_str(&format!("  {key}: {value}\n"));
    }
    text
}

/// Refuses what Kubernetes would refuse as the name of a Service or a Namespace.
fn label(flag: &str, name: &str) -> anyhow::Result<()> {
    if names::is_label(name) {
        return Ok(());
    }
    bail!("--{flag}: `{name}` is not a name of RFC 1123: lower case letters, digits and `-` inside, at most 63");
}
