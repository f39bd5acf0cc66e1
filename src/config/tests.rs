//! What flags, environment and file come to.

use std::time::Duration;

use clap::Parser;

use super::file::parse;
use super::*;
use crate::engine::{FailureMode, FailureModes, Quarantine};

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    settings: Settings,
}

fn flags(line: &str) -> Settings {
    Line::try_parse_from(std::iter::once("serve").chain(line.split_whitespace())).expect("parses").settings
}

fn laptop() -> Environment {
    Environment { in_cluster: false, hostname: Some("laptop".to_owned()), processors: 2, signing_key: None }
}

fn pod() -> Environment {
    Environment { in_cluster: true, hostname: Some("portcullis-0".to_owned()), processors: 2, signing_key: None }
}

fn refusal(line: &str, environment: &Environment) -> String {
    Options::check(flags(line), environment).expect_err("must be refused").to_string()
}

#[test]
fn nothing_at_all_is_enough_on_a_laptop() {
    let options = Options::check(flags(""), &laptop()).expect("checks");
    assert_eq!(options.listen.to_string(), "127.0.0.1:8443");
    assert_eq!(options.admin_listen.to_string(), "127.0.0.1:8080");
    assert_eq!(options.decision_log, std::path::Path::new(".portcullis/decisions"));
    assert_eq!((options.threads, options.max_in_flight, options.max_body_bytes), (2, 256, 8 << 20));
    assert_eq!((options.cluster_name.as_str(), options.replica.as_str()), ("local", "laptop"));
    assert_eq!((options.cluster, options.failure), (ClusterAccess::None, FailureModes::all(FailureMode::Deny)));
}

#[test]
fn anchors_and_witnesses_are_words_or_mappings() {
    const KEY: &str = "w.example/1";
    let key = crate::tlog::CosigningKey::from_seed(KEY, &[1; 32]).expect("a key").verifier().to_string();
    let text = format!(
        "anchors:\n- a.jsonl\n- {{url: 'https://h/p', method: PUT, tokenFile: t}}\nanchorInterval: 5m\nwitnesses:\n\
         - {{url: 'https://w', key: {key}}}\n- 'https://v={}'\n",
        crate::tlog::CosigningKey::from_seed("v", &[2; 32]).expect("a key").verifier()
    );
    let options = Options::check(parse("c.yaml", &text).expect("parses"), &laptop()).expect("checks");
    let shown: Vec<String> = options.anchors.iter().map(ToString::to_string).collect();
    assert_eq!(shown, ["a.jsonl", "https://h/p"]);
    assert_eq!((options.anchor_interval, options.witnesses.len()), (Duration::from_secs(300), 2));
    assert_eq!(options.witnesses[0].key.name(), KEY);
    let flagged =
        Options::check(flags("--anchor b,c --anchor d").over(parse("c.yaml", &text).expect("parses")), &laptop());
    assert_eq!(flagged.expect("checks").anchors.len(), 3);
    let wrong = |text: &str| match parse("c.yaml", text) {
        Err(error) => error.to_string(),
        Ok(settings) => Options::check(settings, &laptop()).expect_err("must be refused").to_string(),
    };
    for (text, wanted) in [
        ("anchors: [{url: 'https://h', methd: PUT}]", "unknown field `methd`; did you mean `method`?"),
        ("anchors: [{url: 'https://h', method: GET}]", "unknown value `GET`"),
        ("anchors: [{url: a, method: PUT}]", "`method` is for http and https only"),
        ("anchors: [{url: 'http://h', tokenFile: t}]", "is not https, so no token is sent there"),
        ("anchors: [1]", "must be an address or a mapping"),
        ("witnesses: [{url: 'https://h', kay: x}]", "did you mean `key`?"),
        ("witnesses: [{url: 'https://h'}]", "`key`"),
        ("anchrs: [a]", "did you mean `anchors`?"),
        ("anchorInterval: 100000s", "is not within 1s and 24h"),
    ] {
        let found = wrong(text);
        assert!(found.contains(wanted), "{text}: {found}");
    }
}

#[test]
fn every_key_of_the_file_has_a_flag_and_the_flag_counts_first() {
    let file = parse(
        "c.yaml",
        "apiVersion: portcullis.io/v1alpha1\nkind: Config\npolicies: [p]\nlisten: 0.0.0.0:9443\ntls-san: [a.b]\n\
         maxBodyBytes: 1MiB\ndecisionLogMaxBytes: 1073741824\ndrainDelay: 2s\nmaxEnforcement: warn\nthreads: 3\n\
         durability: fsync\nhttpAllow: [a.b:8443]\nhttp-allow-loopback: true\nfailureMode: allow\nfailure: {log: deny}\nlogFormat: json\nquarantineAfter: 0\nquarantinePause: 5m\n\
         decisionLogRetainBodies: 90d\ndecision-log-retain-records: 52w\nreaders: r.yaml\n",
    )
    .expect("parses");
    let settings = flags("--listen 127.0.0.1:1 --threads 4 --policies a,b").over(file);
    let options = Options::check(settings, &laptop()).expect("checks");
    assert_eq!((options.listen.port(), options.threads), (1, 4));
    assert_eq!(options.policies, ["a", "b"].map(std::path::PathBuf::from));
    assert_eq!((options.max_body_bytes, options.decision_log_max_bytes), (1 << 20, 1 << 30));
    assert_eq!(options.failure, FailureModes { log: FailureMode::Deny, ..FailureModes::all(FailureMode::Allow) });
    assert_eq!(options.log_format, LogFormat::Json);
    assert!(options.http_allow.allow("a.b", 8443) && options.http_loopback == crate::outbound::Loopback::Allow);
    assert_eq!(options.quarantine, Quarantine { after: None, pause: Duration::from_secs(300) });
    assert_eq!(options.durability, crate::decisions::Durability::Fsync);
    assert_eq!(options.max_enforcement, Some(crate::policy::Enforcement::Warn));
    let days = |n: u64| Some(Duration::from_secs(n * 24 * 3600));
    assert_eq!((options.retention.bodies, options.retention.records), (days(90), days(52 * 7)));
    assert_eq!(options.readers, Some("r.yaml".into()));
}

