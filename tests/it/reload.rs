//! Policies that change while a server answers: nothing is dropped, no answer comes from half a policy set, and what
//! cannot be loaded changes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hyper::StatusCode;
use serde_json::{Value, json};

use crate::support::client::{Client, metric};
use crate::support::server::{PATIENCE, Server};

/// A directory as the kubelet mounts a ConfigMap: every file is a link through `..data`, which is swapped as one.
struct ConfigMap<'a> {
    root: &'a Path,
    versions: u32,
}

impl<'a> ConfigMap<'a> {
    fn mount(root: &'a Path, files: &[(&str, String)]) -> Self {
        fs::create_dir_all(root).expect("a directory");
        let mut mounted = Self { root, versions: 0 };
        for (name, _) in files {
            symlink(format!("..data/{name}"), root.join(name)).expect("linked");
        }
        mounted.swap(files);
        mounted
    }

    fn swap(&mut self, files: &[(&str, String)]) {
        self.versions += 1;
        let version = format!("..{}", self.versions);
        fs::create_dir(self.root.join(&version)).expect("a directory");
        for (name, text) in files {
            fs::write(self.root.join(&version).join(name), text).expect("written");
        }
        symlink(&version, self.root.join("..data_tmp")).expect("linked");
        fs::rename(self.root.join("..data_tmp"), self.root.join("..data")).expect("swapped");
    }
}

/// Two policies that name their version; a torn policy set would name two.
fn version(number: u32) -> Vec<(&'static str, String)> {
    let policy = |name: &str| {
        format!(
            "# METADATA\n# scope: package\n# custom:\n#   enforcement: deny\n#   match:\n#     rules: [{{apiGroups: ['*'], \
             apiVersions: ['*'], resources: ['*'], operations: ['*']}}]\npackage portcullis.{name}\n\n\
             deny contains \"{name} is at {number}\"\n"
        )
    };
    vec![("first.rego", policy("first")), ("second.rego", policy("second"))]
}

fn broken() -> Vec<(&'static str, String)> {
    let mut files = version(99);
    files[1].1.push_str("\ndeny contains msg if { msg := unknown_function(1) }\n");
    files
}

fn review(uid: &str) -> String {
    json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
        "uid": uid, "operation": "CREATE", "name": "c", "namespace": "default",
        "kind": {"group": "", "version": "v1", "kind": "ConfigMap"},
        "resource": {"group": "", "version": "v1", "resource": "configmaps"},
        "userInfo": {"username": "admin", "groups": ["system:masters"]},
        "object": {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "namespace": "default"}},
    }})
    .to_string()
}

/// The version that an answer or a record comes from: the one that both policies name.
fn version_of<'a>(messages: impl Iterator<Item = &'a str>) -> u32 {
    let numbers: Vec<u32> = messages
        .flat_map(|m| m.split(" is at ").skip(1))
        .map(|rest| rest.chars().take_while(char::is_ascii_digit).collect::<String>().parse().expect("a number"))
        .collect();
    assert_eq!(numbers.len(), 2, "both policies speak: {numbers:?}");
    assert_eq!(numbers[0], numbers[1], "an answer from half a policy set");
    numbers[0]
}

/// Posts until it is told to stop; gives the number of answers.
async fn post_all_the_time(
    mut client: Client,
    who: usize,
    stop: Arc<AtomicBool>,
    seen: Arc<std::sync::Mutex<BTreeSet<u32>>>,
) -> u64 {
    let (mut answers, mut last) = (0, 0);
    while !stop.load(Ordering::Relaxed) {
        let uid = format!("{who}-{answers}");
        let response = client.post("/v1/validate?timeout=10s", &review(&uid)).await.response();
        assert_eq!((&response["uid"], &response["allowed"]), (&json!(uid), &json!(false)), "{response}");
        assert_eq!(response["status"]["code"], 403, "{response}");
        let version = version_of(response["status"]["message"].as_str().into_iter());
        assert!(version >= last && version != 99, "went from {last} to {version}");
        last = version;
        seen.lock().expect("whole").insert(version);
        answers += 1;
    }
    answers
}

