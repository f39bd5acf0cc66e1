//! Sinks: what leaves the log arrives, whatever happens on the way, holds up no answer, and can be held against the tree.

#[cfg(feature = "kafka")]
mod broker;
pub(crate) mod receiver;
mod reconciling;
#[cfg(feature = "kafka")]
mod scram;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::collector::logs::v1::{
    ExportLogsPartialSuccess, ExportLogsServiceRequest, ExportLogsServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use prost::Message as _;
use serde_json::{Value, json};

use crate::reviews;
use crate::support::client::{Client, metric};
use crate::support::server::{Server, command, records};
use receiver::Receiver;

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

/// Posts so many captured reviews; how long the slowest answer took.
fn post(server: &Server, count: usize) -> Duration {
    let cases = reviews::cases();
    runtime().block_on(async {
        let mut client = Client::http1(server).await;
        let mut slowest = Duration::ZERO;
        for case in cases.iter().cycle().take(count) {
            let path = format!("/v1/{}?timeout=10s", case.endpoint().as_str());
            let body = String::from_utf8(case.body()).expect("UTF-8");
            let start = Instant::now();
            assert!(client.post(&path, &body).await.status.is_success());
            slowest = slowest.max(start.elapsed());
        }
        slowest
    })
}

/// A server's TLS for `localhost` and 127.0.0.1, and the certificate that clients must trust, as PEM.
fn tls() -> (Arc<rustls::ServerConfig>, String) {
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    let made = rcgen::generate_simple_self_signed(names).expect("a certificate");
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.expect("versions").with_no_client_auth();
    let config = config.with_single_cert(vec![made.cert.der().clone()], key).expect("a configuration");
    (Arc::new(config), made.cert.pem())
}

fn stop(mut server: Server) -> tempfile::TempDir {
    server.signal("-INT");
    assert!(server.wait().success(), "{}", server.messages());
    server.kill_if_there()
}

fn log(dir: &Path) -> std::path::PathBuf {
    dir.join(".portcullis/decisions")
}

/// Runs `decisions reconcile`: exit code, faults as `<fault> <seq>`, summary.
fn reconcile(dir: &Path, delivered: &[&str], environment: &[(&str, String)]) -> (Option<i32>, Vec<String>, Value) {
    let args = [&["decisions", "reconcile", "-o", "json"], delivered].concat();
    let mut command = command(dir, &args);
    command.envs(environment.iter().map(|(k, v)| (*k, v.as_str())));
    let output = command.output().expect("runs");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let lines: Vec<Value> = text.lines().map(|l| serde_json::from_str(l).expect("JSON")).collect();
    let faults = lines.iter().filter(|l| l["type"] == "fault");
    let faults = faults.map(|l| format!("{} {}", l["fault"].as_str().unwrap_or_default(), l["seq"])).collect();
    let messages = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code(), faults, lines.last().cloned().unwrap_or(json!(messages)))
}

/// What arrived at OPA's API: the events of all uploads.
fn uploaded(receiver: &Receiver) -> Vec<Value> {
    let uploads = receiver.received();
    uploads.iter().flat_map(|r| serde_json::from_slice::<Vec<Value>>(&r.body).expect("an array")).collect()
}

fn decisions(records: &[Value]) -> BTreeSet<String> {
    let found = records.iter().filter(|r| r["type"] == "decision");
    found.map(|r| r["decision_id"].as_str().expect("an id").to_owned()).collect()
}

