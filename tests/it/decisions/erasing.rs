//! Erasures: what texts take beside the selection, and bodies that a crash left without a record.

use std::fs;
use std::path::Path;

use portcullis::decisions::{DecisionLog, Erased, Erasure, LogError, LogOptions, LogReader, Selection};

use super::keeping::{author, entry_of, hold, of_namespace, of_user, prunes, temp, verified};
use super::{Entry, options, runtime, segment_files, soon, written};

/// A log of these decisions, each user in the namespace of the same name unless another is given.
fn log(dir: &Path, of: &[(&str, &str, &str)]) {
    written(dir, of.iter().map(|(user, namespace, said)| entry_of(user, namespace, 0, said)).collect::<Vec<Entry>>());
}

fn erase(dir: &Path, erasure: Erasure) -> Result<Erased, LogError> {
    runtime().block_on(async {
        let log = DecisionLog::open(LogOptions { ..options(dir) }).expect("opens");
        let asked = log.clone();
        let erased = tokio::task::spawn_blocking(move || asked.erase(&erasure, &author())).await.expect("ends");
        log.close("test").await.expect("closes");
        erased
    })
}

/// Who asked for what has a body yet.
fn left(dir: &Path) -> Vec<String> {
    let all = super::all_bytes(&dir.join("bodies"));
    let of = |user: &&str| all.contains(&format!(r#""username":"{user}""#));
    ["alice", "bob", "eve", "zoe"].iter().filter(|u| of(u)).map(|u| (*u).to_owned()).collect()
}

#[test]
fn texts_that_are_mentioned_add_to_a_selection() {
    let all = [("alice", "shop", "-"), ("bob", "bank", "eve's"), ("eve", "bank", "-"), ("zoe", "bank", "-")];
    let mentions = |text: &str| vec![text.to_owned()];
    for (erasure, stay) in [
        (
            Erasure { selection: of_namespace("shop"), mentions: mentions("eve's"), ..Erasure::default() },
            &["eve", "zoe"][..],
        ),
        (Erasure { mentions: mentions("eve's"), ..Erasure::default() }, &["alice", "eve", "zoe"]),
        (Erasure { selection: of_user("eve"), mentions: mentions("eve's"), ..Erasure::default() }, &["alice", "zoe"]),
        (
            // Nothing is older than that, whatever it mentions.
            Erasure {
                selection: Selection { until: "2020-01-01T00:00:00Z".parse().ok(), ..of_user("eve") },
                mentions: mentions("eve's"),
                ..Erasure::default()
            },
            &["alice", "bob", "eve", "zoe"],
        ),
    ] {
        let dir = temp();
        log(dir.path(), &all);
        erase(dir.path(), erasure.clone()).expect("erases");
        assert_eq!(left(dir.path()), stay, "{erasure:?}");
        verified(dir.path());
    }
}

#[test]
fn quotes_that_belong_to_a_text_are_looked_for() {
    let dir = temp();
    log(dir.path(), &[("alice", "shop", "he is \"bob\""), ("bob", "shop", "bob")]);
    let erased = erase(dir.path(), Erasure { mentions: vec!["\"bob\"".to_owned()], ..Erasure::default() });
    assert_eq!(erased.expect("erases").bodies, 1);
    assert_eq!(left(dir.path()), ["bob"]);
}

/// Puts the body of a decision of `user` beside a log that has no record of it; gives the decision's id.
fn orphan(dir: &Path, user: &str) -> String {
    let other = temp();
    log(other.path(), &[(user, "shop", "all of it")]);
    let file = segment_files(&other.path().join("bodies")).pop().expect("bodies");
    let body = fs::read_to_string(file).expect("read");
    let place = segment_files(&dir.join("bodies")).pop().expect("bodies");
    let there = fs::read_to_string(&place).expect("read");
    fs::write(&place, format!("{body}{there}")).expect("written");
    body.split('"').nth(3).expect("an id").to_owned()
}

#[test]
fn a_body_that_no_record_has_can_be_erased() {
    let dir = temp();
    log(dir.path(), &[("alice", "shop", "hers"), ("bob", "shop", "his")]);
    let id = orphan(dir.path(), "zoe");
    orphan(dir.path(), "eve");
    let ids = |id: &str| Erasure {
        selection: Selection { ids: vec![id.to_owned()], ..Selection::default() },
        ..Erasure::default()
    };
    let counted = erase(dir.path(), Erasure { dry_run: true, ..ids(&id) }).expect("counts");
    assert_eq!((counted.decisions, counted.unrecorded, counted.bodies), (0, 1, 0));
    assert_eq!(erase(dir.path(), ids(&id)).expect("erases").bodies, 1);
    assert_eq!(left(dir.path()), ["alice", "bob", "eve"]);
    // With those that have one, in one go.
    let theirs = Selection { users: vec!["eve".to_owned(), "bob".to_owned()], ..Selection::default() };
    let erased = erase(dir.path(), Erasure { selection: theirs, ..Erasure::default() }).expect("erases");
    assert_eq!((erased.decisions, erased.unrecorded, erased.bodies), (1, 1, 2));
    assert_eq!(left(dir.path()), ["alice"]);
    assert!(!super::all_bytes(&dir.path().join("bodies")).contains("all of it"));
    verified(dir.path());
    let told: Vec<(u64, usize, Option<String>)> =
        prunes(dir.path()).into_iter().map(|p| (p.count, p.erased.len(), p.note)).collect();
    let asked = |note: &str| Some(note.to_owned());
    let orphan = (1, 0, asked("1 without a record; asked"));
    assert_eq!(told, [orphan.clone(), (1, 1, asked("asked")), orphan]);
    assert!(LogReader::open(dir.path()).is_ok());
}

#[test]
fn a_hold_keeps_a_body_that_no_record_has() {
    let dir = temp();
    log(dir.path(), &[("alice", "shop", "hers")]);
    orphan(dir.path(), "zoe");
    runtime().block_on(async {
        let log = DecisionLog::open(options(dir.path())).expect("opens");
        log.place_hold(hold("case", of_user("z*")), &author()).expect("is placed");
        log.append(entry_of("bob", "shop", 0, "his"), soon()).await.expect("appends");
        log.close("test").await.expect("closes");
    });
    let erasure = |user: &str| Erasure { selection: of_user(user), ..Erasure::default() };
    let error = erase(dir.path(), erasure("zoe")).expect_err("it is held");
    assert!(matches!(&error, LogError::Held { name, .. } if name == "case"), "{error}");
    assert_eq!(left(dir.path()), ["alice", "bob", "zoe"]);
    assert_eq!(erase(dir.path(), erasure("alice")).expect("erases").bodies, 1);
}
