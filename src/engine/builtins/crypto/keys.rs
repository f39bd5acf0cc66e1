//! Private keys: PKCS #1, PKCS #8 and SEC 1, as OPA shows them (Go's JSON of them) and as JWK.
//!
//! What comes out is secret: decisions that carry it are masked like any other output.

use p256::elliptic_curve::sec1::ToEncodedPoint as _;
use regorus::Value;
use ring::signature::KeyPair as _;

use super::super::call::{Builtin, CallError, Outcome, at_most, object, string};
use super::super::encoding::{Der, base64, number, pem, to_base64, to_base64url};
use super::signature::{Curve, PublicKey};

pub(super) const BUILTINS: &[Builtin] = &[
    Builtin { name: "crypto.parse_private_keys", arity: 1, call: parse_private_keys },
    Builtin { name: "crypto.x509.parse_rsa_private_key", arity: 1, call: parse_rsa_private_key },
];

/// Keys in one text.
const MAX_KEYS: usize = 64;

/// A key that signs.
pub(in super::super) enum PrivateKey {
    /// `n, e, d, p, q, dP, dQ, qInv`, big-endian (RFC 8017 section A.1.2).
    Rsa([Vec<u8>; 8]),
    /// The scalar, as long as a coordinate.
    Ec { curve: Curve, d: Vec<u8> },
    /// The seed.
    Ed25519(Vec<u8>),
}

impl PrivateKey {
    /// RFC 8017 section A.1.2.
    pub(in super::super) fn from_pkcs1(der: &[u8]) -> Option<Self> {
        let mut key = Der::new(der).inside(Der::SEQUENCE)?;
        if !key.unsigned()?.is_empty() {
            return None; // Of several primes.
        }
        let mut part = || key.unsigned().map(<[u8]>::to_vec);
        Some(Self::Rsa([part()?, part()?, part()?, part()?, part()?, part()?, part()?, part()?]))
    }

    /// RFC 5915. `curve` where it is known from outside.
    fn from_sec1(der: &[u8], curve: Option<Curve>) -> Option<Self> {
        let mut key = Der::new(der).inside(Der::SEQUENCE)?;
        key.unsigned()?;
        let scalar = key.expect(Der::OCTET_STRING)?;
        let curve = match curve {
            Some(curve) => curve,
            None => Curve::by_oid(key.inside(0xa0)?.expect(Der::OID)?)?,
        };
        let mut d = vec![0; curve.size().checked_sub(scalar.len())?];
        d.extend_from_slice(scalar);
        Some(Self::Ec { curve, d })
    }

    /// RFC 5958.
    fn from_pkcs8(der: &[u8]) -> Option<Self> {
        let mut info = Der::new(der).inside(Der::SEQUENCE)?;
        info.unsigned()?;
        let mut algorithm = info.inside(Der::SEQUENCE)?;
        let oid = algorithm.expect(Der::OID)?;
        let key = info.expect(Der::OCTET_STRING)?;
        match oid {
            [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01] => Self::from_pkcs1(key),
            [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01] => {
                Self::from_sec1(key, Some(Curve::by_oid(algorithm.expect(Der::OID)?)?))
            }
            [0x2b, 0x65, 0x70] => {
                Some(Self::Ed25519(Der::new(key).expect(Der::OCTET_STRING).filter(|s| s.len() == 32)?.to_vec()))
            }
            _ => None,
        }
    }

    /// A key as PEM labels it; `None` for other blocks.
    pub(in super::super) fn from_pem(label: &str, der: &[u8]) -> Option<Result<Self, CallError>> {
        let key = match label {
            "RSA PRIVATE KEY" => Self::from_pkcs1(der),
            "PRIVATE KEY" => Self::from_pkcs8(der),
            "EC PRIVATE KEY" => Self::from_sec1(der, None),
            _ => return None,
        };
        Some(key.ok_or_else(|| CallError::from(format!("failed to parse the {label}"))))
    }

