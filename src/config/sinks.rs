//! Settings of sinks: addresses as flags, and the whole of it in the file.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use crate::config::ConfigError;
use crate::decisions::sinks::{Format, SinkSpec, Target};
use crate::units::{Span, shown};

/// One sink in the file, below `sinks`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct SinkSettings {
    /// Its name: of its cursor and in the metrics. Default: that of its kind.
    #[serde(default)]
    pub name: Option<String>,
    /// Where it is.
    pub url: String,
    /// How records are written.
    #[serde(default)]
    pub format: Option<Format>,
    /// Whether the masked bodies go along.
    #[serde(default)]
    pub bodies: bool,
    /// How long records may wait for others.
    #[serde(default)]
    pub interval: Option<Span>,
    /// A file with a bearer token; for Kafka with `user:password`.
    #[serde(default, alias = "token-file")]
    pub token_file: Option<PathBuf>,
    /// Authorities that the server must be of, PEM.
    #[serde(default)]
    pub ca: Option<PathBuf>,
}

/// An object a second would be a slip, and so would one a day.
const LONGEST_INTERVAL: Duration = Duration::from_secs(3600);

/// The sinks that the settings come to: those of the flags, else those of the file.
///
/// # Errors
/// The first that cannot be right.
pub(super) fn check(flags: &[String], file: &[SinkSettings]) -> Result<Vec<SinkSpec>, ConfigError> {
    let of_flag = |url: &String| SinkSettings {
        name: None,
        url: url.clone(),
        format: None,
        bodies: false,
        interval: None,
        token_file: None,
        ca: None,
    };
    let settings: Vec<SinkSettings> =
        if flags.is_empty() { file.to_vec() } else { flags.iter().map(of_flag).collect() };
    let mut sinks: Vec<SinkSpec> = Vec::new();
    for setting in settings {
        let wrong = |message: String| ConfigError::value("sink", message);
        let name = match &setting.name {
            Some(name) if sinks.iter().any(|s| s.name == *name) => {
                return Err(wrong(format!("two sinks have the name `{name}`")));
            }
            Some(name) => name.clone(),
            None => free_name(kind(&setting.url), &sinks),
        };
        let mut spec = SinkSpec::at(&name, &setting.url).map_err(wrong)?;
        if let Some(format) = setting.format {
            match (&spec.target, format) {
                (Target::Opa { .. }, Format::Opa) | (Target::Otlp(_) | Target::Http(_) | Target::Kafka { .. }, _) => {}
                (Target::Objects(_), Format::Native) => {}
                (target, format) => {
                    return Err(wrong(format!("`{target}` takes no `{}`: leave `format` out", format.as_str())));
                }
            }
            spec.format = format;
        }
        if let Some(Span(interval)) = setting.interval {
            if interval > LONGEST_INTERVAL {
                return Err(wrong(format!(
                    "`{name}`: an interval of {} is too long; write 1h or less",
                    shown(interval)
                )));
            }
            spec.interval = interval;
        }
        if matches!(spec.target, Target::Objects(_)) && (setting.token_file.is_some() || setting.ca.is_some()) {
            return Err(wrong(format!(
                "`{}` takes neither `tokenFile` nor `ca`: object storage has its credentials from the environment, and its \
                 authorities from SSL_CERT_FILE",
                spec.target
            )));
        }
        spec.named = setting.name.is_some();
        spec.bodies = setting.bodies;
        spec.token_file = setting.token_file;
        spec.ca = setting.ca;
        sinks.push(spec);
    }
    Ok(sinks)
}

/// What a sink is called that nobody named.
fn kind(url: &str) -> &'static str {
    match url.split(':').next().unwrap_or_default() {
        "opa+http" | "opa+https" => "opa",
        "otlp+http" | "otlp+https" => "otlp",
        "s3" | "s3a" => "s3",
        "gs" => "gs",
        "az" | "azure" | "abfs" | "abfss" | "adl" => "azure",
        "file" => "file",
        "kafka" | "kafka+tls" => "kafka",
        _ => "http",
    }
}

fn free_name(kind: &str, taken: &[SinkSpec]) -> String {
    let is_free = |name: &str| taken.iter().all(|s| s.name != name);
    let numbered = (2..).map(|n| format!("{kind}-{n}"));
    std::iter::once(kind.to_owned()).chain(numbered).find(|n| is_free(n)).unwrap_or_else(|| kind.to_owned())
}
