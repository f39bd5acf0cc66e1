//! The YAML file of `--config`: `kind: Config` of `portcullis.io/v1alpha1`, both of which may be left out.

use std::path::Path;

use crate::config::{ConfigError, Settings};
use crate::policy::LoadError;
use crate::policy::yaml::{self, Offset};

/// Reads the file; an empty one sets nothing.
///
/// # Errors
/// What is wrong with it, with line and column.
pub fn read(path: &Path) -> Result<Settings, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
    Ok(parse(&path.display().to_string(), &text)?)
}

pub(super) fn parse(file: &str, text: &str) -> Result<Settings, LoadError> {
    let settings: Option<Settings> = yaml::parse(file, text, Offset::default())?;
    let settings = settings.unwrap_or_default();
    let header = |key: &str, found: Option<&str>, wanted: &str| match found {
        Some(found) if found != wanted => {
            Err(LoadError::new(file, "config", format!("`{key}` is `{found}`; write `{wanted}`, or leave it out")))
        }
        _ => Ok(()),
    };
    header("apiVersion", settings.api_version.as_deref(), "portcullis.io/v1alpha1")?;
    header("kind", settings.kind.as_deref(), "Config")?;
    Ok(settings)
}
