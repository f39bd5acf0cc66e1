//! Whether certificates form a chain (RFC 5280 section 6, as far as Go's verification goes): the first is the root,
//! the last the leaf, the others may stand between. The time is the evaluation's; nothing is looked up.
//!
//! What is not understood does not verify: unknown critical extensions, and name constraints other than on DNS names.

use regorus::Value;
use x509_parser::prelude::{GeneralName, ParsedExtension, X509Certificate};

use super::super::call::{Builtin, CallError, Outcome, items, operand, string, wrong};
use super::signature::PublicKey;
use super::x509::{Names, certificates, documents, parsed, purposes, scheme};
use crate::engine::evaluate::world;

pub(super) const BUILTINS: &[Builtin] = &[
    Builtin {
        name: "crypto.x509.parse_and_verify_certificates",
        arity: 1,
        call: |args| verify(string(args, 0)?, &Options { now: seconds(world().now_ns), ..Options::default() }),
    },
    Builtin {
        name: "crypto.x509.parse_and_verify_certificates_with_options",
        arity: 2,
        call: |args| verify(string(args, 0)?, &Options::read(args)?),
    },
];

/// As Go numbers the purposes of an extended key usage.
const PURPOSES: [&str; 14] = [
    "KeyUsageAny",
    "KeyUsageServerAuth",
    "KeyUsageClientAuth",
    "KeyUsageCodeSigning",
    "KeyUsageEmailProtection",
    "KeyUsageIPSECEndSystem",
    "KeyUsageIPSECTunnel",
    "KeyUsageIPSECUser",
    "KeyUsageTimeStamping",
    "KeyUsageOCSPSigning",
    "KeyUsageMicrosoftServerGatedCrypto",
    "KeyUsageNetscapeServerGatedCrypto",
    "KeyUsageMicrosoftCommercialCodeSigning",
    "KeyUsageMicrosoftKernelCodeSigning",
];

const ANY: u8 = 0;
const SERVER_AUTH: u8 = 1;

#[derive(Default)]
struct Options {
    dns_name: String,
    /// Seconds since 1970.
    now: i64,
    /// One of these is enough; empty stands for server authentication.
    purposes: Vec<u8>,
}

fn seconds(ns: i64) -> i64 {
    ns.div_euclid(1_000_000_000)
}

impl Options {
    fn read(args: &[Value]) -> Result<Self, CallError> {
        let Value::Object(given) = operand(args, 1)? else { return Err(wrong(1, "object", operand(args, 1)?)) };
        let mut options = Self { now: seconds(world().now_ns), ..Self::default() };
        for (key, value) in given.iter() {
            let Value::String(key) = key else { continue };
            match (key.as_ref(), value) {
                ("DNSName", Value::String(name)) => options.dns_name = name.trim_matches('"').to_owned(),
                ("DNSName", _) => return Err("'DNSName' should be a string".into()),
                ("CurrentTime" | "MaxConstraintComparisons", Value::Number(number)) => {
                    let number = number.as_i64().ok_or_else(|| format!("'{key}' should be a valid int64 number"))?;
                    if key.as_ref() == "CurrentTime" {
                        options.now = seconds(number);
                    }
                }
                ("CurrentTime" | "MaxConstraintComparisons", _) => {
                    return Err(format!("'{key}' should be a number").into());
                }
                ("KeyUsages", Value::Array(_) | Value::Set(_)) => options.purposes = key_usages(value)?,
                ("KeyUsages", _) => return Err("'KeyUsages' should be an Array or Set".into()),
                _ => return Err("invalid key option".into()),
            }
        }
        Ok(options)
    }
}

fn key_usages(value: &Value) -> Result<Vec<u8>, CallError> {
    let (mut known, mut unknown) = (Vec::new(), Vec::new());
    for item in items(std::slice::from_ref(value), 0)? {
        let Value::String(name) = item else { continue };
        let name = name.trim_matches('"');
        match PURPOSES.iter().position(|p| *p == name).and_then(|n| u8::try_from(n).ok()) {
            Some(number) => known.push(number),
            None => unknown.push(name),
        }
    }
    if unknown.is_empty() {
        return Ok(known);
    }
    Err(format!("invalid entries for 'KeyUsages' found: [{}]", unknown.join(" ")).into())
}

/// `[true, chain]` from the leaf to the root, or `[false, []]`.
fn verify(text: &str, options: &Options) -> Outcome {
    let chain = match certificates(text) {
        Ok(all) => chain(&all, options)?,
        Err(CallError::Operand(_)) => None,
        Err(other) => return Err(other),
    };
    Ok(Value::from(vec![Value::from(chain.is_some()), documents(&chain.unwrap_or_default())?]))
}

fn chain(all: &[Vec<u8>], options: &Options) -> Result<Option<Vec<Vec<u8>>>, CallError> {
    let certificates = all.iter().map(|der| parsed(der)).collect::<Result<Vec<_>, _>>()?;
    let [root, between @ .., leaf] = certificates.as_slice() else { return Ok(None) };
    if !options.dns_name.is_empty() && !names_host(leaf, &options.dns_name) {
        return Ok(None);
    }
    let path = path(vec![leaf], root, between, options);
    Ok(path.map(|path| path.iter().map(|c| c.as_raw().to_vec()).collect()))
}

