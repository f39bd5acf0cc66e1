//! A certificate authority in memory, and what it signs. Keys are ECDSA P-256, which every API server verifies.

use std::fmt;
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::webhook::CertificateError;

/// Clocks of other machines may be behind ours by this much.
const SKEW: Duration = Duration::from_secs(3600);

/// A private key in PKCS#8 PEM; never printed by accident.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyPem(pub String);

impl fmt::Debug for KeyPem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyPem(..)")
    }
}

/// A certificate with its private key, both PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// The certificate.
    pub certificate: String,
    /// Its key.
    pub key: KeyPem,
}

/// A certificate authority.
pub struct Authority {
    pair: Pair,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// Makes an authority that is good for `lifetime` from `now` on.
    ///
    /// # Errors
    /// The key cannot be made.
    pub fn create(now: SystemTime, lifetime: Duration) -> Result<Self, CertificateError> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        params.distinguished_name = name("portcullis webhook CA");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.not_before = (now - SKEW).into();
        params.not_after = (now + lifetime).into();
        let certificate = params.self_signed(&key)?.pem();
        let pair = Pair { certificate, key: KeyPem(key.serialize_pem()) };
        Ok(Self { pair, issuer: Issuer::new(params, key) })
    }

    /// Reads an authority back.
    ///
    /// # Errors
    /// It is not a certificate, or not a key.
    pub fn read(pair: Pair) -> Result<Self, CertificateError> {
        let key = KeyPair::from_pem(&pair.key.0)?;
        let issuer = Issuer::from_ca_cert_pem(&pair.certificate, key)?;
        Ok(Self { pair, issuer })
    }

    /// Certificate and key.
    #[must_use]
    pub fn pair(&self) -> &Pair {
        &self.pair
    }

    /// Signs a serving certificate for DNS names and IP addresses (RFC 6125: all in the SAN), good for `lifetime`.
    ///
    /// # Errors
    /// A name is not ASCII.
    pub fn serving(&self, names: &[String], now: SystemTime, lifetime: Duration) -> Result<Pair, CertificateError> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name = name("portcullis webhook");
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.not_before = (now - SKEW).into();
        params.not_after = (now + lifetime).into();
        let certificate = params.signed_by(&key, &self.issuer)?.pem();
        Ok(Pair { certificate, key: KeyPem(key.serialize_pem()) })
    }

    /// Whether this authority signed `certificate` and the key belongs to it.
    #[must_use]
    pub fn signed(&self, pair: &Pair) -> bool {
        let (Ok(ca), Ok(leaf)) = (der(&self.pair.certificate), der(&pair.certificate)) else { return false };
        let (Ok((_, ca)), Ok((_, leaf))) = (X509Certificate::from_der(&ca), X509Certificate::from_der(&leaf)) else {
            return false;
        };
        let Ok(key) = KeyPair::from_pem(&pair.key.0) else { return false };
        leaf.verify_signature(Some(ca.public_key())).is_ok()
            && leaf.issuer() == ca.subject()
            && leaf.public_key().subject_public_key.data == rcgen::PublicKeyData::der_bytes(&key)
    }
}

/// The end of a PEM certificate's validity.
///
/// # Errors
/// It is not a certificate.
pub(super) fn not_after(certificate: &str) -> Result<SystemTime, CertificateError> {
    let der = der(certificate)?;
    let (_, parsed) = X509Certificate::from_der(&der).map_err(|e| CertificateError::Parse(e.to_string()))?;
    let seconds = u64::try_from(parsed.validity().not_after.timestamp()).unwrap_or(0);
    Ok(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
}

/// The names of a PEM certificate, as they are given to [`Authority::serving`].
pub(super) fn names_of(certificate: &str) -> Result<Vec<String>, CertificateError> {
    use x509_parser::extensions::GeneralName;
    let der = der(certificate)?;
    let fault = |e: String| CertificateError::Parse(e);
    let (_, parsed) = X509Certificate::from_der(&der).map_err(|e| fault(e.to_string()))?;
    let san = parsed.subject_alternative_name().map_err(|e| fault(e.to_string()))?;
    let names = san.map(|s| s.value.general_names.as_slice()).unwrap_or_default();
    Ok(names
        .iter()
        .filter_map(|n| match n {
            GeneralName::DNSName(name) => Some((*name).to_owned()),
            GeneralName::IPAddress(bytes) => match <[u8; 4]>::try_from(*bytes) {
                Ok(v4) => Some(std::net::IpAddr::from(v4).to_string()),
                Err(_) => <[u8; 16]>::try_from(*bytes).ok().map(|v6| std::net::IpAddr::from(v6).to_string()),
            },
            _ => None,
        })
        .collect())
}

fn der(pem: &str) -> Result<Vec<u8>, CertificateError> {
    let (_, pem) =
        x509_parser::pem::parse_x509_pem(pem.as_bytes()).map_err(|e| CertificateError::Parse(e.to_string()))?;
    Ok(pem.contents)
}

fn name(common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::OrganizationName, "portcullis");
    name.push(DnType::CommonName, common_name);
    name
}
