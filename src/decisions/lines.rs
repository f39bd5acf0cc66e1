//! Lines of a file, one after another, in constant memory. Knows line feeds and offsets; must not know what a line says.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Seek as _, SeekFrom};
use std::path::Path;

/// Read ahead: large enough that a disk is busy, small enough to stay in its cache.
const BUFFER: usize = 256 * 1024;

/// A file being read by lines.
pub(super) struct Lines {
    reader: BufReader<File>,
    line: Vec<u8>,
    offset: u64,
}

/// One line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Line<'l> {
    /// Where in the file it begins.
    pub offset: u64,
    /// Without its line feed.
    pub bytes: &'l [u8],
    /// Whether it has a line feed; one that has none is still being written, or was when the process died.
    pub finished: bool,
}

impl Lines {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        Self::open_at(path, 0)
    }

    /// From the line on that begins at `offset`.
    pub(super) fn open_at(path: &Path, offset: u64) -> io::Result<Self> {
        let mut file = File::open(path)?;
        // A pipe can only be read from its beginning.
        if offset > 0 {
            file.seek(SeekFrom::Start(offset))?;
        }
        Ok(Self { reader: BufReader::with_capacity(BUFFER, file), line: Vec::new(), offset })
    }

    /// The next line; `None` at the end.
    pub(super) fn next(&mut self) -> io::Result<Option<Line<'_>>> {
        self.line.clear();
        let read = self.reader.read_until(b'\n', &mut self.line)?;
        if read == 0 {
            return Ok(None);
        }
        let offset = self.offset;
        self.offset += u64::try_from(read).unwrap_or(u64::MAX);
        let finished = self.line.last() == Some(&b'\n');
        let bytes = self.line.strip_suffix(b"\n").unwrap_or(&self.line);
        Ok(Some(Line { offset, bytes, finished }))
    }

    /// The next finished line; `None` at the end, and at one that is not finished.
    pub(super) fn next_finished(&mut self) -> io::Result<Option<Line<'_>>> {
        Ok(self.next()?.filter(|line| line.finished))
    }
}
