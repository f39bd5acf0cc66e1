//! Decisions made again: the same under the policies that made them, told apart where something is another, never guessed
//! where the record does not show what could have mattered; and what other policies would have done.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use portcullis::admission::Request;
use portcullis::decisions::{DecisionLog, DecisionMeta, Entry, Masker, PolicySets, SetId};
use portcullis::engine::{
    CompileOptions, Context, Decision, Endpoint, FailureModes, HttpDoor, HttpFault, HttpRequest, HttpResponse,
    HttpSend, Inventory, compile, decide,
};
use portcullis::policy::{SourceFile, Sources};
use serde_json::{Value, json};

use super::{key, meta, options, review, runtime, soon};
use crate::reviews;
use crate::support::client::Client;
use crate::support::server::{Server, command};

/// A policy that looks at what it is named after.
pub(super) fn policy(name: &str, body: &str) -> SourceFile {
    let text = format!(
        "# METADATA\n# scope: package\n# custom:\n#   severity: high\n#   match: {{kinds: [ConfigMap, Secret, Pod]}}\n\
         package portcullis.{name}\n\n{body}\n"
    );
    SourceFile { path: format!("{name}.rego"), text }
}

/// A log with the policies beside it, and decisions that they made.
pub(super) struct Story {
    pub(super) dir: tempfile::TempDir,
    pub(super) sources: Sources,
    entries: Vec<Entry>,
    pub(super) ids: Vec<String>,
}

impl Story {
    pub(super) fn under(modules: Vec<SourceFile>) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let sources = Sources { modules, ..Sources::default() };
        Self { dir, sources, entries: Vec::new(), ids: Vec::new() }
    }

    pub(super) fn log(&self) -> std::path::PathBuf {
        self.dir.path().join("decisions")
    }

    /// Judges and keeps a request as `serve` does.
    pub(super) fn decides(&mut self, request: Request, inventory: &Inventory) -> Decision {
        self.decides_at(Endpoint::Validate, request, inventory)
    }

    pub(super) fn decides_at(&mut self, endpoint: Endpoint, request: Request, inventory: &Inventory) -> Decision {
        let options = CompileOptions { http_send: HttpSend::Allow, ..CompileOptions::default() };
        let snapshot = Arc::new(compile(&self.sources, options).expect("compiles").snapshot);
        let sets = PolicySets::beside(&self.log());
        sets.keep(SetId::of(&snapshot), &self.sources, options, u64::MAX).expect("kept");
        let meta = DecisionMeta { ..meta() };
        let context = Context {
            endpoint,
            now_ns: meta.now_ns,
            seed: meta.decision_id.as_u64_pair().1,
            deadline: None,
            failure: FailureModes::default(),
            http: Some(Arc::new(Answers)),
        };
        let decision = decide(&snapshot, inventory, &Arc::new(request.clone()), &context);
        let masker = Masker::new(key(), snapshot.mask_pointers().to_vec());
        self.entries.push(Entry::decision(&meta, &request, &decision, &masker));
        self.ids.push(meta.decision_id.to_string());
        decision
    }

    pub(super) fn write(&mut self) {
        let (log, entries) = (self.log(), std::mem::take(&mut self.entries));
        runtime().block_on(async {
            let log = DecisionLog::open(options(&log)).expect("opens");
            for entry in entries {
                log.append(entry, soon()).await.expect("appends");
            }
            log.close("test").await.expect("closes");
        });
    }

    /// Runs the command: exit code, the lines of what it printed as JSON, and its messages.
    pub(super) fn replay(&self, args: &[&str]) -> (Option<i32>, Vec<Value>, String) {
        let log = self.log();
        let fixed = ["decisions", "replay", "-o", "json", "--decision-log", log.to_str().expect("UTF-8")];
        run(self.dir.path(), &[&fixed, args].concat())
    }
}

