//! Where a policy set comes from: chosen once, read again at each reload, and looked at for changes in between.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::engine::JwsKey;
use crate::policy::{LoadError, Sources};
use crate::source::bundle::{self, Bundle, Verification};
use crate::source::data::Reading;
use crate::source::remote::{self, Remotes};
use crate::source::stamp::Stamp;
use crate::source::{BundleOptions, LoadOptions, Loaded, data, exceptions, files, kube_mgmt, policies, shipped};

/// Where people keep policies who name none.
const LOCAL: &str = "policies";

/// The places of a policy set. Which ones stand in where none are named is settled when this is made: a directory
/// that is emptied later is an empty directory and not a reason to read other policies.
#[derive(Debug, Clone)]
pub struct Places {
    policies: PolicyPlaces,
    data: DataPlaces,
    exceptions: Vec<PathBuf>,
    bundles: BundleOptions,
    remotes: Arc<Remotes>,
}

#[derive(Debug, Clone)]
enum PolicyPlaces {
    Named(Vec<Place>),
    Local,
    Shipped,
}

/// One place of policies.
#[derive(Debug, Clone)]
enum Place {
    /// A file or directory.
    Path(PathBuf),
    /// A bundle in a file.
    Bundle(PathBuf),
    /// A bundle that somebody serves.
    Remote(String),
}

impl Place {
    fn of(path: &Path) -> Self {
        if remote::is_remote(path) {
            Self::Remote(path.display().to_string())
        } else if bundle::is_bundle(&path.to_string_lossy()) && !path.is_dir() {
            Self::Bundle(path.to_owned())
        } else {
            Self::Path(path.to_owned())
        }
    }
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
            named => PolicyPlaces::Named(named.iter().map(|p| Place::of(p)).collect()),
        };
        let example = Path::new(LOCAL).join("example-data");
        let data = match options.data.as_slice() {
            // A bundle brings its own data.
            [] if !options.example_data || policies.has_bundle() => DataPlaces::Nothing,
            [] if options.policies.is_empty() && example.is_dir() => DataPlaces::Example(example),
            [] => DataPlaces::ShippedExample,
            named => DataPlaces::Named(named.to_vec()),
        };
        let remotes = Remotes::new(policies.addresses(), options.bundles.remote.clone());
        Self {
            policies,
            data,
            exceptions: options.exceptions.clone(),
            bundles: options.bundles.clone(),
            remotes: Arc::new(remotes),
        }
    }

    /// The bundles that somebody serves. They are not asked here: [`load`](Self::load) takes what they held at last.
    #[must_use]
    pub fn remotes(&self) -> &Arc<Remotes> {
        &self.remotes
    }

    /// Asks for remote bundles, if there are any, and reads everything: once, for whoever does not stay.
    ///
    /// # Errors
    /// Everything that is wrong.
    pub(super) fn fetch_and_load(&self) -> Result<Loaded, Vec<LoadError>> {
        if !self.remotes.is_empty() {
            let polled = self.remotes.poll_and_wait();
            if !polled.errors.is_empty() {
                return Err(polled.errors);
            }
        }
        self.load()
    }

    /// Reads everything.
    ///
    /// # Errors
    /// Everything that is wrong, of all files.
    pub fn load(&self) -> Result<Loaded, Vec<LoadError>> {
        let mut errors = Vec::new();
        let mut sources = Sources::default();
        let mut from = Vec::new();
        let mut notes = Vec::new();
        errors.extend(self.misplaced());
        match &self.policies {
            PolicyPlaces::Named(places) => {
                let verification = self.bundles.verification().map_err(|e| errors.push(e)).unwrap_or_default();
                let mut bundles = Vec::new();
                for place in places {
                    let opened = match place {
                        Place::Path(path) => {
                            policies::read(path, &self.exceptions, &mut sources, &mut errors);
                            from.push(format!("policies: {}", path.display()));
                            continue;
                        }
                        Place::Bundle(path) => read_bundle(path, verification.as_ref()),
                        Place::Remote(address) => self.open_remote(address, verification.as_ref()),
                    };
                    match opened {
                        Ok(bundle) => {
                            from.push(bundle.describe());
                            notes.extend(bundle.notes());
                            bundle.take(&mut sources, &mut errors);
                            bundles.push(bundle);
                        }
                        Err(e) => errors.push(e),
                    }
                }
                errors.extend(bundle::conflicts(&bundles));
            }
            PolicyPlaces::Local => {
                policies::read(Path::new(LOCAL), &self.exceptions, &mut sources, &mut errors);
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
                    data::read(path, Reading::Manifests, &mut sources, &mut errors);
                    from.push(format!("data: {}", path.display()));
                }
            }
            DataPlaces::Example(path) => {
                data::read(path, Reading::Manifests, &mut sources, &mut errors);
                from.push(format!("data: {} (the example: three tenants)", path.display()));
            }
            DataPlaces::ShippedExample => {
                shipped::example_data(&mut sources, &mut errors);
                from.push("data: the shipped example (three tenants), inside the binary".to_owned());
            }
            DataPlaces::Nothing => {}
        }
        for path in &self.exceptions {
            exceptions::read(path, &mut sources, &mut errors);
            from.push(format!("exceptions: {}", path.display()));
        }
        kube_mgmt::replicate(&mut sources);
        sources.modules.sort_by(|a, b| a.path.cmp(&b.path));
        sources.bindings.sort_by(|a, b| a.name.cmp(&b.name));
        sources.exceptions.sort_by(|a, b| a.name.cmp(&b.name));
        errors.sort();
        if errors.is_empty() { Ok(Loaded { sources, from, notes }) } else { Err(errors) }
    }

    /// What the files look like now, without reading them. Another one than before: something has changed.
    #[must_use]
    pub fn stamp(&self) -> Stamp {
        let named: Vec<PathBuf> = match &self.data {
            DataPlaces::Named(paths) => paths.iter().map(|p| data::split_prefix(p).1).collect(),
            _ => Vec::new(),
        };
        let mut roots = self.policies.paths();
        match &self.data {
            DataPlaces::Named(_) => roots.extend(named.iter().map(PathBuf::as_path)),
            DataPlaces::Example(path) => roots.push(path),
            DataPlaces::ShippedExample | DataPlaces::Nothing => {}
        }
        roots.extend(self.exceptions.iter().map(PathBuf::as_path));
        roots.extend(self.bundles.key.as_deref());
        Stamp::of(roots)
    }

    /// A place of policies within the one for exceptions, whose files nobody would read as policies.
    fn misplaced(&self) -> Option<LoadError> {
        let root = self.policies.paths().into_iter().find(|root| exceptions::holds(&self.exceptions, root))?;
        let message = "policies are not read from where `--exceptions` points: keep exceptions in a place of their own";
        Some(LoadError::new(root.display().to_string(), "exception", message))
    }

    fn open_remote(&self, address: &str, verification: Option<&Verification>) -> Result<Bundle, LoadError> {
        match self.remotes.bytes(address) {
            Some(bytes) => Bundle::open(address, &bytes, verification),
            None => Err(LoadError::new(address, "remote", "nothing has been fetched yet")),
        }
    }
}