#[test]
fn opa_uploads_arrive_whole() {
    let receiver = Receiver::start();
    // Too much at first, then too busy.
    receiver.will_answer(&[(413, b""), (429, b""), (503, b"")]);
    let dir = tempfile::tempdir().expect("a directory");
    fs::write(dir.path().join("token"), "s3cret\n").expect("written");
    let config = format!(
        "sinks:\n- {{url: 'opa+http://{}/api?partition=east', tokenFile: token, bodies: true, interval: 0s}}\n",
        receiver.addr
    );
    fs::write(dir.path().join("config.yaml"), config).expect("written");
    let server = Server::start_in(dir, &["--config", "config.yaml"]);
    post(&server, 81);
    let dir = stop(server);
    let records = records(&log(dir.path()));
    let events = uploaded(&receiver);
    let ids: BTreeSet<String> = events.iter().map(|e| e["decision_id"].as_str().expect("an id").to_owned()).collect();
    assert_eq!(ids, decisions(&records));
    assert_eq!(events.len(), ids.len(), "nothing arrived twice");
    for upload in receiver.received() {
        assert_eq!(upload.path, "/api/logs/east");
        assert_eq!(upload.headers["authorization"], "Bearer s3cret");
        assert!(
            upload.sent <= 32_768 || serde_json::from_slice::<Vec<Value>>(&upload.body).is_ok_and(|e| e.len() == 1)
        );
    }
    // A refused Pod, as OPA's consumers read it.
    let denied = events
        .iter()
        .find(|e| {
            e["result"]["allowed"] == json!(false)
                && e["input"]["request"]["object"]["spec"].is_object()
                && e["masked"].is_array()
        })
        .expect("one");
    assert_eq!(denied["path"], "portcullis/validate");
    assert!(denied["masked"][0].as_str().is_some_and(|p| p.starts_with("/input/request/")), "{denied}");
    assert!(
        denied["input"]["request"]["object"].is_object() && denied["bundles"]["policy_set"]["revision"].is_string()
    );
    // What arrived is what the log has.
    let delivered = dir.path().join("delivered.jsonl");
    let text: String =
        receiver.received().iter().map(|r| String::from_utf8_lossy(&r.body).into_owned() + "\n").collect();
    fs::write(&delivered, &text).expect("written");
    let (code, faults, summary) = reconcile(dir.path(), &["delivered.jsonl"], &[]);
    assert_eq!((code, faults), (Some(0), Vec::new()), "{summary}");
    assert_eq!(summary["intact"], json!(ids.len()));
    // One field of one event, and one event twice.
    let mut changed = events.clone();
    let seq = changed[3]["portcullis"]["seq"].clone();
    changed[3]["result"]["allowed"] = json!(!changed[3]["result"]["allowed"].as_bool().expect("a verdict"));
    let again = changed[5].clone();
    let gone = changed.remove(7);
    changed.push(again.clone());
    let text: String = changed.iter().map(|e| format!("{e}\n")).collect();
    fs::write(&delivered, text).expect("written");
    let (code, mut faults, _) = reconcile(dir.path(), &["delivered.jsonl"], &[]);
    faults.sort();
    let mut expected = vec![
        format!("altered {seq}"),
        format!("missing {}", gone["portcullis"]["seq"]),
        format!("twice {}", again["portcullis"]["seq"]),
    ];
    expected.sort();
    assert_eq!((code, faults), (Some(1), expected));
    // What was exported is itself on record, without an end.
    let exports = records.iter().filter(|r| r["type"] == "read" && r["action"] == "export").count();
    assert!((1..=3).contains(&exports), "{exports}");
    let export = records.iter().find(|r| r["type"] == "read").expect("one");
    assert_eq!((&export["reader"], &export["bodies"]), (&json!("sink/opa"), &json!(true)));
    assert!(!export["what"].as_str().expect("text").contains("s3cret"));
}

