//! The hosts that policies may ask: `HOST`, `HOST:PORT`, `*.HOST`.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// Why something is no host.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HostError {
    /// It is neither a name nor an address.
    #[error("`{0}` is no host; write `HOST`, `HOST:PORT` or `*.DOMAIN`, without a scheme and a path")]
    Host(String),
}

/// One entry of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Host {
    /// Lower case; an address of IP version 6 without brackets.
    name: String,
    /// Whether hosts below the name are meant, not the name itself.
    below: bool,
    /// `None`: the ports of http and https, 80 and 443.
    port: Option<u16>,
}

/// All hosts that are allowed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Hosts(Vec<Host>);

impl Hosts {
    /// Reads the entries of a list.
    ///
    /// # Errors
    /// The first that is no host.
    pub fn parse<T: AsRef<str>>(entries: &[T]) -> Result<Self, HostError> {
        entries.iter().map(|e| e.as_ref().parse()).collect::<Result<_, _>>().map(Self)
    }

    /// Whether nothing is allowed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether `name` may be asked at `port`.
    #[must_use]
    pub fn allow(&self, name: &str, port: u16) -> bool {
        let name = normal(name);
        self.0.iter().any(|host| {
            let named = match host.below {
                true => name.strip_suffix(&host.name).is_some_and(|left| left.len() > 1 && left.ends_with('.')),
                false => name == host.name,
            };
            named && host.port.map_or(port == 80 || port == 443, |p| p == port)
        })
    }
}

/// A name in lower case without the last dot; an address in its usual spelling, without brackets.
fn normal(name: &str) -> String {
    let bare = name.trim_start_matches('[').trim_end_matches(']').trim_end_matches('.').to_ascii_lowercase();
    bare.parse::<IpAddr>().map_or(bare, |address| address.to_string())
}

impl FromStr for Host {
    type Err = HostError;

    fn from_str(text: &str) -> Result<Self, HostError> {
        let wrong = || HostError::Host(text.to_owned());
        let (name, port) = match text.rsplit_once(':') {
            // An address of IP version 6 without a port.
            Some((before, _)) if before.contains(':') && !before.ends_with(']') => (text, None),
            Some((name, port)) => (name, Some(port.parse::<u16>().ok().filter(|p| *p > 0).ok_or_else(wrong)?)),
            None => (text, None),
        };
        let (name, below) = name.strip_prefix("*.").map_or((name, false), |name| (name, true));
        let bare = normal(name);
        let label = |l: &str| !l.is_empty() && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        let address = bare.parse::<IpAddr>().is_ok();
        if bare.len() > 253 || !(address && !below || bare.split('.').all(label)) {
            return Err(wrong());
        }
        Ok(Self { name: bare, below, port })
    }
}

impl fmt::Display for Hosts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = |h: &Host| {
            let below = if h.below { "*." } else { "" };
            h.port.map_or_else(|| format!("{below}{}", h.name), |p| format!("{below}{}:{p}", h.name))
        };
        f.write_str(&self.0.iter().map(host).collect::<Vec<_>>().join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_allowed_by_name_and_port() {
        let hosts =
            Hosts::parse(&["Api.example.com", "h:8443", "*.svc.local", "[fd00::1]:80", "10.0.0.1"]).expect("hosts");
        for (name, port, wanted) in [
            ("api.example.com", 443, true),
            ("API.example.com.", 80, true),
            ("api.example.com", 8443, false),
            ("x.api.example.com", 443, false),
            ("example.com", 443, false),
            ("h", 8443, true),
            ("h", 443, false),
            ("a.svc.local", 443, true),
            ("a.b.svc.local", 443, true),
            ("svc.local", 443, false),
            ("evilsvc.local", 443, false),
            ("[fd00::1]", 80, true),
            ("fd00::1", 443, false),
            ("10.0.0.1", 80, true),
        ] {
            assert_eq!(hosts.allow(name, port), wanted, "{name}:{port}");
        }
        assert!(!Hosts::default().allow("h", 80));
        assert_eq!(hosts.to_string(), "api.example.com, h:8443, *.svc.local, fd00::1:80, 10.0.0.1");
    }

    #[test]
    fn what_is_no_host_is_refused() {
        for wrong in ["", "https://h", "h/path", "h:0", "h:x", "h:70000", "*", "*.", "a..b", "u@h", "*.10.0.0.1:x"] {
            assert!(Hosts::parse(&[wrong]).is_err(), "{wrong}");
        }
    }
}
