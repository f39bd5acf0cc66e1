//! `portcullis serve` as the API server and its operators meet it: the real binary, over TLS.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use hyper::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::client::{Client, Identity, Reply, connect, metric, request, tls};
use crate::support::server::{PATIENCE, Server, command, records};

fn captured(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/reviews").join(name);
    fs::read_to_string(path).expect("a captured review")
}

/// A review of a Pod that nothing stands against.
fn harmless(uid: &str) -> String {
    json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
        "uid": uid, "operation": "CREATE", "name": "c", "namespace": "default",
        "kind": {"group": "", "version": "v1", "kind": "ConfigMap"},
        "resource": {"group": "", "version": "v1", "resource": "configmaps"},
        "userInfo": {"username": "admin", "groups": ["system:masters"]},
        "object": {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "namespace": "default"}},
    }})
    .to_string()
}

fn uid(review: &str) -> String {
    serde_json::from_str::<Value>(review).expect("JSON")["request"]["uid"].as_str().expect("a uid").to_owned()
}

/// The decision id that the answer carries for the audit log, with the key checked.
fn decision_id(response: &Value) -> String {
    use sha2::Digest;
    let annotations = response["auditAnnotations"].as_object().expect("annotations");
    let (key, id) = annotations.iter().find(|(k, _)| k.starts_with("decision-id.")).expect("a decision id");
    let id = id.as_str().expect("text").to_owned();
    let digest: String = sha2::Sha256::digest(id.as_bytes()).iter().take(4).map(|b| format!("{b:02x}")).collect();
    assert_eq!(key, &format!("decision-id.{digest}"));
    id
}

#[tokio::test]
async fn every_answer_carries_the_latest_checkpoint_of_the_log() {
    let server = Server::start(&["--replica", "r-7"]);
    let mut client = Client::http1(&server).await;
    let mut last = 0;
    for i in 0..4 {
        let response = client.post("/v1/validate?timeout=5s", &harmless(&format!("u-{i}"))).await.response();
        let text = response["auditAnnotations"]["checkpoint"].as_str().expect("a checkpoint").to_owned();
        let checkpoint = portcullis::tlog::Checkpoint::parse_anchor(&text).expect("origin, size and root");
        assert_eq!(checkpoint.origin, "portcullis/local/r-7");
        assert!(checkpoint.size >= last.max(1), "{text}");
        last = checkpoint.size;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    assert!(last > 1, "it follows the records");
    // The key is its owner's alone, and not in the log.
    let key = server.dir().join(".portcullis/decisions.key");
    let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(key).expect("is there").permissions());
    assert_eq!(mode & 0o777, 0o600);
    let refused = command(server.dir(), &["serve", "--signing-key", ".portcullis/decisions/k"]).output().expect("runs");
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("keep it elsewhere"));
}

/// A directory with one policy that takes about `millis` of a thread.
fn slow_policy(millis: u64) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    let policy = format!(
        "# METADATA\n# scope: package\n# title: Slow\n# custom:\n#   enforcement: deny\n#   budget: {{time: {millis}ms}}\n\
         #   match: {{rules: [{{apiGroups: ['*'], apiVersions: ['*'], resources: ['*'], operations: ['*']}}]}}\n\
         package portcullis.slow\n\ndeny contains \"never\" if {{\n\tall := numbers.range(1, 10000)\n\
         \tsome i in all\n\tsome j in all\n\tsome k in all\n\ti + j + k < 0\n}}\n"
    );
    fs::create_dir(dir.path().join("policies")).expect("a directory");
    fs::write(dir.path().join("policies/slow.rego"), policy).expect("written");
    dir
}

