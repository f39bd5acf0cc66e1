//! Witnesses: they sign what goes on from what they saw, their signatures travel with proofs, and a fork gets none.

use std::fs;
use std::path::Path;

use portcullis::decisions::{
    FindingCode, Report, SigningSeed, VerifyOptions, Witness, WitnessPolicy, Witnesses, latest_checkpoint,
    verify_witnessed,
};
use portcullis::tlog::{CosigningKey, InclusionProof, Note, WitnessKey, cosignatures};
use serde_json::Value;

use super::anchoring::until;
use super::proving::{check, cli, codes, copy, grow, key, temp};
use super::{options, records, runtime};
use crate::support::listener::Listener;
use crate::support::server::Server;
use crate::support::witness::{SIGNED_AT, TestWitness};

/// Asks these witnesses for a signature of the log's latest checkpoint, as a server does.
fn ask(log: &Path, witnesses: &[&TestWitness]) -> Vec<Result<(), String>> {
    let configured = witnesses.iter().map(|w| Witness::parse(&format!("{}={}", w.url(), w.key())).expect("a witness"));
    ask_all(log, configured.collect())
}

fn ask_all(log: &Path, configured: Vec<Witness>) -> Vec<Result<(), String>> {
    runtime().block_on(async {
        let witnesses = Witnesses::new(log, configured).expect("a client");
        let mut round = witnesses.round(latest_checkpoint(log).expect("signed"));
        let outcomes = witnesses.ask(&mut round).await;
        outcomes.into_iter().map(|(_, outcome)| outcome.map_err(|e| e.to_string())).collect()
    })
}

fn check_witnessed(log: &Path, keys: &[&WitnessKey], quorum: usize) -> Report {
    let options = VerifyOptions { dir: log.to_path_buf(), keys: vec![key()], anchors: Vec::new() };
    let policy = WitnessPolicy { keys: keys.iter().map(|k| (*k).clone()).collect(), quorum };
    verify_witnessed(&options, &policy, &mut |_| {}).expect("read")
}

