//! The map in `src/lib.rs`, held: imports go strictly downward, pure rooms name no I/O, regorus stays behind its seam.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Rooms by level; a room may import only rooms of lower levels.
const LEVELS: [(&str, u8); 17] = [
    ("admission", 0),
    ("tlog", 0),
    ("policy", 1),
    ("engine", 2),
    ("decisions", 3),
    ("inventory", 3),
    ("outbound", 3),
    ("source", 3),
    ("webhook", 3),
    ("telemetry", 3),
    ("causes", 0),
    ("units", 0),
    ("memory", 0),
    ("config", 4),
    ("server", 4),
    ("app", 5),
    ("cli", 6),
];

const PURE: [&str; 4] = ["admission", "tlog", "policy", "engine"];

const IMPURE: [&str; 8] = ["tokio", "kube::", "axum", "std::fs", "std::env", "std::net", "SystemTime", "jiff"];

fn files(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).expect("a directory").flatten() {
        let path = entry.path();
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

/// Every source file with its room and its text.
fn sources() -> Vec<(PathBuf, String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    files(&root, &mut found);
    assert!(found.len() > 20, "the sources were not found");
    found
        .into_iter()
        .map(|path| {
            let relative = path.strip_prefix(&root).expect("below src");
            let room = relative.components().next().expect("a name").as_os_str().to_string_lossy();
            let room = room.trim_end_matches(".rs").to_owned();
            let text = fs::read_to_string(&path).expect("readable");
            (relative.to_owned(), room, text)
        })
        .collect()
}

/// Code without comments and without the unit tests at the end.
fn code(text: &str) -> String {
    let code = text.split("#[cfg(test)]").next().unwrap_or(text);
    code.lines().filter(|l| !l.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

#[test]
fn imports_go_strictly_downward() {
    let levels: BTreeMap<&str, u8> = LEVELS.into();
    for (path, room, text) in sources() {
        if room == "lib" || room == "main" {
            continue;
        }
        let level = *levels.get(room.as_str()).unwrap_or_else(|| panic!("`{room}` is not on the map"));
        for (other, other_level) in &levels {
            let imports =
                code(&text).contains(&format!("crate::{other}::")) || code(&text).contains(&format!("crate::{other};"));
            assert!(
                !imports || *other == room || *other_level < level,
                "{} (level {level}) imports `{other}` (level {other_level})",
                path.display()
            );
        }
    }
}

#[test]
fn pure_rooms_name_no_io() {
    for (path, room, text) in sources().into_iter().filter(|(_, room, _)| PURE.contains(&room.as_str())) {
        for word in IMPURE {
            assert!(!code(&text).contains(word), "{} of pure room `{room}` names `{word}`", path.display());
        }
    }
}

#[test]
fn regorus_stays_in_the_engine() {
    for (path, room, text) in sources() {
        assert!(room == "engine" || !code(&text).contains("regorus::"), "{} names regorus", path.display());
    }
}

#[test]
fn every_file_says_what_it_is() {
    for (path, _, text) in sources() {
        assert!(text.starts_with("//!"), "{} does not begin with `//!`", path.display());
        let lines = text.lines().count();
        let code_lines = text.split("#[cfg(test)]").next().unwrap_or(&text).lines().count();
        assert!(code_lines <= 500, "{} has {code_lines} lines ({lines} with tests): split it", path.display());
    }
}
