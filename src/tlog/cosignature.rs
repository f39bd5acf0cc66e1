//! Witnesses: what they are asked, and what they sign (C2SP tlog-witness and tlog-cosignature, Ed25519). Knows the
//! lines and the time in a signature; must not know HTTP, nor which witnesses are enough.

use std::fmt;

use ring::signature::Ed25519KeyPair;

use crate::tlog::key::PublicKey;
use crate::tlog::note::signature;
use crate::tlog::{Hash, Note, Signature, TlogError};

/// The type byte of a cosigner's key.
const COSIGNATURE_TYPE: u8 = 4;
/// Seconds since the epoch, big-endian, before the signature proper.
const TIME_BYTES: usize = 8;
/// Hashes of a consistency proof that may be sent.
const MAX_PATH: usize = 63;

/// The public half of a witness' key: `<name>+<key id, 8 hex digits>+<base64 of 0x04 and the 32 bytes>`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WitnessKey(PublicKey<COSIGNATURE_TYPE>);

/// A witness' statement that it saw no larger tree of this log, at that time, than the one that it signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cosigned<'k> {
    /// Who.
    pub witness: &'k WitnessKey,
    /// When, in seconds since the epoch.
    pub time: u64,
}

impl WitnessKey {
    /// Reads a verifier key of a witness, as [`Display`](fmt::Display) writes it.
    ///
    /// # Errors
    /// [`TlogError::Key`].
    pub fn parse(text: &str) -> Result<Self, TlogError> {
        PublicKey::parse(text, "it is not a witness' (type 4, Ed25519 cosignatures)").map(Self)
    }

    /// The witness' name.
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

    /// The time of this witness' cosignature on a note; `None` when it has none.
    ///
    /// # Errors
    /// [`TlogError::Forged`] when a signature claims to be its and is not.
    pub fn cosigned(&self, note: &Note) -> Result<Option<u64>, TlogError> {
        let mut latest = None;
        for signature in note.signatures.iter().filter(|s| s.name == self.name() && s.key_id == self.id()) {
            let time =
                self.time(&note.text, signature).ok_or_else(|| TlogError::Forged { key: self.name().to_owned() })?;
            latest = latest.max(Some(time));
        }
        Ok(latest)
    }

    fn time(&self, text: &str, signature: &Signature) -> Option<u64> {
        let (time, bytes) = signature.bytes.split_first_chunk::<TIME_BYTES>()?;
        let time = u64::from_be_bytes(*time);
        let holds = self.0.holds(message(text, time).as_bytes(), bytes);
        // The specification bounds it to what a signed number holds.
        (holds && i64::try_from(time).is_ok()).then_some(time)
    }
}

impl fmt::Display for WitnessKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Who of `witnesses` cosigned a note, in their order. Signatures of others are passed over.
///
/// # Errors
/// [`TlogError::Forged`] when a signature claims to be of one of them and is not.
pub fn cosignatures<'k>(note: &Note, witnesses: &'k [WitnessKey]) -> Result<Vec<Cosigned<'k>>, TlogError> {
    let mut found: Vec<Cosigned<'k>> = Vec::new();
    for witness in witnesses {
        if let Some(time) = witness.cosigned(note)?
            && !found.iter().any(|f| f.witness.0.public == witness.0.public)
        {
            found.push(Cosigned { witness, time });
        }
    }
    Ok(found)
}

/// The private half of a witness' key.
pub struct CosigningKey {
    public: WitnessKey,
    pair: Ed25519KeyPair,
}

impl CosigningKey {
    /// The key of a seed (RFC 8032: 32 random bytes) under `name`. It must sign nothing but cosignatures of one witness.
    ///
    /// # Errors
    /// [`TlogError::Key`] when no note can be signed under such a name.
    pub fn from_seed(name: &str, seed: &[u8; 32]) -> Result<Self, TlogError> {
        let (public, pair) = PublicKey::of_seed(name, seed)?;
        Ok(Self { public: WitnessKey(public), pair })
    }

    /// The public half.
    #[must_use]
    pub fn verifier(&self) -> &WitnessKey {
        &self.public
    }

