//! A transparency log's mathematics and formats: the Merkle tree, its tiles, checkpoints, proofs.
//!
//! Pure: bytes in, bytes out. Knows hashes, RFC 6962 and the C2SP formats, so that other people's verifiers read what
//! we write; must not know what a leaf says, nor files.
//!
//! | what | after |
//! |---|---|
//! | [`leaf_hash`], [`node_hash`], [`Tree`] | RFC 6962 section 2.1 |
//! | [`Tile`], [`TileId`] | <https://c2sp.org/tlog-tiles> |
//! | [`Note`], [`SigningKey`], [`VerifierKey`] | <https://c2sp.org/signed-note> |
//! | [`Checkpoint`] | <https://c2sp.org/tlog-checkpoint> |
//! | [`root_of_inclusion`], [`is_consistent`] | RFC 9162 sections 2.1.3.2 and 2.1.4.2 |
//! | [`WitnessKey`], [`cosignatures`] | <https://c2sp.org/tlog-cosignature> |
//! | [`AddCheckpoint`] | <https://c2sp.org/tlog-witness> |
//! | [`InclusionProof`] | <https://c2sp.org/tlog-proof> |

mod checkpoint;
mod cosignature;
mod error;
mod hash;
mod key;
mod note;
mod proof;
mod proof_text;
mod tile;
mod tree;

pub use checkpoint::Checkpoint;
pub use cosignature::{AddCheckpoint, Cosigned, CosigningKey, WitnessKey, cosignatures, parse_signatures};
pub use error::TlogError;
pub use hash::{Hash, empty_root, leaf_hash, node_hash, subtree_root};
pub use note::{Note, Signature, SigningKey, VerifierKey};
pub use proof::{TreeReader, is_consistent, root_of_inclusion};
pub use proof_text::InclusionProof;
pub use tile::{TILE_HEIGHT, TILE_WIDTH, Tile, TileId};
pub use tree::Tree;

#[cfg(test)]
mod tests;
