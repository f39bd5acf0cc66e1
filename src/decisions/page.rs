//! Reading a log page by page, within bounds: for readers that wait somewhere else. Must not know who they are.

use std::ops::ControlFlow;
use std::path::Path;
use std::time::Instant;

use crate::decisions::LogError;
use crate::decisions::query::{Filter, Flaws, LogReader, Record};
use crate::decisions::sieve::{Sieve, Sifted};
use crate::decisions::tree_files::{checkpoint_path, read_tile};
use crate::tlog::TileId;

/// What a page may take.
#[derive(Debug, Clone, Copy)]
pub struct PageBounds {
    /// Records.
    pub records: usize,
    /// Bytes of their lines; the first record always has room.
    pub bytes: usize,
    /// Time.
    pub until: Instant,
}

/// Some records, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    /// The records.
    pub records: Vec<Record>,
    /// The number of the record to go on from.
    pub next: u64,
    /// Whether the log goes on there; else it was read to its end.
    pub more: bool,
    /// Decisions among those looked at that may be wanted: what would say so was cut from their records.
    pub unjudged: u64,
}

impl LogReader {
    /// The wanted records from number `from` on, as far as the bounds allow.
    ///
    /// # Errors
    /// [`LogError::Io`].
    pub fn page(
        &self,
        filter: &Filter,
        from: u64,
        bounds: PageBounds,
        mut wanted: impl FnMut(&Record) -> bool,
    ) -> Result<Page, LogError> {
        let (mut page, mut bytes) = (Page { next: from, ..Page::default() }, 0);
        let sieve = Sieve::new(filter);
        let mut flaws = Flaws::default();
        for span in self.within(filter)? {
            if span.end.is_some_and(|end| end <= from) {
                continue;
            }
            let flow = self.read(&span, &mut flaws, &mut |located| {
                if located.seq < from {
                    return ControlFlow::Continue(());
                }
                let full = page.records.len() >= bounds.records
                    || (!page.records.is_empty() && bytes + located.line.len() > bounds.bytes);
                // Looking at the clock costs as much as looking at a line.
                let late = located.seq % 64 == 0 && located.seq > from && Instant::now() >= bounds.until;
                if full || late {
                    (page.next, page.more) = (located.seq, true);
                    return ControlFlow::Break(());
                }
                page.next = located.seq + 1;
                match sieve.sift(located.line) {
                    Sifted::Wanted(record) if wanted(&record) => {
                        bytes += record.line.len();
                        page.records.push(*record);
                    }
                    Sifted::Unjudged(record) if wanted(&record) => page.unjudged += 1,
                    _ => {}
                }
                ControlFlow::Continue(())
            });
            if flow?.is_break() {
                break;
            }
        }
        Ok(page)
    }
}

/// What is served of the tree, as C2SP tlog-tiles names it: `checkpoint`, `tile/..`. `None` when there is no such file.
///
/// # Errors
/// [`LogError::Io`].
pub fn tree_file(dir: &Path, name: &str) -> Result<Option<Vec<u8>>, LogError> {
    if name == "checkpoint" {
        let path = checkpoint_path(dir);
        return match std::fs::read(&path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            other => other.map(Some).map_err(|e| LogError::io("read", &path, &e)),
        };
    }
    let Some(id) = TileId::parse(name).filter(|id| id.level < 8 && (1..=256).contains(&id.width)) else {
        return Ok(None);
    };
    match read_tile(dir, id) {
        Ok(tile) => Ok(Some(tile.bytes())),
        Err(LogError::Io { kind: std::io::ErrorKind::NotFound, .. }) => Ok(None),
        Err(error) => Err(error),
    }
}
