//! `http.send` against a server on this machine: what policies see, what is refused, what is recorded.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use portcullis::admission::decode;
use portcullis::engine::{
    CompileOptions, Context, Decision, Endpoint, ErrorCode, FailureModes, HttpDoor, HttpSend, Inventory, Query,
    QueryInput, Scope, TestEnding, compile, decide, query_in, run_tests,
};
use portcullis::outbound::{Client, Hosts, Loopback};
use portcullis::policy::{SourceFile, Sources};
use serde_json::{Value, json};

use crate::support::client::Client as Caller;
use crate::support::server::Server;

/// A server that says what it was asked, and counts.
struct Origin {
    addr: SocketAddr,
    asked: Arc<AtomicUsize>,
    last: Arc<Mutex<Vec<String>>>,
}

impl Origin {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("binds");
        let addr = listener.local_addr().expect("an address");
        let (asked, last) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(Vec::new())));
        let (count, seen) = (Arc::clone(&asked), Arc::clone(&last));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (count, seen) = (Arc::clone(&count), Arc::clone(&seen));
                std::thread::spawn(move || answer(stream, addr, &count, &seen));
            }
        });
        Self { addr, asked, last }
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    fn door(&self) -> Arc<dyn HttpDoor> {
        let hosts = Hosts::parse(&[self.addr.to_string()]).expect("hosts");
        Arc::new(Client::new(hosts, Loopback::Allow))
    }

    /// The value of `text`, where `URL` is this server.
    fn eval(&self, text: &str, strict: bool) -> Result<Option<Value>, String> {
        let text = text.replace("URL", &format!("http://{}", self.addr));
        eval(&text, strict, Some(&self.door()))
    }
}

fn eval(text: &str, strict: bool, door: Option<&Arc<dyn HttpDoor>>) -> Result<Option<Value>, String> {
    let query = Query {
        modules: &[],
        data: json!({}),
        input: QueryInput::Absent,
        text,
        strict,
        now_ns: 1,
        seed: 1,
        budget: Duration::from_secs(20),
    };
    let answer = query_in(&query, &Scope::default(), door);
    let answer = answer.map_err(|e| e.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))?;
    Ok(answer.document.pointer("/result/0/expressions/0/value").cloned())
}

fn answer(mut stream: TcpStream, own: SocketAddr, count: &AtomicUsize, seen: &Mutex<Vec<String>>) {
    let mut reader = BufReader::new(stream.try_clone().expect("a second handle"));
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 || line.trim().is_empty() {
            break;
        }
        lines.push(line.trim().to_owned());
    }
    let Some(first) = lines.first() else { return };
    count.fetch_add(1, Ordering::SeqCst);
    let length = lines.iter().find_map(|l| l.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body).expect("the body");
    let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
    let method = first.split(' ').next().unwrap_or_default();
    *seen.lock().expect("a lock") = lines.clone();
    let echo = json!({"method": method, "path": path, "body": String::from_utf8_lossy(&body)}).to_string();
    let (head, body) = match path.split('?').next().unwrap_or_default() {
        "/json" => {
            ("200 OK\r\nContent-Type: application/json; charset=utf-8\r\nX-A: 1\r\nX-A: 2", "{\"a\": [1]}".to_owned())
        }
        "/problem" => ("422 Unprocessable Entity\r\nContent-Type: application/problem+json", "{\"b\": 2}".to_owned()),
        "/yaml" => ("200 OK\r\nContent-Type: application/yaml", "a: 1\n".to_owned()),
        "/text" => ("200 OK\r\nContent-Type: text/plain", "{\"c\": 3}".to_owned()),
        "/broken" => ("200 OK\r\nContent-Type: application/json", "{".to_owned()),
        "/missing" => ("404 Not Found", String::new()),
        "/moved" => ("302 Found\r\nLocation: /echo?x=1", String::new()),
        "/kept" => ("307 Temporary Redirect\r\nLocation: /echo", String::new()),
        "/round" => ("302 Found\r\nLocation: /round", String::new()),
        "/away" => ("302 Found\r\nLocation: http://169.254.169.254/latest/meta-data", String::new()),
        "/big" => ("200 OK", "x".repeat(5 << 20)),
        "/slow" => {
            std::thread::sleep(Duration::from_secs(3));
            ("200 OK", String::new())
        }
        "/flaky" if !count.load(Ordering::SeqCst).is_multiple_of(3) => return,
        "/local" => {
            let head = format!("HTTP/1.1 302 Found\r\nLocation: http://localhost:{}/json", own.port());
            let _ = stream.write_all(format!("{head}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").as_bytes());
            return;
        }
        _ => ("200 OK\r\nContent-Type: application/json", echo),
    };
    let length = body.len();
    let response = format!("HTTP/1.1 {head}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}");
    let _ = stream.write_all(response.as_bytes());
}

