//! Certificates and certificate requests (RFC 5280, RFC 2986) as OPA shows them: the JSON that Go makes of its
//! `x509.Certificate`, numbers for its enums included.

use core::net::IpAddr;

use regorus::Value;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::{FromDer as _, GeneralName, ParsedExtension, X509Certificate, X509Extension};
use x509_parser::x509::{AlgorithmIdentifier, SubjectPublicKeyInfo, X509Name};

use super::super::call::{Builtin, CallError, Outcome, at_most, object, string};
use super::super::encoding::{Der, base64, number, pem, to_base64};
use super::super::uri::Uri;
use super::keys::{PrivateKey, public_fields};
use super::signature::{Hash, PublicKey, Scheme};

pub(super) const BUILTINS: &[Builtin] = &[
    Builtin { name: "crypto.x509.parse_certificate_request", arity: 1, call: parse_certificate_request },
    Builtin { name: "crypto.x509.parse_certificates", arity: 1, call: parse_certificates },
    Builtin { name: "crypto.x509.parse_keypair", arity: 2, call: parse_keypair },
];

/// Certificates in one text.
const MAX_CERTIFICATES: usize = 64;

const BEGIN: &str = "-----BEGIN";

/// The DER of each certificate of a text: PEM, base64 of PEM, or base64 of DER.
pub(super) fn certificates(text: &str) -> Result<Vec<Vec<u8>>, CallError> {
    let decoded;
    let text = if text.starts_with(BEGIN) {
        text
    } else {
        let bytes = base64(text)?;
        match String::from_utf8(bytes) {
            Ok(inner) if inner.starts_with(BEGIN) => {
                decoded = inner;
                &decoded
            }
            Ok(inner) => return split(inner.as_bytes()),
            Err(e) => return split(e.as_bytes()),
        }
    };
    let (mut rest, mut all) = (text, Vec::new());
    while let Some((block, after)) = pem(rest) {
        if block.label != "CERTIFICATE" {
            return Err(format!("PEM block type is '{}', expected CERTIFICATE", block.label).into());
        }
        all.extend(split(&block.content)?);
        at_most(all.len(), MAX_CERTIFICATES, "certificates")?;
        rest = after;
    }
    Ok(all)
}

fn split(mut der: &[u8]) -> Result<Vec<Vec<u8>>, CallError> {
    let mut all = Vec::new();
    while !der.is_empty() {
        let (rest, certificate) = X509Certificate::from_der(der).map_err(|_| "x509: malformed certificate")?;
        all.push(certificate.as_raw().to_vec());
        at_most(all.len(), MAX_CERTIFICATES, "certificates")?;
        der = rest;
    }
    Ok(all)
}

/// A certificate that [`certificates`] gave.
pub(super) fn parsed(der: &[u8]) -> Result<X509Certificate<'_>, CallError> {
    X509Certificate::from_der(der).map(|(_, c)| c).map_err(|_| "x509: malformed certificate".into())
}

fn parse_certificates(args: &[Value]) -> Outcome {
    documents(&certificates(string(args, 0)?)?)
}

pub(super) fn documents(certificates: &[Vec<u8>]) -> Outcome {
    let documents = certificates.iter().map(|der| certificate(&parsed(der)?));
    Ok(Value::from(documents.collect::<Result<Vec<_>, CallError>>()?))
}

/// The scheme of a certificate's signature and Go's number for it; none for digests that are broken.
pub(super) fn scheme(algorithm: &AlgorithmIdentifier<'_>) -> (Option<Scheme>, u8) {
    match algorithm.algorithm.to_id_string().as_str() {
        "1.2.840.113549.1.1.4" => (None, 2),
        "1.2.840.113549.1.1.5" => (None, 3),
        "1.2.840.113549.1.1.11" => (Some(Scheme::RsaPkcs1(Hash::Sha256)), 4),
        "1.2.840.113549.1.1.12" => (Some(Scheme::RsaPkcs1(Hash::Sha384)), 5),
        "1.2.840.113549.1.1.13" => (Some(Scheme::RsaPkcs1(Hash::Sha512)), 6),
        "1.2.840.10045.4.1" => (None, 9),
        "1.2.840.10045.4.3.2" => (Some(Scheme::EcdsaDer(Hash::Sha256)), 10),
        "1.2.840.10045.4.3.3" => (Some(Scheme::EcdsaDer(Hash::Sha384)), 11),
        "1.2.840.10045.4.3.4" => (Some(Scheme::EcdsaDer(Hash::Sha512)), 12),
        "1.2.840.113549.1.1.10" => pss(algorithm),
        "1.3.101.112" => (Some(Scheme::Ed25519), 16),
        _ => (None, 0),
    }
}

