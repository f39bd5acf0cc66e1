//! Checkpoints: what a log says its tree is (C2SP tlog-checkpoint). Knows the text; keys and signatures are notes'.

use std::fmt;

use crate::tlog::{Hash, Note, SigningKey, TlogError, VerifierKey};

/// A log's tree at one size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The log's name.
    pub origin: String,
    /// Leaves.
    pub size: u64,
    /// Root over them.
    pub root: Hash,
}

impl Checkpoint {
    /// The text that is signed: origin, size and root, a line each.
    #[must_use]
    pub fn text(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, self.root)
    }

    /// Signs it.
    #[must_use]
    pub fn sign(&self, key: &SigningKey) -> Note {
        let text = self.text();
        let signatures = vec![key.sign(&text)];
        Note { text, signatures }
    }

    /// Reads a signed text. Extension lines are taken and not looked at.
    ///
    /// # Errors
    /// [`TlogError::Checkpoint`].
    pub fn parse(text: &str) -> Result<Self, TlogError> {
        let wrong = TlogError::Checkpoint;
        let body = text.strip_suffix('\n').ok_or(wrong("its last line does not end"))?;
        let mut lines = body.split('\n');
        let (Some(origin), Some(size), Some(root)) = (lines.next(), lines.next(), lines.next()) else {
            return Err(wrong("it has fewer than three lines"));
        };
        if origin.is_empty() || lines.any(str::is_empty) {
            return Err(wrong("it has an empty line"));
        }
        let size = decimal(size).ok_or(wrong("its second line is no tree size"))?;
        let root = Hash::from_base64(root).ok_or(wrong("its third line is no root hash"))?;
        Ok(Self { origin: origin.to_owned(), size, root })
    }

    /// Reads a signed checkpoint that one of `keys` signed.
    ///
    /// # Errors
    /// As [`Note::parse`], [`Note::verify`] and [`parse`](Self::parse).
    pub fn open<'k>(note: &str, keys: &'k [VerifierKey]) -> Result<(Self, &'k VerifierKey), TlogError> {
        let note = Note::parse(note)?;
        let key = note.verify(keys)?;
        Ok((Self::parse(&note.text)?, key))
    }

    /// Reads what [`Display`](fmt::Display) writes; `None` for anything else.
    #[must_use]
    pub fn parse_anchor(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let (origin, size, root) = (words.next()?, words.next()?, words.next()?);
        let whole = words.next().is_none() && !origin.is_empty();
        let checkpoint = Self { origin: origin.to_owned(), size: decimal(size)?, root: Hash::from_base64(root)? };
        whole.then_some(checkpoint)
    }
}

/// `<origin> <size> <root>`: one line for places that take no more, such as audit annotations.
impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.origin, self.size, self.root)
    }
}

/// A number in decimal, without sign and leading zeros.
pub(super) fn decimal(text: &str) -> Option<u64> {
    let number: u64 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tlog::empty_root;

    #[test]
    fn a_checkpoint_reads_back_in_both_forms() {
        let checkpoint = Checkpoint { origin: "example.com/log".to_owned(), size: 42, root: empty_root() };
        let key = SigningKey::from_seed("example.com/log", &[3; 32]).expect("a key");
        let note = checkpoint.sign(&key).to_string();
        let keys = [key.verifier().clone()];
        assert_eq!(Checkpoint::open(&note, &keys), Ok((checkpoint.clone(), &keys[0])));
        assert_eq!(Checkpoint::parse_anchor(&checkpoint.to_string()), Some(checkpoint.clone()));
        assert_eq!(Checkpoint::parse(&format!("{}extension\n", checkpoint.text())), Ok(checkpoint));
    }

    #[test]
    fn what_is_no_checkpoint_is_refused() {
        const ROOT: &str = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";
        for wrong in [
            String::new(),
            format!("\n1\n{ROOT}\n"),
            format!("o\n01\n{ROOT}\n"),
            format!("o\n+1\n{ROOT}\n"),
            format!("o\n1\n{ROOT}"),
            format!("o\n1\n{ROOT}\n\n"),
            "o\n1\nshort\n".to_owned(),
        ] {
            assert!(Checkpoint::parse(&wrong).is_err(), "{wrong:?}");
        }
        for wrong in [format!("o 1 {ROOT} x"), format!(" 1 {ROOT}"), format!("o  1 {ROOT}"), "o 1".to_owned()] {
            assert_eq!(Checkpoint::parse_anchor(&wrong), None, "{wrong:?}");
        }
    }
}
