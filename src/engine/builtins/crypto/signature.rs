//! Public keys, and what they say of a signature. RSA and Ed25519 are ring's, the NIST curves RustCrypto's (ring has
//! no P-521), HMAC is RustCrypto's.

use hmac::Hmac;
use p256::ecdsa::signature::hazmat::PrehashVerifier as _;
use ring::signature::{self as rsa, RsaPublicKeyComponents, UnparsedPublicKey};
use sha2::{Digest as _, Sha256, Sha384, Sha512};

use super::super::encoding::{Der, trimmed};

/// A NIST curve (FIPS 186-4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Curve {
    P256,
    P384,
    P521,
}

impl Curve {
    /// Bytes of a coordinate.
    pub(in super::super) const fn size(self) -> usize {
        match self {
            Self::P256 => 32,
            Self::P384 => 48,
            Self::P521 => 66,
        }
    }

    /// As JWK names it (RFC 7518 section 6.2.1.1).
    pub(in super::super) fn by_name(name: &str) -> Option<Self> {
        Some(match name {
            "P-256" => Self::P256,
            "P-384" => Self::P384,
            "P-521" => Self::P521,
            _ => return None,
        })
    }

    /// By the DER of its object identifier (RFC 5480 section 2.1.1.1).
    pub(in super::super) fn by_oid(oid: &[u8]) -> Option<Self> {
        Some(match oid {
            [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07] => Self::P256,
            [0x2b, 0x81, 0x04, 0x00, 0x22] => Self::P384,
            [0x2b, 0x81, 0x04, 0x00, 0x23] => Self::P521,
            _ => return None,
        })
    }
}

/// A key that verifies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) enum PublicKey {
    /// Modulus and exponent, big-endian without leading zeros.
    Rsa { n: Vec<u8>, e: Vec<u8> },
    /// Uncompressed point: `4 || x || y`.
    Ec { curve: Curve, point: Vec<u8> },
    /// RFC 8032.
    Ed25519(Vec<u8>),
    /// A shared secret.
    Secret(Vec<u8>),
}

/// The digest of a signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Hash {
    Sha256,
    Sha384,
    Sha512,
}

impl Hash {
    pub(in super::super) fn digest(self, message: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha256 => Sha256::digest(message).to_vec(),
            Self::Sha384 => Sha384::digest(message).to_vec(),
            Self::Sha512 => Sha512::digest(message).to_vec(),
        }
    }

    pub(in super::super) fn hmac(self, key: &[u8], message: &[u8]) -> Vec<u8> {
        fn run<M: hmac::Mac + hmac::digest::KeyInit>(key: &[u8], message: &[u8]) -> Vec<u8> {
            // An HMAC takes a key of any length.
            <M as hmac::Mac>::new_from_slice(key)
                .map(|mut mac| {
                    mac.update(message);
                    mac.finalize().into_bytes().to_vec()
                })
                .unwrap_or_default()
        }
        match self {
            Self::Sha256 => run::<Hmac<Sha256>>(key, message),
            Self::Sha384 => run::<Hmac<Sha384>>(key, message),
            Self::Sha512 => run::<Hmac<Sha512>>(key, message),
        }
    }

    fn hmac_matches(self, key: &[u8], message: &[u8], signature: &[u8]) -> bool {
        fn run<M: hmac::Mac + hmac::digest::KeyInit>(key: &[u8], message: &[u8], signature: &[u8]) -> bool {
            <M as hmac::Mac>::new_from_slice(key).is_ok_and(|mut mac| {
                mac.update(message);
                mac.verify_slice(signature).is_ok()
            })
        }
        match self {
            Self::Sha256 => run::<Hmac<Sha256>>(key, message, signature),
            Self::Sha384 => run::<Hmac<Sha384>>(key, message, signature),
            Self::Sha512 => run::<Hmac<Sha512>>(key, message, signature),
        }
    }
}

/// How a signature is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Scheme {
    Hmac(Hash),
    RsaPkcs1(Hash),
    RsaPss(Hash),
    /// `r || s`, each as long as a coordinate (RFC 7518 section 3.4).
    EcdsaFixed(Hash),
    /// A DER sequence of `r` and `s` (RFC 3279 section 2.2.3).
    EcdsaDer(Hash),
    Ed25519,
}