#[test]
fn witnesses_sign_a_log_that_grows_and_its_proofs_carry_it() {
    let (one, two) = (TestWitness::start("w.example/1", 1, key()), TestWitness::start("w.example/2", 2, key()));
    let dir = temp();
    let log = dir.path().join("log");
    grow(options(&log), 298);
    assert_eq!(ask(&log, &[&one]), [Ok(())]);
    grow(options(&log), 198);
    assert_eq!(ask(&log, &[&one, &two]), [Ok(()), Ok(())]);
    assert_eq!(one.asked(), [(0, 300, 200), (300, 500, 200)], "what it saw is on the disk");
    assert_eq!(two.asked(), [(0, 500, 200)]);
    // The log goes on; the tiles of 500 records are gone, and what is under them is not.
    grow(options(&log), 298);
    let report = check_witnessed(&log, &[one.key(), two.key()], 2);
    assert_eq!((report.findings.as_slice(), report.cosigned, report.end), (&[][..], 500, 800));
    assert!(report.cosigned_by.iter().all(|c| c.time == SIGNED_AT), "{report:?}");
    // One signs on: it has the larger tree, and both together still have the smaller.
    assert_eq!(ask(&log, &[&one]), [Ok(())]);
    assert_eq!(check_witnessed(&log, &[one.key(), two.key()], 1).cosigned, 800);
    assert_eq!(check_witnessed(&log, &[one.key(), two.key()], 2).cosigned, 500);
    let stranger = CosigningKey::from_seed("w.example/3", &[3; 32]).expect("a key");
    let report = check_witnessed(&log, &[one.key(), stranger.verifier()], 2);
    assert_eq!(codes(&report), [FindingCode::Witness]);

    let proven = |seq: usize| {
        let record = &records(&log)[seq];
        let id = record.decision().expect("a decision").decision_id;
        let args = ["decisions", "prove", &id, "--decision-log", "log", "-o", "p"];
        let (code, _, error) = cli(dir.path(), &args);
        assert_eq!(code, 0, "{error}");
        InclusionProof::parse(&fs::read_to_string(dir.path().join("p")).expect("read")).expect("a proof")
    };
    let both = [one.key().clone(), two.key().clone()];
    assert_eq!(cosignatures(&proven(700).checkpoint, &both).expect("hold").len(), 1);
    assert_eq!(cosignatures(&proven(10).checkpoint, &both).expect("hold").len(), 2);
    let (log_key, one, two) = (key().to_string(), one.key().to_string(), two.key().to_string());
    let verify = ["decisions", "verify-proof", "p", "--key", &log_key, "--witness", &one, "--witness", &two];
    let (code, out, _) = cli(dir.path(), &verify);
    assert_eq!(code, 0, "{out}");
    assert!(out.contains("cosigned:   w.example/1 (2026-09-21T14:13:20Z), w.example/2 ("), "{out}");
    let (code, out, _) = cli(dir.path(), &[&verify[..], &["-o", "json"]].concat());
    let json: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!((code, json["cosigned"].as_array().map(Vec::len)), (0, Some(2)), "{json}");
    let other = stranger.verifier().to_string();
    let more = [&verify[..], &["--witness", &other]].concat();
    let (code, out, _) = cli(dir.path(), &more);
    assert_eq!(code, 1);
    assert!(out.contains("2 of the witnesses signed it, and 3 must have"), "{out}");
    assert_eq!(cli(dir.path(), &[&more[..], &["--witness-quorum", "2"]].concat()).0, 0);
    for wrong in [&["--witness-quorum", "4"][..], &["--witness-quorum", "0"], &["--witness", "nonsense"]] {
        assert_eq!(cli(dir.path(), &[&more[..], wrong].concat()).0, 2, "{wrong:?}");
    }
    let verify = ["decisions", "verify", "log", "--key", &log_key, "--witness", &one, "--witness", &two];
    let (code, out, _) = cli(dir.path(), &verify);
    assert_eq!(code, 0, "{out}");
    assert!(out.contains("cosigned:   500 records, by w.example/1 (2026-09-21T14:13:20Z)"), "{out}");
    let (_, out, _) = cli(dir.path(), &[&verify[..], &["-o", "json"]].concat());
    let json: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!((&json["cosigned"]["size"], json["cosigned"]["by"].as_array().map(Vec::len)), (&500.into(), Some(2)));
    // Kept elsewhere, a cosigned checkpoint counts also beside the same one without cosignatures.
    let (kept, own) = (dir.path().join("kept"), dir.path().join("log/cosigned"));
    fs::create_dir(&kept).expect("made");
    for file in fs::read_dir(&own).expect("a directory").flatten() {
        let note = fs::read_to_string(file.path()).expect("read");
        let name = file.file_name().to_string_lossy().into_owned();
        let signed: Vec<&str> = note.split_inclusive('\n').collect();
        let first = signed.iter().position(|l| l.trim().is_empty()).expect("an empty line") + 2;
        fs::write(kept.join(format!("a-{name}")), signed[..first].concat()).expect("written");
        fs::write(kept.join(format!("b-{name}")), &note).expect("written");
    }
    fs::remove_dir_all(own).expect("removed");
    let (code, out, _) = cli(dir.path(), &[&verify[..], &["--checkpoint", "kept"]].concat());
    assert_eq!(code, 0, "{out}");
}

#[test]
fn a_fork_and_a_log_that_was_cut_back_get_no_signature() {
    let witness = TestWitness::start("w.example/1", 1, key());
    let (early, log, fork) = (temp(), temp(), temp());
    grow(options(early.path()), 200);
    copy(early.path(), log.path());
    copy(early.path(), fork.path());
    assert_eq!(ask(early.path(), &[&witness]), [Ok(())]);
    grow(options(log.path()), 100);
    assert_eq!(ask(log.path(), &[&witness]), [Ok(())]);
    assert_eq!(witness.size(), 304);
    // The same first 202 records, then others: signed by the log's own key, and larger than what the witness saw.
    grow(options(fork.path()), 300);
    let refused = ask(fork.path(), &[&witness]).remove(0).expect_err("a fork");
    assert!(
        refused.contains("(422)") && refused.contains("does not go on from the 304 records that it saw"),
        "{refused}"
    );
    assert!(!fork.path().join("cosigned").exists(), "nothing was kept");
    // Of the same size.
    let twin = temp();
    copy(early.path(), twin.path());
    // The cosigned checkpoint of the copy says that the witness saw 202 records.
    grow(options(twin.path()), 100);
    let refused = ask(twin.path(), &[&witness]).remove(0).expect_err("a twin");
    assert!(refused.contains("it has signed another tree of 304 records"), "{refused}");
    let refused = ask(early.path(), &[&witness]).remove(0).expect_err("cut back");
    assert!(refused.contains("it has seen 304 records of this log, which has 202"), "{refused}");
    assert_eq!(witness.size(), 304);
}