pub(super) fn run(dir: &Path, args: &[&str]) -> (Option<i32>, Vec<Value>, String) {
    let output = command(dir, args).output().expect("runs");
    let lines = String::from_utf8(output.stdout).expect("UTF-8");
    let lines = lines.lines().map(|l| serde_json::from_str(l).unwrap_or_else(|e| panic!("{l}: {e}"))).collect();
    (output.status.code(), lines, String::from_utf8(output.stderr).expect("UTF-8"))
}

/// Every request is answered.
#[derive(Debug)]
struct Answers;

impl HttpDoor for Answers {
    fn send(&self, _: &HttpRequest) -> Result<HttpResponse, HttpFault> {
        let body = b"{\"fine\": true}".to_vec();
        Ok(HttpResponse { code: 200, status: "200 OK".into(), headers: BTreeMap::new(), body })
    }
}

pub(super) fn asked(kind: &str, object: Value) -> Request {
    let resource = format!("{}s", kind.to_lowercase());
    review(json!({
        "uid": "u", "operation": "CREATE", "namespace": "shop", "name": "thing", "userInfo": {"username": "alice"},
        "kind": {"group": "", "version": "v1", "kind": kind}, "object": object,
        "resource": {"group": "", "version": "v1", "resource": resource},
    }))
}

pub(super) fn config_map(data: Value) -> Request {
    asked("ConfigMap", json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "thing"}, "data": data}))
}

pub(super) fn nowhere() -> Inventory {
    Inventory::fixed(BTreeMap::new())
}

pub(super) fn statuses(lines: &[Value]) -> Vec<&str> {
    let decisions = lines.iter().filter(|l| l["type"] == "decision");
    decisions.map(|l| l["status"].as_str().expect("a status")).collect()
}

#[test]
fn what_a_server_decided_comes_out_the_same() {
    let mut server = Server::start(&[]);
    let cases = reviews::cases();
    runtime().block_on(async {
        let mut client = Client::http1(&server).await;
        for case in &cases {
            let path = format!("/v1/{}?timeout=10s", case.endpoint().as_str());
            let body = String::from_utf8(case.body()).expect("UTF-8");
            assert!(client.post(&path, &body).await.status.is_success(), "{}", case.file);
        }
    });
    server.signal("-INT");
    assert!(server.wait().success());
    let dir = server.dir();
    let (code, lines, messages) = run(dir, &["decisions", "replay", "--all", "-o", "json"]);
    let summary = lines.last().expect("a summary");
    assert_eq!(code, Some(0), "{summary} {messages}");
    assert_eq!(statuses(&lines).len(), cases.len());
    assert_eq!((&summary["different"], &summary["not_judged"]), (&json!(0), &json!(0)), "{lines:#?}");
    // Most of what is masked no policy looks at.
    assert!(summary["identical"].as_u64() >= Some(60), "{lines:#?}");
    let unseen =
        |policy: &str| lines.iter().find(|l| l["unseen"].get(policy).is_some()).map(|l| l["unseen"][policy].clone());
    let seen = unseen("static_credentials").expect("it looks at the values of Secrets");
    assert!(
        seen.as_array().is_some_and(|s| s.iter().all(|p| p.as_str().is_some_and(|p| p.contains("/data/")))),
        "{seen}"
    );
    // The policy set is named, readable and checked.
    let sets = fs::read_dir(dir.join(".portcullis/decisions/policies")).expect("kept");
    assert_eq!(sets.flatten().filter(|e| e.path().extension().is_some_and(|e| e == "json")).count(), 1);
}