#[tokio::test]
async fn a_review_is_answered_recorded_counted_and_the_connection_kept() {
    let server = Server::start(&[]);
    for mut client in [Client::http1(&server).await, Client::http2(&server).await] {
        for (path, review, allowed) in [
            ("/v1/validate?timeout=5s", "validate/create-pods-2.json", false),
            ("/v1/validate?timeout=5s", "validate/create-configmaps-2.json", true),
            ("/v1/mutate?timeout=5s", "mutate/create-pods-2.json", true),
            ("/v1/validate", "validate/delete-namespaces-1.json", true),
        ] {
            let review = captured(review);
            let reply = client.post(path, &review).await;
            assert_eq!(reply.header("content-type"), Some("application/json"));
            assert_eq!(reply.header("connection"), None);
            let response = reply.response();
            assert_eq!(response["uid"], uid(&review).as_str(), "{path}");
            assert_eq!(response["allowed"], allowed, "{response}");
            assert_eq!(response["status"]["code"].as_u64(), (!allowed).then_some(403));
            assert_eq!(response["status"]["reason"].as_str(), (!allowed).then_some("Forbidden"));
            let id = decision_id(&response);
            let record = server.records().into_iter().find(|r| r["decision_id"] == id.as_str()).expect("is recorded");
            assert_eq!(record["verdict"], if allowed { "allow" } else { "deny" });
            assert_eq!(record["request"]["uid"], uid(&review).as_str());
            assert_eq!(record["caller"]["authenticated"], false);
            assert!(record["caller"]["addr"].as_str().expect("an address").starts_with("127.0.0.1:"));
        }
    }
    let denied = "portcullis_requests_total{cause=\"policy\",endpoint=\"validate\",kind=\"pod\",operation=\"CREATE\",verdict=\"deny\"}";
    assert_eq!(metric(&server, denied).await, 2.0);
    assert_eq!(metric(&server, "portcullis_request_duration_seconds_count{endpoint=\"mutate\"}").await, 2.0);
    let policy =
        "portcullis_policy_evaluations_total{endpoint=\"validate\",policy=\"run_as_non_root\",result=\"violate\"}";
    assert_eq!(metric(&server, policy).await, 2.0);
    assert_eq!(metric(&server, "portcullis_decision_log_appended_total").await, 8.0);
}