#[test]
fn the_flag_for_all_failure_modes_covers_the_file() {
    let file = parse("c.yaml", "failure: {log: allow, policy-error: allow}").expect("parses");
    let options = Options::check(flags("--failure-mode deny").over(file.clone()), &laptop()).expect("checks");
    assert_eq!(options.failure, FailureModes::all(FailureMode::Deny));
    let options = Options::check(flags("").over(file), &laptop()).expect("checks");
    assert_eq!((options.failure.log, options.failure.deadline), (FailureMode::Allow, FailureMode::Deny));
}

#[test]
fn errors_in_the_file_have_a_place() {
    for (text, wanted) in [
        ("listen: 127.0.0.1:1\nlisden: x\n", "c.yaml:2:1: unknown field `lisden`; did you mean `listen`?"),
        ("failure:\n  logs: deny\n", "c.yaml:2:3: unknown field `logs`; did you mean `log`?"),
        ("durability: sometimes\n", "c.yaml:1:13: unknown value `sometimes`; write `flush` or `fsync`"),
        ("drainDelay: 5\n", "c.yaml:1:13: `5` is not a duration"),
        ("threads: many\n", "c.yaml:1:10: must be a whole number, at least 0"),
        ("kind: Pod\n", "c.yaml: `kind` is `Pod`; write `Config`, or leave it out"),
        ("apiVersion: v1\n", "c.yaml: `apiVersion` is `v1`; write `portcullis.io/v1alpha1`, or leave it out"),
    ] {
        let error = parse("c.yaml", text).expect_err(text).to_string();
        assert!(error.starts_with(wanted), "{error}\nwanted {wanted}");
    }
    assert!(parse("c.yaml", "").is_ok() && parse("c.yaml", "# nothing\n").is_ok());
}

#[test]
fn contradictions_name_the_flag() {
    for (line, wanted) in [
        ("--tls-cert c", "--tls-key: is missing"),
        ("--tls-key k", "--tls-cert: is missing"),
        ("--tls-cert c --tls-key k --tls-san a", "--tls-san: has no effect"),
        ("--tls-san a_b", "--tls-san: `a_b` is neither"),
        ("--max-in-flight 0", "--max-in-flight: `0` is not within 1 and"),
        ("--quarantine-pause 0s", "--quarantine-pause: `0` is not within 1 and"),
        ("--threads 0", "--threads: `0`"),
        ("--max-body-bytes 1", "--max-body-bytes: `1`"),
        ("--decision-log-max-bytes 1", "--decision-log-max-bytes: `1`"),
        ("--decision-log-retain-bodies 5s", "--decision-log-retain-bodies: `5s` is too short"),
        (
            "--decision-log-retain-bodies 90d --decision-log-retain-records 30d",
            "--decision-log-retain-bodies: is longer than",
        ),
        ("--http-allow https://a/b", "--http-allow: `https://a/b` is no host"),
        ("--replica a+b", "--replica: `a+b`"),
    ] {
        let error = refusal(line, &laptop());
        assert!(error.starts_with(wanted), "{error}\nwanted {wanted}");
    }
    assert!(refusal("", &pod()).starts_with("--cluster-name: is required in a cluster"));
    let options = Options::check(flags("--cluster-name prod"), &pod()).expect("checks");
    assert_eq!((options.cluster, options.replica.as_str()), (ClusterAccess::InCluster, "portcullis-0"));
}

#[test]
fn the_signing_key_comes_from_one_place_and_never_from_the_log() {
    const SEED: &str = "d4ee72dbf913584ad5b6d8f1f769f8ad3afe7c28cbf1d4fbe097a88f44755842";
    let with_key = |text: &str| Environment { signing_key: Some(text.to_owned()), ..laptop() };
    let source =
        |line: &str, environment: &Environment| Options::check(flags(line), environment).expect(line).signing_key;
    assert_eq!(source("", &laptop()), SigningKeySource::Own(".portcullis/decisions.key".into()));
    assert_eq!(source("--signing-key /run/key.pem", &laptop()), SigningKeySource::File("/run/key.pem".into()));
    let seed = crate::decisions::SigningSeed::parse(SEED).expect("a key");
    assert_eq!(source("", &with_key(SEED)), SigningKeySource::Environment(seed));
    for (line, environment, wanted) in [
        ("--signing-key k", with_key(SEED), "leave one of them out"),
        ("", with_key("secret?"), "PORTCULLIS_SIGNING_KEY_DATA is no Ed25519 private key"),
        ("--signing-key .portcullis/decisions/k", laptop(), "keep it elsewhere"),
        ("--signing-key /log/k --decision-log /log", laptop(), "keep it elsewhere"),
    ] {
        let message = refusal(line, &environment);
        assert!(message.contains(wanted) && !message.contains("secret?"), "{line}: {message}");
    }
}