/// RSASSA-PSS names its digest in the parameters (RFC 4055 section 3.1).
fn pss(algorithm: &AlgorithmIdentifier<'_>) -> (Option<Scheme>, u8) {
    let digest = algorithm.parameters.as_ref().and_then(|parameters| {
        let mut hash = Der::new(parameters.data).inside(0xa0)?.inside(Der::SEQUENCE)?;
        hash.expect(Der::OID)
    });
    match digest {
        Some([0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01]) => (Some(Scheme::RsaPss(Hash::Sha256)), 13),
        Some([0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x02]) => (Some(Scheme::RsaPss(Hash::Sha384)), 14),
        Some([0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x03]) => (Some(Scheme::RsaPss(Hash::Sha512)), 15),
        _ => (None, 0),
    }
}

fn oid(oid: &x509_parser::der_parser::oid::Oid<'_>) -> Value {
    Value::from(oid.iter().into_iter().flatten().map(Value::from).collect::<Vec<_>>())
}

/// A list, `null` if it is empty, as Go's nil slices are.
fn list(items: Vec<Value>) -> Value {
    if items.is_empty() { Value::Null } else { Value::from(items) }
}

/// Go's `pkix.Name`.
fn name(name: &X509Name<'_>) -> Value {
    let text = |attribute: &x509_parser::x509::AttributeTypeAndValue<'_>| match attribute.as_str() {
        Ok(text) => text.to_owned(),
        Err(_) => String::from_utf8_lossy(attribute.as_slice()).into_owned(),
    };
    let all: Vec<(String, String, Value)> = name
        .iter_attributes()
        .map(|a| {
            let pair = object([("Type", oid(a.attr_type())), ("Value", Value::from(text(a)))]);
            (a.attr_type().to_id_string(), text(a), pair)
        })
        .collect();
    let of = |id: &str| all.iter().filter(|(o, ..)| o == id).map(|(_, t, _)| Value::from(t.as_str())).collect();
    let last = |id: &str| {
        let found: Vec<Value> = of(id);
        found.into_iter().next_back().unwrap_or_else(|| Value::from(""))
    };
    object([
        ("Country", list(of("2.5.4.6"))),
        ("Organization", list(of("2.5.4.10"))),
        ("OrganizationalUnit", list(of("2.5.4.11"))),
        ("Locality", list(of("2.5.4.7"))),
        ("Province", list(of("2.5.4.8"))),
        ("StreetAddress", list(of("2.5.4.9"))),
        ("PostalCode", list(of("2.5.4.17"))),
        ("SerialNumber", last("2.5.4.5")),
        ("CommonName", last("2.5.4.3")),
        ("Names", list(all.iter().map(|(_, _, pair)| pair.clone()).collect())),
        ("ExtraNames", Value::Null),
    ])
}

/// RFC 3339.
fn time(time: x509_parser::time::ASN1Time) -> Value {
    let t = time.to_datetime();
    let (month, day) = (u8::from(t.month()), t.day());
    Value::from(format!("{:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", t.year(), t.hour(), t.minute(), t.second()))
}

fn public_key(spki: &SubjectPublicKeyInfo<'_>) -> Result<(Value, u8), CallError> {
    Ok(match PublicKey::from_spki(spki.raw) {
        Some(key @ PublicKey::Rsa { .. }) => (object(public_fields(&key)?), 1),
        Some(key @ PublicKey::Ec { .. }) => (object(public_fields(&key)?), 3),
        Some(PublicKey::Ed25519(key)) => (to_base64(&key), 4),
        Some(PublicKey::Secret(_)) | None => (Value::Null, 0),
    })
}

/// The names of a subject alternative name, by kind.
#[derive(Default)]
pub(super) struct Names<'a> {
    pub dns: Vec<&'a str>,
    pub email: Vec<&'a str>,
    pub ip: Vec<IpAddr>,
    pub uri: Vec<&'a str>,
}