    /// Signs a checkpoint's text at a time, in seconds since the epoch.
    #[must_use]
    pub fn cosign(&self, text: &str, time: u64) -> Signature {
        let signed = self.pair.sign(message(text, time).as_bytes());
        let bytes = time.to_be_bytes().iter().chain(signed.as_ref()).copied().collect();
        Signature { name: self.public.name().to_owned(), key_id: self.public.id(), bytes }
    }
}

impl fmt::Debug for CosigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CosigningKey({}, ..)", self.public.short())
    }
}

fn message(text: &str, time: u64) -> String {
    format!("cosignature/v1\ntime {time}\n{text}")
}

/// What a witness is sent to `add-checkpoint`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddCheckpoint {
    /// Size of the tree that the witness cosigned last; 0 if none.
    pub old: u64,
    /// That it is the beginning of the checkpoint's tree.
    pub path: Vec<Hash>,
    /// The signed checkpoint.
    pub checkpoint: Note,
}

impl AddCheckpoint {
    /// Reads a request.
    ///
    /// # Errors
    /// [`TlogError::Proof`], [`TlogError::Note`].
    pub fn parse(text: &str) -> Result<Self, TlogError> {
        let wrong = TlogError::Proof;
        let (head, checkpoint) = text.split_once("\n\n").ok_or(wrong("it has no checkpoint"))?;
        let mut lines = head.split('\n');
        let old = lines.next().and_then(|line| super::checkpoint::decimal(line.strip_prefix("old ")?));
        let old = old.ok_or(wrong("its first line is no old size"))?;
        let path = lines.map(Hash::from_base64).collect::<Option<Vec<_>>>();
        let path = path.filter(|p| p.len() <= MAX_PATH).ok_or(wrong("its path cannot be read"))?;
        Ok(Self { old, path, checkpoint: Note::parse(checkpoint)? })
    }
}

/// `old <size>`, a hash a line, an empty line, the checkpoint.
impl fmt::Display for AddCheckpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "old {}", self.old)?;
        for hash in &self.path {
            writeln!(f, "{hash}")?;
        }
        write!(f, "\n{}", self.checkpoint)
    }
}

