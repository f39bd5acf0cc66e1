//! What a sink is: a name, a place and how it wants its records. Knows addresses; must not know how anything is sent.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use url::Url;

use super::Format;
use crate::decisions::bucket::has_credentials;
use crate::policy::Digest;

/// Where records go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// OPA's decision-log API: `POST <url>/logs[/<partition>]`, gzipped JSON arrays.
    Opa {
        /// The service.
        url: Url,
        /// `partition_name`.
        partition: Option<String>,
    },
    /// OTLP logs over HTTP (protobuf).
    Otlp(Url),
    /// Any HTTP endpoint: one JSON document a line.
    Http(Url),
    /// Object storage: Parquet below `cluster=/date=/hour=`.
    Objects(Url),
    /// A topic of Apache Kafka; with the feature `kafka` only.
    Kafka {
        /// `host:port`, at least one.
        brokers: Vec<String>,
        /// The topic.
        topic: String,
        /// Whether brokers are spoken to over TLS.
        tls: bool,
    },
}

/// One sink.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SinkSpec {
    /// Its name: of its cursor, in metrics and in records.
    pub name: String,
    /// Whether somebody gave it the name: then it is the same sink wherever it goes.
    pub named: bool,
    /// Where records go.
    pub target: Target,
    /// How they are written; object storage writes columns.
    pub format: Format,
    /// Whether the masked bodies go along.
    pub bodies: bool,
    /// How long records may wait for others before they are sent.
    pub interval: Duration,
    /// A bearer token, for Kafka `user:password`; the file may change.
    pub token_file: Option<PathBuf>,
    /// Authorities that the server must be of, PEM; the system's without it.
    pub ca: Option<PathBuf>,
}

/// The longest name of a sink.
const MAX_NAME: usize = 63;

impl SinkSpec {
    /// A sink at an address, with the defaults of its kind.
    ///
    /// # Errors
    /// What is wrong with the address.
    pub fn at(name: &str, address: &str) -> Result<Self, String> {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if name.is_empty() || name.len() > MAX_NAME || !name.chars().all(plain) {
            return Err(format!("`{name}` is no name of a sink: write 1 to {MAX_NAME} of a-z, 0-9 and `-`"));
        }
        let target = Target::parse(address)?;
        let (format, seconds) = match &target {
            Target::Opa { .. } => (Format::Opa, 5),
            Target::Otlp(_) | Target::Http(_) | Target::Kafka { .. } => (Format::Native, 1),
            // A file a minute and hour at the most, so that there are few of them.
            Target::Objects(_) => (Format::Native, 60),
        };
        Ok(Self {
            name: name.to_owned(),
            named: false,
            target,
            format,
            bodies: false,
            interval: Duration::from_secs(seconds),
            token_file: None,
            ca: None,
        })
    }

    /// Which place it is and what goes there, for comparison: two formats of one place are two deliveries.
    pub(super) fn place(&self) -> String {
        let target = match &self.target {
            Target::Opa { url, partition } => format!("opa {url} {}", partition.as_deref().unwrap_or_default()),
            Target::Otlp(url) => format!("otlp {url}"),
            Target::Http(url) => format!("http {url}"),
            Target::Objects(url) => format!("objects {url}"),
            Target::Kafka { brokers, topic, tls } => format!("kafka {tls} {} {topic}", brokers.join(",")),
        };
        let text = format!("{target} {} {}", self.format.as_str(), self.bodies);
        Digest::of(text.as_bytes()).hex().chars().take(32).collect()
    }

    /// The place without what may be secret in it.
    #[must_use]
    pub fn shown(&self) -> String {
        self.target.to_string()
    }
}