#[test]
fn a_sink_that_is_away_holds_up_nobody_and_misses_nothing() {
    // Nobody listens there.
    let addr = {
        let gone = Receiver::start();
        gone.addr
    };
    let url = format!("http://{addr}/");
    let server = Server::start(&["--sink", &url]);
    let slowest = post(&server, 30);
    assert!(slowest < Duration::from_secs(8), "{slowest:?}");
    let failed =
        || runtime().block_on(metric(&server, "portcullis_sink_failures_total{reason=\"network\",sink=\"http\"}"));
    let start = Instant::now();
    while failed() < 1.0 {
        assert!(start.elapsed() < Duration::from_secs(30), "no failure is counted");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(runtime().block_on(metric(&server, "portcullis_sink_lag_records{sink=\"http\"}")) > 0.0);
    // Killed at that: the cursor and the log are all there is.
    let dir = server.kill();
    let receiver = Receiver::start_at(addr);
    let server = Server::start_in(dir, &["--sink", &url]);
    post(&server, 5);
    let dir = stop(server);
    let lines: Vec<Value> = receiver
        .received()
        .iter()
        .flat_map(|r| {
            String::from_utf8_lossy(&r.body)
                .lines()
                .map(|l| serde_json::from_str(l).expect("JSON"))
                .collect::<Vec<Value>>()
        })
        .collect();
    let arrived: BTreeSet<String> = decisions(&lines.iter().map(|l| l["record"].clone()).collect::<Vec<_>>());
    assert_eq!(arrived, decisions(&records(&log(dir.path()))));
    let text: String = receiver.received().iter().map(|r| String::from_utf8_lossy(&r.body).into_owned()).collect();
    fs::write(dir.path().join("delivered.ndjson"), &text).expect("written");
    let (code, faults, summary) = reconcile(dir.path(), &["delivered.ndjson"], &[]);
    assert_eq!((code, faults.iter().filter(|f| !f.starts_with("twice")).count()), (Some(0), 0), "{summary}");
    // A byte of a line.
    fs::write(
        dir.path().join("delivered.ndjson"),
        text.replacen("\"username\":\"admin\"", "\"username\":\"bdmin\"", 1),
    )
    .expect("written");
    let (code, faults, _) = reconcile(dir.path(), &["delivered.ndjson"], &[]);
    assert_eq!(code, Some(1));
    assert_eq!(faults.iter().filter(|f| f.starts_with("altered")).count(), 1, "{faults:?}");
}

#[test]
fn otlp_logs_arrive_and_a_partial_success_is_not_sent_again() {
    let receiver = Receiver::start();
    let partial = ExportLogsServiceResponse {
        partial_success: Some(ExportLogsPartialSuccess { rejected_log_records: 2, error_message: "too old".into() }),
    };
    // Too busy until there is more than one record, then too much at once.
    receiver.will_answer(&[(503, b""), (503, b""), (413, b""), (200, &partial.encode_to_vec())]);
    let server = Server::start(&["--sink", &format!("otlp+http://{}", receiver.addr)]);
    post(&server, 10);
    receiver.wait("logs", |r| !r.received().is_empty());
    let start = Instant::now();
    while runtime().block_on(metric(&server, "portcullis_sink_refused_total{sink=\"otlp\"}")) < 2.0 {
        assert!(start.elapsed() < Duration::from_secs(30), "what was refused is not counted");
        std::thread::sleep(Duration::from_millis(50));
    }
    let dir = stop(server);
    let mut seen = BTreeMap::new();
    for request in receiver.received() {
        assert_eq!(
            (request.path.as_str(), request.headers["content-type"].as_str()),
            ("/v1/logs", "application/x-protobuf")
        );
        let logs = ExportLogsServiceRequest::decode(&request.body[..]).expect("OTLP");
        for resource in logs.resource_logs {
            let attributes = resource.resource.expect("a resource").attributes;
            assert!(attributes.iter().any(|a| a.key == "service.name"));
            for record in resource.scope_logs.into_iter().flat_map(|s| s.log_records) {
                let Some(Any::StringValue(body)) = record.body.and_then(|b| b.value) else { panic!("no body") };
                let event: Value = serde_json::from_str(&body).expect("JSON");
                assert!(record.time_unix_nano > 0);
                seen.insert(event["record"]["seq"].as_u64().expect("a number"), body);
            }
        }
    }
    let total = decisions(&records(&log(dir.path()))).len();
    assert_eq!(seen.values().filter(|b| b.contains("\"type\":\"decision\"")).count(), total);
}

#[test]
fn object_storage_gets_parquet_that_reconciles() {
    let receiver = Receiver::start();
    // The first try is refused.
    receiver.will_answer(&[(503, b""), (500, b"")]);
    let endpoint = format!("http://{}", receiver.addr);
    let environment = [
        ("AWS_ENDPOINT", endpoint.as_str()),
        ("AWS_ALLOW_HTTP", "true"),
        ("AWS_REGION", "us-east-1"),
        ("AWS_ACCESS_KEY_ID", "id"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
    ];
    let dir = tempfile::tempdir().expect("a directory");
    fs::write(
        dir.path().join("config.yaml"),
        "sinks: [{name: lake, url: 's3://bucket/audit', bodies: true, interval: 1s}]\n",
    )
    .expect("written");
    let server = Server::start_with(dir, &["--config", "config.yaml", "--cluster-name", "prod"], &environment);
    post(&server, 40);
    receiver.wait("an object", |r| !r.objects().is_empty());
    let dir = stop(server);
    assert_eq!(receiver.unsigned(), 0);
    let names: Vec<String> = receiver.objects().into_keys().collect();
    let partition = |name: &String| {
        let parts: Vec<&str> = name.split('/').collect();
        parts.len() == 5
            && parts[0] == "audit"
            && parts[1] == "cluster=prod"
            && parts[2].starts_with("date=20")
            && parts[3].starts_with("hour=")
            && parts[4].ends_with(".parquet")
    };
    assert!(names.iter().all(partition), "{names:?}");
    let environment: Vec<(&str, String)> = environment.iter().map(|(k, v)| (*k, (*v).to_owned())).collect();
    let (code, faults, summary) = reconcile(dir.path(), &["s3://bucket/audit"], &environment);
    assert_eq!((code, faults), (Some(0), Vec::new()), "{summary}");
    assert!(summary["intact"].as_u64() >= Some(40), "{summary}");
    // The same from files, one of which is not there, and with one row changed.
    let copies = dir.path().join("copies");
    fs::create_dir(&copies).expect("made");
    for (n, content) in receiver.objects().values().enumerate() {
        fs::write(copies.join(format!("{n}.parquet")), content).expect("written");
    }
    let (code, ..) = reconcile(dir.path(), &["copies"], &[]);
    assert_eq!(code, Some(0));
    fs::write(copies.join("junk.parquet"), b"PAR1 not a file PAR1").expect("written");
    let (code, _, message) = reconcile(dir.path(), &["copies"], &[]);
    assert_eq!(code, Some(2), "{message}");
    assert!(message.to_string().contains("cannot be read"), "{message}");
}

#[test]
fn object_storage_is_spoken_to_over_tls() {
    let (config, authority) = tls();
    let receiver = Receiver::start_tls(config);
    let dir = tempfile::tempdir().expect("a directory");
    fs::write(dir.path().join("trusted.pem"), authority).expect("written");
    fs::write(dir.path().join("other.pem"), tls().1).expect("written");
    let place = format!("s3://bucket/audit?endpoint=https://localhost:{}&region=us-east-1", receiver.addr.port());
    fs::write(dir.path().join("config.yaml"), format!("sinks: [{{url: '{place}', interval: 0s}}]\n")).expect("written");
    let secrets = [("AWS_ACCESS_KEY_ID", "id"), ("AWS_SECRET_ACCESS_KEY", "secret")];
    let with = |authorities: &'static str| [&secrets[..], &[("SSL_CERT_FILE", authorities)]].concat();
    // A server that nobody vouches for gets nothing.
    let server = Server::start_with(dir, &["--config", "config.yaml"], &with("other.pem"));
    post(&server, 3);
    let start = Instant::now();
    while runtime().block_on(metric(&server, "portcullis_sink_failures_total{reason=\"network\",sink=\"s3\"}")) < 1.0 {
        assert!(start.elapsed() < Duration::from_secs(60), "a stranger was believed: {}", server.messages());
        std::thread::sleep(Duration::from_millis(50));
    }
    let dir = stop(server);
    assert!(receiver.objects().is_empty());
    let server = Server::start_with(dir, &["--config", "config.yaml"], &with("trusted.pem"));
    receiver.wait("an object", |r| !r.objects().is_empty());
    stop(server);
    assert_eq!(receiver.unsigned(), 0);
}

#[test]
fn what_otlp_calls_bad_is_left_out_alone() {
    let receiver = Receiver::start();
    // Bad among several, then alone.
    receiver.will_answer(&[
        (503, b""),
        (503, b""),
        (400, b""),
        (400, b""),
        (400, b""),
        (400, b""),
        (400, b""),
        (400, b""),
    ]);
    let server = Server::start(&["--sink", &format!("otlp+http://{}", receiver.addr)]);
    post(&server, 10);
    receiver.wait("logs", |r| !r.received().is_empty());
    let start = Instant::now();
    while runtime().block_on(metric(&server, "portcullis_sink_refused_total{sink=\"otlp\"}")) < 1.0 {
        assert!(start.elapsed() < Duration::from_secs(30), "nothing was left out");
        std::thread::sleep(Duration::from_millis(50));
    }
    let dir = stop(server);
    let logs = receiver.received().into_iter().map(|r| ExportLogsServiceRequest::decode(&r.body[..]).expect("OTLP"));
    let arrived: usize =
        logs.flat_map(|l| l.resource_logs).flat_map(|r| r.scope_logs).map(|s| s.log_records.len()).sum();
    let total = records(&log(dir.path())).len();
    // One for each 400 at the most, and the last words, which may have to wait for the next start.
    assert!(arrived < total && arrived >= total - 9, "{arrived} of {total}");
}

#[test]
#[cfg(feature = "kafka")]
fn a_topic_gets_every_record_in_order() {
    let (config, authority) = tls();
    for secure in [false, true] {
        let user = secure.then_some(("audit", "a pass:word"));
        let broker = broker::Broker::start(secure.then(|| Arc::clone(&config)), user);
        // The leader has moved.
        broker.will_answer(&[6]);
        let dir = tempfile::tempdir().expect("a directory");
        fs::write(dir.path().join("ca.pem"), &authority).expect("written");
        // A password that is wrong at first is told of, and read again.
        fs::write(dir.path().join("user"), "audit:wrong").expect("written");
        let (scheme, ca) = if secure { ("kafka+tls", ", ca: ca.pem, tokenFile: user") } else { ("kafka", "") };
        let port = broker.port;
        let sinks = format!("sinks: [{{url: '{scheme}://localhost:{port}/decisions', interval: 1s{ca}}}]\n");
        fs::write(dir.path().join("config.yaml"), sinks).expect("written");
        let server = Server::start_in(dir, &["--config", "config.yaml"]);
        post(&server, 40);
        if secure {
            let begun = Instant::now();
            let told = || {
                let messages = server.messages();
                let of_ours = messages.lines().find(|l| l.contains("could not be delivered"));
                of_ours.is_some_and(|l| l.contains("denied") && l.contains("SaslAuthenticationFailed"))
            };
            while !told() {
                assert!(begun.elapsed() < Duration::from_secs(30), "{}", server.messages());
                std::thread::sleep(Duration::from_millis(50));
            }
            let messages = server.messages();
            assert!(!messages.contains("wrong") && !messages.contains("Establishing"), "{messages}");
            fs::write(server.dir().join("user"), "audit:a pass:word\n").expect("written");
            while broker.messages().len() < 40 {
                assert!(begun.elapsed() < Duration::from_secs(60), "{}", server.messages());
                std::thread::sleep(Duration::from_millis(50));
            }
        }
        let dir = stop(server);
        let records = records(&log(dir.path()));
        let messages = broker.messages();
        let seen: Vec<u64> = messages
            .iter()
            .map(|m| {
                let document: Value = serde_json::from_slice(&m.value).expect("JSON");
                assert_eq!(m.leaf, document["leaf"].as_str().expect("a leaf"));
                assert_eq!(m.key.as_deref(), document["record"]["decision_id"].as_str());
                document["record"]["seq"].as_u64().expect("a number")
            })
            .collect();
        // The last are those of the end, which may have to wait for the next start.
        assert!(seen.len() >= 40 && seen.iter().copied().eq(0..seen.len() as u64), "{seen:?} of {}", records.len());
        assert!(broker.turned_away() > 0, "no batch was too large");
        assert_eq!(broker.partitions(), BTreeSet::from([messages[0].partition]), "a log has one partition");
        let delivered: String =
            messages.iter().map(|m| String::from_utf8_lossy(&m.value).into_owned() + "\n").collect();
        fs::write(dir.path().join("delivered.jsonl"), delivered).expect("written");
        let (code, faults, summary) = reconcile(dir.path(), &["delivered.jsonl"], &[]);
        assert_eq!((code, faults), (Some(0), Vec::new()), "{summary}");
    }
}

#[test]
fn a_local_directory_is_object_storage_too() {
    let dir = tempfile::tempdir().expect("a directory");
    let lake = dir.path().join("lake");
    let url = format!("file://{}", lake.display());
    let server = Server::start_in(dir, &["--sink", &url]);
    post(&server, 12);
    let dir = stop(server);
    let (code, faults, summary) = reconcile(dir.path(), &["lake"], &[]);
    assert_eq!((code, faults), (Some(0), Vec::new()), "{summary}");
    assert!(summary["intact"].as_u64() >= Some(12), "{summary}");
}

#[test]
fn exports_are_the_same_documents() {
    let server = Server::start(&[]);
    post(&server, 81);
    let dir = stop(server);
    for (format, bodies) in [("native", false), ("native", true), ("opa", true), ("ocsf", false), ("cloudevents", true)]
    {
        let mut args = vec!["decisions", "export", "--type", "all", "--format", format, "--output", "out.jsonl"];
        args.extend(bodies.then_some("--bodies"));
        let output = command(dir.path(), &args).output().expect("runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = fs::read_to_string(dir.path().join("out.jsonl")).expect("written");
        let (code, faults, summary) = reconcile(dir.path(), &["out.jsonl"], &[]);
        assert_eq!((code, faults), (Some(0), Vec::new()), "{format}: {summary}");
        assert_eq!(summary["leaf_only"], json!(0), "{format}");
        let first: Value =
            serde_json::from_str(text.lines().find(|l| l.contains("decision_id") || format == "ocsf").expect("one"))
                .expect("JSON");
        match format {
            "ocsf" => {
                assert_eq!((&first["class_uid"], &first["category_uid"]), (&json!(6003), &json!(6)));
                let activity = first["activity_id"].as_u64().expect("a number");
                assert_eq!(first["type_uid"], json!(600_300 + activity));
                for field in
                    ["time", "severity_id", "metadata", "actor", "api", "src_endpoint", "action_id", "authorizations"]
                {
                    assert!(!first[field].is_null(), "{field}");
                }
            }
            "cloudevents" => {
                assert_eq!(first["specversion"], "1.0");
                assert!(["id", "source", "type", "time"].iter().all(|a| first[*a].is_string()));
                let names = first.as_object().expect("an object").keys();
                assert!(names.into_iter().all(|n| n.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())));
            }
            _ => {}
        }
    }
}

#[test]
fn wrong_settings_are_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    for (config, says) in [
        ("sinks: [{url: 'ftp://x'}]", "unknown scheme `ftp`"),
        ("sinks: [{url: 'https://u:pw@x/'}]", "write credentials into a file"),
        ("sinks: [{url: 's3://b/p?aws_secret_access_key=x'}]", "put them into the environment"),
        ("sinks: [{name: a, url: 'https://x'}, {name: a, url: 'https://y'}]", "two sinks have the name `a`"),
        ("sinks: [{name: 'a/b', url: 'https://x'}]", "is no name of a sink"),
        ("sinks: [{url: 's3://b', format: opa}]", "takes no `opa`"),
        ("sinks: [{url: 's3://b', tokenFile: t}]", "takes neither `tokenFile` nor `ca`"),
        ("sinks: [{url: 'https://x', interval: 2h}]", "too long"),
        ("sinks: [{url: 'https://x', tokenfile: t}]", "tokenFile"),
        ("sinks: [{url: 'https://x', ca: nowhere.pem}]", "cannot read `nowhere.pem`"),
    ] {
        fs::write(dir.path().join("config.yaml"), config).expect("written");
        let args = ["serve", "--config", "config.yaml", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];
        let output = command(dir.path(), &args).output().expect("runs");
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{config}: {message}");
        assert!(message.contains(says) && !message.contains("pw"), "{config}: {message}");
    }
}