/// Reads the signature lines that a witness answers with.
///
/// # Errors
/// [`TlogError::Note`].
pub fn parse_signatures(lines: &str) -> Result<Vec<Signature>, TlogError> {
    let body = lines.strip_suffix('\n').ok_or(TlogError::Note("its last line does not end"))?;
    let all = body.split('\n').map(signature).collect::<Option<Vec<_>>>();
    all.ok_or(TlogError::Note("a signature line cannot be read"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tlog::{Checkpoint, SigningKey};

    /// The examples of tlog-cosignature and tlog-witness.
    const EXAMPLE: &str = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n\
        \u{2014} example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n\
        \u{2014} witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==\n";
    const REQUEST_HEAD: &str = "old 20852014\nPlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=\n\
        jrJZDmY8Y7SyJE0MWLpLozkIVMSMZcD5kvuKxPC3swk=\n5+pKlUdi2LeF/BcMHBn+Ku6yhPGNCswZZD1X/6QgPd8=\n\
        /6WVhPs2CwSsb5rYBH5cjHV/wSmA79abXAwhXw3Kj/0=\n\n";
    const ANSWER: &str = "\u{2014} witness.example/w1 CMp+6LWBU0anHGH5aNDTJkH/gj79sG+T6+iP2ThYN5krrDJbR1HDnucjL39QsZTSvVjyQLrdk3DXDqI5G2HgLatVs0pWh6Up69HVOw==\n\
        \u{2014} witness.example/w1 I7rEps0pvK2UqkS2gSpVUDhrhVtQV9lgF6pRrWAvjJHjyWpW7VcE3SiOlVlbQNt64vWhO+DlkL0+UfzuOBMh9ChdMkP1vi/lCAsmlw==\n";

    /// A checkpoint of a public log of certificates, with the keys of those who cosigned it.
    const PUBLIC: &str = "arche2025h1.staging.ct.transparency.dev\n1432088532\nU7WM79jrzyhGZ5/GUBTpM7NzwdyfFx61t3RovgcC4Ro=\n\n\
        \u{2014} arche2025h1.staging.ct.transparency.dev zTM8sQAAAZ5W0WdjBAMARjBEAiBjW5IQf9pvsYLfQFX6hoGREPMHbdQ3urbllzalApkptQIgIpwtEroeW2BXaHAI4kJXFbon5Ch9MNL5zRNZ55lvGt0=\n\
        \u{2014} arche2025h1.staging.ct.transparency.dev ui8GwCF1+kWqZrxGdhj4aX3gcw7XUlXQQabg/27lefwhUkzbC3NygNI75MdhL1bfTW9g8Ei59RA23oHP7Ry1k3ZFWwQ=\n\
        \u{2014} transparency.dev/DEV:witness-little-garden 2AQqhwAAAABqEiEgzgFIqqhbUoDwjMWE6UP8nd8/KYTzwZ2rhIgcqoXHAwVkjZr4AscylP3v7sEodkRAErumC2q44vdgJY096st5BQ==\n\
        \u{2014} witness1.smartit.nu/witness1 pIyCDwAAAABqEiEghIp82KWebrw7/oHQwlTAm3g2RKS4+eebl8eO0WH+/iEcxZ75W3u5hNI7TOQtmJbqmNWVuE0tgh0XwzdZsDsUAQ==\n\
        \u{2014} remora.n621.de 2net5wAAAABqEiEgPlfF3V06o0Y+fHM+J5J9s27wgxxcOVSpZ/2g/KSiXCg9DEZI+aVCIobWX9sXTynk5XeU/zZ0WBxtqB0DrAWfBw==\n\
        \u{2014} witness.stagemole.eu Z/euoAAAAABqEiEgw0i+7g2ENfDAWHmtRzCfKTHSDwYDJA2NmKeGi9Y8FtEyOUvVr+AJmIY/2TUFucgKi7lI7cUiOvKFYe/TmN9DAg==\n";
    const PUBLIC_LOG: &str =
        "arche2025h1.staging.ct.transparency.dev+ba2f06c0+AU0vHmlGCS/PdN8b2OaGmKprLI8HKM+dJ472xgFYh15f";
    const PUBLIC_WITNESSES: [&str; 4] = [
        "remora.n621.de+da77ade7+BOvN63jn/bLvkieywe8R6UYAtVtNbZpXh34x7onlmtw2",
        "witness.stagemole.eu+67f7aea0+BEqSG3yu9YrmcM3BHvQYTxwFj3uSWakQepafafpUqklv",
        "transparency.dev/DEV:witness-little-garden+d8042a87+BCtusOxINQNUTN5Oj8HObRkh2yHf/MwYaGX4CPdiVEPM",
        "witness1.smartit.nu/witness1+a48c820f+BPSFWg9G6KPiO7QPryYO5Xq4oYJJ+kAvLKLSimDhoxMO",
    ];

    fn key(name: &str, seed: u8) -> CosigningKey {
        CosigningKey::from_seed(name, &[seed; 32]).expect("a key")
    }

    #[test]
    fn the_published_examples_read_back() {
        let note = Note::parse(EXAMPLE).expect("a note");
        let cosignature = &note.signatures[1];
        assert_eq!((cosignature.key_id, cosignature.bytes.len()), (0x8d66_cf3f, 72));
        assert_eq!(cosignature.bytes[..8], 1_679_315_147_u64.to_be_bytes());
        let message = message(&note.text, 1_679_315_147);
        assert_eq!(
            message,
            "cosignature/v1\ntime 1679315147\nexample.com/behind-the-sofa\n20852163\n\
             CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
        );
        let text = format!("{REQUEST_HEAD}{EXAMPLE}");
        let request = AddCheckpoint::parse(&text).expect("a request");
        assert_eq!((request.old, request.path.len(), request.to_string()), (20_852_014, 4, text));
        let answer = parse_signatures(ANSWER).expect("lines");
        assert_eq!(answer.iter().map(|s| s.bytes.len()).collect::<Vec<_>>(), [72, 72]);
    }

    #[test]
    fn cosignatures_of_public_witnesses_hold() {
        let note = Note::parse(PUBLIC).expect("a note");
        let witnesses = PUBLIC_WITNESSES.map(|text| WitnessKey::parse(text).expect("a key"));
        assert_eq!(witnesses.each_ref().map(ToString::to_string), PUBLIC_WITNESSES);
        let found = cosignatures(&note, &witnesses).expect("hold");
        assert_eq!(found.iter().map(|c| c.time).collect::<Vec<_>>(), [0x6a12_2120; 4]);
        let log = crate::tlog::VerifierKey::parse(PUBLIC_LOG).expect("a key");
        assert_eq!(Checkpoint::open(PUBLIC, &[log]).expect("signed").0.size, 1_432_088_532);
        let other = Note::parse(&PUBLIC.replace("1432088532", "1432088533")).expect("a note");
        assert!(matches!(cosignatures(&other, &witnesses), Err(TlogError::Forged { .. })));
    }

    #[test]
    fn a_cosignature_holds_for_its_text_and_time_only() {
        let (witness, other) = (key("w.example/1", 1), key("w.example/2", 2));
        let keys = [witness.verifier().clone(), other.verifier().clone()];
        let log = SigningKey::from_seed("o", &[3; 32]).expect("a key");
        let mut note = Checkpoint { origin: "o".to_owned(), size: 7, root: crate::tlog::empty_root() }.sign(&log);
        assert_eq!(cosignatures(&note, &keys), Ok(Vec::new()));
        note.signatures.push(witness.cosign(&note.text, 1_700_000_000));
        let again = Note::parse(&note.to_string()).expect("a note");
        let found = cosignatures(&again, &keys).expect("holds");
        assert_eq!(found, [Cosigned { witness: &keys[0], time: 1_700_000_000 }]);
        // The log's own key still verifies beside it.
        assert!(again.verify(&[log.verifier().clone()]).is_ok());
        let forged = |harm: fn(&mut Note)| {
            let mut changed = again.clone();
            harm(&mut changed);
            cosignatures(&changed, &keys)
        };
        assert!(matches!(forged(|n| n.text = n.text.replace('7', "8")), Err(TlogError::Forged { .. })));
        assert!(matches!(forged(|n| n.signatures[1].bytes[7] ^= 1), Err(TlogError::Forged { .. })));
        assert!(matches!(forged(|n| n.signatures[1].bytes[20] ^= 1), Err(TlogError::Forged { .. })));
        assert!(matches!(forged(|n| n.signatures[1].bytes.truncate(5)), Err(TlogError::Forged { .. })));
        // A plain signature with the same secret is no cosignature: the key's type is in its id.
        let plain = SigningKey::from_seed("w.example/1", &[1; 32]).expect("a key");
        let mut wrong = Note { signatures: vec![plain.sign(&note.text)], ..note.clone() };
        assert_eq!(cosignatures(&wrong, &keys), Ok(Vec::new()));
        // Past what the specification allows.
        wrong.signatures = vec![witness.cosign(&note.text, 1 << 63)];
        assert!(matches!(cosignatures(&wrong, &keys), Err(TlogError::Forged { .. })));
    }

    #[test]
    fn one_key_under_two_names_is_one_witness() {
        let (one, two) = (key("a", 1), key("b", 1));
        let keys = [one.verifier().clone(), two.verifier().clone()];
        let mut note = Note { text: "o\n0\nx\n".to_owned(), signatures: Vec::new() };
        note.signatures = vec![one.cosign(&note.text, 1), two.cosign(&note.text, 1)];
        assert_eq!(cosignatures(&note, &keys).expect("hold").len(), 1);
    }

    #[test]
    fn keys_read_back_and_others_are_refused() {
        let witness = key("w.example/1", 1);
        let text = witness.verifier().to_string();
        assert_eq!(WitnessKey::parse(&text), Ok(witness.verifier().clone()));
        let log = SigningKey::from_seed("w.example/1", &[1; 32]).expect("a key");
        assert!(WitnessKey::parse(&log.verifier().to_string()).is_err(), "a log's key");
        assert!(crate::tlog::VerifierKey::parse(&text).is_err(), "a witness' key");
        for wrong in ["", "a", "a+b", &text.replace("w.example", "x.example"), &text[..text.len() - 4]] {
            assert!(WitnessKey::parse(wrong).is_err(), "{wrong}");
        }
        for wrong in ["old 1\n", "old 01\n\no\n0\nx\n\n", "new 1\n\n", "old 1\nx\n\no\n"] {
            assert!(AddCheckpoint::parse(wrong).is_err(), "{wrong:?}");
        }
        assert!(parse_signatures("").is_err() && parse_signatures("x\n").is_err());
    }
}
