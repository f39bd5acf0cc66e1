//! Records of one tile side by side with their places: what a check holds against the tile. Knows no files.

use std::path::Path;

use crate::decisions::segments::envelope_path;
use crate::decisions::verify::FindingCode;
use crate::tlog::Hash;

/// A line of a segment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub segment: u64,
    pub line: u64,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", segment_name(self.segment), self.line)
    }
}

/// A record's place in the tree, as its line has it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cell {
    pub hash: Option<Hash>,
    pub place: Place,
    /// What is wrong with its body. Of a record that is not the one that was signed it says nothing.
    pub body: Option<FindingCode>,
}

/// Which side leads to the root.
#[derive(PartialEq, Eq)]
pub(super) enum Side {
    Tile,
    Lines,
}

/// The side that leads to the root, the tile asked first; `None` when neither does.
pub(super) fn leads_first(mut leads: impl FnMut(&[Hash]) -> bool, stored: &[Hash], computed: &[Hash]) -> Option<Side> {
    if leads(stored) {
        Some(Side::Tile)
    } else if leads(computed) {
        Some(Side::Lines)
    } else {
        None
    }
}

fn segment_name(first_seq: u64) -> String {
    envelope_path(Path::new(""), first_seq).display().to_string()
}