#[test]
fn a_witness_that_does_not_know_the_log_or_signs_wrongly_is_told_of() {
    let dir = temp();
    grow(options(dir.path()), 5);
    let seed = SigningSeed::from_bytes([9; 32]);
    let public = |name: &str| seed.under(name).expect("a key").verifier().clone();
    let stranger = TestWitness::start("w.example/1", 1, public("other"));
    let suspicious = TestWitness::start("w.example/2", 2, public("test/r-0"));
    let outcomes = ask(dir.path(), &[&stranger, &suspicious]);
    assert_eq!(outcomes[0], Err("it does not sign (404): it does not know the log `test/r-0`".to_owned()));
    assert_eq!(outcomes[1], Err("it does not sign (403): it does not know the key that signs this log".to_owned()));

    // Signatures over something else, of somebody else, or none.
    let signer = CosigningKey::from_seed("w.example/3", &[3; 32]).expect("a key");
    let other = CosigningKey::from_seed("w.example/3", &[4; 32]).expect("a key");
    let note = latest_checkpoint(dir.path()).expect("signed").note;
    let line = |signer: &CosigningKey, text: &str| {
        let signed = Note { text: text.to_owned(), signatures: vec![signer.cosign(text, 1)] };
        signed.to_string().rsplit_once("\n\n").expect("signatures").1.to_owned()
    };
    let old = note.text.replace("\n7\n", "\n6\n");
    assert_ne!(old, note.text);
    for answer in [line(&signer, &old), line(&other, &note.text), "nonsense\n".to_owned(), String::new()] {
        let said = answer.clone();
        let listener = Listener::start(move |_| (200, "text/plain", said.clone()));
        let witness = Witness::new(&listener.url(""), &signer.verifier().to_string()).expect("a witness");
        let refused = ask_all(dir.path(), vec![witness]).remove(0).expect_err("no signature");
        assert!(refused.starts_with("its answer is no cosignature of this checkpoint"), "{answer}: {refused}");
    }
    // One that says another size each time, and one that says much.
    let listener = Listener::start(|asked| {
        let old: u64 = asked.body.split(['\n', ' ']).nth(1).expect("old").parse().expect("a size");
        (409, "text/x.tlog.size", format!("{}\n", (old + 1) % 4))
    });
    let witness = Witness::new(&listener.url(""), &signer.verifier().to_string()).expect("a witness");
    let refused = ask_all(dir.path(), vec![witness]).remove(0).expect_err("no signature");
    assert_eq!(refused, "it says another size each time");
    let listener = Listener::start(|_| (200, "text/plain", "x".repeat(100_000)));
    let witness = Witness::new(&listener.url(""), &signer.verifier().to_string()).expect("a witness");
    assert!(ask_all(dir.path(), vec![witness]).remove(0).is_err_and(|e| e.contains("more than 65536 bytes")));
    assert!(!dir.path().join("cosigned").exists(), "nothing was kept");
    assert_eq!(check(dir.path(), &[]).findings, []);
}

#[test]
fn a_witness_that_said_a_wrong_size_once_is_asked_again() {
    let dir = temp();
    grow(options(dir.path()), 5);
    let signer = CosigningKey::from_seed("w.example/1", &[1; 32]).expect("a key");
    let (key, times) = (signer.verifier().to_string(), std::sync::atomic::AtomicU32::new(0));
    let listener = Listener::start(move |asked| {
        if times.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == 0 {
            return (409, "text/x.tlog.size", "1000000\n".to_owned());
        }
        let (old, note) = asked.body.split_once("\n\n").expect("a request");
        assert_eq!(old, "old 0");
        let note = Note::parse(note).expect("a note");
        let signed = Note { signatures: vec![signer.cosign(&note.text, 1)], text: note.text };
        (200, "text/plain", signed.to_string().rsplit_once("\n\n").expect("signatures").1.to_owned())
    });
    runtime().block_on(async {
        let witness = Witness::new(&listener.url(""), &key).expect("a witness");
        let witnesses = Witnesses::new(dir.path(), vec![witness]).expect("a client");
        let mut round = witnesses.round(latest_checkpoint(dir.path()).expect("signed"));
        let refused = witnesses.ask(&mut round).await.remove(0).1.expect_err("a wrong size").to_string();
        assert!(refused.contains("it says that it has seen 1000000 records"), "{refused}");
        assert_eq!(witnesses.ask(&mut round).await.remove(0).1, Ok(()));
    });
    assert!(dir.path().join("cosigned").exists());
}

