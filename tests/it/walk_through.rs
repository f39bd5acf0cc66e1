//! `docs/onboarding.md` is typed as it stands, up to where a server is needed, and must print what it says it prints.
//! Run with `UPDATE_PAGES=1` to write down what it prints now.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

/// Where the webhook itself comes in; what it answers has times and ids in it.
const THE_REST: &str = "\n## 7. ";

/// Both tests may write one page.
static PAGES: Mutex<()> = Mutex::new(());

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// What a block of commands prints.
fn typed(commands: &str) -> String {
    let folder = Path::new(env!("CARGO_BIN_EXE_portcullis")).parent().expect("a folder");
    let path = std::env::join_paths(
        std::iter::once(folder.to_path_buf())
            .chain(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())),
    );
    let mut shell = Command::new("sh");
    shell.args(["-c", commands]).current_dir(root()).env("PATH", path.expect("a path"));
    let output = shell.output().expect("a shell");
    let messages = String::from_utf8_lossy(&output.stderr);
    // Refusals have exit code 1.
    assert!(matches!(output.status.code(), Some(0 | 1)) && messages.is_empty(), "{commands}: {messages}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// The pages show the digest of the policies as they are shipped.
#[test]
fn the_policy_set_on_the_pages_is_todays() {
    let _one_at_a_time = PAGES.lock().unwrap_or_else(PoisonError::into_inner);
    let said: serde_json::Value = serde_json::from_str(&typed("portcullis check policies -o json")).expect("JSON");
    let set = said["policySet"].as_str().expect("a digest");
    for page in ["README.md", "docs/onboarding.md"] {
        let file = root().join(page);
        let text = fs::read_to_string(&file).expect("the page");
        let made: String = text
            .split_inclusive('\n')
            .map(|line| match line.split_once("policy set:") {
                Some((before, after)) => {
                    let spaces: String = after.chars().take_while(|c| *c == ' ').collect();
                    format!("{before}policy set:{spaces}{set}\n")
                }
                None => line.to_owned(),
            })
            .collect();
        assert!(made.contains(set), "{page} shows no digest of the policies");
        if std::env::var_os("UPDATE_PAGES").is_some() {
            fs::write(&file, made).expect("written");
        } else {
            assert!(made == text, "{page} shows another policy set than {set}: run with UPDATE_PAGES=1");
        }
    }
}

#[test]
fn the_walk_through_prints_what_it_says() {
    let _one_at_a_time = PAGES.lock().unwrap_or_else(PoisonError::into_inner);
    let file = root().join("docs/onboarding.md");
    let page = fs::read_to_string(&file).expect("the page");
    let (first, rest) = page.split_once(THE_REST).expect("a part with a server");
    let (mut made, mut count) = (String::new(), 0);
    let mut left = first;
    while let Some((before, after)) = left.split_once("```sh\n") {
        let (commands, after) = after.split_once("```").expect("an end");
        made.push_str(&format!("{before}```sh\n{commands}```"));
        left = after;
        // What is built and exported prints nothing that is shown.
        if !commands.contains("portcullis eval") {
            continue;
        }
        let (between, shown) = left.split_once("```text\n").expect("what it prints");
        let (_, after) = shown.split_once("```").expect("an end");
        made.push_str(&format!("{between}```text\n{}```", typed(commands)));
        left = after;
        count += 1;
    }
    made.push_str(left);
    assert!(count >= 7, "{count} blocks of commands");
    let made = made + THE_REST + rest;
    if std::env::var_os("UPDATE_PAGES").is_some() {
        fs::write(&file, made).expect("written");
    } else {
        assert!(made == page, "docs/onboarding.md is stale: run with UPDATE_PAGES=1 and read what changed");
    }
}