impl<'a> Names<'a> {
    pub(super) fn of<'e: 'a>(extensions: impl IntoIterator<Item = &'a ParsedExtension<'e>>) -> Self {
        let mut names = Self::default();
        for extension in extensions {
            let ParsedExtension::SubjectAlternativeName(alternatives) = extension else { continue };
            for name in &alternatives.general_names {
                match name {
                    GeneralName::DNSName(dns) => names.dns.push(dns),
                    GeneralName::RFC822Name(email) => names.email.push(email),
                    GeneralName::URI(uri) => names.uri.push(uri),
                    GeneralName::IPAddress(bytes) => names.ip.extend(address(bytes)),
                    _ => {}
                }
            }
        }
        names
    }

    fn fields(&self) -> Result<[(&'static str, Value); 4], CallError> {
        let texts = |texts: &[&str]| list(texts.iter().map(|t| Value::from(*t)).collect());
        let uris = self.uri.iter().map(|uri| url(uri)).collect::<Result<Vec<_>, _>>()?;
        Ok([
            ("DNSNames", texts(&self.dns)),
            ("EmailAddresses", texts(&self.email)),
            ("IPAddresses", list(self.ip.iter().map(|ip| Value::from(ip.to_string())).collect())),
            ("URIs", list(uris)),
        ])
    }
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Some(IpAddr::from(v4));
    }
    <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from)
}

/// Go's `url.URL`.
fn url(text: &str) -> Outcome {
    let uri = Uri::parse(text)?;
    let host = if uri.port.is_empty() { uri.host.clone() } else { format!("{}:{}", uri.host, uri.port) };
    let opaque = match text.split_once(':') {
        Some((_, rest)) if uri.path.is_empty() && host.is_empty() && !uri.scheme.is_empty() => {
            rest.split(['?', '#']).next().unwrap_or_default()
        }
        _ => "",
    };
    Ok(object([
        ("Scheme", Value::from(uri.scheme)),
        ("Opaque", Value::from(opaque)),
        ("User", Value::Null),
        ("Host", Value::from(host)),
        ("RawPath", Value::from(if uri.path == uri.raw_path { "" } else { uri.raw_path })),
        ("Path", Value::from(uri.path)),
        ("OmitHost", Value::from(false)),
        ("ForceQuery", Value::from(false)),
        ("RawQuery", Value::from(uri.raw_query)),
        ("Fragment", Value::from(uri.fragment)),
        ("RawFragment", Value::from("")),
    ]))
}

/// The purposes of an extended key usage, as Go numbers them, and those it does not know.
pub(super) fn purposes(extension: &X509Extension<'_>) -> (Vec<u8>, Vec<Value>) {
    const KNOWN: [(&str, u8); 14] = [
        ("2.5.29.37.0", 0),
        ("1.3.6.1.5.5.7.3.1", 1),
        ("1.3.6.1.5.5.7.3.2", 2),
        ("1.3.6.1.5.5.7.3.3", 3),
        ("1.3.6.1.5.5.7.3.4", 4),
        ("1.3.6.1.5.5.7.3.5", 5),
        ("1.3.6.1.5.5.7.3.6", 6),
        ("1.3.6.1.5.5.7.3.7", 7),
        ("1.3.6.1.5.5.7.3.8", 8),
        ("1.3.6.1.5.5.7.3.9", 9),
        ("1.3.6.1.4.1.311.10.3.3", 10),
        ("2.16.840.1.113730.4.1", 11),
        ("1.3.6.1.4.1.311.2.1.22", 12),
        ("1.3.6.1.4.1.311.61.1.1", 13),
    ];
    let (mut known, mut unknown) = (Vec::new(), Vec::new());
    let mut sequence = Der::new(extension.value).inside(Der::SEQUENCE);
    while let Some(id) = sequence.as_mut().and_then(|s| s.expect(Der::OID)) {
        let id = x509_parser::der_parser::oid::Oid::new(id.into());
        match KNOWN.iter().find(|(known, _)| *known == id.to_id_string()) {
            Some((_, number)) => known.push(*number),
            None => unknown.push(oid(&id)),
        }
    }
    (known, unknown)
}

fn extension(extension: &X509Extension<'_>) -> Value {
    object([
        ("Id", oid(&extension.oid)),
        ("Critical", Value::from(extension.critical)),
        ("Value", to_base64(extension.value)),
    ])
}

