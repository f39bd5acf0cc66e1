//! Gatekeeper's templates and constraints to policies: one unit a template, shared by its constraints.

use std::collections::BTreeMap;
use std::sync::Arc;

use regorus::Value;
use serde_json::Map;

use crate::engine::check::{self, Package};
use crate::engine::compile::Content;
use crate::engine::evaluate::{Unit, UnitModule, UnitOptions};
use crate::engine::health::Health;
use crate::engine::parse::{Parsed, load_error, parse_embedded};
use crate::engine::snapshot::{Bound, Dialect, Policy, PolicySummary, Use};
use crate::engine::syntax::RuleInfo;
use crate::engine::{CompileOptions, Endpoint, HttpSend, Location, Ways, http};
use crate::policy::gatekeeper::{self, Constraint, EmbeddedRego, ExpansionTemplate, Library, Template};
use crate::policy::{Budget, Digest, Enforcement, LoadError, Match, OnUpdate, SourceFile, Sources, digest_set};

/// Rego further down in its file keeps its own line numbers: the parser takes no more than 20,000 lines.
const MOST_LINES_BEFORE: u32 = 10_000;

/// What a library of Gatekeeper's comes to.
#[derive(Default)]
pub(crate) struct Constraints {
    pub bound: Vec<Bound>,
    pub summaries: Vec<PolicySummary>,
    pub expansions: Vec<ExpansionTemplate>,
    /// For the digest of the policy set.
    pub contents: Vec<Content>,
    pub notes: Vec<LoadError>,
}

/// Where the Rego of a template stands in its file: the columns that its indentation takes, by lines.
#[derive(Debug, Default)]
pub(crate) struct Places(Vec<Place>);

#[derive(Debug)]
struct Place {
    file: String,
    first: u32,
    last: u32,
    indent: u32,
}

impl Places {
    fn indent(&self, file: &str, line: u32) -> u32 {
        self.0.iter().find(|p| p.file == file && (p.first..=p.last).contains(&line)).map_or(0, |p| p.indent)
    }

    /// A location in the text that the engine has, as one in the file.
    pub(crate) fn in_file(&self, at: Location) -> Location {
        Location { column: at.column + self.indent(&at.file, at.line), ..at }
    }

    fn error_in_file(&self, mut error: LoadError) -> LoadError {
        if let (Some(line), Some(column)) = (error.line, error.column) {
            error.column = Some(column + self.indent(&error.file, line));
        }
        error
    }
}

/// Compiles everything of Gatekeeper in `sources`.
pub(crate) fn compile(sources: &Sources, options: CompileOptions, errors: &mut Vec<LoadError>) -> Constraints {
    let library = match Library::read(&sources.gatekeeper) {
        Ok(library) => library,
        Err(found) => {
            errors.extend(found);
            return Constraints::default();
        }
    };
    // Templates may read nothing else of the data.
    let mut data = sources.data.clone();
    data.retain(|key, _| key == "inventory");
    let value = Value::from(serde_json::Value::Object(data.clone()));
    let mut found = Constraints { notes: library.notes, ..Constraints::default() };
    let digest = |value: &serde_json::Value| Digest::of(value.to_string().as_bytes());
    for expansion in &library.expansions {
        found.contents.push(("expansion", expansion.name.clone(), digest(&expansion.document)));
    }
    for (index, template) in library.templates.iter().enumerate() {
        found.contents.push(("template", template.name.clone(), digest(&template.spec)));
        let compiled = match CompiledTemplate::new(template, &data, &value, options.http_send, options.ways) {
            Ok(compiled) => compiled,
            Err(wrong) => {
                errors.extend(wrong);
                continue;
            }
        };
        for (_, constraint) in library.constraints.iter().filter(|(of, _)| *of == index) {
            found.contents.push(("constraint", constraint.policy_name(), digest(&constraint.document)));
            compiled.bind(constraint, &library.expansions, options, &mut found);
        }
    }
    found.expansions = library.expansions;
    found
}

