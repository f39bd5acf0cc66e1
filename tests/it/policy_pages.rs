//! The pages in `docs/policies/` are made from the policies' METADATA, one a pack. Run with `UPDATE_PAGES=1` to write
//! them; without it they must be what the policies say.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use portcullis::policy::{Metadata, package_metadata};

/// Name of a policy, its file and its METADATA as text.
struct Page {
    name: String,
    file: String,
    metadata: Metadata,
    parameters: String,
    schema: String,
    matching: String,
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The lines below a key of `custom`, as they stand, with their comments.
fn block(text: &str, key: &str) -> String {
    let lines = text.lines().skip_while(|l| *l != format!("#   {key}:")).skip(1);
    let lines = lines.take_while(|l| l.starts_with("#     "));
    lines.map(|l| l.trim_start_matches("#     ").to_owned() + "\n").collect()
}

fn packs() -> BTreeMap<String, Vec<Page>> {
    let mut packs: BTreeMap<String, Vec<Page>> = BTreeMap::new();
    for folder in fs::read_dir(root().join("policies")).expect("packs").flatten() {
        for file in fs::read_dir(folder.path()).into_iter().flatten().flatten() {
            let path = file.path();
            let name = path.file_stem().and_then(|s| s.to_str()).unwrap_or_default().to_owned();
            if path.extension().is_none_or(|e| e != "rego") || name.ends_with("_test") {
                continue;
            }
            let pack = folder.file_name().to_string_lossy().into_owned();
            let text = fs::read_to_string(&path).expect("a policy");
            let metadata = package_metadata(&path.display().to_string(), &text).expect("METADATA").expect("METADATA");
            if pack == "lib" {
                continue;
            }
            let file = format!("policies/{pack}/{name}.rego");
            let (parameters, matching) = (block(&text, "parameters"), block(&text, "match"));
            let schema = block(&text, "parametersSchema");
            packs.entry(pack).or_default().push(Page { name, file, metadata, parameters, schema, matching });
        }
    }
    for pages in packs.values_mut() {
        pages.sort_by(|a, b| a.name.cmp(&b.name));
    }
    packs
}

fn page(pack: &str, pages: &[Page]) -> String {
    let mut text = format!("# Policies: {pack}\n\n");
    text += "Made from the METADATA of the policies; how to bind them: [policies.md](../policies.md).\n";
    for p in pages {
        let m = &p.metadata;
        let title = m.title.as_deref().unwrap_or_default();
        let _ =
            write!(text, "\n## {}\n**{title}.** {}\n\n", p.name, m.description.as_deref().unwrap_or_default().trim());
        let severity = m.severity.map(portcullis::policy::Severity::as_str).unwrap_or_default();
        let enforcement = m.enforcement.as_str();
        let _ = writeln!(text, "Severity {severity}, enforcement `{enforcement}`. Source: [{0}](../../{0}).", p.file);
        if !m.controls.is_empty() {
            let _ = writeln!(text, "Controls: {}.", m.controls.join("; "));
        }
        let _ = write!(text, "\nMatches:\n\n```yaml\n{}```\n", p.matching);
        if !p.parameters.is_empty() {
            let _ = write!(text, "\nParameters, with their defaults:\n\n```yaml\n{}```\n", p.parameters);
        }
        if !p.schema.is_empty() {
            let _ = write!(text, "\nWhat they may be, as JSON Schema:\n\n```yaml\n{}```\n", p.schema);
        }
    }
    text
}

#[test]
fn every_pack_has_its_page_as_the_policies_say() {
    let folder = root().join("docs/policies");
    let update = std::env::var_os("UPDATE_PAGES").is_some();
    let mut wanted = BTreeMap::new();
    for (pack, pages) in packs() {
        assert!(pages.iter().all(|p| p.metadata.title.is_some() && p.metadata.description.is_some()), "{pack}");
        wanted.insert(format!("{pack}.md"), page(&pack, &pages));
    }
    assert!(wanted.len() > 3, "packs are found");
    if update {
        fs::create_dir_all(&folder).expect("the folder");
        for (name, text) in &wanted {
            fs::write(folder.join(name), text).expect("written");
        }
    }
    let there: Vec<String> = names(&folder);
    assert_eq!(there, wanted.keys().cloned().collect::<Vec<_>>(), "docs/policies: write it with UPDATE_PAGES=1");
    for (name, text) in &wanted {
        let page = fs::read_to_string(folder.join(name)).expect("a page");
        assert_eq!(page, *text, "docs/policies/{name}: write it with UPDATE_PAGES=1");
    }
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|e| e.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}
