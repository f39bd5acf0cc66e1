//! `portcullis serve`: settings in, a running server, and what a person needs to know about it on stdout.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use anyhow::{Context, bail};
use clap::Args;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::app::App;
use crate::cli::{Exit, now_ns};
use crate::config::{self, Certificates, ClusterAccess, Environment, LogFormat, Options, Settings};
use crate::policy::{Instant, PolicyException};
use crate::telemetry;

/// A captured review that is denied, if we are in the repository.
const REVIEW: &str = "tests/it/reviews/validate/create-pods-2.json";

/// A Pod that runs as root, as small as it can be.
const INLINE_REVIEW: &str = concat!(
    r#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"1","operation":"CREATE","#,
    r#""kind":{"group":"","version":"v1","kind":"Pod"},"resource":{"group":"","version":"v1","resource":"pods"},"#,
    r#""name":"rooted","namespace":"tenant-b","userInfo":{"username":"jane","groups":["system:authenticated"]},"#,
    r#""object":{"apiVersion":"v1","kind":"Pod","metadata":{"name":"rooted","namespace":"tenant-b"},"#,
    r#""spec":{"containers":[{"name":"shell","image":"busybox:1.36","securityContext":{"runAsUser":0}}]}}}}"#,
);

/// Answers AdmissionReviews over HTTPS and records every decision.
///
/// A flag counts before its environment variable, that before the file of --config, that before the default.
#[derive(Debug, Args)]
pub(super) struct ServeArgs {
    #[command(flatten)]
    settings: Settings,
}

/// Serves until it is told to stop.
///
/// # Errors
/// Settings that cannot be right, policies that cannot be loaded, addresses and files that cannot be had.
pub(super) fn run(args: ServeArgs) -> anyhow::Result<Exit> {
    let settings = match &args.settings.config {
        Some(path) => {
            let file = config::read(path)?;
            args.settings.over(file)
        }
        None => args.settings,
    };
    let options = Options::check(settings, &environment())?;
    if let Err(message) = telemetry::check_filter(&options.log_level) {
        bail!("--log-level: `{}` is not a level or filter: {message}", options.log_level);
    }
    telemetry::init(&options.log_level, options.log_format == LogFormat::Json);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(serve(&options))
}

async fn serve(options: &Options) -> anyhow::Result<Exit> {
    let mut term = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut int = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    let mut hup = signal(SignalKind::hangup()).context("cannot listen for SIGHUP")?;
    let app = tokio::select! {
        app = App::start(options) => app?,
        // It may wait long for a server of bundles.
        reason = either(&mut term, &mut int) => bail!("{reason} came before there were policies to serve"),
    };
    for note in &app.notes {
        tracing::warn!("{note}");
    }
    print!("{}", banner(&app, options));
    let reason = loop {
        tokio::select! {
            reason = either(&mut term, &mut int) => break reason,
            _ = hup.recv() => app.reload(),
        }
    };
    // The delay gives load balancers time to look elsewhere; at a terminal there is none, and somebody waits.
    let delay = if reason == "SIGINT" { std::time::Duration::ZERO } else { options.drain_delay };
    tokio::select! {
        drained = app.drain(delay, reason) => drained.map(|()| Exit::Fine),
        second = either(&mut term, &mut int) => bail!("{second} came again before all was answered"),
    }
}

async fn either(term: &mut Signal, int: &mut Signal) -> &'static str {
    tokio::select! {
        _ = term.recv() => "SIGTERM",
        _ = int.recv() => "SIGINT",
    }
}

fn environment() -> Environment {
    let hostname = std::env::var("HOSTNAME").ok().or_else(|| std::fs::read_to_string("/proc/sys/kernel/hostname").ok());
    Environment {
        in_cluster: std::env::var_os("KUBERNETES_SERVICE_HOST").is_some(),
        hostname: hostname.map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()),
        processors: std::thread::available_parallelism().map_or(1, usize::from),
        signing_key: std::env::var("PORTCULLIS_SIGNING_KEY_DATA").ok().filter(|key| !key.trim().is_empty()),
    }
}

fn banner(app: &App, options: &Options) -> String {
    let mut text = format!("portcullis {}\n", env!("CARGO_PKG_VERSION"));
    for line in &app.from {
        text.push_str(&format!("{line}\n"));
    }
    let width = app.snapshot.policies().map(|p| p.name.len()).max().unwrap_or_default();
    for policy in app.snapshot.policies() {
        let title = policy.title.as_deref().unwrap_or_default();
        let line = format!("  {:<6} {:<width$}  {title}", policy.enforcement.as_str(), policy.name);
        text.push_str(line.trim_end());
        text.push('\n');
    }
    for b in app.snapshot.bindings() {
        let _ = writeln!(text, "binding {}: {} {}", b.name, b.enforcement.as_str(), b.policy);
    }
    for e in app.snapshot.exceptions() {
        let policies = if e.policies.is_empty() { "no policy".to_owned() } else { e.policies.join(", ") };
        let PolicyException { name, expires, ticket, .. } = e.exception.as_ref();
        let state = if e.is_live(Instant::from_nanos(now_ns())) { "until" } else { "EXPIRED" };
        let _ = writeln!(text, "exception {name}: {policies}, {state} {expires} ({ticket})");
    }
    if let Some(most) = options.max_enforcement {
        let _ = writeln!(text, "at most:      {} (--max-enforcement)", most.as_str());
    }
    let namespaces = match &options.cluster {
        ClusterAccess::None => format!("{} from data files", app.snapshot.fixed_namespaces().len()),
        ClusterAccess::Kubeconfig(path) => format!("from the cluster of {}", path.display()),
        ClusterAccess::InCluster => "from the cluster we run in".to_owned(),
    };
    // Writing to a String has no way to fail.
    let _ = write!(
        text,
        "policy set:   {}\nnamespaces:   {namespaces}\nwebhook:      https://{}/v1/validate and /v1/mutate\n\
         admin:        http://{}/livez, /readyz and /metrics\ndecision log: {}\n\ntry it:\n  {}\n",
        app.snapshot.policy_set(),
        app.webhook,
        app.admin,
        options.decision_log.display(),
        curl(app, options),
    );
    text
}

fn curl(app: &App, options: &Options) -> String {
    let ca = match (&app.ca, &options.certificates) {
        (Some(ca), _) => format!("--cacert {}", quoted(&ca.display().to_string())),
        (None, Certificates::Files { .. } | Certificates::Own { .. }) => "--cacert <the CA of --tls-cert>".to_owned(),
    };
    let client = if options.client_ca.is_some() { " --cert <certificate> --key <its key>" } else { "" };
    let body = if Path::new(REVIEW).is_file() { format!("@{REVIEW}") } else { quoted(INLINE_REVIEW) };
    format!(
        "curl -sS {ca}{client} -H 'Content-Type: application/json' --data-binary {body} {}",
        quoted(&format!("https://{}/v1/validate?timeout=5s", reachable(app.webhook)))
    )
}

/// The address as somebody on this machine reaches it.
fn reachable(addr: SocketAddr) -> SocketAddr {
    let ip = match addr.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, addr.port())
}

/// For a shell: as it is where nothing in it is special, else in single quotes.
fn quoted(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-/:@=,".contains(&b);
    if text.bytes().all(plain) { text.to_owned() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}