/// A template, ready to be bound.
struct CompiledTemplate<'t> {
    template: &'t Template,
    unit: Arc<Unit>,
    places: Arc<Places>,
    rules: BTreeMap<String, check::Definitions>,
    strings: Vec<String>,
    reads_namespace: bool,
}

impl<'t> CompiledTemplate<'t> {
    fn new(
        template: &'t Template,
        data: &Map<String, serde_json::Value>,
        value: &Value,
        http_send: HttpSend,
        ways: Ways,
    ) -> Result<Self, Vec<LoadError>> {
        let (modules, places) = modules(template);
        let in_file = |errors: Vec<LoadError>| errors.into_iter().map(|e| places.error_in_file(e)).collect::<Vec<_>>();
        let mut errors = Vec::new();
        let parsed = parse_embedded(modules.iter(), template.version, &mut errors);
        let (true, Some(main)) = (errors.is_empty(), parsed.first()) else { return Err(in_file(errors)) };
        let packages = check::packages(&parsed);
        errors.extend(check::check(&packages, data).into_iter().map(explain));
        if http_send == HttpSend::Refuse {
            errors.extend(http::calls(packages.values()));
        }
        errors.extend(packages.values().flat_map(|p| foreign_data(p, &packages)));
        for lib in parsed.iter().skip(1).filter(|p| p.info.package.first().is_none_or(|s| s != "lib")) {
            let message = format!("template `{}`: the package of a library must be below `lib`", template.name);
            errors.push(LoadError::new(&lib.source.path, "template", message).at(first_line(lib.source), 1));
        }
        let entry = packages.get(&main.info.package);
        if !entry.is_some_and(|p| p.has_rule("violation")) {
            let message = format!("template `{}` has no rule `violation`", template.name);
            errors.push(LoadError::new(&main.source.path, "template", message).at(first_line(main.source), 1));
        }
        if !errors.is_empty() {
            return Err(in_file(errors));
        }
        let units: Vec<UnitModule<'_>> = parsed.iter().map(Parsed::unit).collect();
        let entries = BTreeMap::from([(Endpoint::Validate, vec!["violation".to_owned()])]);
        let unit = Unit::compile(&units, value, &main.info.package, &entries, UnitOptions { strict: false, ways })
            .map_err(|fault| in_file(vec![load_error(&template.file, "rego", &fault)]))?;
        let all_rules = || packages.values().flat_map(Package::rules);
        let of_namespace = |s: &str| s == "_unstable" || s == "namespaceObject";
        let steps = |r: &RuleInfo| r.references.iter().flat_map(|r| r.steps.iter().flatten()).any(|s| of_namespace(s));
        let reads_namespace = all_rules().any(|r| steps(r) || r.strings.iter().any(|s| of_namespace(s)));
        Ok(Self {
            template,
            unit: Arc::new(unit),
            rules: entry.map(Package::entry_rules).unwrap_or_default(),
            strings: all_rules().flat_map(|r| r.strings.iter().cloned()).collect(),
            reads_namespace,
            places: Arc::new(places),
        })
    }

