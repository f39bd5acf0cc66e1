//! Commands that change what is kept: through the socket of a running server, and without one.

use std::fs;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::client::Client;
use crate::support::server::{Server, command, records};

const REVIEW: &str = include_str!("../reviews/validate/create-pods-2.json");

fn run(dir: &Path, args: &[&str]) -> (i32, String, String) {
    let output = command(dir, &[&["decisions"], args].concat()).output().expect("runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().expect("a code"), text(&output.stdout), text(&output.stderr))
}

async fn decide(server: &Server, times: usize) {
    let mut client = Client::http1(server).await;
    for _ in 0..times {
        client.post("/v1/validate?timeout=10s", REVIEW).await.response();
    }
}

fn of_type<'r>(records: &'r [Value], kind: &str) -> Vec<&'r Value> {
    records.iter().filter(|r| r["type"] == kind).collect()
}

fn socket(dir: &Path) -> std::path::PathBuf {
    dir.join(".portcullis/control.sock")
}

/// The socket is there a moment after the server is.
fn wait_for(path: &Path) {
    let begun = Instant::now();
    while !path.exists() {
        assert!(begun.elapsed() < Duration::from_secs(10), "no {}", path.display());
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn holds_and_erasures_reach_a_running_server() {
    let mut server = Server::start(&["--drain-delay", "0s"]);
    wait_for(&socket(server.dir()));
    let mode = fs::metadata(socket(server.dir())).expect("is there");
    assert!(mode.file_type().is_socket());
    assert_eq!(mode.permissions().mode() & 0o777, 0o600);
    decide(&server, 3).await;
    let dir = server.dir().to_path_buf();
    let user = records(&dir.join(".portcullis/decisions"))
        .iter()
        .find_map(|r| r["request"]["user"]["username"].as_str().map(str::to_owned))
        .expect("a user");
    let (code, out, error) = run(&dir, &["hold", "case", "-n", "tenant-*", "--reason", "court", "--ticket", "L-1"]);
    assert!(code == 0 && out.contains("uid "), "{out}{error}");
    let (code, out, error) = run(&dir, &["holds", "-o", "json"]);
    let hold: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!((code, &hold["name"], &hold["ticket"]), (0, &json!("case"), &json!("L-1")), "{error}");
    let (code, _, error) = run(&dir, &["erase", "--user", &user, "--ticket", "G-1"]);
    assert!(code == 1 && error.contains("`case`") && error.contains("nothing was erased"), "{error}");
    let (code, _, error) = run(&dir, &["hold", "case", "--all", "--reason", "x", "--ticket", "L-2"]);
    assert!(code == 2 && error.contains("already"), "{error}");
    assert_eq!(run(&dir, &["release", "case", "--reason", "over", "--ticket", "L-3"]).0, 0);
    let (code, out, error) = run(&dir, &["erase", "--user", &user, "--ticket", "G-1", "--dry-run", "-o", "json"]);
    assert_eq!(
        (code, serde_json::from_str::<Value>(&out).expect("JSON")["decisions"].clone()),
        (0, json!(3)),
        "{error}"
    );
    let (code, out, error) = run(&dir, &["erase", "--user", &user, "--ticket", "G-1", "-o", "json"]);
    assert_eq!((code, serde_json::from_str::<Value>(&out).expect("JSON")["bodies"].clone()), (0, json!(3)), "{error}");
    // Decisions go on meanwhile.
    decide(&server, 1).await;
    let (code, out, error) = run(&dir, &["verify"]);
    assert!(code == 0 && out.contains("1 intact, 0 deleted, 3 erased by record"), "{out}{error}");
    let (code, out, error) = run(&dir, &["prune", "--bodies-older-than", "0s", "--ticket", "T-1"]);
    assert!(code == 0 && out.starts_with("deleted ") && !out.starts_with("deleted 0"), "{out}{error}");
    let all = records(&dir.join(".portcullis/decisions"));
    let actions: Vec<&Value> = of_type(&all, "hold").iter().map(|h| &h["action"]).collect();
    assert_eq!(actions, ["place", "release"]);
    let told: Vec<(&Value, &Value, &Value)> =
        of_type(&all, "prune").iter().map(|p| (&p["what"], &p["reason"], &p["ticket"])).collect();
    let retention = json!("retention");
    assert_eq!(told[0], (&json!("body"), &json!("erasure"), &json!("G-1")));
    assert!(told[1..].iter().all(|t| *t == (&json!("bodies"), &retention, &json!("T-1"))), "{told:?}");
    server.signal("-TERM");
    assert!(server.wait().success(), "{}", server.messages());
    assert!(!socket(&dir).exists(), "the socket goes with the server");
    // Without a server the command is the writer.
    let (code, out, error) = run(&dir, &["hold", "later", "--all", "--reason", "court", "--ticket", "L-4"]);
    assert_eq!(code, 0, "{out}{error}");
    let all = records(&dir.join(".portcullis/decisions"));
    let last: Vec<&Value> = all.iter().rev().take(3).map(|r| &r["type"]).collect();
    assert_eq!(last, ["stop", "hold", "start"]);
    assert_eq!(of_type(&all, "key").len(), 0, "with the log's own key");
    assert_eq!(run(&dir, &["verify"]).0, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_that_nobody_answers_on_is_replaced_and_long_paths_work() {
    let dir = tempfile::tempdir().expect("a directory");
    let long = format!("{}/state", "d".repeat(120));
    let state = dir.path().join(&long);
    fs::create_dir_all(&state).expect("made");
    fs::write(state.join("control.sock"), "stale").expect("written");
    let server = Server::start_in(dir, &["--state-dir", &long]);
    let socket = server.dir().join(&long).join("control.sock");
    let begun = Instant::now();
    while !fs::metadata(&socket).is_ok_and(|m| m.file_type().is_socket()) {
        assert!(begun.elapsed() < Duration::from_secs(10), "{}", server.messages());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let args = ["hold", "a", "--all", "--reason", "x", "--ticket", "y", "--state-dir", &long];
    let (code, out, error) = run(server.dir(), &args);
    assert_eq!(code, 0, "{out}{error}");
    // Killed: the socket stays and nobody answers.
    let dir = server.kill();
    assert!(socket.exists());
    let (code, out, error) = run(dir.path(), &["release", "a", "--reason", "x", "--ticket", "y", "--state-dir", &long]);
    assert_eq!(code, 0, "{out}{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_socket_the_server_serves_and_commands_say_why_they_cannot() {
    let dir = tempfile::tempdir().expect("a directory");
    // Nothing can be renamed onto a directory.
    fs::create_dir_all(dir.path().join(".portcullis/control.sock/x")).expect("made");
    let server = Server::start_in(dir, &[]);
    decide(&server, 1).await;
    let begun = Instant::now();
    while !server.messages().contains("no control socket") {
        assert!(begun.elapsed() < Duration::from_secs(10), "{}", server.messages());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let (code, _, error) = run(server.dir(), &["hold", "a", "--all", "--reason", "x", "--ticket", "y"]);
    assert!(code == 2 && error.contains("control.sock"), "{error}");
    let elsewhere = server.dir().join("elsewhere").display().to_string();
    let args = [
        "hold",
        "a",
        "--all",
        "--reason",
        "x",
        "--ticket",
        "y",
        "--state-dir",
        &elsewhere,
        "--decision-log",
        ".portcullis/decisions",
    ];
    let (code, _, error) = run(server.dir(), &args);
    assert!(code == 2 && error.contains("--state-dir"), "{error}");
}

#[test]
fn commands_ask_for_what_they_need() {
    let dir = tempfile::tempdir().expect("a directory");
    for (args, why) in [
        (&["hold", "a", "--reason", "x", "--ticket", "y"][..], "say what to hold"),
        (&["hold", "a", "--all", "--reason", "x"], "--ticket"),
        (&["erase", "--user", "x"], "--ticket"),
        (&["erase", "--user", "x", "--ticket", ""], "where it was asked for"),
        (&["hold", "a", "--all", "--reason", "x", "--ticket", " "], "where it was asked for"),
        (&["prune"], "--bodies-older-than"),
        (&["prune", "--bodies-older-than", "soon"], "not a period"),
        (&["erase", "--user", "x", "--ticket", "y"], "no decision log"),
        (&["holds"], "no decision log"),
    ] {
        let (code, _, error) = run(dir.path(), args);
        assert!(code == 2 && error.contains(why), "{args:?}: {error}");
    }
}
