//! Reading the log over HTTPS: who may, what they see, and that each reading is a record before its answer leaves.

use std::fs;

use hyper::{Method, StatusCode};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::support::client::{Client, Reply, request};
use crate::support::server::Server;

const REVIEW: &str = include_str!("../reviews/validate/create-pods-2.json");
const ALL: &str = "token-of-somebody-who-sees-all";
const TENANT: &str = "token-of-somebody-of-tenant-a";

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn start(args: &[&str]) -> Server {
    let dir = tempfile::tempdir().expect("a directory");
    fs::write(dir.path().join("token"), format!("{TENANT}\n")).expect("written");
    let readers = format!(
        "readers:\n- name: auditor\n  tokenSha256: {}\n  bodies: true\n- name: tenant-a\n  tokenFile: {}\n  namespaces: [tenant-a]\n",
        hex(&Sha256::digest(ALL)),
        dir.path().join("token").display(),
    );
    fs::write(dir.path().join("readers.yaml"), readers).expect("written");
    Server::start_in(dir, &[&["--readers", "readers.yaml"], args].concat())
}

/// Reviews of Pods in these namespaces.
async fn decide(client: &mut Client, namespaces: &[&str]) {
    for namespace in namespaces {
        let mut review: Value = serde_json::from_str(REVIEW).expect("JSON");
        review["request"]["namespace"] = json!(namespace);
        review["request"]["object"]["metadata"]["namespace"] = json!(namespace);
        client.post("/v1/validate?timeout=10s", &review.to_string()).await.response();
    }
}

async fn get(client: &mut Client, path: &str, token: &str) -> Reply {
    let bearer = format!("Bearer {token}");
    client.send(request(client, Method::GET, path, &[("authorization", &bearer)], "")).await.expect("an answer")
}