async fn until<F: Future<Output = bool>>(what: &str, server: &Server, mut condition: impl FnMut() -> F) {
    let start = Instant::now();
    while !condition().await {
        assert!(start.elapsed() < PATIENCE, "{what} did not come: {}", server.messages());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn until_version(server: &Server, number: u32) {
    until(&format!("version {number}"), server, || async {
        let response = Client::http1(server).await.post("/v1/validate", &review("probe")).await.response();
        version_of(response["status"]["message"].as_str().into_iter()) == number
    })
    .await;
}

async fn readyz(server: &Server) -> (StatusCode, String) {
    let reply = Client::admin(server).await.get("/readyz").await;
    (reply.status, reply.text())
}

#[tokio::test(flavor = "multi_thread")]
async fn reloading_under_load_drops_nothing() {
    let dir = tempfile::tempdir().expect("a directory");
    let root = dir.path().join("mounted");
    let mut mounted = ConfigMap::mount(&root, &version(1));
    let server = Server::start_in(dir, &["--policies", "mounted", "--reload-interval", "100ms"]);
    let (stop, seen) = (Arc::new(AtomicBool::new(false)), Arc::default());
    let mut clients = Vec::new();
    for who in 0..6 {
        let client = if who % 2 == 0 { Client::http1(&server).await } else { Client::http2(&server).await };
        clients.push(tokio::spawn(post_all_the_time(client, who, Arc::clone(&stop), Arc::clone(&seen))));
    }
    let success = "portcullis_reload_total{result=\"success\"}";
    let failure = "portcullis_reload_total{result=\"failure\"}";
    let loaded_at = metric(&server, "portcullis_reload_last_success_timestamp_seconds").await;
    assert!(loaded_at > 1e9);
    let mut last_good = 1;
    for (round, wrong) in [broken(), vec![], broken()].into_iter().enumerate() {
        let good = last_good + 1;
        mounted.swap(&version(good));
        until_version(&server, good).await;
        last_good = good;
        assert_eq!(metric(&server, "portcullis_reload_failing").await, 0.0);
        let count = metric(&server, success).await;
        assert!(count >= f64::from(good - 1), "{count} reloads");

        mounted.swap(&wrong);
        let failures = u32::try_from(round).expect("small");
        until("the failure", &server, || async { metric(&server, failure).await > f64::from(failures) }).await;
        until_version(&server, last_good).await;
        assert_eq!(metric(&server, "portcullis_reload_failing").await, 1.0);
        let (status, text) = readyz(&server).await;
        assert_eq!(status, StatusCode::OK, "ready with the last good policies: {text}");
        let why = if wrong.is_empty() { "cannot read" } else { "mounted/second.rego:11:31: " };
        assert!(text.contains("these are the last good ones") && text.contains(why), "{text}");
        assert!(server.messages().contains("kept the last good policies"));
    }
    mounted.swap(&version(last_good + 1));
    until_version(&server, last_good + 1).await;
    let (_, text) = readyz(&server).await;
    assert!(!text.contains("last good"), "{text}");
    assert!(metric(&server, "portcullis_reload_last_success_timestamp_seconds").await > loaded_at);

    stop.store(true, Ordering::Relaxed);
    let mut answers = 0;
    for client in clients {
        answers += client.await.expect("every answer is right");
    }
    let seen: BTreeSet<u32> = seen.lock().expect("whole").clone();
    assert_eq!(seen, (1..=last_good + 1).collect(), "{answers} answers");
    records_agree(&server, answers, last_good + 1);
}

/// Every answer has its record; a version has one policy set; and the log says when which one came in force.
fn records_agree(server: &Server, answers: u64, versions: u32) {
    let records = server.records();
    let mut sets: BTreeMap<u32, String> = BTreeMap::new();
    let mut decisions = 0;
    for record in records.iter().filter(|r| r["type"] == "decision") {
        let violations = record["violations"].as_array().expect("a list");
        let number = version_of(violations.iter().map(|v| v["msg"].as_str().expect("text")));
        let set = record["policy_set"].as_str().expect("a digest").to_owned();
        assert_eq!(*sets.entry(number).or_insert_with(|| set.clone()), set, "version {number}");
        decisions += u64::from(!record["request"]["uid"].as_str().expect("text").starts_with("probe"));
    }
    assert_eq!(decisions, answers);
    assert_eq!(sets.len(), usize::try_from(versions).expect("small"));
    let changes: Vec<&Value> = records.iter().filter(|r| r["type"] == "config").collect();
    let announced: Vec<&str> = changes.iter().map(|r| r["policy_set"].as_str().expect("a digest")).collect();
    assert_eq!(announced, sets.values().map(String::as_str).collect::<Vec<_>>(), "each once, in order");
    assert_eq!((&changes[0]["reason"], &changes[0]["previous_policy_set"]), (&json!("start"), &Value::Null));
    for pair in changes.windows(2) {
        assert_eq!(pair[1]["previous_policy_set"], pair[0]["policy_set"]);
        assert_eq!((&pair[1]["reason"], &pair[1]["policies"]), (&json!("reload"), &json!(2)));
    }
}

#[tokio::test]
async fn plain_files_are_followed_and_sighup_reloads() {
    let dir = tempfile::tempdir().expect("a directory");
    fs::create_dir(dir.path().join("p")).expect("a directory");
    let path = dir.path().to_owned();
    let write =
        |number: u32| version(number).iter().for_each(|(n, t)| fs::write(path.join("p").join(n), t).expect("written"));
    write(1);
    fs::write(dir.path().join("data.yaml"), "apiVersion: v1\nkind: Namespace\nmetadata: {name: one}\n")
        .expect("written");
    let server = Server::start_in(dir, &["--policies", "p", "--data", "data.yaml", "--reload-interval", "100ms"]);
    until_version(&server, 1).await;
    write(2);
    until_version(&server, 2).await;
    let two = "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Namespace, metadata: {name: one}}\n\
               - {apiVersion: v1, kind: Namespace, metadata: {name: two}}\n";
    fs::write(server.dir().join("data.yaml"), two).expect("written");
    until("the data", &server, || async { readyz(&server).await.1.contains("2 from data files") }).await;

    fs::remove_dir_all(server.dir().join("p")).expect("removed");
    fs::create_dir(server.dir().join("p")).expect("a directory");
    let said = "an empty policy set is never served";
    until("the refusal", &server, || async { readyz(&server).await.1.contains(said) }).await;
    until_version(&server, 2).await;

    let still = Server::start_in(tempfile::tempdir().expect("a directory"), &["--reload-interval", "0"]);
    let success = "portcullis_reload_total{result=\"success\"}";
    assert_eq!(metric(&still, success).await, 0.0);
    still.signal("-HUP");
    until("the reload", &still, || async { metric(&still, success).await > 0.0 }).await;
    let changes = still.records().iter().filter(|r| r["type"] == "config").count();
    assert_eq!(changes, 1, "the same policies again are no change");
}
