//! The public half of an Ed25519 key in text (C2SP signed-note, "verifier keys"), by its type byte. Knows text, ids and
//! the signature itself; must not know what is signed.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::digest::{SHA256, digest};
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};

use crate::tlog::TlogError;
use crate::tlog::note::is_name;

/// A key of one type: `<name>+<key id, 8 hex digits>+<base64 of the type byte and the 32 bytes>`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct PublicKey<const TYPE: u8> {
    pub(super) name: String,
    pub(super) public: [u8; 32],
}

impl<const TYPE: u8> PublicKey<TYPE> {
    /// Reads what [`Display`](fmt::Display) writes. `other` says what is wrong with a key of another type.
    pub(super) fn parse(text: &str, other: &'static str) -> Result<Self, TlogError> {
        let wrong = |message| TlogError::Key { text: text.chars().take(200).collect(), message };
        let mut parts = text.splitn(3, '+');
        let (Some(name), Some(id), Some(encoded)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(wrong("it has no three parts"));
        };
        let bytes = STANDARD.decode(encoded).map_err(|_| wrong("its last part is no base64"))?;
        let (kind, public) = bytes.split_first().ok_or_else(|| wrong("its last part is empty"))?;
        if *kind != TYPE {
            return Err(wrong(other));
        }
        let public = public.try_into().map_err(|_| wrong("an Ed25519 key has 32 bytes"))?;
        if !is_name(name) {
            return Err(wrong("its name is empty or holds white space"));
        }
        let key = Self { name: name.to_owned(), public };
        if format!("{:08x}", key.id()) == id { Ok(key) } else { Err(wrong("its id is that of another key")) }
    }

    /// The pair of a seed (RFC 8032: 32 random bytes) and its public half under `name`.
    pub(super) fn of_seed(name: &str, seed: &[u8; 32]) -> Result<(Self, Ed25519KeyPair), TlogError> {
        let wrong = |message| TlogError::Key { text: name.to_owned(), message };
        if !is_name(name) {
            return Err(wrong("its name is empty, or holds white space or `+`"));
        }
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| wrong("the seed is refused"))?;
        let public = pair.public_key().as_ref().try_into().map_err(|_| wrong("the seed is refused"))?;
        Ok((Self { name: name.to_owned(), public }, pair))
    }

    /// The first four bytes of SHA-256 over name, line feed, type and key.
    pub(super) fn id(&self) -> u32 {
        let named = [self.name.as_bytes(), b"\n", &[TYPE], &self.public].concat();
        digest(&SHA256, &named).as_ref().first_chunk().map_or(0, |id| u32::from_be_bytes(*id))
    }

    /// Name and id, for messages.
    pub(super) fn short(&self) -> String {
        format!("{}+{:08x}", self.name, self.id())
    }

    pub(super) fn holds(&self, bytes: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, self.public).verify(bytes, signature).is_ok()
    }
}

impl<const TYPE: u8> fmt::Display for PublicKey<TYPE> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key: Vec<u8> = std::iter::once(TYPE).chain(self.public).collect();
        write!(f, "{}+{}", self.short(), STANDARD.encode(key))
    }
}