/// Goes from the leaf up; of several ways the first. There are few certificates, and none is taken twice.
fn path<'a, 'c>(
    path: Vec<&'a X509Certificate<'c>>,
    root: &'a X509Certificate<'c>,
    between: &'a [X509Certificate<'c>],
    options: &Options,
) -> Option<Vec<&'a X509Certificate<'c>>> {
    let mut path = path;
    loop {
        let current = *path.last()?;
        if !is_valid(current, options) {
            return None;
        }
        if issued(root, current, path.len() - 1) && is_valid(root, options) {
            path.push(root);
            return (purposes_hold(&path, options) && names_permitted(&path)).then_some(path);
        }
        let next = between
            .iter()
            .find(|c| issued(c, current, path.len() - 1) && !path.iter().any(|taken| taken.as_raw() == c.as_raw()))?;
        path.push(next);
    }
}

/// Time, and critical extensions that are understood.
fn is_valid(certificate: &X509Certificate<'_>, options: &Options) -> bool {
    let validity = certificate.validity();
    let known = certificate.iter_extensions().filter(|e| e.critical).all(|e| {
        matches!(
            e.parsed_extension(),
            ParsedExtension::KeyUsage(_)
                | ParsedExtension::BasicConstraints(_)
                | ParsedExtension::NameConstraints(_)
                | ParsedExtension::SubjectAlternativeName(_)
                | ParsedExtension::ExtendedKeyUsage(_)
                | ParsedExtension::CertificatePolicies(_)
        )
    });
    known && (validity.not_before.timestamp()..=validity.not_after.timestamp()).contains(&options.now)
}

/// Whether `issuer` is a CA that signed `certificate`, which has `below` certificates below it.
fn issued(issuer: &X509Certificate<'_>, certificate: &X509Certificate<'_>, below: usize) -> bool {
    if issuer.subject().as_raw() != certificate.issuer().as_raw() {
        return false;
    }
    let constraints = issuer.basic_constraints().ok().flatten();
    let is_ca = constraints.as_ref().is_some_and(|c| c.value.ca);
    // Version 1 has no extensions: only the root, which is trusted as it is, may be of it.
    if !is_ca && issuer.version().0 >= 2 {
        return false;
    }
    let limit = constraints.and_then(|c| c.value.path_len_constraint);
    if limit.is_some_and(|limit| below > usize::try_from(limit).unwrap_or(usize::MAX)) {
        return false;
    }
    if issuer.key_usage().ok().flatten().is_some_and(|usage| !usage.value.key_cert_sign()) {
        return false;
    }
    let key = PublicKey::from_spki(issuer.tbs_certificate.subject_pki.raw);
    let (Some(key), (Some(scheme), _)) = (key, scheme(&certificate.signature_algorithm)) else { return false };
    key.verifies(scheme, certificate.tbs_certificate.as_ref(), &certificate.signature_value.data)
}

/// Every certificate of the chain must allow one of the wanted purposes.
fn purposes_hold(path: &[&X509Certificate<'_>], options: &Options) -> bool {
    let default = [SERVER_AUTH];
    let wanted = if options.purposes.is_empty() { &default[..] } else { &options.purposes };
    wanted.iter().any(|wanted| {
        path.iter().all(|certificate| {
            let usage = certificate
                .iter_extensions()
                .find(|e| matches!(e.parsed_extension(), ParsedExtension::ExtendedKeyUsage(_)));
            usage.is_none_or(|usage| {
                let (known, _) = purposes(usage);
                *wanted == ANY || known.contains(&ANY) || known.contains(wanted)
            })
        })
    })
}

/// Name constraints (RFC 5280 section 4.2.1.10) of the CAs, on the leaf's DNS names.
fn names_permitted(path: &[&X509Certificate<'_>]) -> bool {
    let Some((leaf, cas)) = path.split_first() else { return false };
    let names = Names::of(leaf.iter_extensions().map(x509_parser::prelude::X509Extension::parsed_extension));
    cas.iter().filter_map(|ca| ca.name_constraints().ok().flatten()).all(|constraints| {
        let bases = |trees: &Option<Vec<x509_parser::extensions::GeneralSubtree<'_>>>| -> Option<Vec<String>> {
            let trees = trees.iter().flatten();
            trees
                .map(|tree| match &tree.base {
                    GeneralName::DNSName(name) => Some((*name).to_ascii_lowercase()),
                    _ => None,
                })
                .collect()
        };
        let (Some(permitted), Some(excluded)) =
            (bases(&constraints.value.permitted_subtrees), bases(&constraints.value.excluded_subtrees))
        else {
            return false;
        };
        let within = |name: &str, base: &str| {
            let name = name.to_ascii_lowercase();
            let base = base.trim_start_matches('.');
            base.is_empty() || name == base || name.strip_suffix(base).is_some_and(|rest| rest.ends_with('.'))
        };
        names.dns.iter().all(|name| {
            (permitted.is_empty() || permitted.iter().any(|base| within(name, base)))
                && !excluded.iter().any(|base| within(name, base))
        })
    })
}

/// Whether the certificate is for a host (RFC 6125): a `*` stands for one whole first label.
fn names_host(certificate: &X509Certificate<'_>, host: &str) -> bool {
    let names = Names::of(certificate.iter_extensions().map(x509_parser::prelude::X509Extension::parsed_extension));
    let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    if let Ok(ip) = bare.parse::<core::net::IpAddr>() {
        return names.ip.contains(&ip);
    }
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    names.dns.iter().map(|n| n.trim_end_matches('.').to_ascii_lowercase()).any(|name| {
        match (name.strip_prefix("*."), host.split_once('.')) {
            (Some(parent), Some((label, rest))) => !label.is_empty() && parent == rest,
            _ => name == host,
        }
    })
}
