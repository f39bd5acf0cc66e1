//! Gatekeeper's documents: templates, constraints, expansions, suites; text in, typed documents out.
//!
//! Knows the formats of `templates.gatekeeper.sh`, `constraints.gatekeeper.sh`, `expansion.gatekeeper.sh` and
//! `test.gatekeeper.sh`. Must not know how Rego is run. Source: Gatekeeper's documentation and CRDs.

mod constraint;
mod document;
mod expansion;
mod inventory;
mod matching;
mod routes;
mod schema;
mod suite;
mod template;

pub(crate) use routes::rules;

pub use constraint::{Constraint, EnforcementPoint};
pub use document::Document;
pub use expansion::{ExpansionTemplate, Generated, expand};
pub use inventory::insert_into_inventory;
pub(crate) use matching::ObjectNames;
pub use matching::{ConstraintMatch, Source};
pub(crate) use suite::Lines;
pub use suite::{Assertion, Case, Count, Suite, SuiteTest};
pub use template::{EmbeddedRego, Template};

use crate::policy::LoadError;

/// The target that templates are written for.
pub const TARGET: &str = "admission.k8s.gatekeeper.sh";

/// Everything of Gatekeeper in a policy set.
#[derive(Debug, Clone, Default)]
pub struct Library {
    /// Templates by kind, in order.
    pub templates: Vec<Template>,
    /// Constraints with their template's index.
    pub constraints: Vec<(usize, Constraint)>,
    /// Expansions by name, in order.
    pub expansions: Vec<ExpansionTemplate>,
    /// What was passed over.
    pub notes: Vec<LoadError>,
}

impl Library {
    /// Reads all documents, whatever their order.
    ///
    /// # Errors
    /// Everything that is wrong with any of them.
    pub fn read(documents: &[Document]) -> Result<Self, Vec<LoadError>> {
        let mut library = Self::default();
        let mut errors = Vec::new();
        let mut constraints = Vec::new();
        let mut broken = Vec::new();
        for document in documents {
            match (document.group(), document.kind()) {
                ("templates.gatekeeper.sh", "ConstraintTemplate") => match Template::read(document) {
                    Ok(template) => library.add_template(template, &mut errors),
                    Err(e) => {
                        errors.push(e);
                        broken.push(document.string(&["spec", "crd", "spec", "names", "kind"]));
                    }
                },
                ("constraints.gatekeeper.sh", _) => constraints.push(document),
                ("expansion.gatekeeper.sh", "ExpansionTemplate") => match ExpansionTemplate::read(document) {
                    Ok(expansion) => library.add_expansion(expansion, &mut errors),
                    Err(e) => errors.push(e),
                },
                // Suites are tests: no part of a policy set.
                ("test.gatekeeper.sh", _) => {}
                (group, kind) => {
                    let message = format!("`{kind}` of {group} is not read: it has no effect here");
                    library.notes.push(document.fault("not_read", message));
                }
            }
        }
        library.templates.sort_by(|a, b| a.kind.cmp(&b.kind));
        library.expansions.sort_by(|a, b| a.name.cmp(&b.name));
        // Of constraints whose template is wrong nothing can be told.
        for document in constraints.into_iter().filter(|d| !broken.contains(&d.kind())) {
            match library.constraint(document) {
                Ok((template, constraint)) => library.add_constraint(template, constraint, &mut errors),
                Err(e) => errors.push(e),
            }
        }
        library.constraints.sort_by(|(_, a), (_, b)| (&a.kind, &a.name).cmp(&(&b.kind, &b.name)));
        if errors.is_empty() { Ok(library) } else { Err(errors) }
    }

    fn constraint(&self, document: &Document) -> Result<(usize, Constraint), LoadError> {
        let kind = document.kind();
        let found = self.templates.iter().enumerate().find(|(_, t)| t.kind == kind);
        let Some((index, template)) = found else {
            let near = crate::policy::nearest(kind, self.templates.iter().map(|t| t.kind.as_str()));
            let near = near.map(|n| format!("; did you mean `{n}`?")).unwrap_or_default();
            let message = format!("no template that is loaded defines the constraint kind `{kind}`{near}");
            return Err(document.fault_at("constraint", &["kind"], message));
        };
        Ok((index, Constraint::read(document, template)?))
    }

    fn add_template(&mut self, template: Template, errors: &mut Vec<LoadError>) {
        match self.templates.iter().find(|t| t.kind == template.kind) {
            Some(same) if same.spec == template.spec => {}
            Some(other) => {
                let message =
                    format!("template `{}` stands in `{}` too, with other content", template.name, other.file);
                errors.push(LoadError::new(&template.file, "template", message).at(template.line, 1));
            }
            None => self.templates.push(template),
        }
    }

    fn add_constraint(&mut self, template: usize, constraint: Constraint, errors: &mut Vec<LoadError>) {
        let same = |c: &Constraint| c.kind == constraint.kind && c.name == constraint.name;
        match self.constraints.iter().find(|(_, c)| same(c)) {
            Some((_, there)) if there.document == constraint.document => {}
            Some((_, other)) => {
                let name = constraint.policy_name();
                let message = format!("constraint `{name}` stands in `{}` too, with other content", other.file);
                errors.push(LoadError::new(&constraint.file, "constraint", message).at(constraint.line, 1));
            }
            None => self.constraints.push((template, constraint)),
        }
    }

    fn add_expansion(&mut self, expansion: ExpansionTemplate, errors: &mut Vec<LoadError>) {
        match self.expansions.iter().find(|e| e.name == expansion.name) {
            Some(same) if same.document == expansion.document => {}
            Some(other) => {
                let message =
                    format!("expansion `{}` stands in `{}` too, with other content", expansion.name, other.file);
                errors.push(LoadError::new(&expansion.file, "expansion", message).at(expansion.line, 1));
            }
            None => self.expansions.push(expansion),
        }
    }
}