#[test]
fn what_lies_in_the_log_as_cosigned_is_checked_as_well() {
    let witness = TestWitness::start("w.example/1", 1, key());
    let dir = temp();
    grow(options(dir.path()), 20);
    assert_eq!(ask(dir.path(), &[&witness]), [Ok(())]);
    let path = dir.path().join(format!("cosigned/{:08x}", witness.key().id()));
    let text = fs::read_to_string(&path).expect("read");
    assert_eq!(check_witnessed(dir.path(), &[witness.key()], 1).findings, []);
    // A byte of the cosignature; of the log's own; of the text.
    let end = text.len() - 10;
    for (at, code) in
        [(end, FindingCode::Signature), (text.find("\n22\n").expect("a size") + 1, FindingCode::Signature)]
    {
        let mut bytes = text.clone().into_bytes();
        // Another character of base64, and another digit.
        bytes[at] = if bytes[at] == b'1' { b'2' } else { b'1' };
        fs::write(&path, &bytes).expect("written");
        let found = codes(&check_witnessed(dir.path(), &[witness.key()], 1));
        assert!(found.contains(&code) && found.contains(&FindingCode::Witness), "{at}: {found:?}");
    }
    // That of another log with the same key and name is signed well and does not agree.
    let other = temp();
    grow(options(other.path()), 20);
    fs::write(&path, latest_checkpoint(other.path()).expect("signed").note.to_string()).expect("written");
    assert_eq!(codes(&check(dir.path(), &[])), [FindingCode::Anchor]);
    // Proofs fall back on the log's own checkpoint only when there is nothing to be said against the other.
    fs::write(&path, "nonsense").expect("written");
    assert_eq!(codes(&check(dir.path(), &[])), [FindingCode::Checkpoint]);
}

#[test]
fn a_server_has_its_checkpoints_cosigned() {
    let dir = temp();
    let seed = SigningSeed::from_bytes([5; 32]);
    let log_key = seed.under("portcullis/local/r-0").expect("a key").verifier().clone();
    let hex: String = [5_u8; 32].iter().map(|b| format!("{b:02x}")).collect();
    fs::write(dir.path().join("key"), hex).expect("written");
    let witness = TestWitness::start("w.example/1", 1, log_key.clone());
    let gone = CosigningKey::from_seed("w.example/2", &[2; 32]).expect("a key");
    let config = format!(
        "signingKey: key\nreplica: r-0\nanchorInterval: 1s\nwitnesses:\n- {{url: '{}', key: {}}}\n- 'http://127.0.0.1:1={}'\n",
        witness.url(),
        witness.key(),
        gone.verifier()
    );
    fs::write(dir.path().join("config.yaml"), config).expect("written");
    let mut server = Server::start_in(dir, &["--config", "config.yaml"]);
    until("the witness was not asked", || witness.size() > 0);
    let ready = || {
        let mut answer = ureq::get(format!("http://{}/readyz", server.admin)).call().expect("answers");
        answer.body_mut().read_to_string().expect("text")
    };
    until("readyz does not tell", || {
        let text = ready();
        text.contains("witness w.example/1: ") && text.contains("witness w.example/2: nothing yet; failing for ")
    });
    server.signal("-TERM");
    assert!(server.wait().success());
    let log = server.dir().join(".portcullis/decisions");
    let end = latest_checkpoint(&log).expect("signed").checkpoint.size;
    assert_eq!(witness.size(), end, "the last checkpoint too");
    assert!(
        witness.asked().iter().skip(1).all(|(old, new, status)| old < new && *status == 200),
        "{:?}",
        witness.asked()
    );
    let (key, log) = (log_key.to_string(), log.to_string_lossy().into_owned());
    let args = ["decisions", "verify", &log, "--key", &key, "--witness", &witness.key().to_string()];
    let (code, out, error) = cli(server.dir(), &args);
    assert_eq!(code, 0, "{out}{error}");
    assert!(out.contains(&format!("cosigned:   {end} records, by w.example/1")), "{out}");
}
