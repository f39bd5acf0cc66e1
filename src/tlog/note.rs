//! Signed notes and their Ed25519 keys (C2SP signed-note). Knows text, names and signatures; must not know what a note
//! says, nor where keys are kept.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::signature::Ed25519KeyPair;

use crate::tlog::TlogError;
use crate::tlog::key::PublicKey;

/// The type byte of Ed25519 in key ids and verifier keys.
const ED25519_TYPE: u8 = 1;
/// What a signature line begins with: em dash, space.
const DASH: &str = "\u{2014} ";
/// Signatures that are read of one note; the specification asks for 16 at least.
const MAX_SIGNATURES: usize = 64;

/// One signature line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// Name of the key.
    pub name: String,
    /// Id of the key: a hint, no proof.
    pub key_id: u32,
    /// The signature proper.
    pub bytes: Vec<u8>,
}

/// A text and signatures over it, of which none is checked yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// The signed text, with its last line feed.
    pub text: String,
    /// In the order they stand.
    pub signatures: Vec<Signature>,
}

impl Note {
    /// Reads a note.
    ///
    /// # Errors
    /// [`TlogError::Note`].
    pub fn parse(note: &str) -> Result<Self, TlogError> {
        if note.chars().any(|c| c < ' ' && c != '\n') {
            return Err(TlogError::Note("it holds control characters"));
        }
        let (text, lines) = note.rsplit_once("\n\n").ok_or(TlogError::Note("it has no signatures"))?;
        let lines = lines.strip_suffix('\n').ok_or(TlogError::Note("its last line does not end"))?;
        if lines.lines().count() > MAX_SIGNATURES {
            return Err(TlogError::Note("it has too many signatures"));
        }
        let signatures = lines.split('\n').map(signature).collect::<Option<Vec<_>>>();
        let signatures = signatures.ok_or(TlogError::Note("a signature line cannot be read"))?;
        Ok(Self { text: format!("{text}\n"), signatures })
    }

    /// The first of `keys` that signed the note.
    ///
    /// # Errors
    /// [`TlogError::Forged`] when a signature claims to be of one of `keys` and is not, [`TlogError::Unsigned`] when
    /// none does.
    pub fn verify<'k>(&self, keys: &'k [VerifierKey]) -> Result<&'k VerifierKey, TlogError> {
        let mut first = None;
        for signature in &self.signatures {
            let claims = |key: &&VerifierKey| key.name() == signature.name && key.id() == signature.key_id;
            let mut claimed = keys.iter().filter(claims).peekable();
            if claimed.peek().is_none() {
                continue;
            }
            let Some(key) = claimed.find(|key| key.holds(&self.text, &signature.bytes)) else {
                return Err(TlogError::Forged { key: signature.name.clone() });
            };
            first = first.or(Some(key));
        }
        first.ok_or_else(|| TlogError::Unsigned {
            wanted: keys.iter().map(|k| format!("`{}`", k.short())).collect::<Vec<_>>().join(", "),
            found: self
                .signatures
                .iter()
                .map(|s| format!("`{}+{:08x}`", s.name, s.key_id))
                .collect::<Vec<_>>()
                .join(", "),
        })
    }
}

/// Text, empty line, signature lines.
impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        for signature in &self.signatures {
            let bytes: Vec<u8> = signature.key_id.to_be_bytes().into_iter().chain(signature.bytes.clone()).collect();
            writeln!(f, "{DASH}{} {}", signature.name, STANDARD.encode(bytes))?;
        }
        Ok(())
    }
}

pub(super) fn signature(line: &str) -> Option<Signature> {
    let (name, encoded) = line.strip_prefix(DASH)?.split_once(' ')?;
    let bytes = STANDARD.decode(encoded).ok()?;
    let (id, bytes) = bytes.split_first_chunk::<4>()?;
    is_name(name).then(|| Signature { name: name.to_owned(), key_id: u32::from_be_bytes(*id), bytes: bytes.to_vec() })
}

/// Not empty, without white space and plus signs.
pub(super) fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.chars().any(|c| c.is_whitespace() || c.is_control() || c == '+')
}

/// The public half of a key: `<name>+<key id, 8 hex digits>+<base64 of 0x01 and the 32 bytes>`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VerifierKey(PublicKey<ED25519_TYPE>);

impl VerifierKey {
    /// Reads a verifier key ("vkey"), as [`Display`](fmt::Display) writes it.
    ///
    /// # Errors
    /// [`TlogError::Key`].
    pub fn parse(text: &str) -> Result<Self, TlogError> {
        PublicKey::parse(text, "it is not of type Ed25519").map(Self)
    }