fn certificate(certificate: &X509Certificate<'_>) -> Outcome {
    let tbs = &certificate.tbs_certificate;
    let (key, key_algorithm) = public_key(&tbs.subject_pki)?;
    let names = Names::of(certificate.iter_extensions().map(X509Extension::parsed_extension));
    let uris = names.uri.iter().map(|u| Value::from(*u)).collect();
    let mut fields = vec![
        ("Raw", to_base64(certificate.as_raw())),
        ("RawTBSCertificate", to_base64(tbs.as_ref())),
        ("RawSubjectPublicKeyInfo", to_base64(tbs.subject_pki.raw)),
        ("RawSubject", to_base64(tbs.subject.as_raw())),
        ("RawIssuer", to_base64(tbs.issuer.as_raw())),
        ("Signature", to_base64(&certificate.signature_value.data)),
        ("SignatureAlgorithm", Value::from(u32::from(scheme(&certificate.signature_algorithm).1))),
        ("PublicKeyAlgorithm", Value::from(u32::from(key_algorithm))),
        ("PublicKey", key),
        ("Version", Value::from(tbs.version.0 + 1)),
        ("SerialNumber", number(certificate.raw_serial())?),
        ("Issuer", name(&tbs.issuer)),
        ("Subject", name(&tbs.subject)),
        ("NotBefore", time(tbs.validity.not_before)),
        ("NotAfter", time(tbs.validity.not_after)),
        ("Extensions", list(certificate.iter_extensions().map(extension).collect())),
        ("URIStrings", list(uris)),
        ("KeyUsage", Value::from(0u32)),
        ("BasicConstraintsValid", Value::from(false)),
        ("IsCA", Value::from(false)),
        ("MaxPathLen", Value::from(0u32)),
        ("MaxPathLenZero", Value::from(false)),
    ];
    let absent = [
        "ExtraExtensions",
        "UnhandledCriticalExtensions",
        "ExtKeyUsage",
        "UnknownExtKeyUsage",
        "SubjectKeyId",
        "AuthorityKeyId",
        "OCSPServer",
        "IssuingCertificateURL",
        "PermittedDNSDomains",
        "ExcludedDNSDomains",
        "PermittedIPRanges",
        "ExcludedIPRanges",
        "PermittedEmailAddresses",
        "ExcludedEmailAddresses",
        "PermittedURIDomains",
        "ExcludedURIDomains",
        "CRLDistributionPoints",
        "PolicyIdentifiers",
    ];
    fields.extend(absent.map(|key| (key, Value::Null)));
    fields.push(("PermittedDNSDomainsCritical", Value::from(false)));
    fields.extend(names.fields()?);
    for extension in certificate.iter_extensions() {
        fields.extend(of_extension(extension));
    }
    Ok(object(fields))
}

/// The fields that an extension fills.
fn of_extension(extension: &X509Extension<'_>) -> Vec<(&'static str, Value)> {
    let uri = |name: &GeneralName<'_>| match name {
        GeneralName::URI(uri) => Some(Value::from(*uri)),
        _ => None,
    };
    match extension.parsed_extension() {
        ParsedExtension::KeyUsage(usage) => vec![("KeyUsage", Value::from(u32::from(usage.flags)))],
        ParsedExtension::BasicConstraints(constraints) => vec![
            ("BasicConstraintsValid", Value::from(true)),
            ("IsCA", Value::from(constraints.ca)),
            ("MaxPathLen", constraints.path_len_constraint.map_or(Value::from(-1i32), Value::from)),
            ("MaxPathLenZero", Value::from(constraints.path_len_constraint == Some(0))),
        ],
        ParsedExtension::ExtendedKeyUsage(_) => {
            let (known, unknown) = purposes(extension);
            let known = known.into_iter().map(|n| Value::from(u32::from(n))).collect();
            vec![("ExtKeyUsage", list(known)), ("UnknownExtKeyUsage", list(unknown))]
        }
        ParsedExtension::SubjectKeyIdentifier(id) => vec![("SubjectKeyId", to_base64(id.0))],
        ParsedExtension::AuthorityKeyIdentifier(id) => {
            id.key_identifier.iter().map(|id| ("AuthorityKeyId", to_base64(id.0))).collect()
        }
        ParsedExtension::AuthorityInfoAccess(access) => {
            let of = |method: &str| {
                let found = access.accessdescs.iter().filter(|d| d.access_method.to_id_string() == method);
                list(found.filter_map(|d| uri(&d.access_location)).collect())
            };
            vec![("OCSPServer", of("1.3.6.1.5.5.7.48.1")), ("IssuingCertificateURL", of("1.3.6.1.5.5.7.48.2"))]
        }
        ParsedExtension::CRLDistributionPoints(points) => {
            let names = points.points.iter().filter_map(|p| p.distribution_point.as_ref());
            let uris = names.flat_map(|name| match name {
                x509_parser::extensions::DistributionPointName::FullName(names) => {
                    names.iter().filter_map(uri).collect()
                }
                x509_parser::extensions::DistributionPointName::NameRelativeToCRLIssuer(_) => Vec::new(),
            });
            vec![("CRLDistributionPoints", list(uris.collect()))]
        }
        ParsedExtension::CertificatePolicies(policies) => {
            vec![("PolicyIdentifiers", list(policies.iter().map(|p| oid(&p.policy_id)).collect()))]
        }
        _ => Vec::new(),
    }
}

