//! `uri.parse` and `uri.is_valid`: references as RFC 3986 has them and Go's net/url reads them. Nothing is looked up.

use regorus::Value;

use super::call::{Builtin, CallError, Outcome, object, string};

pub(super) const BUILTINS: &[Builtin] =
    &[Builtin { name: "uri.is_valid", arity: 1, call: is_valid }, Builtin { name: "uri.parse", arity: 1, call: parse }];

/// The parts of a reference; what is empty is absent.
#[derive(Debug, Default)]
pub(super) struct Uri<'a> {
    pub scheme: String,
    pub host: String,
    pub port: &'a str,
    /// Percent-encoding taken off.
    pub path: String,
    pub raw_path: &'a str,
    pub raw_query: &'a str,
    pub fragment: String,
}

fn is_valid(args: &[Value]) -> Outcome {
    Ok(string(args, 0).is_ok_and(|text| !text.is_empty() && Uri::parse(text).is_ok()).into())
}

fn parse(args: &[Value]) -> Outcome {
    let uri = Uri::parse(string(args, 0)?)?;
    let parts = [
        ("scheme", uri.scheme.as_str()),
        ("hostname", &uri.host),
        ("port", uri.port),
        ("path", &uri.path),
        ("raw_path", uri.raw_path),
        ("raw_query", uri.raw_query),
        ("fragment", &uri.fragment),
    ];
    Ok(object(parts.into_iter().filter(|(_, text)| !text.is_empty()).map(|(key, text)| (key, Value::from(text)))))
}

impl<'a> Uri<'a> {
    /// Takes a reference apart.
    pub(super) fn parse(text: &'a str) -> Result<Self, CallError> {
        let fault = |why: &str| CallError::Operand(format!("parse {text:?}: {why}"));
        if text.bytes().any(|b| b < 0x20 || b == 0x7f) {
            return Err(fault("invalid control character in URL"));
        }
        let mut uri = Self::default();
        let (rest, fragment) = text.split_once('#').unwrap_or((text, ""));
        uri.fragment = unescape(fragment, |_| true).ok_or_else(|| fault("invalid URL escape"))?;
        let (scheme, rest) = scheme(rest).map_err(fault)?;
        uri.scheme = scheme.to_ascii_lowercase();
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        uri.raw_query = query;
        if rest == "*" && uri.scheme.is_empty() {
            (uri.path, uri.raw_path) = ("*".to_owned(), rest);
            return Ok(uri);
        }
        if !rest.starts_with('/') {
            if !uri.scheme.is_empty() {
                // `mailto:a@b`: neither host nor path.
                return Ok(uri);
            }
            if rest.split('/').next().is_some_and(|first| first.contains(':')) {
                return Err(fault("first path segment in URL cannot contain colon"));
            }
        }
        let mut path = rest;
        if let Some(after) = rest.strip_prefix("//").filter(|_| !uri.scheme.is_empty() || !rest.starts_with("///")) {
            let (authority, from) = match after.find('/') {
                Some(at) => after.split_at_checked(at).unwrap_or((after, "")),
                None => (after, ""),
            };
            (uri.host, uri.port) = authority_parts(authority).map_err(fault)?;
            path = from;
        }
        uri.path = unescape(path, |_| true).ok_or_else(|| fault("invalid URL escape"))?;
        uri.raw_path = path;
        Ok(uri)
    }
}

/// The scheme before the first `:`, and the rest. A `:` after anything else belongs to the path.
fn scheme(text: &str) -> Result<(&str, &str), &'static str> {
    let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || "+-.".contains(c)));
    match end.and_then(|end| Some((end, text.get(end..)?.strip_prefix(':')?))) {
        Some((0, _)) => Err("missing protocol scheme"),
        Some((end, rest)) if text.starts_with(|c: char| c.is_ascii_alphabetic()) => {
            Ok((text.get(..end).unwrap_or_default(), rest))
        }
        _ => Ok(("", text)),
    }
}

/// Host and port of `user:password@host:port`.
fn authority_parts(authority: &str) -> Result<(String, &str), &'static str> {
    let (user, host) = authority.rsplit_once('@').map_or((None, authority), |(user, host)| (Some(user), host));
    let may = |c: char| c.is_ascii_alphanumeric() || "-._:~!$&'()*+,;=%@".contains(c);
    if user.is_some_and(|user| !user.chars().all(may) || unescape(user, |_| true).is_none()) {
        return Err("net/url: invalid userinfo");
    }
    let (name, rest) = if host.starts_with('[') {
        let end = host.rfind(']').ok_or("missing ']' in host")?;
        let (name, rest) = host.split_at_checked(end + 1).unwrap_or((host, ""));
        (name.trim_start_matches('[').trim_end_matches(']'), rest)
    } else {
        match host.rfind(':') {
            Some(at) => host.split_at_checked(at).unwrap_or((host, "")),
            None => (host, ""),
        }
    };
    let port = match (rest, rest.strip_prefix(':')) {
        ("", _) => "",
        (_, Some(port)) if port.bytes().all(|b| b.is_ascii_digit()) => port,
        _ => return Err("invalid port after host"),
    };
    // In a host only what is not ASCII may be percent-encoded, and `%25` before a zone.
    let zone = host.starts_with('[');
    let allowed = |byte: u8| byte >= 0x80 || (zone && byte == b'%');
    let plain = |c: char| !c.is_ascii() || c.is_ascii_alphanumeric() || "-._~!$&'()*+,;=:[]<>\"%".contains(c);
    if !name.chars().all(plain) {
        return Err("invalid character in host name");
    }
    Ok((unescape(name, allowed).ok_or("invalid URL escape")?, port))
}

/// Takes percent-encoding off; `None` where it is malformed or makes a byte that is not `allowed`.
fn unescape(text: &str, allowed: impl Fn(u8) -> bool) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let digit = |byte: u8| char::from(byte).to_digit(16);
        let value = digit(bytes.next()?)? * 16 + digit(bytes.next()?)?;
        let value = u8::try_from(value).ok().filter(|b| allowed(*b))?;
        out.push(value);
    }
    Some(String::from_utf8_lossy(&out).into_owned())
}