/// Facts of OPA's documentation of `http.send` and `v1/topdown/http.go`.
#[test]
fn policies_see_what_opa_shows_them() {
    let origin = Origin::start();
    for (text, wanted) in [
        (
            r#"object.remove(http.send({"method": "get", "url": "URL/json"}), ["headers"])"#,
            json!({"status": "200 OK", "status_code": 200, "body": {"a": [1]}, "raw_body": "{\"a\": [1]}"}),
        ),
        (r#"http.send({"method": "GET", "url": "URL/json"}).headers["x-a"]"#, json!(["1", "2"])),
        (r#"http.send({"method": "GET", "url": "URL/problem"}).body"#, json!({"b": 2})),
        (r#"http.send({"method": "GET", "url": "URL/problem"}).status_code"#, json!(422)),
        (r#"http.send({"method": "GET", "url": "URL/yaml"}).body"#, json!({"a": 1})),
        (r#"http.send({"method": "GET", "url": "URL/text"}).body"#, json!(null)),
        (r#"http.send({"method": "GET", "url": "URL/text", "force_json_decode": true}).body"#, json!({"c": 3})),
        (r#"http.send({"method": "GET", "url": "URL/text", "force_yaml_decode": true}).body"#, json!({"c": 3})),
        (r#"http.send({"method": "GET", "url": "URL/broken"}).body"#, json!(null)),
        (r#"http.send({"method": "GET", "url": "URL/missing"}).status"#, json!("404 Not Found")),
        (r#"http.send({"method": "GET", "url": "URL/moved"}).status_code"#, json!(302)),
        (
            r#"http.send({"method": "POST", "url": "URL/moved", "raw_body": "b", "enable_redirect": true}).body"#,
            json!({"method": "GET", "path": "/echo?x=1", "body": ""}),
        ),
        (
            r#"http.send({"method": "POST", "url": "URL/kept", "body": {"k": {1}}, "enable_redirect": true}).body"#,
            json!({"method": "POST", "path": "/echo", "body": "{\"k\":[1]}"}),
        ),
        (
            r#"http.send({"method": "put", "url": "URL/x", "body": 1, "raw_body": "raw", "cache": true}).body"#,
            json!({"method": "PUT", "path": "/x", "body": "raw"}),
        ),
        (r#"http.send({"method": "GET", "url": "URL/flaky", "max_retry_attempts": 3}).status_code"#, json!(200)),
        (
            r#"http.send({"method": "GET", "url": "URL/slow", "timeout": "200ms", "raise_error": false})"#,
            json!({"status_code": 0, "error": {
                "code": "eval_http_send_network_error", "message": "`127.0.0.1`: request timed out"}}),
        ),
        (
            r#"http.send({"method": "GET", "url": "URL/round", "enable_redirect": true, "raise_error": false}).error"#,
            json!({"code": "eval_http_send_network_error", "message": "stopped after 10 redirects"}),
        ),
        (
            r#"http.send({"method": "GET", "url": "URL/big", "raise_error": false}).error.message"#,
            json!("`127.0.0.1`: the response has more than 4194304 bytes"),
        ),
        (
            r#"http.send({"url": "URL/json", "raise_error": false}).error"#,
            json!({"code": "eval_http_send_internal_error", "message": "missing required request parameter `method`"}),
        ),
        (
            r#"http.send({"method": "GET", "url": "URL/json", "cahce": true, "raise_error": false}).error.message"#,
            json!("invalid request parameter(s): cahce"),
        ),
    ] {
        assert_eq!(origin.eval(text, true), Ok(Some(wanted)), "{text}");
    }
    // A service that is out is no "no violation", in whichever mode.
    for strict in [true, false] {
        let error = origin.eval(r#"not http.send({"method": "GET", "url": "URL/slow", "timeout": 200000000})"#, strict);
        assert!(error.as_ref().is_err_and(|e| e.contains("request timed out")), "{error:?}");
    }
}

#[test]
fn nothing_of_ours_goes_along() {
    let origin = Origin::start();
    let text = r#"http.send({"method": "GET", "url": "URL/json?q=1", "headers": {"X-Mine": "m", "Accept": "a/b"}}).status_code"#;
    assert_eq!(origin.eval(text, true), Ok(Some(json!(200))));
    let mut seen: Vec<String> = origin.last.lock().expect("a lock").iter().map(|l| l.to_ascii_lowercase()).collect();
    seen.sort();
    let host = format!("host: {}", origin.addr);
    let agent = concat!("user-agent: portcullis/", env!("CARGO_PKG_VERSION"));
    let mut wanted = vec!["get /json?q=1 http/1.1", "accept: a/b", &host, agent, "x-mine: m"];
    wanted.sort_unstable();
    assert_eq!(seen, wanted);
}

#[test]
fn the_same_is_asked_once() {
    let origin = Origin::start();
    let ask = |headers: &str| format!(r#"http.send({{"method": "GET", "url": "URL/json", {headers}}}).status_code"#);
    let text = format!("[{}, {}]", ask(r#""headers": {"a": "1"}"#), ask(r#""headers": {"a": "1"}"#));
    assert_eq!(origin.eval(&text, true), Ok(Some(json!([200, 200]))));
    assert_eq!(origin.asked(), 1);
    let ignoring = |n: u8| ask(&format!(r#""headers": {{"a": "{n}"}}, "cache_ignored_headers": ["a"]"#));
    let text = format!("[{}, {}, {}]", ignoring(1), ignoring(2), ask(r#""headers": {"a": "2"}"#));
    assert_eq!(origin.eval(&text, true), Ok(Some(json!([200, 200, 200]))));
    assert_eq!(origin.asked(), 3);
}

/// The server that is asked is ours, with a certificate of its own authority.
#[test]
fn certificates_are_looked_at() {
    let server = Server::start(&[]);
    let hosts = Hosts::parse(&[server.webhook.to_string()]).expect("hosts");
    let door: Arc<dyn HttpDoor> = Arc::new(Client::new(hosts, Loopback::Allow));
    let ask = |more: &str| {
        let url = format!("https://{}/v1/validate", server.webhook);
        let text = format!(r#"http.send({{"method": "GET", "url": "{url}", "raise_error": false, {more}}})"#);
        eval(&text, true, Some(&door)).expect("evaluates").expect("is defined")
    };
    let ca = std::fs::read_to_string(server.ca()).expect("the authority");
    let ca = serde_json::to_string(&ca).expect("JSON");
    assert_eq!(ask(&format!(r#""tls_ca_cert": {ca}"#))["status_code"], json!(405));
    assert_eq!(ask(&format!(r#""tls_ca_cert": {}"#, ca.replace("\\n", "\\\\n")))["status_code"], json!(405));
    assert_eq!(ask(r#""tls_insecure_skip_verify": true"#)["status_code"], json!(405));
    let untrusted = ask(r#""headers": {}"#);
    assert_eq!(untrusted["error"]["code"], json!("eval_http_send_network_error"), "{untrusted}");
    assert!(untrusted["error"]["message"].as_str().is_some_and(|m| m.contains("certificate")), "{untrusted}");
    let no_pem = ask(r#""tls_ca_cert": "x""#);
    assert_eq!(no_pem["error"]["message"], json!("`tls_ca_cert` is no PEM that can be read"));
}

/// Refused means an error in both modes, whatever the policy makes of errors: no `not http.send(..)` becomes true.
#[test]
fn what_is_not_allowed_is_never_an_answer() {
    let origin = Origin::start();
    let port = origin.addr.port();
    for (more, wanted) in [
        (r#""url": "http://other.example/""#.to_owned(), "host `other.example:80` is not allowed"),
        (format!(r#""url": "http://127.0.0.1:{}/""#, port.wrapping_add(1)), "is not allowed; allowed are 127.0.0.1:"),
        (format!(r#""url": "http://127.0.0.1:{port}@evil.example/""#), "names a user"),
        (format!(r#""url": "http://2130706434:{port}/""#), "host `127.0.0.2:"),
        (r#""url": "file:///etc/passwd""#.to_owned(), "no URL of http"),
        (r#""url": "unix://localhost/x?socket=%2Fs""#.to_owned(), "no URL of http"),
        (r#""url": "URL/away", "enable_redirect": true"#.to_owned(), "host `169.254.169.254:80` is not allowed"),
        (r#""url": "URL/local", "enable_redirect": true"#.to_owned(), "host `localhost:"),
        (r#""url": "URL/json", "tls_ca_cert_file": "/etc/passwd""#.to_owned(), "`tls_ca_cert_file` is not done here"),
        (r#""url": "URL/json", "tls_client_key_env_variable": "K""#.to_owned(), "is not done here"),
    ] {
        for strict in [true, false] {
            let text = format!(r#"not http.send({{"method": "GET", "raise_error": false, {more}}})"#);
            let error = origin.eval(&text, strict).expect_err(&text);
            assert!(error.contains(wanted), "{text}: {error}\nwanted {wanted}");
        }
    }
}

#[test]
fn listed_hosts_are_not_asked_at_forbidden_addresses() {
    for host in [
        "127.0.0.1",
        "localhost",
        "[::1]",
        "169.254.169.254",
        "[fd00:ec2::254]",
        "[::ffff:169.254.169.254]",
        "[fe80::1]",
        "224.0.0.1",
        "[ff02::1]",
        "0.0.0.0",
        "[::ffff:127.0.0.1]",
        "100.100.100.200",
    ] {
        let door = Client::new(Hosts::parse(&[host]).expect(host), Loopback::Forbid);
        let door: Arc<dyn HttpDoor> = Arc::new(door);
        let started = Instant::now();
        let text = format!(r#"http.send({{"method": "GET", "url": "http://{host}/", "timeout": "3s"}})"#);
        let error = eval(&text, false, Some(&door)).expect_err(host);
        assert!(error.contains("no policy may reach it"), "{host}: {error}");
        assert!(started.elapsed() < Duration::from_secs(2), "{host} was asked");
    }
}

#[test]
fn without_a_host_a_call_is_a_load_error() {
    let error = eval(r#"http.send({"method": "GET", "url": "http://a/"})"#, false, None).expect_err("refused");
    assert!(error.contains("--http-allow HOST[:PORT]"), "{error}");
    let errors = compile(&sources("http://a/"), CompileOptions::default()).expect_err("refused");
    assert_eq!(errors.len(), 1);
    let error = errors[0].to_string();
    assert!(error.starts_with("p.rego:4:12: `http.send` leads nowhere"), "{error}");
}

/// A policy that asks `url` whether a name may be used.
fn sources(url: &str) -> Sources {
    let text = format!(
        "package p\n\ndeny contains msg if {{\n\tanswer := http.send({{\"method\": \"GET\", \"url\": \"{url}\"}})\n\t\
         not answer.body.fine\n\tmsg := sprintf(\"%v says no\", [answer.status_code])\n}}\n"
    );
    Sources { modules: vec![SourceFile { path: "p.rego".to_owned(), text }], ..Sources::default() }
}

const REVIEW: &str = r#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"u",
    "operation":"CREATE","name":"p","namespace":"n","kind":{"group":"","version":"v1","kind":"Pod"},
    "resource":{"group":"","version":"v1","resource":"pods"},"userInfo":{"username":"ann"},
    "object":{"apiVersion":"v1","kind":"Pod","metadata":{"name":"p","namespace":"n"}}}}"#;

fn judge(url: &str, door: Arc<dyn HttpDoor>) -> Decision {
    let options = CompileOptions { http_send: HttpSend::Allow, ..CompileOptions::default() };
    let snapshot = Arc::new(compile(&sources(url), options).expect("compiles").snapshot);
    let context = Context {
        endpoint: Endpoint::Validate,
        now_ns: 1,
        seed: 1,
        deadline: None,
        failure: FailureModes::default(),
        http: Some(door),
    };
    let request = Arc::new(decode(REVIEW.as_bytes()).expect("decodes"));
    decide(&snapshot, &Inventory::fixed(BTreeMap::new()), &request, &context)
}

#[test]
fn a_decision_says_what_it_asked() {
    let origin = Origin::start();
    let decision = judge(&format!("http://{}/json?token=secret", origin.addr), origin.door());
    assert!(!decision.allowed());
    assert_eq!(decision.violations[0].msg, "200 says no");
    let url = format!("http://{}/json", origin.addr);
    let reads = serde_json::to_value(&decision.reads).expect("JSON");
    let digest = portcullis::policy::Digest::of(b"{\"a\": [1]}");
    let wanted = json!([{"path": format!("http.send GET {url}"), "digest": digest,
                         "http": {"method": "GET", "url": url, "status": 200}}]);
    assert_eq!(reads, wanted);
}

/// A request never outlives its policy: the budget is 500 ms.
#[test]
fn a_slow_answer_costs_the_policy_its_budget() {
    let origin = Origin::start();
    let started = Instant::now();
    let decision = judge(&format!("http://{}/slow", origin.addr), origin.door());
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    assert!(!decision.allowed());
    assert!(
        matches!(decision.failures[0].code, ErrorCode::Evaluation | ErrorCode::Budget),
        "{:?}",
        decision.failures[0]
    );
    assert_eq!(decision.reads[0].http.as_ref().map(|h| h.status), Some(0));
}

#[test]
fn tests_mock_it_and_nothing_else_goes_out() {
    let mut sources = sources("http://a.example/");
    let text = "package p_test\n\nimport data.p\n\ntest_mocked if {\n\tcount(p.deny) == 0 with http.send as {\"body\": \
                {\"fine\": true}}\n}\n\ntest_open if {\n\tcount(p.deny) == 0\n}\n";
    sources.modules.push(SourceFile { path: "p_test.rego".to_owned(), text: text.to_owned() });
    let report = run_tests(&sources, &|_| true, 1).expect("loads");
    let endings: Vec<&TestEnding> = report.results.iter().map(|r| &r.ending).collect();
    match endings.as_slice() {
        [TestEnding::Pass, TestEnding::Error { msg, .. }] => {
            assert!(msg.contains("in tests write `with http.send as ...`"), "{msg}");
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_records_what_its_policies_asked() {
    let origin = Origin::start();
    let dir = tempfile::tempdir().expect("a directory");
    let module = sources(&format!("http://{}/json", origin.addr)).modules.remove(0);
    std::fs::write(dir.path().join("p.rego"), module.text).expect("written");
    let host = origin.addr.to_string();
    let policies = dir.path().join("p.rego");
    let policies = policies.to_str().expect("UTF-8");
    let args = ["--policies", policies, "--http-allow", &host, "--http-allow-loopback"];
    let server = Server::start(&args);
    let mut caller = Caller::http1(&server).await;
    let reply = caller.post("/v1/validate?timeout=5s", REVIEW).await;
    assert_eq!(reply.response()["status"]["message"], "p: 200 says no");
    let records = server.records();
    let record = records.iter().find(|r| r["type"] == "decision").expect("a decision");
    assert_eq!(
        record["reads"][0]["http"],
        json!({"method": "GET", "url": format!("http://{host}/json"), "status": 200})
    );
}