    /// The usual algorithm of a JWS by this key (RFC 7518 section 3.1).
    pub(in super::super) fn algorithm(&self) -> &'static str {
        match self {
            Self::Rsa(_) => "RS256",
            Self::Ec { curve: Curve::P256, .. } => "ES256",
            Self::Ec { curve: Curve::P384, .. } => "ES384",
            Self::Ec { curve: Curve::P521, .. } => "ES512",
            Self::Ed25519(_) => "EdDSA",
        }
    }

    /// Its public half.
    pub(in super::super) fn public(&self) -> Option<PublicKey> {
        Some(match self {
            Self::Rsa([n, e, ..]) => PublicKey::Rsa { n: n.clone(), e: e.clone() },
            Self::Ec { curve, d } => {
                macro_rules! point {
                    ($curve:ident) => {
                        $curve::SecretKey::from_slice(d).ok()?.public_key().to_encoded_point(false).as_bytes().to_vec()
                    };
                }
                let point = match curve {
                    Curve::P256 => point!(p256),
                    Curve::P384 => point!(p384),
                    Curve::P521 => point!(p521),
                };
                PublicKey::Ec { curve: *curve, point }
            }
            Self::Ed25519(seed) => {
                let pair = ring::signature::Ed25519KeyPair::from_seed_unchecked(seed).ok()?;
                PublicKey::Ed25519(pair.public_key().as_ref().to_vec())
            }
        })
    }

    /// The JSON that Go makes of its key types.
    pub(super) fn document(&self) -> Outcome {
        let unknown = || CallError::from("the private key is malformed");
        let public = self.public().ok_or_else(unknown)?;
        Ok(match (self, &public) {
            (Self::Rsa([_, _, d, p, q, dp, dq, qinv]), _) => {
                let mut fields = public_fields(&public)?;
                fields.push(("D", number(d)?));
                fields.push(("Primes", Value::from(vec![number(p)?, number(q)?])));
                let precomputed = [
                    ("Dp", number(dp)?),
                    ("Dq", number(dq)?),
                    ("Qinv", number(qinv)?),
                    ("CRTValues", Value::from(Vec::new())),
                ];
                fields.push(("Precomputed", object(precomputed)));
                object(fields)
            }
            (Self::Ec { d, .. }, _) => {
                let mut fields = public_fields(&public)?;
                fields.push(("D", number(d)?));
                object(fields)
            }
            // Go's type is the seed with the public key after it.
            (Self::Ed25519(seed), PublicKey::Ed25519(public)) => to_base64(&[seed.as_slice(), public].concat()),
            (Self::Ed25519(_), _) => return Err(unknown()),
        })
    }

    /// The key as a JWK (RFC 7517).
    fn jwk(&self) -> Outcome {
        let unknown = || CallError::from("the private key is malformed");
        let text = |bytes: &[u8]| Value::from(to_base64url(bytes));
        Ok(match (self, self.public().ok_or_else(unknown)?) {
            (Self::Rsa(parts), _) => {
                let names = ["n", "e", "d", "p", "q", "dp", "dq", "qi"];
                object(names.into_iter().zip(parts.iter().map(|p| text(p))).chain([("kty", Value::from("RSA"))]))
            }
            (Self::Ec { curve, d }, PublicKey::Ec { point, .. }) => {
                let (x, y) = coordinates(&point).ok_or_else(unknown)?;
                let name = match curve {
                    Curve::P256 => "P-256",
                    Curve::P384 => "P-384",
                    Curve::P521 => "P-521",
                };
                object([("kty", "EC".into()), ("crv", name.into()), ("x", text(x)), ("y", text(y)), ("d", text(d))])
            }
            (Self::Ed25519(seed), PublicKey::Ed25519(public)) => {
                object([("kty", "OKP".into()), ("crv", "Ed25519".into()), ("x", text(&public)), ("d", text(seed))])
            }
            _ => return Err(unknown()),
        })
    }
}

fn coordinates(point: &[u8]) -> Option<(&[u8], &[u8])> {
    let (tag, both) = point.split_first()?;
    (*tag == 4).then(|| both.split_at(both.len() / 2))
}

/// The fields of Go's public key types.
pub(super) fn public_fields(key: &PublicKey) -> Result<Vec<(&'static str, Value)>, CallError> {
    Ok(match key {
        PublicKey::Rsa { n, e } => vec![("N", number(n)?), ("E", number(e)?)],
        PublicKey::Ec { point, .. } => {
            let (x, y) = coordinates(point).ok_or_else(|| CallError::from("the public key is malformed"))?;
            vec![("Curve", Value::new_object()), ("X", number(x)?), ("Y", number(y)?)]
        }
        PublicKey::Ed25519(_) | PublicKey::Secret(_) => Vec::new(),
    })
}

/// All keys in a text of PEM, which may stand in base64. Other blocks are passed over.
fn keys(text: &str) -> Result<Vec<PrivateKey>, CallError> {
    let decoded = base64(text).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let mut rest = decoded.as_deref().unwrap_or(text);
    let mut keys = Vec::new();
    while let Some((block, after)) = pem(rest) {
        keys.extend(PrivateKey::from_pem(block.label, &block.content).transpose()?);
        at_most(keys.len(), MAX_KEYS, "keys")?;
        rest = after;
    }
    Ok(keys)
}

fn parse_private_keys(args: &[Value]) -> Outcome {
    match string(args, 0)? {
        "" => Ok(Value::Null),
        text => Ok(Value::from(keys(text)?.iter().map(PrivateKey::document).collect::<Result<Vec<_>, _>>()?)),
    }
}

/// The first key as a JWK; despite the name it need not be RSA.
fn parse_rsa_private_key(args: &[Value]) -> Outcome {
    let text = string(args, 0)?;
    if text.is_empty() {
        return Err("input PEM data was empty".into());
    }
    if !text.starts_with("-----BEGIN") {
        base64(text)?;
    }
    keys(text)?.first().map_or(Ok(Value::Null), PrivateKey::jwk)
}