impl PublicKey {
    /// Reads a SubjectPublicKeyInfo (RFC 5280 section 4.1).
    pub(in super::super) fn from_spki(der: &[u8]) -> Option<Self> {
        const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
        const EC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
        const ED25519: &[u8] = &[0x2b, 0x65, 0x70];
        let mut spki = Der::new(der).inside(Der::SEQUENCE)?;
        let mut algorithm = spki.inside(Der::SEQUENCE)?;
        let oid = algorithm.expect(Der::OID)?;
        let (unused, key) = spki.expect(Der::BIT_STRING)?.split_first()?;
        if *unused != 0 {
            return None;
        }
        Some(match oid {
            RSA => {
                let mut key = Der::new(key).inside(Der::SEQUENCE)?;
                Self::Rsa { n: key.unsigned()?.to_vec(), e: key.unsigned()?.to_vec() }
            }
            EC => Self::Ec { curve: Curve::by_oid(algorithm.expect(Der::OID)?)?, point: key.to_vec() },
            ED25519 if key.len() == 32 => Self::Ed25519(key.to_vec()),
            _ => return None,
        })
    }

    /// Whether `signature` is this key's of `message`. A key of another kind than the scheme's never is.
    pub(in super::super) fn verifies(&self, scheme: Scheme, message: &[u8], signature: &[u8]) -> bool {
        match (self, scheme) {
            (Self::Secret(key), Scheme::Hmac(hash)) => hash.hmac_matches(key, message, signature),
            (Self::Rsa { n, e }, Scheme::RsaPkcs1(hash)) => {
                let parameters = match hash {
                    Hash::Sha256 => &rsa::RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY,
                    Hash::Sha384 => &rsa::RSA_PKCS1_2048_8192_SHA384,
                    Hash::Sha512 => &rsa::RSA_PKCS1_1024_8192_SHA512_FOR_LEGACY_USE_ONLY,
                };
                RsaPublicKeyComponents { n, e }.verify(parameters, message, signature).is_ok()
            }
            (Self::Rsa { n, e }, Scheme::RsaPss(hash)) => {
                let parameters = match hash {
                    Hash::Sha256 => &rsa::RSA_PSS_2048_8192_SHA256,
                    Hash::Sha384 => &rsa::RSA_PSS_2048_8192_SHA384,
                    Hash::Sha512 => &rsa::RSA_PSS_2048_8192_SHA512,
                };
                RsaPublicKeyComponents { n, e }.verify(parameters, message, signature).is_ok()
            }
            (Self::Ec { curve, point }, Scheme::EcdsaFixed(hash)) => {
                ecdsa_verifies(*curve, point, &hash.digest(message), signature)
            }
            (Self::Ec { curve, point }, Scheme::EcdsaDer(hash)) => fixed(signature, curve.size())
                .is_some_and(|fixed| ecdsa_verifies(*curve, point, &hash.digest(message), &fixed)),
            (Self::Ed25519(key), Scheme::Ed25519) => {
                UnparsedPublicKey::new(&rsa::ED25519, key).verify(message, signature).is_ok()
            }
            _ => false,
        }
    }
}

fn ecdsa_verifies(curve: Curve, point: &[u8], digest: &[u8], signature: &[u8]) -> bool {
    macro_rules! verify {
        ($curve:ident) => {{
            let key = $curve::ecdsa::VerifyingKey::from_sec1_bytes(point);
            let signature = $curve::ecdsa::Signature::from_slice(signature);
            matches!((key, signature), (Ok(key), Ok(signature)) if key.verify_prehash(digest, &signature).is_ok())
        }};
    }
    match curve {
        Curve::P256 => verify!(p256),
        Curve::P384 => verify!(p384),
        Curve::P521 => verify!(p521),
    }
}

/// `r || s` of a DER signature.
fn fixed(der: &[u8], size: usize) -> Option<Vec<u8>> {
    let mut pair = Der::new(der).inside(Der::SEQUENCE)?;
    let mut fixed = Vec::with_capacity(size * 2);
    for number in [pair.unsigned()?, pair.unsigned()?] {
        fixed.resize(fixed.len() + size.checked_sub(trimmed(number).len())?, 0);
        fixed.extend_from_slice(number);
    }
    Some(fixed)
}