fn parse_certificate_request(args: &[Value]) -> Outcome {
    let text = string(args, 0)?;
    let bytes = if text.starts_with(BEGIN) { text.as_bytes().to_vec() } else { base64(text)? };
    let der = match std::str::from_utf8(&bytes).ok().and_then(pem) {
        Some((block, _)) if block.label != "CERTIFICATE REQUEST" => {
            return Err("invalid PEM-encoded certificate signing request".into());
        }
        Some((block, _)) => block.content,
        None => bytes,
    };
    let (_, request) = X509CertificationRequest::from_der(&der).map_err(|_| "asn1: structure error")?;
    let info = &request.certification_request_info;
    let (key, key_algorithm) = public_key(&info.subject_pki)?;
    let names = Names::of(request.requested_extensions().into_iter().flatten());
    let mut fields = vec![
        ("Raw", to_base64(&der)),
        ("RawTBSCertificateRequest", to_base64(info.raw)),
        ("RawSubjectPublicKeyInfo", to_base64(info.subject_pki.raw)),
        ("RawSubject", to_base64(info.subject.as_raw())),
        ("Version", Value::from(info.version.0)),
        ("Signature", to_base64(&request.signature_value.data)),
        ("SignatureAlgorithm", Value::from(u32::from(scheme(&request.signature_algorithm).1))),
        ("PublicKeyAlgorithm", Value::from(u32::from(key_algorithm))),
        ("PublicKey", key),
        ("Subject", name(&info.subject)),
        ("ExtraExtensions", Value::Null),
    ];
    fields.extend(names.fields()?);
    let extensions = info.iter_attributes().find_map(|attribute| match attribute.parsed_attribute() {
        x509_parser::cri_attributes::ParsedCriAttribute::ExtensionRequest(requested) => {
            Some(requested.extensions.iter().map(extension).collect())
        }
        _ => None,
    });
    fields.push(("Extensions", list(extensions.unwrap_or_default())));
    Ok(object(fields))
}

/// Certificates with the key of the first, as Go's `tls.Certificate`.
fn parse_keypair(args: &[Value]) -> Outcome {
    let (certificate_text, key_text) = (string(args, 0)?, string(args, 1)?);
    let all = certificates(certificate_text)?;
    let leaf = all.first().ok_or("tls: failed to find any PEM data in certificate input")?;
    let decoded = if key_text.starts_with(BEGIN) { key_text.as_bytes().to_vec() } else { base64(key_text)? };
    let mut rest = std::str::from_utf8(&decoded).unwrap_or_default();
    let mut key = None;
    while let (None, Some((block, after))) = (&key, pem(rest)) {
        key = PrivateKey::from_pem(block.label, &block.content).transpose()?;
        rest = after;
    }
    let key = match key {
        Some(key) => key,
        None => PrivateKey::from_pem("PRIVATE KEY", &decoded)
            .transpose()?
            .ok_or("tls: failed to find any PEM data in key input")?,
    };
    let parsed = parsed(leaf)?;
    if key.public() != PublicKey::from_spki(parsed.tbs_certificate.subject_pki.raw) {
        return Err("tls: private key does not match public key".into());
    }
    Ok(object([
        ("Certificate", Value::from(all.iter().map(|der| to_base64(der)).collect::<Vec<_>>())),
        ("PrivateKey", key.document()?),
        ("SupportedSignatureAlgorithms", Value::Null),
        ("OCSPStaple", Value::Null),
        ("SignedCertificateTimestamps", Value::Null),
        ("Leaf", certificate(&parsed)?),
    ]))
}