fn reads(server: &Server) -> Vec<Value> {
    server.records().into_iter().filter(|r| r["type"] == "read").collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_reading_is_a_record_before_its_answer_leaves() {
    let server = start(&[]);
    let mut client = Client::http1(&server).await;
    decide(&mut client, &["tenant-a", "tenant-b", "tenant-a"]).await;
    let reply = get(&mut client, "/v1/decisions?limit=2&verdict=deny", ALL).await;
    let page = reply.json();
    let decisions = page["records"].as_array().expect("records").clone();
    assert_eq!((reply.status, decisions.len(), &page["more"]), (StatusCode::OK, 2, &json!(true)), "{page}");
    let told = reads(&server);
    assert_eq!(told.len(), 1);
    let told = &told[0];
    assert_eq!((&told["reader"], &told["action"], &told["count"]), (&json!("auditor"), &json!("read"), &json!(2)));
    assert_eq!((&told["first_seq"], &told["last_seq"]), (&decisions[0]["seq"], &decisions[1]["seq"]));
    assert_eq!(told["what"], "GET /v1/decisions?limit=2&verdict=deny");
    assert!(told["caller"]["addr"].as_str().is_some_and(|a| a.starts_with("127.0.0.1:")), "{told}");
    // The next page, line by line.
    let path = format!("/v1/decisions?cursor={}&output=ndjson&type=all", page["next"]);
    let reply = get(&mut client, &path, ALL).await;
    let kinds: Vec<String> = reply
        .text()
        .lines()
        .map(|l| serde_json::from_str::<Value>(l).expect("JSON")["type"].as_str().expect("a type").to_owned())
        .collect();
    assert_eq!(kinds, ["decision", "read"], "the reading before is there, its own is not");
    assert_eq!((reply.header("portcullis-more"), reply.header("cache-control")), (Some("false"), Some("no-store")));
    // One decision whole; its digest can be checked.
    let id = decisions[0]["decision_id"].as_str().expect("an id").to_owned();
    let reply = get(&mut client, &format!("/v1/decisions/{id}?body=true"), ALL).await;
    let text = reply.text();
    let one: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!((&one["envelope"]["decision_id"], &one["bodyState"]), (&json!(id), &json!("intact")));
    let salt = one["salt"].as_str().expect("a salt");
    let salt: Vec<u8> = (0..32).map(|i| u8::from_str_radix(&salt[2 * i..2 * i + 2], 16).expect("hex")).collect();
    let (_, body) = text.trim_end().split_once("\"body\":").expect("a body");
    let digest = Sha256::digest([&salt[..], body.strip_suffix('}').expect("the end").as_bytes()].concat());
    assert_eq!(one["envelope"]["input"]["digest"], format!("sha256:{}", hex(&digest)));
    let told = reads(&server);
    assert_eq!((told.len(), &told[2]["bodies"], &told[2]["count"]), (3, &json!(true), &json!(1)));
    // Also that somebody asked for what is not there.
    let reply = get(&mut client, "/v1/decisions/01976b2c-0000-7000-8000-000000000001", ALL).await;
    assert_eq!((reply.status, reply.error_code().as_str()), (StatusCode::NOT_FOUND, "not_found"));
    assert_eq!(reads(&server)[3]["count"], 0);
    assert!(
        !format!("{:?}{}", server.records(), server.messages()).contains("token-of"),
        "no token in records or messages"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_see_what_they_may_and_nobody_else_sees_anything() {
    let server = start(&[]);
    let mut client = Client::http2(&server).await;
    decide(&mut client, &["tenant-a", "tenant-b"]).await;
    let all = get(&mut client, "/v1/decisions?type=all", ALL).await.json();
    let all = all["records"].as_array().expect("records").clone();
    assert!(all.len() >= 4, "{all:?}");
    let mine = get(&mut client, "/v1/decisions?type=all", TENANT).await.json();
    let namespaces: Vec<&Value> =
        mine["records"].as_array().expect("records").iter().map(|r| &r["request"]["namespace"]).collect();
    assert_eq!(namespaces, ["tenant-a"]);
    let other = all.iter().find(|r| r["request"]["namespace"] == "tenant-b").expect("one");
    let path = format!("/v1/decisions/{}", other["decision_id"].as_str().expect("an id"));
    assert_eq!(get(&mut client, &path, TENANT).await.status, StatusCode::NOT_FOUND);
    let own = mine["records"][0]["decision_id"].as_str().expect("an id").to_owned();
    assert_eq!(get(&mut client, &format!("/v1/decisions/{own}"), TENANT).await.status, StatusCode::OK);
    let reply = get(&mut client, &format!("/v1/decisions/{own}?body=true"), TENANT).await;
    assert_eq!((reply.status, reply.error_code().as_str()), (StatusCode::FORBIDDEN, "forbidden"));
    let before = reads(&server).len();
    for token in ["", "wrong", &ALL[..ALL.len() - 1]] {
        let reply = get(&mut client, "/v1/decisions", token).await;
        assert_eq!((reply.status, reply.header("www-authenticate")), (StatusCode::UNAUTHORIZED, Some("Bearer")));
    }
    assert_eq!(client.get("/v1/decisions").await.status, StatusCode::UNAUTHORIZED);
    for query in
        ["limit=0", "limit=1001", "since=yesterday", "verdict=maybe", "type=nonsense", "what=x", "type=stop&user=x"]
    {
        let reply = get(&mut client, &format!("/v1/decisions?{query}"), ALL).await;
        assert_eq!((reply.status, reply.error_code().as_str()), (StatusCode::BAD_REQUEST, "bad_query"), "{query}");
    }
    assert_eq!(reads(&server).len(), before, "what was not answered is no reading");
    // A token that is taken back counts no more.
    fs::write(server.dir().join("readers.yaml"), "readers: []\n").expect("written");
    assert_eq!(get(&mut client, "/v1/decisions", ALL).await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tree_is_served_as_c2sp_has_it() {
    let server = start(&["--drain-delay", "0s"]);
    let mut client = Client::http1(&server).await;
    decide(&mut client, &["tenant-a"]).await;
    tokio::time::sleep(std::time::Duration::from_millis(1500)).await;
    let checkpoint = get(&mut client, "/v1/decisions/tlog/checkpoint", ALL).await.text();
    assert_eq!(checkpoint, get(&mut client, "/v1/decisions/checkpoint", TENANT).await.text());
    let size: u64 = checkpoint.lines().nth(1).expect("a size").parse().expect("a number");
    let tile = get(&mut client, &format!("/v1/decisions/tlog/tile/0/000.p/{size}"), ALL).await;
    let lines = server.records().len();
    assert_eq!((tile.status, tile.body.len() as u64), (StatusCode::OK, 32 * size), "{lines} records");
    let first =
        fs::read_to_string(server.dir().join(".portcullis/decisions/00000000000000000000.jsonl")).expect("read");
    let line = first.lines().next().expect("a line");
    assert_eq!(tile.body[..32], Sha256::digest([&[0], line.as_bytes()].concat())[..]);
    for file in ["tile/0/001", "tile/9/000", "tile/0/../../mask.key", "lock", "keys"] {
        let reply = get(&mut client, &format!("/v1/decisions/tlog/{file}"), ALL).await;
        assert_eq!(reply.status, StatusCode::NOT_FOUND, "{file}");
    }
    assert_eq!(get(&mut client, "/v1/decisions/tlog/tile/0/000.p/1", TENANT).await.status, StatusCode::FORBIDDEN);
    assert_eq!(reads(&server), Vec::<Value>::new(), "hashes are not records");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reading_that_cannot_be_recorded_is_refused_and_one_reader_cannot_flood() {
    let server = start(&[]);
    let mut client = Client::http1(&server).await;
    decide(&mut client, &["tenant-a"]).await;
    let mut last = StatusCode::OK;
    for _ in 0..200 {
        let reply = get(&mut client, "/v1/decisions?limit=1", TENANT).await;
        last = reply.status;
        if last != StatusCode::OK {
            assert_eq!((reply.error_code().as_str(), reply.header("retry-after")), ("too_many_reads", Some("1")));
            break;
        }
    }
    assert_eq!(last, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(get(&mut client, "/v1/decisions?limit=1", ALL).await.status, StatusCode::OK, "others are not held up");
    // No new file can be made: neither where it is nor beside it.
    let log = server.dir().join(".portcullis/decisions");
    fs::rename(&log, server.dir().join("moved")).expect("moved");
    fs::write(&log, "in the way").expect("written");
    let reply = get(&mut client, "/v1/decisions/checkpoint", ALL).await;
    assert_ne!(reply.status, StatusCode::OK);
    let reply = get(&mut client, "/v1/decisions?limit=1", ALL).await;
    assert!(reply.status.is_server_error(), "{}", reply.status);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_readers_there_is_nothing_to_read() {
    let server = Server::start(&[]);
    let mut client = Client::http1(&server).await;
    assert_eq!(get(&mut client, "/v1/decisions", ALL).await.status, StatusCode::NOT_FOUND);
}