    fn bind(
        &self,
        constraint: &Constraint,
        expansions: &[ExpansionTemplate],
        options: CompileOptions,
        found: &mut Constraints,
    ) {
        let template = self.template;
        let name: Arc<str> = constraint.policy_name().into();
        let Some(enforcement) = constraint.enforcement(options.enforcement_point) else {
            let point = options.enforcement_point.as_str();
            let message = format!("constraint `{name}` is not enforced at {point}, by its scoped enforcement actions");
            found.notes.push(LoadError::new(&constraint.file, "scoped", message).at(constraint.line, 1));
            return;
        };
        let enforcement = enforcement.min(options.max_enforcement.unwrap_or(Enforcement::Deny));
        let strings: Vec<&str> = self.strings.iter().map(String::as_str).collect();
        let rules = gatekeeper::rules(template, constraint, &strings, expansions);
        let matching = Match::of_constraint(constraint.matching.clone(), rules);
        let digest = digest_set([
            ("template", template.name.as_str(), Digest::of(template.spec.to_string().as_bytes())),
            ("constraint", &name, Digest::of(constraint.document.to_string().as_bytes())),
        ]);
        let controls: Arc<[String]> = Vec::new().into();
        found.summaries.push(PolicySummary {
            name: Arc::clone(&name),
            title: template.title.clone(),
            description: template.description.clone(),
            enforcement,
            severity: None,
            controls: Arc::clone(&controls),
            digest,
            file: constraint.file.clone(),
            endpoints: vec![Endpoint::Validate],
            matching: matching.clone(),
            on_update: OnUpdate::All,
            obstacle: self.unit.obstacle().cloned().map(|o| o.at_place(|at| self.places.in_file(at))),
        });
        let policy = Policy {
            name,
            title: template.title.clone(),
            digest,
            severity: None,
            controls,
            matching,
            dialect: Dialect::Gatekeeper(Arc::clone(&self.places)),
            unit: Arc::clone(&self.unit),
            rules: self.rules.clone(),
            endpoints: vec![Endpoint::Validate],
            reads_namespace: self.reads_namespace,
            reads_user_namespace: false,
            budget: Budget::default(),
            health: Arc::new(Health::new(options.quarantine)),
        };
        let using = Use {
            binding: None,
            narrowed: None,
            parameters: Value::from(constraint.parameters.clone()),
            enforcement,
            on_update: OnUpdate::All,
        };
        found.bound.push(Bound { policy: Arc::new(policy), uses: vec![using] });
    }
}

/// The modules of a template, the rules' first, each on the lines that it has in the file.
fn modules(template: &Template) -> (Vec<SourceFile>, Places) {
    let mut places = Vec::new();
    let mut module = |rego: &EmbeddedRego, number: usize| match rego
        .place
        .filter(|(line, _)| *line <= MOST_LINES_BEFORE)
    {
        Some((first, indent)) => {
            let last = first + u32::try_from(rego.text.lines().count()).unwrap_or(u32::MAX - first);
            places.push(Place { file: template.file.clone(), first, last, indent });
            let before = "\n".repeat(first.saturating_sub(1) as usize);
            SourceFile { path: template.file.clone(), text: before + &rego.text }
        }
        None => {
            let part = if number == 0 { "rego".to_owned() } else { format!("libs[{}]", number - 1) };
            SourceFile { path: format!("{} ({} of {})", template.file, part, template.name), text: rego.text.clone() }
        }
    };
    let all = std::iter::once(&template.rego).chain(&template.libs);
    let modules = all.zip(0..).map(|(rego, number)| module(rego, number)).collect();
    (modules, Places(places))
}

fn first_line(source: &SourceFile) -> u32 {
    let line = source.text.lines().position(|l| !l.trim().is_empty()).unwrap_or(0);
    u32::try_from(line).unwrap_or(u32::MAX) + 1
}

fn explain(mut error: LoadError) -> LoadError {
    if error.code == "unknown_function" && error.message.starts_with("unknown function `external_data`") {
        error.message = "`external_data` calls a provider of Gatekeeper's; no provider is asked from here".to_owned();
    }
    error
}

/// References to data that templates cannot have: all but `data.inventory` and the template's own libraries.
fn foreign_data(package: &Package<'_>, packages: &BTreeMap<Vec<String>, Package<'_>>) -> Vec<LoadError> {
    let fault = |at: &Location, message: String| LoadError::new(&at.file, "data", message).at(at.line, at.column);
    package
        .data_references()
        .filter_map(|r| {
            let steps: Vec<&str> = r.steps.iter().map_while(|s| s.as_deref()).collect();
            let path = || format!("data.{}", steps.join("."));
            match steps.as_slice() {
                ["inventory", ..] => None,
                ["lib", ..] => {
                    let known = packages.keys().any(|p| p.iter().zip(&steps).all(|(a, b)| a == b));
                    (!known).then(|| fault(&r.at, format!("the template has no library for `{}`", path())))
                }
                [] => Some(fault(
                    &r.at,
                    "a template may read `data.inventory` and `data.lib`, not all of `data`".to_owned(),
                )),
                _ => {
                    Some(fault(&r.at, format!("a template may read `data.inventory` and `data.lib`, not `{}`", path())))
                }
            }
        })
        .collect()
}
