//! The digest of a policy set: of content alone, whatever the files are called and in whatever order they are found.

use std::fs;
use std::path::{Path, PathBuf};

use portcullis::engine::{CompileOptions, compile};
use portcullis::policy::{Digest, Sources};
use portcullis::source::{LoadOptions, Loaded, load};

const BINDING: &str = "apiVersion: portcullis.io/v1alpha1\nkind: PolicyBinding\nmetadata: {name: NAME}\nspec:\n  \
                       policyRef: {name: one}\n  parameters: {least: 1}\n";

/// Small files of every kind that counts.
fn files() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/gatekeeper/labels");
    let text = |name: &str| fs::read_to_string(root.join(name)).expect("readable");
    let policy = |name: &str| {
        format!(
            "# METADATA\n# scope: package\n# custom:\n#   enforcement: deny\n#   parameters: {{least: 0}}\n\
             #   match: {{kinds: [Pod]}}\npackage portcullis.{name}\n\nimport data.lib.words\n\n\
             deny contains words.no if input.parameters.least > 1\n"
        )
    };
    let mut files = vec![
        ("lib/words.rego".to_owned(), "package lib.words\n\nno := \"no\"\n".to_owned()),
        ("lib/more.rego".to_owned(), "package lib.words\n\nyes := \"yes\"\n".to_owned()),
        ("template.yaml".to_owned(), text("template.yaml")),
        ("constraint.yaml".to_owned(), text("constraint.yaml")),
    ];
    for name in ["one", "two", "three"] {
        files.push((format!("{name}.rego"), policy(name)));
        files.push((format!("bindings/{name}.yaml"), BINDING.replace("NAME", name)));
    }
    files
}

fn write(files: &[(String, String)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    for (name, text) in files {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        fs::write(path, text).expect("written");
    }
    dir
}

fn loaded(policies: &[PathBuf]) -> Loaded {
    load(&LoadOptions { policies: policies.to_vec(), ..LoadOptions::default() }).expect("loads")
}

fn digest(sources: &Sources) -> Digest {
    compile(sources, CompileOptions::default()).expect("compiles").snapshot.policy_set()
}

/// A different order for each seed (a linear congruential generator and Fisher and Yates).
fn shuffle<T>(items: &mut [T], mut seed: u64) {
    for i in (1..items.len()).rev() {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        items.swap(i, usize::try_from(seed >> 33).expect("fits") % (i + 1));
    }
}

#[test]
fn neither_order_nor_names_of_files_count() {
    let mut files = files();
    let dir = write(&files);
    let found = loaded(&[dir.path().to_owned()]).sources;
    let wanted = digest(&found);
    for seed in 0..12 {
        let mut sources = found.clone();
        shuffle(&mut sources.modules, seed);
        shuffle(&mut sources.bindings, seed);
        shuffle(&mut sources.gatekeeper, seed);
        assert_eq!(digest(&sources), wanted, "seed {seed}");
        // Other names, and so another walk through other directories; named one by one in any order.
        shuffle(&mut files, seed);
        let renamed: Vec<(String, String)> = files
            .iter()
            .enumerate()
            .map(|(n, (name, text))| {
                (format!("{}/{n}{}", n % 3, &name[name.rfind('.').expect("an extension")..]), text.clone())
            })
            .collect();
        let dir = write(&renamed);
        assert_eq!(digest(&loaded(&[dir.path().to_owned()]).sources), wanted, "seed {seed}");
        let mut paths: Vec<PathBuf> = renamed.iter().map(|(name, _)| dir.path().join(name)).collect();
        shuffle(&mut paths, seed + 1);
        assert_eq!(digest(&loaded(&paths).sources), wanted, "seed {seed}");
    }
}

#[test]
fn every_change_of_content_counts_and_tests_do_not() {
    let files = files();
    let set = |files: &[(String, String)]| digest(&loaded(&[write(files).path().to_owned()]).sources);
    let wanted = set(&files);
    for n in 0..files.len() {
        let mut changed = files.clone();
        let (name, text) = &mut changed[n];
        *text = match name.ends_with(".rego") {
            true => format!("{text}\n# changed\n"),
            false => text.replace("name: ", "name: x"),
        };
        let sources = write(&changed);
        let sources = load(&LoadOptions { policies: vec![sources.path().to_owned()], ..LoadOptions::default() });
        // Some names are referred to: then the change is an error, and no other policy set.
        if let Ok(compiled) = sources.and_then(|l| compile(&l.sources, CompileOptions::default())) {
            assert_ne!(compiled.snapshot.policy_set(), wanted, "{}", files[n].0);
        }
    }
    let mut tested = files.clone();
    tested.push(("one_test.rego".to_owned(), "package portcullis.one_test\n\ntest_a if true\n".to_owned()));
    assert_eq!(set(&tested), wanted);
    let fewer: Vec<_> = files.iter().filter(|(name, _)| name != "lib/more.rego").cloned().collect();
    assert_ne!(set(&fewer), wanted);
}
