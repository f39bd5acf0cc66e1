//! Policies as bundles: packed and signed by one command, taken from files, over HTTPS and out of registries by others.

use std::fs;
use std::path::Path;
use std::process::Output;
use std::time::{Duration, Instant};

use hyper::StatusCode;
use serde_json::{Value, json};

use crate::support::client::{Client, metric};
use crate::support::server::{PATIENCE, Server, command};
use crate::support::upstream::{Answer, Upstream, digest};

const GZIP: &str = "application/gzip";

fn policy(number: u32) -> String {
    format!(
        "# METADATA\n# scope: package\n# custom:\n#   enforcement: deny\n#   match: {{kinds: [ConfigMap]}}\n\
         package portcullis.bundled\n\ndeny contains \"bundled {number}\"\n"
    )
}

fn review() -> String {
    json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
        "uid": "u", "operation": "CREATE", "name": "c", "namespace": "default",
        "kind": {"group": "", "version": "v1", "kind": "ConfigMap"},
        "resource": {"group": "", "version": "v1", "resource": "configmaps"},
        "userInfo": {"username": "admin", "groups": ["system:masters"]},
        "object": {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "namespace": "default"}},
    }})
    .to_string()
}

fn run(dir: &Path, args: &[&str]) -> Output {
    command(dir, args).output().expect("runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Packs the policy of this number, signed by `key` if there is one.
fn bundle(dir: &Path, number: u32, key: Option<&str>) -> Vec<u8> {
    fs::create_dir_all(dir.join("src")).expect("a directory");
    fs::write(dir.join("src/p.rego"), policy(number)).expect("written");
    let revision = format!("r{number}");
    let mut args = vec!["bundle", "src", "-o", "packed.tar.gz", "--revision", &revision];
    if let Some(key) = key {
        args.extend(["--signing-key", key, "--signing-key-id", "ci", "--scope", "write"]);
    }
    let output = run(dir, &args);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    fs::read(dir.join("packed.tar.gz")).expect("there")
}

async fn says(server: &Server) -> String {
    let response = Client::http1(server).await.post("/v1/validate", &review()).await.response();
    response["status"]["message"].as_str().unwrap_or_default().to_owned()
}

async fn until<F: Future<Output = bool>>(what: &str, messages: impl Fn() -> String, mut condition: impl FnMut() -> F) {
    let start = Instant::now();
    while !condition().await {
        assert!(start.elapsed() < PATIENCE, "{what} did not come: {}", messages());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn until_says(server: &Server, wanted: &str) {
    until(wanted, || server.messages(), || async { says(server).await.contains(wanted) }).await;
}

async fn readyz(server: &Server) -> (StatusCode, String) {
    let reply = Client::admin(server).await.get("/readyz").await;
    (reply.status, reply.text())
}

async fn until_readyz(server: &Server, wanted: &str) {
    until(wanted, || server.messages(), || async { readyz(server).await.1.contains(wanted) }).await;
}

/// A pair of keys, PEM, as files of these names.
fn keys(dir: &Path, private: &str, public: &str) {
    let pair = rcgen::KeyPair::generate().expect("a key");
    fs::write(dir.join(private), pair.serialize_pem()).expect("written");
    fs::write(dir.join(public), pair.public_key_pem()).expect("written");
}

#[test]
fn a_bundle_is_packed_checked_and_judged_by() {
    let dir = tempfile::tempdir().expect("a directory");
    keys(dir.path(), "key.pem", "pub.pem");
    keys(dir.path(), "other.pem", "other-pub.pem");
    let first = bundle(dir.path(), 1, Some("key.pem"));
    assert_eq!(first, bundle(dir.path(), 1, Some("key.pem")), "the same each time");
    fs::write(dir.path().join("review.json"), review()).expect("written");
    let check = run(dir.path(), &["check", "packed.tar.gz", "--bundle-key", "pub.pem", "--bundle-scope", "write"]);
    assert_eq!(check.status.code(), Some(0), "{}", text(&check.stdout));
    assert!(text(&check.stdout).contains("ok bundled deny"), "{}", text(&check.stdout));
    let eval = run(dir.path(), &["eval", "review.json", "--policies", "packed.tar.gz"]);
    assert_eq!(eval.status.code(), Some(1), "{}", text(&eval.stderr));
    assert!(text(&eval.stdout).contains("bundled 1"), "{}", text(&eval.stdout));
    for (args, wanted) in [
        (&["--bundle-key", "other-pub.pem", "--bundle-scope", "write"][..], "its signature is not of the given key"),
        (&["--bundle-key", "pub.pem"][..], "it is signed for the scope `write`"),
        (&["--bundle-key", "key.pem"][..], "it is a private key; give the public one"),
    ] {
        let output = run(dir.path(), &[&["check", "packed.tar.gz"], args].concat());
        let unusable = wanted.contains("private key");
        assert_eq!(output.status.code(), Some(if unusable { 2 } else { 1 }), "{wanted}");
        assert!(text(&output.stdout).contains(wanted), "{}", text(&output.stdout));
    }
    let output = run(dir.path(), &["check", "packed.tar.gz", "--bundle-key-id", "ci"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        text(&output.stderr).contains("--bundle-key-id: has no effect without --bundle-key"),
        "{}",
        text(&output.stderr)
    );
    bundle(dir.path(), 1, None);
    let output = run(dir.path(), &["check", "packed.tar.gz", "--bundle-key", "pub.pem"]);
    assert!(text(&output.stdout).contains("it is not signed"), "{}", text(&output.stdout));

    fs::write(dir.path().join("src/p.rego"), "package p\n\ndeny contains x if {\n").expect("written");
    let output = run(dir.path(), &["bundle", "src", "-o", "broken.tar.gz"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("src/p.rego:"), "{}", text(&output.stderr));
    assert!(!dir.path().join("broken.tar.gz").exists());
    assert_eq!(run(dir.path(), &["bundle", "nowhere"]).status.code(), Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_over_https_is_polled_verified_and_kept() {
    let dir = tempfile::tempdir().expect("a directory");
    keys(dir.path(), "key.pem", "pub.pem");
    fs::write(dir.path().join("token"), "s3cret\n").expect("written");
    let (upstream, _) = Upstream::https(dir.path()).await;
    upstream.require("s3cret");
    upstream.set("/b.tar.gz", Answer::Redirect("/stored".to_owned()));
    let serve = |number| upstream.set("/stored", Answer::Content(GZIP, bundle(dir.path(), number, Some("key.pem"))));
    serve(1);
    let url = format!("https://localhost:{}/b.tar.gz", upstream.addr.port());
    let path = |name: &str| dir.path().join(name).display().to_string();
    let (key, token, ca) = (path("pub.pem"), path("token"), path("upstream-ca.pem"));
    let args = [
        "--policies",
        &url,
        "--bundle-poll",
        "1s",
        "--bundle-key",
        &key,
        "--bundle-scope",
        "write",
        "--bundle-token-file",
        &token,
        "--bundle-ca",
        &ca,
    ];
    let server = Server::start_in(tempfile::tempdir().expect("a directory"), &args);
    assert!(server.banner.contains("(bundle, revision r1, signed by ci)"), "{}", server.banner);
    assert!(says(&server).await.contains("bundled 1"));
    serve(2);
    until_says(&server, "bundled 2").await;
    until("304", || upstream.asked().join("\n"), || async { upstream.asked().iter().any(|a| a == "GET /stored 304") })
        .await;
    assert_eq!(metric(&server, "portcullis_reload_failing").await, 0.0);

    // Signed by somebody else: refused, and what was good stays.
    keys(dir.path(), "stranger.pem", "stranger-pub.pem");
    upstream.set("/stored", Answer::Content(GZIP, bundle(dir.path(), 3, Some("stranger.pem"))));
    until_readyz(&server, "its signature is not of the given key").await;
    assert!(says(&server).await.contains("bundled 2"));
    assert_eq!(readyz(&server).await.0, StatusCode::OK);
    upstream.set("/stored", Answer::Status(500));
    until_readyz(&server, "polling has failed").await;
    assert_eq!(metric(&server, "portcullis_reload_failing").await, 1.0);
    serve(4);
    until_says(&server, "bundled 4").await;
    until("no complaint", || server.messages(), || async { !readyz(&server).await.1.contains("failed") }).await;
    let sets: Vec<Value> = server.records().into_iter().filter(|r| r["type"] == "config").collect();
    assert_eq!(sets.len(), 3, "start, 2 and 4");
    assert!(!server.messages().contains("s3cret"));

    // It starts with what was good at last, where its server has a bundle that is not, and where it is gone.
    let home_of = |server: &Server| {
        let home = tempfile::tempdir().expect("a directory");
        copy(&server.dir().join(".portcullis/bundles"), &home.path().join(".portcullis/bundles"));
        home
    };
    let home = home_of(&server);
    drop(server);
    upstream.set("/stored", Answer::Content(GZIP, bundle(dir.path(), 5, Some("stranger.pem"))));
    let server = Server::start_in(home, &args);
    assert!(says(&server).await.contains("bundled 4"));
    until_readyz(&server, "its signature is not of the given key").await;
    assert_eq!(metric(&server, "portcullis_reload_failing").await, 1.0);
    let home = home_of(&server);
    drop((server, upstream));
    let server = Server::start_in(home, &args);
    assert!(says(&server).await.contains("bundled 4"));
    let (status, text) = readyz(&server).await;
    assert!(status == StatusCode::OK && text.contains("polling has failed"), "{text}");
    assert_eq!(metric(&server, "portcullis_reload_failing").await, 1.0);
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a directory");
    for entry in fs::read_dir(from).expect("a directory") {
        let entry = entry.expect("an entry");
        fs::copy(entry.path(), to.join(entry.file_name())).expect("copied");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_server_and_a_kept_copy_it_waits_and_is_not_ready() {
    let dir = tempfile::tempdir().expect("a directory");
    let free = || std::net::TcpListener::bind("127.0.0.1:0").expect("binds").local_addr().expect("an address");
    let (upstream_addr, admin, webhook) = (free(), free(), free());
    let url = format!("http://{upstream_addr}/b.tar.gz");
    let (admin_text, webhook_text) = (admin.to_string(), webhook.to_string());
    let args = ["serve", "--policies", &url, "--admin-listen", &admin_text, "--listen", &webhook_text];
    let mut child = command(dir.path(), &args)
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("starts");
    let health = move |path: &'static str| async move {
        let uri = format!("http://{admin}{path}");
        tokio::task::spawn_blocking(move || {
            let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
            let mut response = agent.get(&uri).call().ok()?;
            Some((response.status().as_u16(), response.body_mut().read_to_string().ok()?))
        })
        .await
        .expect("asks")
    };
    let not_ready = |answer: Option<(u16, String)>| {
        answer.is_some_and(|(status, text)| {
            status == 503 && text.contains("FAIL policies: not loaded yet; polling has failed")
        })
    };
    until("not ready", String::new, || async { not_ready(health("/readyz").await) }).await;
    assert_eq!(health("/livez").await.map(|(status, _)| status), Some(200));
    assert!(std::net::TcpStream::connect(webhook).is_err(), "nothing is answered without policies");
    let upstream = Upstream::http_on(upstream_addr).await;
    upstream.set("/b.tar.gz", Answer::Content(GZIP, bundle(dir.path(), 1, None)));
    until("ready", String::new, || async { health("/readyz").await.is_some_and(|(status, _)| status == 200) }).await;
    child.kill().expect("killed");
    child.wait().expect("ended");
}

#[test]
fn addresses_that_cannot_be_trusted_are_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    for (address, wanted) in [
        ("http://bundles.example/b.tar.gz", "policies in the clear can be changed on their way"),
        ("https://:99999/", "is not a URL"),
        ("oci://UPPER/Case", "is not a reference to an artifact"),
    ] {
        let output = run(dir.path(), &["check", address]);
        let said = text(&output.stdout);
        assert!(said.contains(address) && said.contains(wanted), "{said}{}", text(&output.stderr));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_that_answer_wrongly_are_named_with_what_is_wrong() {
    let dir = tempfile::tempdir().expect("a directory");
    let (secure, _) = Upstream::https(dir.path()).await;
    let plain = Upstream::http().await;
    let archive = bundle(dir.path(), 1, None);
    plain.set("/b.tar.gz", Answer::Content(GZIP, archive.clone()));
    secure.set("/down", Answer::Redirect(format!("http://{}/b.tar.gz", plain.addr)));
    plain.set("/round", Answer::Redirect("/round".to_owned()));
    plain.set("/gone", Answer::Status(503));
    plain.set("/page", Answer::Content("text/html", b"<html>sign in</html>".to_vec()));
    plain.set("/huge", Answer::Content(GZIP, vec![0; (64 << 20) + 1]));
    secure.set("/b.tar.gz", Answer::Content(GZIP, archive));
    let (https, http) = (format!("https://localhost:{}", secure.addr.port()), format!("http://{}", plain.addr));
    let path = dir.path().to_owned();
    let cases = [
        (format!("{https}/down"), true, "it redirects from https to http"),
        (format!("{http}/round"), true, "more than 5 redirects"),
        (format!("{http}/gone"), true, "the server answered 503"),
        (format!("{http}/page"), true, "it is not a whole `.tar.gz`"),
        (format!("{http}/huge"), true, "the bundle has more than 67108864 bytes"),
        (format!("{https}/b.tar.gz"), false, "invalid peer certificate"),
        (format!("{https}/b.tar.gz"), true, "ok bundled deny"),
    ];
    let said = tokio::task::spawn_blocking(move || {
        cases.map(|(address, trusted, wanted)| {
            let ca = ["--bundle-ca", "upstream-ca.pem"];
            let args = [&["check", &address][..], if trusted { &ca } else { &[] }].concat();
            let output = run(&path, &args);
            (text(&output.stdout) + &text(&output.stderr), wanted)
        })
    });
    for (said, wanted) in said.await.expect("runs") {
        assert!(said.contains(wanted), "{said}\nwanted: {wanted}");
    }
    secure.require("token");
    let (path, address) = (dir.path().to_owned(), format!("{https}/b.tar.gz"));
    let asked = tokio::task::spawn_blocking(move || {
        let mut with_token = command(&path, &["check", &address, "--bundle-ca", "upstream-ca.pem"]);
        with_token.env("PORTCULLIS_BUNDLE_TOKEN", "token");
        (with_token.output().expect("runs"), run(&path, &["check", &address, "--bundle-ca", "upstream-ca.pem"]))
    });
    let (with, without) = asked.await.expect("runs");
    assert_eq!(with.status.code(), Some(0), "{}", text(&with.stdout));
    assert_eq!(without.status.code(), Some(2));
    assert!(text(&without.stdout).contains("the server answered 401"), "{}", text(&without.stdout));
}

/// Puts an artifact into a registry that is nothing but paths.
fn push(upstream: &Upstream, tag: &str, layers: &[(&str, Option<&str>, &[u8])]) -> String {
    let blob = |content: &[u8]| {
        let path = format!("/v2/team/policies/blobs/{}", digest(content));
        upstream.set(&path, Answer::Content("application/octet-stream", content.to_vec()));
    };
    blob(b"{}");
    let descriptors: Vec<Value> = layers
        .iter()
        .map(|(kind, title, content)| {
            blob(content);
            let mut layer = json!({"mediaType": kind, "digest": digest(content), "size": content.len()});
            if let Some(title) = title {
                layer["annotations"] = json!({"org.opencontainers.image.title": title});
            }
            layer
        })
        .collect();
    let kind = "application/vnd.oci.image.manifest.v1+json";
    let manifest = json!({"schemaVersion": 2, "mediaType": kind,
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest(b"{}"), "size": 2},
        "layers": descriptors})
    .to_string()
    .into_bytes();
    let manifest_digest = digest(&manifest);
    for reference in [tag, &manifest_digest] {
        upstream.set(&format!("/v2/team/policies/manifests/{reference}"), Answer::Content(kind, manifest.clone()));
    }
    manifest_digest
}

#[tokio::test(flavor = "multi_thread")]
async fn an_artifact_in_a_registry_is_followed_by_its_tag() {
    const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
    let dir = tempfile::tempdir().expect("a directory");
    let upstream = Upstream::http().await;
    upstream.set("/v2/", Answer::Status(200));
    let first = push(&upstream, "prod", &[(LAYER, None, &bundle(dir.path(), 1, None))]);
    let address = format!("oci://{}/team/policies:prod", upstream.addr);
    let home = tempfile::tempdir().expect("a directory");
    let server = Server::start_in(home, &["--policies", &address, "--bundle-poll", "1s"]);
    assert!(says(&server).await.contains("bundled 1"));
    push(&upstream, "prod", &[(LAYER, None, &bundle(dir.path(), 2, None))]);
    until_says(&server, "bundled 2").await;

    // A layer that is not what its digest says.
    let third = bundle(dir.path(), 3, None);
    push(&upstream, "prod", &[(LAYER, None, &third)]);
    let path = format!("/v2/team/policies/blobs/{}", digest(&third));
    upstream.set(&path, Answer::Content(LAYER, bundle(dir.path(), 4, None)));
    until_readyz(&server, "polling has failed").await;
    assert!(says(&server).await.contains("bundled 2"));
    assert!(server.messages().contains("digest"), "{}", server.messages());

    // What conftest pushes: a layer a file.
    let rego = "application/vnd.cncf.openpolicyagent.policy.layer.v1+rego";
    push(&upstream, "prod", &[(rego, Some("policy/p.rego"), policy(5).as_bytes())]);
    until_says(&server, "bundled 5").await;

    // A digest in the address settles which one it is.
    let (pinned, wrong) = (format!("{address}@{first}"), format!("{address}@{}", digest(b"other")));
    let (at, judged) = (dir.path().to_owned(), dir.path().join("review.json"));
    fs::write(&judged, review()).expect("written");
    let eval = move |policies: &str| run(&at, &["eval", "review.json", "--policies", policies]);
    let (found, missing) = tokio::task::spawn_blocking(move || (eval(&pinned), eval(&wrong))).await.expect("runs");
    assert!(text(&found.stdout).contains("bundled 1"), "{}", text(&found.stderr));
    assert_eq!(missing.status.code(), Some(2), "{}", text(&missing.stdout));
}
