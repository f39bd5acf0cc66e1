//! Crashes: a loaded server is killed at random moments, again and again, and nothing that it acknowledged is lost.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::client::{Client, request};
use crate::support::server::{Server, command, records};

/// Rounds of load and kill.
const ROUNDS: u64 = 12;
/// Connections that send one review after another.
const CONNECTIONS: usize = 6;

fn review(uid: usize) -> String {
    json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
        "uid": format!("u-{uid}"), "operation": "CREATE", "name": "c", "namespace": "default",
        "kind": {"group": "", "version": "v1", "kind": "ConfigMap"},
        "resource": {"group": "", "version": "v1", "resource": "configmaps"},
        "userInfo": {"username": "admin", "groups": ["system:masters"]},
        "object": {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "namespace": "default"}},
    }})
    .to_string()
}

/// Sends until the server is gone; gives the ids that it acknowledged and the last checkpoint that it told.
async fn load(mut client: Client, connection: usize) -> (Vec<String>, Option<String>) {
    let (mut ids, mut checkpoint) = (Vec::new(), None);
    for i in 0.. {
        let request =
            request(&client, hyper::Method::POST, "/v1/validate?timeout=10s", &[], &review(connection * 100_000 + i));
        let Ok(reply) = client.send(request).await else { break };
        let response = reply.response();
        assert_eq!(response["allowed"], true, "{response}");
        for (key, value) in response["auditAnnotations"].as_object().expect("annotations") {
            let value = value.as_str().expect("text").to_owned();
            if key == "checkpoint" { checkpoint = Some(value) } else { ids.push(value) }
        }
    }
    (ids, checkpoint)
}

fn verify(dir: &Path) -> Value {
    let args = ["decisions", "verify", "--checkpoint", "anchors", "-o", "json"];
    let output = command(dir, &args).output().expect("runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_str(&text).expect("JSON")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_when_the_server_is_killed() {
    let (mut acknowledged, mut anchors) = (BTreeSet::new(), String::new());
    let mut dir = tempfile::tempdir().expect("a directory");
    for round in 0..ROUNDS {
        let durability = if round % 3 == 2 { "fsync" } else { "flush" };
        let server = Server::start_in(dir, &["--durability", durability, "--replica", "r-0"]);
        let mut tasks = tokio::task::JoinSet::new();
        for connection in 0..CONNECTIONS {
            tasks.spawn(load(Client::http1(&server).await, connection));
        }
        // Any moment of the second in which checkpoints are signed and files are synced.
        let random = u64::from(uuid::Uuid::new_v7(uuid::Timestamp::now(uuid::NoContext)).as_bytes()[15]);
        tokio::time::sleep(Duration::from_millis(100 + random * 5)).await;
        dir = server.kill();
        for (ids, checkpoint) in tasks.join_all().await {
            assert!(!ids.is_empty(), "round {round}: no load");
            acknowledged.extend(ids);
            anchors.extend(checkpoint.map(|c| c + "\n"));
        }
        // As it lies there, all that was acknowledged is in it.
        let log = dir.path().join(".portcullis/decisions");
        let on_record: BTreeSet<String> =
            records(&log).iter().filter_map(|r| r["decision_id"].as_str().map(str::to_owned)).collect();
        let lost: Vec<_> = acknowledged.difference(&on_record).collect();
        assert!(lost.is_empty(), "round {round}: {} of {} are lost: {lost:?}", lost.len(), acknowledged.len());
    }
    // After the next start it is whole, and every checkpoint that was ever told is its beginning.
    let mut server = Server::start_in(dir, &["--replica", "r-0", "--drain-delay", "0s"]);
    std::fs::write(server.dir().join("anchors"), &anchors).expect("written");
    let live = verify(server.dir());
    assert_eq!((&live["verified"], &live["live"]), (&true.into(), &(live["unsigned"] != 0).into()), "{live}");
    server.signal("-TERM");
    assert!(server.wait().success());
    let report = verify(server.dir());
    assert_eq!(report["records"]["start"], ROUNDS + 1, "{report}");
    assert!(report["records"]["decision"].as_u64().expect("a number") >= acknowledged.len() as u64);
    assert_eq!((&report["unsigned"], &report["firstSeq"]), (&0.into(), &0.into()), "{report}");
    assert_eq!(report["origin"], "portcullis/local/r-0", "nothing was set aside");
}