    /// The name: for a log, its origin.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The first four bytes of SHA-256 over name, line feed, type and key.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.0.id()
    }

    /// Name and id, for messages.
    #[must_use]
    pub fn short(&self) -> String {
        self.0.short()
    }

    fn holds(&self, text: &str, signature: &[u8]) -> bool {
        self.0.holds(text.as_bytes(), signature)
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The private half of a key, with the name it signs under.
#[derive(Clone)]
pub struct SigningKey {
    public: VerifierKey,
    /// Kept beside the pair, which cannot be cloned.
    seed: [u8; 32],
}

impl SigningKey {
    /// The key of a seed (RFC 8032: 32 random bytes) under `name`.
    ///
    /// # Errors
    /// [`TlogError::Key`] when no note can be signed under such a name.
    pub fn from_seed(name: &str, seed: &[u8; 32]) -> Result<Self, TlogError> {
        let (public, _) = PublicKey::of_seed(name, seed)?;
        Ok(Self { public: VerifierKey(public), seed: *seed })
    }

    /// The public half.
    #[must_use]
    pub fn verifier(&self) -> &VerifierKey {
        &self.public
    }

    /// Signs a text that ends with a line feed.
    #[must_use]
    pub fn sign(&self, text: &str) -> Signature {
        // The seed gave a key before.
        let pair = Ed25519KeyPair::from_seed_unchecked(&self.seed);
        let bytes = pair.map(|pair| pair.sign(text.as_bytes()).as_ref().to_vec()).unwrap_or_default();
        Signature { name: self.public.name().to_owned(), key_id: self.public.id(), bytes }
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({}, ..)", self.public.short())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The key and note of Go's `sumdb/note` documentation.
    const GO_SEED: &str = "AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz";
    const GO_VKEY: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    const GO_NOTE: &str = "If you think cryptography is the answer to your problem,\n\
        then you don't know what your problem is.\n\n\
        \u{2014} PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";
    /// Those of the specification.
    const C2SP_VKEY: &str = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
    const C2SP_NOTE: &str = "This is an example message.\n\n\u{2014} example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n";

    fn vkey(text: &str) -> VerifierKey {
        VerifierKey::parse(text).expect("a key")
    }

    #[test]
    fn published_notes_verify() {
        for (key, note) in [(GO_VKEY, GO_NOTE), (C2SP_VKEY, C2SP_NOTE)] {
            let (keys, parsed) = ([vkey(key)], Note::parse(note).expect("a note"));
            assert_eq!(parsed.verify(&keys), Ok(&keys[0]));
            assert_eq!((parsed.to_string().as_str(), keys[0].to_string().as_str()), (note, key));
        }
    }

    #[test]
    fn the_published_key_signs_the_published_note() {
        let seed: Vec<u8> = STANDARD.decode(GO_SEED).expect("base64");
        let key = SigningKey::from_seed("PeterNeumann", seed[1..].try_into().expect("32 bytes")).expect("a key");
        assert_eq!(key.verifier().to_string(), GO_VKEY);
        let note = Note::parse(GO_NOTE).expect("a note");
        assert_eq!(key.sign(&note.text), note.signatures[0]);
    }

    #[test]
    fn a_signature_of_a_known_key_must_hold() {
        let (go, c2sp) = (vkey(GO_VKEY), vkey(C2SP_VKEY));
        let changed = Note::parse(&GO_NOTE.replace("answer", "reason")).expect("a note");
        assert!(matches!(changed.verify(std::slice::from_ref(&go)), Err(TlogError::Forged { .. })));
        let unknown = changed.verify(std::slice::from_ref(&c2sp)).expect_err("nobody known");
        assert!(unknown.to_string().contains("`example.com/foo+530d903a`"), "{unknown}");
        // One good signature does not make up for a bad one.
        let mut both = Note::parse(C2SP_NOTE).expect("a note");
        assert_eq!(both.verify(&[go.clone(), c2sp.clone()]), Ok(&c2sp));
        both.signatures.push(Signature { name: go.name().to_owned(), key_id: go.id(), bytes: vec![0; 64] });
        assert!(matches!(both.verify(&[go, c2sp]), Err(TlogError::Forged { .. })));
    }

    #[test]
    fn what_is_no_key_or_note_is_refused() {
        for wrong in [
            "",
            "PeterNeumann",
            "PeterNeumann+c74f20a4+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
            "PeterNeumann+C74F20A3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
            "Peter Neumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
            "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10",
            "PeterNeumann+c74f20a3+AhpC2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        ] {
            assert!(VerifierKey::parse(wrong).is_err(), "{wrong}");
        }
        for wrong in
            ["", "text\n", "text\n\n", "text\n\nno dash\n", "a\tb\n\n\u{2014} n AAAAAAAA\n", "t\n\n\u{2014} n AAAAAAAA"]
        {
            assert!(Note::parse(wrong).is_err(), "{wrong:?}");
        }
        assert!(SigningKey::from_seed("a b", &[0; 32]).is_err());
        assert!(SigningKey::from_seed("a+b", &[0; 32]).is_err());
    }
}
