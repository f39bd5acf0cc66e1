//! What can be wrong with keys, notes, checkpoints, tiles and proofs. Messages name the format, never a file.

/// Why bytes are not what they should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TlogError {
    /// A verifier key cannot be read.
    #[error("`{text}` is no verifier key: {message}; it looks like `<origin>+<8 hex digits>+<base64>`")]
    Key {
        /// What was given.
        text: String,
        /// What is wrong.
        message: &'static str,
    },
    /// A signed note cannot be read.
    #[error("not a signed note: {0}")]
    Note(&'static str),
    /// No signature of a known key.
    #[error("not signed by {wanted}; the signatures are of {found}")]
    Unsigned {
        /// The known keys.
        wanted: String,
        /// The names in the note.
        found: String,
    },
    /// A signature of a known key does not hold.
    #[error("the signature of `{key}` does not hold: the text was changed, or another key signed it")]
    Forged {
        /// The key.
        key: String,
    },
    /// Too few witnesses signed.
    #[error("{found} of the witnesses signed it, and {wanted} must have")]
    Unwitnessed {
        /// How many must have.
        wanted: usize,
        /// How many did.
        found: usize,
    },
    /// A checkpoint's text cannot be read.
    #[error("not a checkpoint: {0}")]
    Checkpoint(&'static str),
    /// A proof's text cannot be read.
    #[error("not a proof: {0}")]
    Proof(&'static str),
    /// A proof does not lead to the root.
    #[error("the proof does not lead to the root of the checkpoint: the record is not record {index} of this log")]
    NotIncluded {
        /// Index of the leaf.
        index: u64,
    },
    /// A tile has another length than its name says.
    #[error("tile `{path}` holds {found} bytes, not {wanted}")]
    Tile {
        /// Its path.
        path: String,
        /// Bytes there.
        found: usize,
        /// Bytes it should have.
        wanted: usize,
    },
    /// What was asked for is outside the tree.
    #[error("record {index} is not in a tree of {size} records")]
    Outside {
        /// The index asked for.
        index: u64,
        /// Size of the tree.
        size: u64,
    },
}

impl TlogError {
    /// A stable, machine-readable name of the error.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Key { .. } => "key",
            Self::Note(_) => "note",
            Self::Unsigned { .. } => "unsigned",
            Self::Forged { .. } => "forged",
            Self::Unwitnessed { .. } => "unwitnessed",
            Self::Checkpoint(_) => "checkpoint",
            Self::Proof(_) => "proof",
            Self::NotIncluded { .. } => "not_included",
            Self::Tile { .. } => "tile",
            Self::Outside { .. } => "outside",
        }
    }
}