fn read_bundle(path: &Path, verification: Option<&Verification>) -> Result<Bundle, LoadError> {
    let name = path.display().to_string();
    let bytes = files::bytes(path, bundle::MAX_ARCHIVE_BYTES)?;
    Bundle::open(&name, &bytes, verification)
}

impl Place {
    fn path(&self) -> Option<&Path> {
        match self {
            Self::Path(path) | Self::Bundle(path) => Some(path),
            Self::Remote(_) => None,
        }
    }
}

impl PolicyPlaces {
    fn named(&self) -> &[Place] {
        match self {
            Self::Named(places) => places,
            Self::Local | Self::Shipped => &[],
        }
    }

    /// What of them is on this machine.
    fn paths(&self) -> Vec<&Path> {
        match self {
            Self::Named(places) => places.iter().filter_map(Place::path).collect(),
            Self::Local => vec![Path::new(LOCAL)],
            Self::Shipped => Vec::new(),
        }
    }

    fn has_bundle(&self) -> bool {
        self.named().iter().any(|place| !matches!(place, Place::Path(_)))
    }

    fn addresses(&self) -> Vec<String> {
        let address = |place: &Place| match place {
            Place::Remote(address) => Some(address.clone()),
            Place::Path(_) | Place::Bundle(_) => None,
        };
        self.named().iter().filter_map(address).collect()
    }
}

impl BundleOptions {
    /// The key as its file has it now.
    fn verification(&self) -> Result<Option<Verification>, LoadError> {
        let Some(path) = &self.key else { return Ok(None) };
        let text = files::text(path)?;
        let key = JwsKey::read(&text)
            .map_err(|e| LoadError::new("--bundle-key", "key", format!("`{}` {e}", path.display())))?;
        Ok(Some(Verification { key, key_id: self.key_id.clone(), scope: self.scope.clone() }))
    }
}
