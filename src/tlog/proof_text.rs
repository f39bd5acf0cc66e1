//! Inclusion proofs as text that needs nothing but a public key (C2SP tlog-proof). Knows the lines and how they are
//! checked together; must not know what the leaf says.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::tlog::checkpoint::decimal;
use crate::tlog::{Checkpoint, Hash, Note, TlogError, VerifierKey, leaf_hash, root_of_inclusion};

const HEAD: &str = "c2sp.org/tlog-proof@v1\n";
/// The longest path: a tree of 2^64 leaves.
const MAX_PATH: usize = 64;

/// Proof that a leaf is in a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InclusionProof {
    /// What the application needs to find the leaf; for us the leaf itself. Not covered by anything but the check of
    /// the leaf.
    pub extra: Option<Vec<u8>>,
    /// Index of the leaf.
    pub index: u64,
    /// From the leaf's sibling to the root's child.
    pub path: Vec<Hash>,
    /// The signed checkpoint.
    pub checkpoint: Note,
}

impl InclusionProof {
    /// Reads a proof.
    ///
    /// # Errors
    /// [`TlogError::Proof`], [`TlogError::Note`].
    pub fn parse(text: &str) -> Result<Self, TlogError> {
        let wrong = TlogError::Proof;
        let rest = text.strip_prefix(HEAD).ok_or(wrong("its first line is not `c2sp.org/tlog-proof@v1`"))?;
        let (head, checkpoint) = rest.split_once("\n\n").ok_or(wrong("it has no checkpoint"))?;
        let mut lines = head.split('\n').peekable();
        let extra = lines.next_if(|line| line.starts_with("extra ")).and_then(|line| line.strip_prefix("extra "));
        let extra = extra.map(|e| STANDARD.decode(e)).transpose().map_err(|_| wrong("`extra` is no base64"))?;
        let index = lines.next().and_then(|line| decimal(line.strip_prefix("index ")?));
        let index = index.ok_or(wrong("it has no index"))?;
        let path = lines.map(Hash::from_base64).collect::<Option<Vec<_>>>();
        let path = path.filter(|p| p.len() <= MAX_PATH).ok_or(wrong("its path cannot be read"))?;
        Ok(Self { extra, index, path, checkpoint: Note::parse(checkpoint)? })
    }

    /// Checks that `leaf` is in the log of one of `keys`; gives the checkpoint and the key that signed it.
    ///
    /// # Errors
    /// As [`Note::verify`] and [`Checkpoint::parse`]; [`TlogError::NotIncluded`].
    pub fn verify<'k>(&self, leaf: &[u8], keys: &'k [VerifierKey]) -> Result<(Checkpoint, &'k VerifierKey), TlogError> {
        let key = self.checkpoint.verify(keys)?;
        let checkpoint = Checkpoint::parse(&self.checkpoint.text)?;
        if checkpoint.origin != key.name() {
            return Err(TlogError::Checkpoint("its origin is not the name of the key that signed it"));
        }
        let root = root_of_inclusion(&leaf_hash(leaf), self.index, checkpoint.size, &self.path);
        if root == Some(checkpoint.root) {
            Ok((checkpoint, key))
        } else {
            Err(TlogError::NotIncluded { index: self.index })
        }
    }
}

impl fmt::Display for InclusionProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HEAD)?;
        if let Some(extra) = &self.extra {
            writeln!(f, "extra {}", STANDARD.encode(extra))?;
        }
        writeln!(f, "index {}", self.index)?;
        for hash in &self.path {
            writeln!(f, "{hash}")?;
        }
        write!(f, "\n{}", self.checkpoint)
    }
}
