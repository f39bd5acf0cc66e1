//! Files of Rego, read, rewritten and parsed: what can be said of each by itself.
//!
//! Knows METADATA only as far as the Rego version stands in it.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::engine::annotations::Annotations;
use crate::engine::evaluate::{self, UnitModule};
use crate::engine::rego;
use crate::engine::rewrite::{Originals, Places, Surroundings, pattern, rewrite};
use crate::engine::scan;
use crate::engine::syntax::{self, ModuleInfo};
use crate::policy::{LoadError, Metadata, RegoVersion, SourceFile, package_metadata};

/// Brackets may nest this deep in a policy: the parser's time grows with two to the power of it.
pub const MAX_NESTING: usize = 16;

/// Operators that one expression may have: the engine's passes recurse once for each.
pub(crate) const MAX_OPERATORS: usize = 500;

/// Exponents of numerals: the engine computes all digits when it reads them.
const MAX_EXPONENT: u64 = 1_000;

/// A file, parsed.
pub(crate) struct Parsed<'a> {
    pub source: &'a SourceFile,
    /// What the engine reads: the source, rewritten where it would read it differently from OPA.
    pub places: Arc<Places>,
    pub info: ModuleInfo,
    pub metadata: Option<Metadata>,
    pub version: RegoVersion,
}

impl Parsed<'_> {
    /// As a part of a unit.
    pub(crate) fn unit(&self) -> UnitModule<'_> {
        UnitModule { path: &self.source.path, places: &self.places, version: self.version }
    }
}

/// Parses files and reads their METADATA. A file may hold several modules.
///
/// `declared` are versions of Rego that are declared from outside, by file. METADATA that ask for v0 get it all the same.
pub(crate) fn parse_all<'a>(
    sources: impl Iterator<Item = &'a SourceFile> + Clone,
    declared: &BTreeMap<String, RegoVersion>,
    errors: &mut Vec<LoadError>,
) -> Vec<Parsed<'a>> {
    let mut read = Vec::new();
    for source in sources {
        match package_metadata(&source.path, &source.text) {
            Ok(metadata) => {
                let version = match metadata.as_ref().map(|m| m.rego_version) {
                    Some(RegoVersion::V0) => RegoVersion::V0,
                    Some(RegoVersion::V1) | None => declared.get(&source.path).copied().unwrap_or(RegoVersion::V1),
                };
                read.push((source, metadata, version));
            }
            Err(error) => errors.push(error),
        }
    }
    let known = surroundings(read.iter().map(|(source, _, version)| (source.text.as_str(), *version)));
    let mut parsed = Vec::new();
    for (source, metadata, version) in read {
        match parse(source, version, &known) {
            Ok(mut modules) => {
                if let Some(first) = modules.first_mut() {
                    first.metadata = metadata;
                }
                parsed.extend(modules);
            }
            Err(mut error) => {
                if version == RegoVersion::V1 && is_v0(source, &known) {
                    error
                        .message
                        .push_str(" (it is Rego v0: declare `custom: {regoVersion: v0}` in its METADATA, or write v1)");
                }
                errors.push(error);
            }
        }
    }
    parsed
}

/// Parses Rego of a known version; METADATA in it are not ours to read.
pub(crate) fn parse_embedded<'a>(
    sources: impl Iterator<Item = &'a SourceFile> + Clone,
    version: RegoVersion,
    errors: &mut Vec<LoadError>,
) -> Vec<Parsed<'a>> {
    let known = surroundings(sources.clone().map(|source| (source.text.as_str(), version)));
    let parsed = sources.map(|source| parse(source, version, &known));
    parsed.filter_map(|modules| modules.map_err(|e| errors.push(e)).ok()).flatten().collect()
}

/// What is known of modules before they are rewritten.
pub(crate) fn surroundings<'t>(texts: impl Iterator<Item = (&'t str, RegoVersion)> + Clone) -> Surroundings {
    let mut known = Surroundings { annotations: Annotations::of(texts.clone()), ..Surroundings::default() };
    for (text, version) in texts {
        // What does not parse is reported where it is loaded.
        let Ok(module) = rego::parse_module(text, version) else { continue };
        known.mocks.note(&module);
        let names = module.rules.iter().filter_map(|r| r.name.root()).map(str::to_owned);
        known.rules.entry(module.package.clone()).or_default().extend(names);
        let heads = module.rules.iter().filter_map(pattern);
        known.heads.entry(module.package.clone()).or_default().extend(heads);
    }
    known
}

/// Whether a file that is no v1 would be v0.
fn is_v0(source: &SourceFile, known: &Surroundings) -> bool {
    // The engine's parser warns on stderr about words of v1; where those stand the file is no v0 anyway.
    let v1_words = [" if ", " contains ", "import rego.v1"].iter().any(|w| source.text.contains(w));
    !v1_words && parse(source, RegoVersion::V0, known).is_ok()
}

fn parse<'a>(source: &'a SourceFile, version: RegoVersion, known: &Surroundings) -> Result<Vec<Parsed<'a>>, LoadError> {
    let modules = rewrite(&source.text, version, known)
        .map_err(|e| LoadError::new(&source.path, "rego", e.message).at(e.line, e.column))?;
    modules.into_iter().map(|places| parsed(source, version, places)).collect()
}

fn parsed(source: &SourceFile, version: RegoVersion, places: Arc<Places>) -> Result<Parsed<'_>, LoadError> {
    check_nesting(&source.path, places.text())?;
    let info = parse_rego(&source.path, &places, version).map_err(|fault| {
        let mut originals = Originals::default();
        originals.add(&source.path, &places);
        load_error(&source.path, "rego", &originals.fault(fault))
    })?;
    Ok(Parsed { source, places, info, metadata: None, version })
}

pub(crate) fn check_nesting(path: &str, text: &str) -> Result<(), LoadError> {
    let (depth, line) = scan::bracket_depth(text);
    if depth > MAX_NESTING {
        let message = format!("brackets nest {depth} deep; at most {MAX_NESTING} are allowed: name the inner values");
        return Err(LoadError::new(path, "nesting", message).at(line, 1));
    }
    if let Some((numeral, line)) = scan::vast_numeral(text, MAX_EXPONENT) {
        let message = format!("`{numeral}` is too large: exponents up to {MAX_EXPONENT} are allowed");
        return Err(LoadError::new(path, "nesting", message).at(line, 1));
    }
    let (operators, line) = scan::longest_expression(text);
    if operators > MAX_OPERATORS {
        let message =
            format!("an expression has {operators} operators; at most {MAX_OPERATORS} are allowed: name parts of it");
        return Err(LoadError::new(path, "nesting", message).at(line, 1));
    }
    Ok(())
}

fn parse_rego(path: &str, places: &Places, version: RegoVersion) -> Result<ModuleInfo, evaluate::Fault> {
    let mut engine = evaluate::empty_engine();
    engine.set_rego_v0(version == RegoVersion::V0);
    engine.add_policy(path.to_owned(), places.text().to_owned()).map_err(|e| evaluate::fault(&e))?;
    engine.get_modules().first().map(|m| syntax::module_info(m, places)).ok_or_else(|| evaluate::Fault {
        code: crate::engine::ErrorCode::Evaluation,
        msg: "the file holds no package".to_owned(),
        location: None,
    })
}

pub(crate) fn load_error(file: &str, code: &'static str, fault: &evaluate::Fault) -> LoadError {
    match &fault.location {
        Some(l) => LoadError::new(&l.file, code, &fault.msg).at(l.line, l.column),
        None => LoadError::new(file, code, &fault.msg),
    }
}
