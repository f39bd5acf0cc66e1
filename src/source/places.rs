//! Where a policy set comes from: chosen once, read again at each reload, and looked at for changes in between.

use std::path::{Path, PathBuf};

use crate::policy::{LoadError, Sources};
use crate::source::stamp::Stamp;
use crate::source::{LoadOptions, Loaded, data, files, policies, shipped};

/// Where people keep policies who name none.
const LOCAL: &str = "policies";

/// The places of a policy set. Which ones stand in where none are named is settled when this is made: a directory
/// that is emptied later is an empty directory and not a reason to read other policies.
#[derive(Debug, Clone)]
pub struct Places {
    policies: PolicyPlaces,
    data: DataPlaces,
}

#[derive(Debug, Clone)]
enum PolicyPlaces {
    Named(Vec<PathBuf>),
    Local,
    Shipped,
}

#[derive(Debug, Clone)]
enum DataPlaces {
    Named(Vec<PathBuf>),
    Example(PathBuf),
    ShippedExample,
    Nothing,
}

impl Places {
    /// Settles what `options` leave open, by what is there now.
    #[must_use]
    pub fn choose(options: &LoadOptions) -> Self {
        let policies = match options.policies.as_slice() {
            [] if files::holds_policies(Path::new(LOCAL)) => PolicyPlaces::Local,
            [] => PolicyPlaces::Shipped,
            named => PolicyPlaces::Named(named.to_vec()),
        };
        let example = Path::new(LOCAL).join("example-data");
        let data = match options.data.as_slice() {
            [] if !options.example_data => DataPlaces::Nothing,
            [] if options.policies.is_empty() && example.is_dir() => DataPlaces::Example(example),
            [] => DataPlaces::ShippedExample,
            named => DataPlaces::Named(named.to_vec()),
        };
        Self { policies, data }
    }

    /// Reads everything.
    ///
    /// # Errors
    /// Everything that is wrong, of all files.
    pub fn load(&self) -> Result<Loaded, Vec<LoadError>> {
        let mut errors = Vec::new();
        let mut sources = Sources::default();
        let mut from = Vec::new();
        match &self.policies {
            PolicyPlaces::Named(paths) => {
                for path in paths {
                    policies::read(path, &mut sources, &mut errors);
                    from.push(format!("policies: {}", path.display()));
                }
            }
            PolicyPlaces::Local => {
                policies::read(Path::new(LOCAL), &mut sources, &mut errors);
                from.push(format!("policies: {LOCAL} (in the current directory)"));
            }
            PolicyPlaces::Shipped => {
                shipped::policies(&mut sources, &mut errors);
                from.push("policies: the shipped ones, inside the binary".to_owned());
            }
        }
        match &self.data {
            DataPlaces::Named(paths) => {
                for path in paths {
                    data::read(path, &mut sources, &mut errors);
                    from.push(format!("data: {}", path.display()));
                }
            }
            DataPlaces::Example(path) => {
                data::read(path, &mut sources, &mut errors);
                from.push(format!("data: {} (the example: three tenants)", path.display()));
            }
            DataPlaces::ShippedExample => {
                shipped::example_data(&mut sources, &mut errors);
                from.push("data: the shipped example (three tenants), inside the binary".to_owned());
            }
            DataPlaces::Nothing => {}
        }
        sources.modules.sort_by(|a, b| a.path.cmp(&b.path));
        sources.bindings.sort_by(|a, b| a.name.cmp(&b.name));
        errors.sort();
        if errors.is_empty() { Ok(Loaded { sources, from }) } else { Err(errors) }
    }

    /// What the files look like now, without reading them. Another one than before: something has changed.
    #[must_use]
    pub fn stamp(&self) -> Stamp {
        let mut roots: Vec<&Path> = match &self.policies {
            PolicyPlaces::Named(paths) => paths.iter().map(PathBuf::as_path).collect(),
            PolicyPlaces::Local => vec![Path::new(LOCAL)],
            PolicyPlaces::Shipped => Vec::new(),
        };
        match &self.data {
            DataPlaces::Named(paths) => roots.extend(paths.iter().map(PathBuf::as_path)),
            DataPlaces::Example(path) => roots.push(path),
            DataPlaces::ShippedExample | DataPlaces::Nothing => {}
        }
        Stamp::of(roots)
    }
}
