//! Who we are to those who serve bundles: a token for HTTPS, Docker's configuration for registries.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use oci_client::secrets::RegistryAuth;
use serde_json::Value;

/// A token for HTTPS, in place of a file.
const TOKEN: &str = "PORTCULLIS_BUNDLE_TOKEN";

/// User and password for registries, before Docker's configuration.
const REGISTRY: [&str; 2] = ["PORTCULLIS_REGISTRY_USERNAME", "PORTCULLIS_REGISTRY_PASSWORD"];

/// The token in the file, or in the environment.
pub(super) fn bearer_token(file: Option<&Path>) -> Result<Option<String>, String> {
    let token = match file {
        Some(path) => Some(
            std::fs::read_to_string(path)
                .map_err(|e| format!("--bundle-token-file: cannot read `{}`: {e}", path.display()))?,
        ),
        None => std::env::var(TOKEN).ok(),
    };
    Ok(token.map(|t| t.trim().to_owned()).filter(|t| !t.is_empty()))
}

/// For a registry: from the environment, else from Docker's configuration, else anonymous.
pub(super) fn registry(host: &str) -> Result<RegistryAuth, String> {
    if let [Ok(user), Ok(password)] = REGISTRY.map(std::env::var) {
        return Ok(RegistryAuth::Basic(user, password));
    }
    let dir = std::env::var_os("DOCKER_CONFIG").map(PathBuf::from);
    let dir = dir.or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".docker")));
    let Some(path) = dir.map(|d| d.join("config.json")).filter(|p| p.is_file()) else {
        return Ok(RegistryAuth::Anonymous);
    };
    let fault = |e: &dyn std::fmt::Display| format!("cannot read `{}`: {e}", path.display());
    let text = std::fs::read_to_string(&path).map_err(|e| fault(&e))?;
    let config: Value = serde_json::from_str(&text).map_err(|e| fault(&e))?;
    Ok(from_docker(&config, host).unwrap_or(RegistryAuth::Anonymous))
}

/// What `auths` says of a registry. Credential helpers are other people's programs, and are not run.
fn from_docker(config: &Value, host: &str) -> Option<RegistryAuth> {
    let hub = ["docker.io", "index.docker.io", "registry-1.docker.io"].contains(&host);
    let bare = |key: &str| {
        let key = key.trim_start_matches("https://").trim_start_matches("http://");
        key.split('/').next().unwrap_or(key).to_owned()
    };
    let auths = config.get("auths")?.as_object()?;
    let (_, entry) = auths.iter().find(|(key, _)| {
        let key = bare(key);
        key == host || hub && ["index.docker.io", "docker.io"].contains(&key.as_str())
    })?;
    let text = |key: &str| entry.get(key).and_then(Value::as_str).filter(|t| !t.is_empty());
    if let (Some(user), Some(password)) = (text("username"), text("password")) {
        return Some(RegistryAuth::Basic(user.to_owned(), password.to_owned()));
    }
    let decoded = base64::engine::general_purpose::STANDARD.decode(text("auth")?).ok()?;
    let decoded = String::from_utf8(decoded).ok()?;
    let (user, password) = decoded.split_once(':')?;
    Some(RegistryAuth::Basic(user.to_owned(), password.trim_end_matches('\0').to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn dockers_configuration_is_read() {
        let config = json!({"auths": {
            "registry.example": {"auth": "dXNlcjpwYTpzcw=="},
            "https://index.docker.io/v1/": {"username": "hub", "password": "p"},
            "empty.example": {},
        }, "credHelpers": {"helped.example": "ecr-login"}});
        let of = |host: &str| {
            from_docker(&config, host).map(|auth| match auth {
                RegistryAuth::Basic(user, password) => format!("{user} {password}"),
                other => format!("{other:?}"),
            })
        };
        assert_eq!(of("registry.example").as_deref(), Some("user pa:ss"));
        assert_eq!(of("docker.io").as_deref(), Some("hub p"));
        for unknown in ["empty.example", "helped.example", "other.example"] {
            assert_eq!(of(unknown), None, "{unknown}");
        }
    }
}