impl Target {
    /// Reads an address: `opa+https://..`, `otlp+https://..`, `https://..`, `s3://..`, `gs://..`, `az://..`, `file:///..`,
    /// `kafka[+tls]://host:port[,host:port]/topic`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(address: &str) -> Result<Self, String> {
        let wrong = |why: &str| format!("`{}` {why}", without_secrets(address));
        let url = |text: &str| Url::parse(text).map_err(|e| wrong(&format!("is no URL: {e}")));
        let Some((scheme, rest)) = address.split_once("://") else {
            return Err(wrong(
                "has no scheme; write opa+https://, otlp+https://, https://, s3://, gs://, az://, file:/// or kafka://",
            ));
        };
        if address.contains('@') && scheme != "file" {
            return Err(wrong("has a user in it; write credentials into a file (`tokenFile`) or the environment"));
        }
        match scheme {
            "opa+http" | "opa+https" => {
                let url = url(address.trim_start_matches("opa+"))?;
                let partition = url.query_pairs().find(|(k, _)| k == "partition").map(|(_, v)| v.into_owned());
                let mut bare = url.clone();
                bare.set_query(None);
                Ok(Self::Opa { url: bare, partition })
            }
            "otlp+http" | "otlp+https" => {
                let mut url = url(address.trim_start_matches("otlp+"))?;
                if url.path() == "/" {
                    url.set_path("/v1/logs");
                }
                Ok(Self::Otlp(url))
            }
            "http" | "https" => Ok(Self::Http(url(address)?)),
            "s3" | "s3a" | "gs" | "az" | "azure" | "abfs" | "abfss" | "adl" | "file" => {
                let url = url(address)?;
                if has_credentials(&url) {
                    return Err(wrong("has credentials in it; put them into the environment"));
                }
                Ok(Self::Objects(url))
            }
            "kafka" | "kafka+tls" => {
                let (brokers, topic) =
                    rest.split_once('/').ok_or_else(|| wrong("names no topic: kafka://host:port/topic"))?;
                let brokers: Vec<String> = brokers.split(',').map(str::to_owned).collect();
                if topic.is_empty() || brokers.iter().any(|b| !b.contains(':')) {
                    return Err(wrong("must be kafka://host:port[,host:port]/topic"));
                }
                if cfg!(not(feature = "kafka")) {
                    return Err(wrong("needs a build with the feature `kafka`"));
                }
                Ok(Self::Kafka { brokers, topic: topic.to_owned(), tls: scheme == "kafka+tls" })
            }
            other => Err(wrong(&format!("has the unknown scheme `{other}`"))),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bare = |url: &Url| {
            let mut url = url.clone();
            url.set_query(None);
            url
        };
        match self {
            Self::Opa { url, .. } => write!(f, "opa+{}", bare(url)),
            Self::Otlp(url) => write!(f, "otlp+{}", bare(url)),
            Self::Http(url) | Self::Objects(url) => write!(f, "{}", bare(url)),
            Self::Kafka { brokers, topic, tls } => {
                write!(f, "kafka{}://{}/{topic}", if *tls { "+tls" } else { "" }, brokers.join(","))
            }
        }
    }
}

/// An address for a message: without a user, a password and a query.
fn without_secrets(address: &str) -> String {
    let address = address.split('?').next().unwrap_or_default();
    match (address.split_once("://"), address.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, host))) => format!("{scheme}://...@{host}"),
        _ => address.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let shown = |a: &str| Target::parse(a).map(|t| t.to_string());
        assert_eq!(shown("opa+https://logs.example/api?partition=x").as_deref(), Ok("opa+https://logs.example/api"));
        assert_eq!(shown("otlp+http://127.0.0.1:4318").as_deref(), Ok("otlp+http://127.0.0.1:4318/v1/logs"));
        assert_eq!(shown("s3://bucket/prefix").as_deref(), Ok("s3://bucket/prefix"));
        for (wrong, says) in [
            ("logs.example", "has no scheme"),
            ("ftp://x", "unknown scheme `ftp`"),
            ("https://user:pw@x/", "write credentials into a file"),
            ("kafka://broker/topic", "must be kafka://"),
        ] {
            let error = Target::parse(wrong).expect_err(wrong);
            assert!(error.contains(says) && !error.contains("pw"), "{wrong}: {error}");
        }
        for wrong in ["", "A", "a b", "x/y"] {
            assert!(SinkSpec::at(wrong, "https://x").is_err(), "{wrong}");
        }
    }
}
