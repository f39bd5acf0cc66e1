//! How much the webhook answers, as a ratio to an endpoint on the same stack (TLS, HTTP, routes) that judges nothing.
//!
//! `cargo bench --bench load [-- --connections 8 --seconds 5]`. Both endpoints run in this process, on loopback, and
//! are driven in turns by kept connections, each of which sends its next request when it has its answer. The numbers
//! of one machine mean little; the ratio says what judging and recording cost.

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::routing::post;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use portcullis::app::App;
use portcullis::config::{Environment, Options, Settings};
use portcullis::server::{ConnectionLimits, Phases, ServingCertificate, TlsIdentity, Transport, serve, server_config};
use portcullis::telemetry::Metrics;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;

/// Each endpoint is driven this many times, in turns, so that neither has the machine's better half.
const ROUNDS: u32 = 4;

/// A Pod that is denied, an update of a Deployment, a ConfigMap: what a cluster sends most.
const REVIEWS: [&str; 3] = ["create-pods-2.json", "update-deployments-1.json", "create-configmaps-1.json"];

/// An answer as large as the webhook's.
const CONSTANT: &str =
    r#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","response":{"uid":"0","allowed":true}}"#;

struct Arguments {
    connections: usize,
    time: Duration,
}

fn main() -> anyhow::Result<()> {
    let arguments = arguments()?;
    let dir = tempfile::tempdir()?;
    let server = tokio::runtime::Runtime::new()?;
    let client = tokio::runtime::Runtime::new()?;
    let options = options(dir.path())?;
    let (app, constant) = server.block_on(async {
        let app = App::start(&options).await?;
        let constant = constant_endpoint(&dir.path().join("tls")).await?;
        anyhow::Ok((app, constant))
    })?;
    let ca = dir.path().join("tls/ca.crt");
    println!("{} connections, {:?} an endpoint and review", arguments.connections, arguments.time);
    let mut table = String::new();
    for name in REVIEWS {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/reviews/validate").join(name);
        let review = Bytes::from(fs::read(path)?);
        let mut judged = Sample::default();
        let mut baseline = Sample::default();
        for _ in 0..ROUNDS {
            let time = arguments.time / ROUNDS;
            baseline.add(client.block_on(drive(constant, &ca, &review, arguments.connections, time))?);
            judged.add(client.block_on(drive(app.webhook, &ca, &review, arguments.connections, time))?);
        }
        writeln!(table, "{name} ({} bytes)", review.len())?;
        writeln!(table, "  TLS no-op   {}", baseline.line())?;
        writeln!(table, "  portcullis  {}", judged.line())?;
        writeln!(table, "  ratio       {:.4} of the no-op's requests/s", judged.rate() / baseline.rate())?;
    }
    print!("{table}");
    server.block_on(app.drain(Duration::ZERO, "the run is over"))
}

fn arguments() -> anyhow::Result<Arguments> {
    let mut found = Arguments { connections: 8, time: Duration::from_secs(5) };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or_else(|| anyhow::anyhow!("`{word}` needs a number"));
        match word.as_str() {
            "--connections" => found.connections = value()?.parse()?,
            "--seconds" => found.time = Duration::from_secs_f64(value()?.parse()?),
            "--bench" => {}
            other => anyhow::bail!("`{other}` is not known; write --connections N or --seconds N"),
        }
    }
    Ok(found)
}

fn options(dir: &Path) -> anyhow::Result<Options> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let settings = Settings {
        policies: vec![root.join("policies")],
        data: vec![root.join("policies/example-data")],
        listen: Some("127.0.0.1:0".parse()?),
        admin_listen: Some("127.0.0.1:0".parse()?),
        state_dir: Some(dir.to_owned()),
        replica: Some("bench".to_owned()),
        ..Settings::default()
    };
    let processors = std::thread::available_parallelism()?.get();
    Ok(Options::check(settings, &Environment { processors, ..Environment::default() })?)
}

/// The same listener, TLS and router as the webhook's, with a constant for an answer.
async fn constant_endpoint(tls: &Path) -> anyhow::Result<SocketAddr> {
    let identity = TlsIdentity { cert: tls.join("tls.crt"), key: tls.join("tls.key") };
    let config = server_config(Arc::new(ServingCertificate::load(identity)?), None)?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let addr = listener.local_addr()?;
    // Reads the body, as the webhook has to.
    let router = Router::new()
        .route("/v1/validate", post(|_: Bytes| async { ([(CONTENT_TYPE, "application/json")], CONSTANT) }));
    let (sender, phases) = Phases::begin();
    let metrics = Metrics::new()?;
    tokio::spawn(async move {
        serve(listener, Transport::Tls(Arc::new(config)), router, ConnectionLimits::WEBHOOK, metrics, phases).await;
        drop(sender);
    });
    Ok(addr)
}

/// Latencies of all requests, and the time they were sent in.
#[derive(Default)]
struct Sample {
    latencies: Vec<Duration>,
    time: Duration,
}

impl Sample {
    fn add(&mut self, other: Self) {
        self.latencies.extend(other.latencies);
        self.time += other.time;
    }

    fn rate(&self) -> f64 {
        self.latencies.len() as f64 / self.time.as_secs_f64()
    }

    fn line(&mut self) -> String {
        self.latencies.sort_unstable();
        let at = |share: f64| {
            let last = self.latencies.len().saturating_sub(1);
            self.latencies.get((last as f64 * share) as usize).copied().unwrap_or_default()
        };
        format!(
            "{:>8.0} requests/s   p50 {:>9.3?}   p90 {:>9.3?}   p99 {:>9.3?}",
            self.rate(),
            at(0.5),
            at(0.9),
            at(0.99)
        )
    }
}

async fn drive(
    addr: SocketAddr,
    ca: &Path,
    review: &Bytes,
    connections: usize,
    time: Duration,
) -> anyhow::Result<Sample> {
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(ca)? {
        roots.add(certificate?)?;
    }
    let config = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = TlsConnector::from(Arc::new(config));
    let mut senders = Vec::new();
    for _ in 0..connections {
        let stream = TcpStream::connect(addr).await?;
        stream.set_nodelay(true)?;
        let stream = connector.connect(ServerName::try_from("localhost")?, stream).await?;
        let (sender, connection) = http1::handshake::<_, Full<Bytes>>(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        senders.push(sender);
    }
    let start = Instant::now();
    let end = start + time;
    let tasks: Vec<_> = senders.into_iter().map(|s| tokio::spawn(ask(s, review.clone(), end))).collect();
    let mut latencies = Vec::new();
    for task in tasks {
        latencies.extend(task.await??);
    }
    Ok(Sample { latencies, time: start.elapsed() })
}

async fn ask(
    mut sender: http1::SendRequest<Full<Bytes>>,
    review: Bytes,
    end: Instant,
) -> anyhow::Result<Vec<Duration>> {
    let mut latencies = Vec::new();
    while Instant::now() < end {
        let request = Request::post("/v1/validate?timeout=10s")
            .header("host", "localhost")
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(review.clone()))?;
        let sent = Instant::now();
        sender.ready().await?;
        let response = sender.send_request(request).await?;
        anyhow::ensure!(response.status().is_success(), "answered {}", response.status());
        response.into_body().collect().await?;
        latencies.push(sent.elapsed());
    }
    Ok(latencies)
}