#[tokio::test]
async fn whatever_is_no_review_hears_why_and_disturbs_nothing() {
    let server = Server::start(&["--max-body-bytes", "20000"]);
    let mut client = Client::http1(&server).await;
    let review = harmless("u");
    let other_version = review.replace("admission.k8s.io/v1", "admission.k8s.io/v1beta1");
    let without_uid = review.replace("\"uid\":\"u\"", "\"uid\":\"\"");
    let json: &[(&str, &str)] = &[];
    /// Method, path, headers beside the usual ones, body; status and error code of the answer.
    type Case<'a> = (Method, &'a str, &'a [(&'a str, &'a str)], &'a str, u16, &'a str);
    let cases: &[Case<'_>] = &[
        (Method::POST, "/v1/validate", json, "", 400, "empty_body"),
        (Method::POST, "/v1/validate", json, "{", 400, "not_json"),
        (Method::POST, "/v1/validate", json, "\u{1F600}", 400, "not_json"),
        (Method::POST, "/v1/validate", json, "[]", 400, "not_an_admission_review"),
        (Method::POST, "/v1/mutate", json, r#"{"kind":"Pod","apiVersion":"v1"}"#, 400, "not_an_admission_review"),
        (Method::POST, "/v1/validate", json, &other_version, 400, "unsupported_version"),
        (Method::POST, "/v1/validate", json, &without_uid, 400, "no_uid"),
        (Method::POST, "/v1/validate?timeout=soon", json, &review, 400, "bad_timeout"),
        (Method::POST, "/v1/validate?timeout=0s", json, &review, 400, "bad_timeout"),
        (Method::POST, "/v1/validate", &[("content-type", "")], &review, 415, "unsupported_content_type"),
        (Method::POST, "/v1/validate", &[("content-type", "text/plain")], &review, 415, "unsupported_content_type"),
        (Method::POST, "/v1/validate", &[("content-encoding", "gzip")], &review, 415, "unsupported_content_encoding"),
        (Method::GET, "/v1/validate", json, "", 405, "method_not_allowed"),
        (Method::PUT, "/v1/mutate", json, &review, 405, "method_not_allowed"),
        (Method::POST, "/v1/validate/", json, &review, 404, "not_found"),
        (Method::POST, "/v1/validate/name", json, &review, 404, "not_found"),
        (Method::POST, "/", json, &review, 404, "not_found"),
        (Method::GET, "/metrics", json, "", 404, "not_found"),
    ];
    for (method, path, headers, body, status, code) in cases {
        let before = metric(&server, &format!("portcullis_bad_requests_total{{code=\"{code}\"}}")).await;
        let reply = client.send(request(&client, method.clone(), path, headers, body)).await.expect("an answer");
        assert_eq!((reply.status.as_u16(), reply.error_code().as_str()), (*status, *code), "{method} {path}");
        assert!(!reply.json()["error"]["message"].as_str().expect("a message").is_empty());
        assert_eq!(reply.header("allow"), (*status == 405).then_some("POST"));
        let after = metric(&server, &format!("portcullis_bad_requests_total{{code=\"{code}\"}}")).await;
        assert_eq!(after, before + 1.0, "{code}");
        assert!(server.messages().contains(code), "{code} is not in the messages");
    }
    // All on one connection, which still judges; with parameters in the content type too.
    let typed = [("content-type", "Application/JSON; charset=utf-8"), ("content-encoding", "identity")];
    let reply = client.send(request(&client, Method::POST, "/v1/validate", &typed, &review)).await.expect("an answer");
    assert_eq!(reply.response()["allowed"], true);
    assert_eq!(server.records().iter().filter(|r| r["type"] == "decision").count(), 1);
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_whether_stated_or_not() {
    let server = Server::start(&["--max-body-bytes", "4096"]);
    let large = "x".repeat(8_000);
    for mut client in [Client::http1(&server).await, Client::http2(&server).await] {
        let reply = client.post("/v1/validate", &large).await;
        assert_eq!((reply.status, reply.error_code().as_str()), (StatusCode::PAYLOAD_TOO_LARGE, "body_too_large"));
    }
    let mut stream = connect(server.webhook, tls(&server.ca(), &["http/1.1"], None)).await.expect("connects");
    let head = "POST /v1/validate HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
                transfer-encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).await.expect("writes");
    let chunk = format!("{:x}\r\n{large}\r\n0\r\n\r\n", large.len());
    stream.write_all(chunk.as_bytes()).await.expect("writes");
    let answer = read_to_end(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 413 ") && answer.contains("connection: close"), "{answer}");
    assert!(answer.contains("body_too_large"), "{answer}");
    let mut client = Client::http1(&server).await;
    assert_eq!(client.post("/v1/validate", &harmless("u")).await.response()["allowed"], true);
}

#[tokio::test]
async fn large_reviews_are_judged_and_recorded_like_small_ones() {
    let server = Server::start(&[]);
    let mut client = Client::http1(&server).await;
    let mut review: Value = serde_json::from_str(&harmless("large")).expect("JSON");
    review["request"]["object"]["data"] = json!({"a": "x".repeat(1 << 20), "b": "y\n".repeat(1 << 19)});
    let response = client.post("/v1/validate?timeout=10s", &review.to_string()).await.response();
    assert_eq!((&response["uid"], &response["allowed"]), (&json!("large"), &json!(true)), "{response}");
    let id = decision_id(&response);
    assert!(server.records().iter().any(|r| r["decision_id"] == id.as_str()));
}

#[tokio::test]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let server = Server::start(&[]);
    let mut stream = connect(server.webhook, tls(&server.ca(), &["http/1.1"], None)).await.expect("connects");
    let head = "POST /v1/validate?timeout=1s HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
                content-length: 100\r\n\r\n{";
    stream.write_all(head.as_bytes()).await.expect("writes");
    let start = Instant::now();
    let answer = read_to_end(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("body_timeout"), "{answer}");
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_caller_must_have_a_certificate_where_a_client_ca_is_set() {
    let dir = tempfile::tempdir().expect("a directory");
    let (ours, theirs) = (ClientCa::new(), ClientCa::new());
    fs::write(dir.path().join("client-ca.crt"), &ours.certificate).expect("written");
    let server = Server::start_in(dir, &["--client-ca", "client-ca.crt"]);

    let mut client = Client::http1_as(&server, Some(&ours.sign("kube-apiserver"))).await.expect("connects");
    let response = client.post("/v1/validate", &harmless("u")).await.response();
    let id = decision_id(&response);
    let record = server.records().into_iter().find(|r| r["decision_id"] == id.as_str()).expect("is recorded");
    assert_eq!(record["caller"]["authenticated"], true);
    assert_eq!(record["caller"]["tls_subject"], "CN=kube-apiserver");

    for identity in [None, Some(theirs.sign("kube-apiserver"))] {
        // With TLS 1.3 the client learns of the refusal only when it reads.
        let heard = match Client::http1_as(&server, identity.as_ref()).await {
            Err(_) => false,
            Ok(mut client) => {
                let request = request(&client, Method::POST, "/v1/validate", &[], &harmless("u"));
                client.send(request).await.is_ok()
            }
        };
        assert!(!heard, "an unknown caller got an answer");
    }
    assert_eq!(metric(&server, "portcullis_tls_handshake_failures_total{reason=\"client_certificate\"}").await, 2.0);
    assert_eq!(server.records().iter().filter(|r| r["type"] == "decision").count(), 1);
}

#[tokio::test]
async fn tls_of_both_versions_and_nothing_else_on_the_port() {
    let server = Server::start(&[]);
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let mut roots = rustls::RootCertStore::empty();
        use rustls::pki_types::pem::PemObject;
        roots.add(rustls::pki_types::CertificateDer::from_pem_file(server.ca()).expect("PEM")).expect("a root");
        let config = rustls::ClientConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
            .with_protocol_versions(&[version])
            .expect("a version")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let mut stream = connect(server.webhook, config).await.expect("connects");
        // No ALPN: HTTP/1.1.
        stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await.expect("writes");
        assert!(read_to_end(&mut stream).await.starts_with("HTTP/1.1 404 "), "{version:?}");
    }
    let mut plain = tokio::net::TcpStream::connect(server.webhook).await.expect("connects");
    plain.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.expect("writes");
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer).await;
    assert!(!answer.starts_with(b"HTTP"), "plain HTTP was answered");
    assert_eq!(metric(&server, "portcullis_tls_handshake_failures_total{reason=\"other\"}").await, 1.0);
}

#[tokio::test]
async fn health_and_metrics_are_shown_and_nothing_else() {
    let server = Server::start(&[]);
    let mut client = Client::admin(&server).await;
    assert_eq!(client.get("/livez").await.text(), "ok\n");
    let ready = client.get("/readyz").await;
    assert_eq!(ready.status, StatusCode::OK);
    for line in ["ok   policies: 60 loaded, sha256:", "ok   namespaces: ", "ok   decision_log: ", "ok   phase: serving"]
    {
        assert!(ready.text().lines().any(|l| l.starts_with(line)), "{line} is not in {}", ready.text());
    }
    for path in ["/", "/v1/validate", "/debug"] {
        assert_eq!(client.get(path).await.status, StatusCode::NOT_FOUND, "{path}");
    }
    let metrics = client.get("/metrics").await.text();
    for name in
        ["portcullis_policy_set_info{", "portcullis_in_flight_limit ", "portcullis_policies{enforcement=\"deny\"} 59"]
    {
        assert!(metrics.lines().any(|l| l.starts_with(name)), "{name} is not in {metrics}");
    }
}

#[tokio::test]
async fn a_policy_that_takes_too_long_is_answered_for() {
    let server = Server::start_in(slow_policy(20_000), &[]);
    let mut client = Client::http1(&server).await;
    let start = Instant::now();
    let response = client.post("/v1/validate?timeout=4s", &harmless("u")).await.response();
    assert!(start.elapsed() < Duration::from_millis(3900), "{:?}", start.elapsed());
    assert_eq!((&response["allowed"], &response["status"]["code"]), (&json!(false), &json!(503)), "{response}");
    let id = decision_id(&response);
    let record = server.records().into_iter().find(|r| r["decision_id"] == id.as_str()).expect("is recorded");
    assert_eq!(record["cause"], "deadline");
    assert_eq!(metric(&server, "portcullis_shed_total{endpoint=\"validate\",reason=\"deadline\"}").await, 1.0);
}

#[tokio::test]
async fn past_the_bound_requests_are_shed_by_their_failure_mode_and_recorded() {
    for (mode, allowed) in [("deny", false), ("allow", true)] {
        let args = ["--max-in-flight", "1", "--threads", "1", "--failure-mode", mode];
        let server = Server::start_in(slow_policy(400), &args);
        let mut clients = Vec::new();
        for i in 0..6 {
            let mut client = Client::http1(&server).await;
            clients.push(tokio::spawn(async move {
                client.post("/v1/validate?timeout=5s", &harmless(&format!("u{i}"))).await.response()
            }));
        }
        let mut shed = 0;
        for client in clients {
            let response = client.await.expect("an answer");
            let id = decision_id(&response);
            let record = server.records().into_iter().find(|r| r["decision_id"] == id.as_str()).expect("is recorded");
            if record["cause"] == "overload" {
                shed += 1;
                assert_eq!(response["allowed"], allowed);
                assert_eq!(response["status"]["code"].as_u64(), (!allowed).then_some(503));
                assert_eq!(response["warnings"].is_array(), allowed, "{response}");
            }
        }
        assert!((1..6).contains(&shed), "{shed} of 6 were shed");
        let counted = metric(&server, "portcullis_shed_total{endpoint=\"validate\",reason=\"overload\"}").await;
        assert_eq!(counted, f64::from(shed));
        // The permit is given back.
        let start = Instant::now();
        while metric(&server, "portcullis_in_flight").await > 0.0 {
            assert!(start.elapsed() < PATIENCE);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

#[tokio::test]
async fn a_log_that_cannot_be_written_meets_its_failure_mode_and_readiness() {
    // It denies only where a policy was selected that may deny.
    for (mode, most, allowed) in [("deny", "deny", false), ("allow", "deny", true), ("deny", "warn", true)] {
        let args = ["--failure-mode", mode, "--max-enforcement", most, "--log-level", "off"];
        let server = Server::start_with_small_files(64, &args);
        let mut client = Client::http1(&server).await;
        let lost = "portcullis_decision_log_failures_total";
        let mut response = Value::Null;
        let mut sent = 0;
        while metric(&server, lost).await == 0.0 {
            sent += 1;
            assert!(sent < 1_000, "the log never filled up");
            response = client.post("/v1/validate?timeout=5s", &harmless("u")).await.response();
        }
        assert_eq!(response["allowed"], allowed, "{response}");
        assert_eq!(response["status"]["code"].as_u64(), (!allowed).then_some(503), "{response}");
        let ready = Client::admin(&server).await.get("/readyz").await;
        // Whoever fails open without a log goes on answering, and says so.
        assert_eq!(ready.status.is_success(), mode == "allow", "{}", ready.text());
        assert!(ready.text().contains("decision_log: cannot be written: "), "{}", ready.text());
        assert_eq!(metric(&server, "portcullis_decision_log_writable").await, 0.0);
        let written = server.records().iter().filter(|r| r["type"] == "decision").count();
        assert_eq!(written, sent - 1, "whatever was acknowledged is there");
    }
}

#[tokio::test]
async fn a_caller_who_leaves_is_still_judged_recorded_and_no_longer_in_flight() {
    let server = Server::start_in(slow_policy(300), &["--threads", "1"]);
    let mut client = Client::http1(&server).await;
    let asked = request(&client, Method::POST, "/v1/validate?timeout=5s", &[], &harmless("gone"));
    assert!(tokio::time::timeout(Duration::from_millis(100), client.send(asked)).await.is_err());
    drop(client);
    let start = Instant::now();
    while !server.records().iter().any(|r| r["request"]["uid"] == "gone") {
        assert!(start.elapsed() < PATIENCE, "the decision was not recorded");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(metric(&server, "portcullis_in_flight").await, 0.0);
}

#[tokio::test]
async fn sigterm_drains() {
    let mut server = Server::start(&["--drain-delay", "1500ms"]);
    // Three callers: one idle, one in the middle of a request, one that ends its request after the delay.
    let mut idle = Client::http1(&server).await;
    assert_eq!(idle.post("/v1/validate", &harmless("before")).await.header("connection"), None);
    let mut middle = half_sent(&server, "middle").await;
    let mut late = half_sent(&server, "late").await;
    let start = Instant::now();
    server.signal("-TERM");

    let mut admin = Client::admin(&server).await;
    let mut ready = admin.get("/readyz").await;
    while ready.status == StatusCode::OK {
        assert!(start.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(10)).await;
        ready = admin.get("/readyz").await;
    }
    assert_eq!(ready.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(ready.text().contains("FAIL phase: draining"), "{}", ready.text());
    let reply = idle.post("/v1/validate", &harmless("idle")).await;
    assert_eq!((reply.header("connection"), reply.response()["allowed"].as_bool()), (Some("close"), Some(true)));
    let mut fresh = Client::http1(&server).await;
    let reply = fresh.post("/v1/validate", &harmless("fresh")).await;
    assert_eq!((reply.header("connection"), reply.response()["allowed"].as_bool()), (Some("close"), Some(true)));
    let answer = second_half(&mut middle).await;
    assert!(answer.contains("connection: close") && answer.contains("\"allowed\":true"), "{answer}");

    tokio::time::sleep(Duration::from_millis(1_700).saturating_sub(start.elapsed())).await;
    assert!(tokio::net::TcpStream::connect(server.webhook).await.is_err(), "still listening after the delay");
    let answer = second_half(&mut late).await;
    assert!(answer.contains("\"allowed\":true"), "{answer}");

    let status = server.wait();
    assert_eq!(status.code(), Some(0), "{}", server.messages());
    let records = server.records();
    for uid in ["before", "idle", "fresh", "middle", "late"] {
        assert!(records.iter().any(|r| r["request"]["uid"] == uid), "{uid} is not recorded");
    }
    let last = records.last().expect("a record");
    assert_eq!((&last["type"], &last["reason"]), (&json!("stop"), &json!("SIGTERM")));
}

#[tokio::test]
async fn a_second_signal_ends_at_once() {
    let mut server = Server::start(&["--drain-delay", "1h"]);
    server.signal("-TERM");
    let mut admin = Client::admin(&server).await;
    while admin.get("/readyz").await.status == StatusCode::OK {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    server.signal("-INT");
    assert_eq!(server.wait().code(), Some(2));
}

#[test]
fn at_a_terminal_nobody_waits_for_the_drain_delay() {
    let mut server = Server::start(&["--drain-delay", "1h"]);
    server.signal("-INT");
    assert_eq!(server.wait().code(), Some(0));
}

#[tokio::test]
async fn kill_9_under_load_loses_no_acknowledged_decision() {
    let mut server = Server::start(&[]);
    let review = harmless("u");
    let mut loads = Vec::new();
    for _ in 0..8 {
        let mut client = Client::http1(&server).await;
        let review = review.clone();
        loads.push(tokio::spawn(async move {
            let mut acknowledged = Vec::new();
            loop {
                match client.send(request(&client, Method::POST, "/v1/validate", &[], &review)).await {
                    Ok(reply) => acknowledged.push(decision_id(&reply.response())),
                    Err(_) => return acknowledged,
                }
            }
        }));
    }
    tokio::time::sleep(Duration::from_millis(1_000)).await;
    server.signal("-KILL");
    let mut acknowledged = BTreeSet::new();
    for load in loads {
        acknowledged.extend(load.await.expect("ends"));
    }
    server.wait();
    let written = records(&server.dir().join(".portcullis/decisions"));
    let seqs: Vec<u64> = written.iter().map(|r| r["seq"].as_u64().expect("a number")).collect();
    assert!(seqs.windows(2).all(|w| w[1] == w[0] + 1), "the sequence has a hole");
    let ids: BTreeSet<String> = written.iter().filter_map(|r| r["decision_id"].as_str()).map(str::to_owned).collect();
    let lost: Vec<_> = acknowledged.difference(&ids).collect();
    assert!(acknowledged.len() > 20, "only {} were acknowledged", acknowledged.len());
    assert!(lost.is_empty(), "{} of {} acknowledged decisions are lost", lost.len(), acknowledged.len());
}

#[tokio::test]
async fn a_rotated_certificate_needs_no_restart() {
    let server = Server::start(&[]);
    let mut before = Client::http1(&server).await;
    let tls_dir = server.dir().join(".portcullis/tls");
    let old = fs::read(tls_dir.join("ca.crt")).expect("readable");
    let now = std::time::SystemTime::now();
    let year = Duration::from_secs(365 * 86_400);
    let authority = portcullis::webhook::Authority::create(now, year).expect("made");
    let fresh = authority.serving(&["localhost".to_owned()], now, year).expect("made");
    // A pair that does not fit is not taken up.
    fs::write(tls_dir.join("tls.crt"), &fresh.certificate).expect("written");
    let start = Instant::now();
    while !server.messages().contains("kept the serving certificate") {
        assert!(start.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Client::http1(&server).await;
    fs::write(tls_dir.join("tls.key"), &fresh.key.0).expect("written");
    fs::write(tls_dir.join("ca.crt"), &authority.pair().certificate).expect("written");
    while !server.messages().contains("took up a new serving certificate") {
        assert!(start.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Client::http1(&server).await;
    assert_eq!(before.post("/v1/validate", &harmless("u")).await.response()["allowed"], true, "the old connection");
    fs::write(tls_dir.join("ca.crt"), old).expect("written");
    assert!(connect(server.webhook, tls(&server.ca(), &["http/1.1"], None)).await.is_err(), "the old authority");
}

#[test]
fn what_cannot_be_served_is_said_and_exits_2() {
    let busy = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let busy = busy.local_addr().expect("an address").to_string();
    let dir = tempfile::tempdir().expect("a directory");
    let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).expect("written");
    write("typo.yaml", "kind: Config\nlisen: 127.0.0.1:0\n");
    write("value.yaml", "failureMode: maybe\n");
    write("broken.rego", "package broken\n\ndeny contains if\n");
    fs::create_dir(dir.path().join("empty")).expect("a directory");
    for (args, wanted) in [
        (&["--listen", &busy] as &[&str], "--listen: cannot listen on 127.0.0.1:"),
        (&["--listen", "127.0.0.1:0", "--admin-listen", &busy], "--admin-listen: cannot listen on"),
        (&["--config", "typo.yaml"], "typo.yaml:2:1: unknown field `lisen`"),
        (&["--config", "value.yaml"], "value.yaml:1:14: unknown value `maybe`; write `deny` or `allow`"),
        (&["--config", "absent.yaml"], "--config: cannot read `absent.yaml`"),
        (&["--tls-cert", "a.crt"], "--tls-key: is missing"),
        (
            &["--tls-cert", "a.crt", "--tls-key", "a.key", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"],
            "--tls-cert: cannot read `a.crt`",
        ),
        (&["--policies", "broken.rego"], "broken.rego:"),
        (&["--policies", "empty"], "--policies: there is no policy"),
        (&["--log-level", "=%"], "--log-level: `=%`"),
        (&["--max-in-flight", "0"], "--max-in-flight: `0` is not within 1"),
        (&["--failure-mode", "maybe"], "unknown value `maybe`; write `deny` or `allow`"),
        (
            &["--kubeconfig", "absent", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"],
            "--kubeconfig: `absent` cannot be used",
        ),
        (&["--drain-delay", "5"], "`5` is not a duration"),
    ] {
        let output = command(dir.path(), &[&["serve"], args].concat()).output().expect("runs");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {stderr}");
        assert!(stderr.contains(wanted), "{args:?}: {stderr}\nwanted {wanted}");
    }
    let output = command(dir.path(), &["serve"]).env("KUBERNETES_SERVICE_HOST", "10.0.0.1").output().expect("runs");
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--cluster-name: is required in a cluster"));
}

#[test]
fn the_environment_counts_before_the_file_and_a_flag_before_both() {
    let dir = tempfile::tempdir().expect("a directory");
    fs::write(dir.path().join("c.yaml"), "clusterName: file\nreplica: file\nstateDir: file\n").expect("written");
    let mut child =
        command(dir.path(), &["serve", "--config", "c.yaml", "--state-dir", "flag", "--listen", "127.0.0.1:0"])
            .env("PORTCULLIS_STATE_DIR", "environment")
            .env("PORTCULLIS_REPLICA", "environment")
            .env("PORTCULLIS_ADMIN_LISTEN", "127.0.0.1:0")
            .stdout(std::process::Stdio::null())
            .spawn()
            .expect("starts");
    let log = dir.path().join("flag/decisions");
    let start = Instant::now();
    while !log.is_dir() || records(&log).is_empty() {
        assert!(start.elapsed() < PATIENCE);
        std::thread::sleep(Duration::from_millis(20));
    }
    child.kill().expect("is killed");
    child.wait().expect("ends");
    let start = records(&log).swap_remove(0);
    assert_eq!((&start["labels"]["cluster"], &start["labels"]["replica"]), (&json!("file"), &json!("environment")));
    assert!(!dir.path().join("environment").exists() && !dir.path().join("file").exists());
}

#[test]
fn the_banner_says_what_is_loaded_and_how_to_try_it() {
    let server = Server::start(&[]);
    for policy in ["phi_classification", "run_as_non_root", "tenant_ownership", "pod_defaults"] {
        let line = server.banner.lines().find(|l| l.contains(policy)).expect("the policy is named");
        assert!(line.trim_start().starts_with("deny "), "{line}");
    }
    let curl = server.banner.lines().last().expect("a last line");
    assert!(curl.contains("--cacert .portcullis/tls/ca.crt"), "{curl}");
    assert!(curl.contains(&format!("https://{}/v1/validate", server.webhook)), "{curl}");
    // The review in it is denied, as somebody who pastes it will see.
    let review = curl.split("--data-binary '").nth(1).and_then(|r| r.split('\'').next()).expect("a review");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let reply: Reply = runtime.block_on(async { Client::http1(&server).await.post("/v1/validate", review).await });
    assert_eq!(reply.response()["status"]["code"], 403);
}

#[test]
fn webhook_certs_prints_one_secret_whose_ca_signed_the_certificate() {
    use base64::Engine as _;
    let dir = tempfile::tempdir().expect("a directory");
    let args = ["webhook", "certs", "--service", "portcullis", "--namespace", "portcullis-system", "-o", "json"];
    let output = command(dir.path(), &args).output().expect("runs");
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let secret: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!((&secret["kind"], &secret["type"]), (&json!("Secret"), &json!("kubernetes.io/tls")));
    assert_eq!(secret["metadata"]["namespace"], "portcullis-system");
    let pem = |key: &str| {
        let bytes = base64::engine::general_purpose::STANDARD.decode(secret["data"][key].as_str().expect("text"));
        String::from_utf8(bytes.expect("base64")).expect("PEM")
    };
    for file in ["ca.crt", "tls.crt", "tls.key"] {
        fs::write(dir.path().join(file), pem(file)).expect("written");
    }
    // A server with these files is believed under the Service's name, by whoever has the caBundle.
    let path = |file: &str| dir.path().join(file).display().to_string();
    let (cert, key) = (path("tls.crt"), path("tls.key"));
    let server = Server::start(&["--tls-cert", &cert, "--tls-key", &key]);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        for (name, trusted) in [("portcullis.portcullis-system.svc", true), ("portcullis.other.svc", false)] {
            let config = tls(&dir.path().join("ca.crt"), &["http/1.1"], None);
            let stream = tokio::net::TcpStream::connect(server.webhook).await.expect("connects");
            let name = rustls::pki_types::ServerName::try_from(name).expect("a name");
            let done = tokio_rustls::TlsConnector::from(std::sync::Arc::new(config)).connect(name, stream).await;
            assert_eq!(done.is_ok(), trusted);
        }
    });
    let args =
        ["webhook", "certs", "--service", "portcullis", "--namespace", "ns", "--out-dir", "out", "-o", "ca-bundle"];
    let output = command(dir.path(), &args).output().expect("runs");
    let bundle = String::from_utf8(output.stdout).expect("text");
    let yaml = fs::read_to_string(dir.path().join("out/secret.yaml")).expect("written");
    assert!(yaml.contains(&format!("\n  ca.crt: {bundle}")), "the caBundle is the Secret's ca.crt: {yaml}");
    let parsed: Value = portcullis::policy::yaml::parse("secret.yaml", &yaml, Default::default()).expect("YAML");
    assert_eq!(parsed["data"]["ca.crt"], bundle.trim());
    let keys = |secret: &Value| secret["data"].as_object().expect("data").keys().cloned().collect::<Vec<_>>();
    assert_eq!((keys(&parsed), &parsed["kind"]), (keys(&secret), &secret["kind"]));
    let args = ["webhook", "certs", "--service", "Not_A_Name", "--namespace", "ns"];
    assert_eq!(command(dir.path(), &args).output().expect("runs").status.code(), Some(2));
}

/// An authority for clients.
struct ClientCa {
    certificate: String,
    issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
}

impl ClientCa {
    fn new() -> Self {
        let key = rcgen::KeyPair::generate().expect("a key");
        let mut params = rcgen::CertificateParams::default();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).expect("signed").pem();
        Self { certificate, issuer: rcgen::Issuer::new(params, key) }
    }

    fn sign(&self, common_name: &str) -> Identity {
        let key = rcgen::KeyPair::generate().expect("a key");
        let mut params = rcgen::CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(rcgen::DnType::CommonName, common_name);
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
        let certificate = params.signed_by(&key, &self.issuer).expect("signed").pem();
        Identity { certificate, key: key.serialize_pem() }
    }
}

type Stream = tokio_rustls::client::TlsStream<tokio::net::TcpStream>;

/// A request whose head has arrived (the server says so), and whose body has not.
async fn half_sent(server: &Server, uid: &str) -> (Stream, String) {
    let mut stream = connect(server.webhook, tls(&server.ca(), &["http/1.1"], None)).await.expect("connects");
    let body = harmless(uid);
    let head = format!(
        "POST /v1/validate?timeout=10s HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
         expect: 100-continue\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.expect("writes");
    let mut interim = [0; 25];
    stream.read_exact(&mut interim).await.expect("an interim answer");
    assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
    (stream, body)
}

async fn second_half((stream, body): &mut (Stream, String)) -> String {
    stream.write_all(body.as_bytes()).await.expect("writes");
    read_to_end(stream).await
}

async fn read_to_end(stream: &mut Stream) -> String {
    let mut answer = Vec::new();
    // A peer that closes without saying goodbye is an error to TLS; what came before counts.
    let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("ends in time");
    String::from_utf8_lossy(&answer).into_owned()
}