#[test]
fn a_masked_value_matters_only_where_somebody_looks() {
    for (name, body, status) in [
        ("names", r#"deny contains "no names" if count(input.request.object.data) == 0"#, "identical"),
        ("keys", r#"deny contains k if { some k, _ in input.request.object.data; k == "b" }"#, "identical"),
        ("value", r#"deny contains "a" if input.request.object.data.a == "one""#, "indeterminate"),
        ("kind", r#"deny contains "a" if is_string(input.request.object.data.a)"#, "indeterminate"),
        ("text", r#"deny contains sprintf("%v", [input.request.object.data]) if true"#, "indeterminate"),
        ("inside", r#"deny contains "a" if input.request.object.data.a.b"#, "indeterminate"),
        ("same", r#"deny contains "a" if input.request.object.data.a == input.request.object.data.b"#, "indeterminate"),
        ("itself", r#"deny contains "a" if input.request.object.data != input.request.object.data"#, "identical"),
        ("carried", r#"deny contains {"msg": "x", "details": input.request.object.data} if true"#, "identical"),
        // The interpreter cannot be watched.
        (
            "walked",
            r#"deny contains "a" if { walk(input.request.object.metadata, [_, v]); v == "x" }"#,
            "indeterminate",
        ),
    ] {
        let mut story = Story::under(vec![policy(name, body)]);
        story.decides(config_map(json!({"a": "one", "b": "two"})), &nowhere());
        story.write();
        let (code, lines, messages) = story.replay(&["--all"]);
        assert_eq!((code, statuses(&lines)), (Some(0), vec![status]), "{name}: {lines:#?} {messages}");
        if status == "indeterminate" {
            let unseen = lines[0]["unseen"][name].to_string();
            assert!(unseen.contains("/request/object/data/a"), "{name}: {unseen}");
            let (code, ..) = story.replay(&["--fail-on", "indeterminate"]);
            assert_eq!(code, Some(1), "{name}");
        }
    }
}

#[test]
fn a_verdict_is_certain_where_others_decide_it() {
    let looks = policy("looks", r#"deny contains "secret" if input.request.object.data.password == "x""#);
    let owner = policy("owner", r#"deny contains "no owner" if not input.request.object.metadata.labels.owner"#);
    let mut story = Story::under(vec![looks, owner]);
    story.decides(config_map(json!({"password": "hunter2"})), &nowhere());
    story.write();
    let (_, lines, _) = story.replay(&[]);
    let decision = &lines[0];
    assert_eq!((&decision["status"], &decision["replayed"]), (&json!("indeterminate"), &json!("deny")), "{decision}");
    assert_eq!(lines[1]["same_verdict"], json!(1));
}

#[test]
fn what_is_gone_or_changed_is_said() {
    let owner = policy("owner", r#"deny contains "no owner" if not input.request.object.metadata.labels.owner"#);
    let make = || {
        let mut story = Story::under(vec![owner.clone()]);
        story.decides(config_map(json!({})), &nowhere());
        story.write();
        story
    };
    let content = |story: &Story| {
        let dir = story.log().join("policies/content");
        fs::read_dir(dir).expect("kept").flatten().map(|e| e.path()).collect::<Vec<_>>()
    };
    let (code, lines, _) = make().replay(&["--all"]);
    assert_eq!((code, statuses(&lines)), (Some(0), vec!["identical"]));
    // The body, deleted.
    let story = make();
    fs::remove_dir_all(story.log().join("bodies")).expect("removed");
    let (code, lines, _) = story.replay(&[]);
    assert_eq!((code, statuses(&lines)), (Some(0), vec!["indeterminate"]));
    assert!(lines[0]["unseen"]["*"].to_string().contains("body was deleted"), "{}", lines[0]);
    // The body, changed.
    let story = make();
    let path = story.log().join("bodies/00000000000000000000.jsonl");
    let text = fs::read_to_string(&path).expect("bodies");
    fs::write(&path, text.replace("thing", "think")).expect("written");
    let (code, lines, _) = story.replay(&[]);
    assert_eq!((code, statuses(&lines)), (Some(1), vec!["different"]), "{lines:#?}");
    // The policies, deleted.
    let story = make();
    fs::remove_dir_all(story.log().join("policies")).expect("removed");
    let (code, lines, _) = story.replay(&[]);
    assert_eq!((code, statuses(&lines)), (Some(0), vec!["indeterminate"]));
    assert!(lines[0]["unseen"]["*"].to_string().contains("not kept"), "{}", lines[0]);
    // One file of theirs, deleted.
    let story = make();
    fs::remove_file(&content(&story)[0]).expect("removed");
    let (code, lines, _) = story.replay(&[]);
    assert_eq!((code, statuses(&lines)), (Some(0), vec!["indeterminate"]), "{lines:#?}");
    // The policies, changed: every file of theirs alone.
    for n in 0..content(&make()).len() {
        let story = make();
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut encoder, b"package portcullis.owner\n").expect("packs");
        fs::write(&content(&story)[n], encoder.finish().expect("packs")).expect("written");
        let (code, lines, _) = story.replay(&[]);
        assert_eq!((code, statuses(&lines)), (Some(1), vec!["different"]), "{lines:#?}");
    }
}

#[test]
fn answers_of_others_are_not_guessed() {
    let body = r#"deny contains "no" if http.send({"method": "GET", "url": "https://a.example/x"}).body.fine != true"#;
    let mut story = Story::under(vec![policy("asks", body)]);
    story.decides(config_map(json!({})), &nowhere());
    story.write();
    let (code, lines, _) = story.replay(&[]);
    assert_eq!((code, statuses(&lines)), (Some(0), vec!["indeterminate"]), "{lines:#?}");
    assert!(lines[0]["unseen"]["asks"].to_string().contains("the answer of GET https://a.example/x"), "{}", lines[0]);
}

#[test]
fn namespaces_are_as_they_were() {
    let body = r#"deny contains "not of a tenant" if not input.namespace.labels.tenant"#;
    let inventory = |labels: Value| {
        let metadata = json!({"name": "shop", "uid": "1", "resourceVersion": "7", "labels": labels});
        Inventory::fixed(BTreeMap::from([("shop".to_owned(), Arc::new(metadata))]))
    };
    let mut story = Story::under(vec![policy("tenants", body)]);
    let first = story.decides(config_map(json!({})), &inventory(json!({"tenant": "a"})));
    let second = story.decides(config_map(json!({})), &inventory(json!({})));
    assert!(first.allowed() && !second.allowed());
    story.write();
    let (code, lines, _) = story.replay(&["--all"]);
    assert_eq!((code, statuses(&lines)), (Some(0), vec!["identical", "identical"]), "{lines:#?}");
    // Policies that look at a namespace which those of then did not: it is not on record.
    let plain = policy("plain", r#"deny contains "x" if input.request.object.metadata.labels.x"#);
    let mut story = Story::under(vec![plain]);
    story.decides(config_map(json!({})), &nowhere());
    story.write();
    let new = story.dir.path().join("new");
    fs::create_dir(&new).expect("made");
    fs::write(new.join("p.rego"), policy("tenants", body).text).expect("written");
    let (code, lines, _) = story.replay(&["--policies", "new"]);
    assert_eq!((code, &lines[0]["indeterminate"]), (Some(0), &json!(1)), "{lines:#?}");
    let namespaces = "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, labels: {}}\n";
    fs::write(story.dir.path().join("namespaces.yaml"), namespaces).expect("written");
    let (code, lines, _) = story.replay(&["--policies", "new", "--data", "namespaces.yaml"]);
    let summary = lines.last().expect("a summary");
    assert_eq!((code, &summary["changes"]["newly_denied"]["requests"]), (Some(1), &json!(1)), "{lines:#?}");
}

#[test]
fn what_other_policies_would_have_done() {
    let owner = policy("owner", r#"deny contains "no owner" if not input.request.object.metadata.labels.owner"#);
    let mut story = Story::under(vec![owner]);
    let labelled = |labels: Value| {
        asked(
            "ConfigMap",
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "thing", "labels": labels}}),
        )
    };
    story.decides(labelled(json!({"owner": "x"})), &nowhere());
    story.decides(labelled(json!({"owner": "x", "team": "y"})), &nowhere());
    story.decides(labelled(json!({})), &nowhere());
    story.write();
    let new = story.dir.path().join("new");
    fs::create_dir(&new).expect("made");
    let team = r#"deny contains "no team" if { input.request.object.metadata.labels.owner; not input.request.object.metadata.labels.team }
warn contains "no cost centre" if not input.request.object.metadata.labels.cost"#;
    fs::write(new.join("p.rego"), policy("team", team).text).expect("written");
    let (code, lines, messages) = story.replay(&["--policies", "new"]);
    assert_eq!(code, Some(1), "{messages}");
    let summary = lines.last().expect("a summary");
    let count = |kind: &str| summary["changes"][kind]["requests"].as_u64();
    assert_eq!(
        (count("newly_denied"), count("newly_allowed"), count("newly_warned")),
        (Some(1), Some(1), Some(3)),
        "{summary}"
    );
    assert_eq!(summary["changes"]["newly_denied"]["by"]["policy"], json!({"team": 1}));
    assert_eq!(summary["changes"]["newly_denied"]["by"]["namespace"], json!({"shop": 1}));
    assert_eq!(summary["changes"]["newly_allowed"]["by"]["user"], json!({"alice": 1}));
    let example = lines.iter().find(|l| l["type"] == "example" && l["change"] == "newly_denied").expect("an example");
    assert_eq!((&example["id"], &example["says"]), (&json!(story.ids[0]), &json!("no team")));
    for (fail_on, code) in
        [("none", 0), ("newly-mutated", 0), ("any", 1), ("newly-allowed", 1), ("no-longer-warned", 0)]
    {
        assert_eq!(story.replay(&["--policies", "new", "--fail-on", fail_on]).0, Some(code), "{fail_on}");
    }
    // One decision, by the beginning of its id.
    let (code, lines, _) = story.replay(&["--policies", "new", &story.ids[1]]);
    assert_eq!((code, &lines.last().expect("a summary")["judged"]), (Some(0), &json!(1)));
    // Only one of a kind is asked of.
    let (code, lines, _) = story.replay(&["--policies", "new", "--verdict", "deny"]);
    assert_eq!((code, &lines.last().expect("a summary")["judged"]), (Some(0), &json!(1)));
}

#[test]
fn impact_from_the_audit_log_of_an_api_server() {
    let dir = tempfile::tempdir().expect("a directory");
    let event = |verb: &str, code: u16, object: Option<Value>| {
        json!({"kind": "Event", "apiVersion": "audit.k8s.io/v1", "level": "Request", "auditID": format!("{verb}-{code}"),
            "stage": "ResponseComplete", "verb": verb, "requestURI": "/api/v1/namespaces/shop/pods",
            "user": {"username": "admin"}, "impersonatedUser": {"username": "ben", "groups": ["devs"]},
            "objectRef": {"resource": "configmaps", "namespace": "shop", "name": "thing", "apiVersion": "v1"},
            "responseStatus": {"code": code}, "requestObject": object, "requestReceivedTimestamp": "2026-03-01T10:00:00.000000Z"})
    };
    let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "thing"}});
    let events = [
        event("create", 201, Some(object.clone())),
        event("create", 409, Some(object.clone())),
        event("create", 200, None),
        event("update", 200, Some(object.clone())),
        event("delete", 200, None),
        event("get", 200, None),
    ];
    let text = events.iter().map(Value::to_string).collect::<Vec<_>>().join("\n") + "\nnot an event\n";
    fs::write(dir.path().join("audit.log"), text).expect("written");
    let body = r#"deny contains sprintf("%s is not ben", [input.request.userInfo.username]) if not input.request.object.metadata.labels"#;
    fs::create_dir(dir.path().join("new")).expect("made");
    fs::write(dir.path().join("new/p.rego"), policy("labels", body).text).expect("written");
    let args = ["decisions", "replay", "-o", "json", "--policies", "new", "--kube-audit", "audit.log"];
    let (code, lines, messages) = run(dir.path(), &args);
    assert_eq!(code, Some(1), "{messages}");
    assert!(messages.contains("1 lines of `audit.log` are no audit events"), "{messages}");
    let summary = lines.last().expect("a summary");
    assert_eq!(
        (&summary["judged"], &summary["changes"]["newly_denied"]["requests"]),
        (&json!(1), &json!(1)),
        "{summary}"
    );
    assert_eq!(summary["not_judged"].as_object().map(serde_json::Map::len), Some(4), "{summary}");
    let example = lines.iter().find(|l| l["type"] == "example").expect("an example");
    assert_eq!((&example["id"], &example["says"]), (&json!("create-201"), &json!("ben is not ben")));
}

#[test]
fn what_makes_no_sense_is_refused() {
    let mut story = Story::under(vec![policy("p", r#"deny contains "x" if false"#)]);
    story.decides(config_map(json!({})), &nowhere());
    story.write();
    fs::create_dir(story.dir.path().join("empty")).expect("made");
    fs::create_dir(story.dir.path().join("new")).expect("made");
    let never = "# METADATA\n# custom: {enforcement: deny, match: {kinds: [Pod]}}\npackage never\n\ndeny contains \"x\" if false\n";
    fs::write(story.dir.path().join("new/never.rego"), never).expect("written");
    fs::write(story.dir.path().join("prose.log"), "Of something else.\n").expect("written");
    for (args, says) in [
        (vec!["--data", "x.yaml"], "name them with --policies"),
        (vec!["--failure-mode", "allow"], "name them with --policies"),
        (vec!["--fail-on", "newly-denied"], "--fail-on newly-denied makes sense with --policies only"),
        (vec!["--type", "gap"], "only decisions can be made again"),
        (vec!["--policies", "empty"], "no policy"),
        (vec!["--policies", "nowhere"], "nowhere"),
        (vec!["--kube-audit", "nowhere", "--policies", "empty"], "no policy"),
        (vec!["--kube-audit", "prose.log", "--policies", "new"], "no line of `prose.log` is an audit event"),
    ] {
        let (code, lines, messages) = story.replay(&args);
        assert_eq!((code, lines.len()), (Some(2), 0), "{args:?}: {messages}");
        assert!(messages.contains(says), "{args:?}: {messages}");
    }
    let (code, _, messages) = story.replay(&["0000ffff"]);
    assert_eq!(code, Some(2), "{messages}");
}

#[test]
fn sets_make_room_for_later_ones() {
    let dir = tempfile::tempdir().expect("a directory");
    let sets = PolicySets::beside(dir.path());
    let mut dropped = Vec::new();
    let mut ids = Vec::new();
    for n in 0..4 {
        let text: String = (0..200)
            .map(|i| format!("# {n} {i} {}\n", portcullis::policy::Digest::of(format!("{n}{i}").as_bytes())))
            .collect();
        let module = policy("p", &format!("{text}\ndeny contains \"{n}\" if false"));
        let sources = Sources { modules: vec![module], ..Sources::default() };
        let snapshot = compile(&sources, CompileOptions::default()).expect("compiles").snapshot;
        ids.push(SetId::of(&snapshot));
        let kept = sets.keep(SetId::of(&snapshot), &sources, CompileOptions::default(), 24 << 10).expect("kept");
        dropped.extend(kept.dropped);
        // Files' times tell which was in force last.
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert!(!dropped.is_empty() && dropped.len() < 4, "{dropped:?}");
    assert_eq!(dropped[0], ids[0].policy_set.to_string());
    assert!(sets.compile(ids[0]).is_err());
    assert_eq!(SetId::of(&sets.compile(ids[3]).expect("the latest is there")), ids[3]);
}
