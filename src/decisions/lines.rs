//! Lines of a file, one after another, in bounded memory. Knows line feeds and offsets; must not know what a line says.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Seek as _, SeekFrom};
use std::path::Path;

/// Read ahead: large enough that a disk is busy, small enough to stay in its cache.
const BUFFER: usize = 256 * 1024;

/// Bytes of a line that are held. A body has at most 256 MiB before it is escaped and masked, and mostly a thousandth of
/// that; what is longer was not written by a server, so that its rest need not be known.
const MAX_LINE: usize = 1 << 30;
/// By how much the room for a long line grows at once: it needs its own length, not twice that.
const GROWTH: usize = 4 << 20;

/// A file being read by lines.
pub(super) struct Lines {
    reader: BufReader<File>,
    line: Vec<u8>,
    offset: u64,
    most: usize,
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
        Ok(Self { reader: BufReader::with_capacity(BUFFER, file), line: Vec::new(), offset, most: MAX_LINE })
    }

    /// The same, holding no more than `most` bytes of a line.
    pub(super) fn at_most(self, most: usize) -> Self {
        Self { most, ..self }
    }

    /// The next line; `None` at the end.
    pub(super) fn next(&mut self) -> io::Result<Option<Line<'_>>> {
        let Some(Read { length, finished }) = read_line(&mut self.reader, &mut self.line, self.most)? else {
            return Ok(None);
        };
        let offset = self.offset;
        self.offset += length;
        let bytes = self.line.strip_suffix(b"\n").unwrap_or(&self.line);
        Ok(Some(Line { offset, bytes, finished }))
    }

    /// The next finished line; `None` at the end, and at one that is not finished.
    pub(super) fn next_finished(&mut self) -> io::Result<Option<Line<'_>>> {
        Ok(self.next()?.filter(|line| line.finished))
    }
}

/// A line that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Read {
    /// Bytes with its line feed, also those that were not held.
    pub length: u64,
    /// Whether it has a line feed.
    pub finished: bool,
}

/// Reads the next line into `line`, with its line feed, of which no more than `most` bytes are held; `None` at the end.
pub(super) fn read_line(reader: &mut impl BufRead, line: &mut Vec<u8>, most: usize) -> io::Result<Option<Read>> {
    line.clear();
    let (mut length, mut finished) = (0, false);
    while !finished && line.len() < most {
        let more = line.len().clamp(64 << 10, GROWTH).min(most - line.len());
        if !line.is_empty() && line.capacity() < line.len() + more {
            line.reserve_exact(more);
        }
        let read = read_to(reader, line, u64::try_from(more).unwrap_or(u64::MAX))?;
        if read == 0 {
            break;
        }
        length += read;
        finished = line.last() == Some(&b'\n');
    }
    if line.len() >= most && !finished {
        let mut rest = Vec::new();
        loop {
            rest.clear();
            let read = read_to(reader, &mut rest, DRAIN)?;
            length += read;
            finished = rest.last() == Some(&b'\n');
            if read == 0 || finished {
                break;
            }
        }
    }
    Ok((length > 0).then_some(Read { length, finished }))
}

/// Bytes of what is not held that are read at once.
const DRAIN: u64 = 1 << 20;

fn read_to(reader: &mut impl BufRead, line: &mut Vec<u8>, limit: u64) -> io::Result<u64> {
    io::Read::take(reader, limit).read_until(b'\n', line).map(|read| u64::try_from(read).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_line_without_end_no_more_is_held_than_may_be() {
        let mut reader = BufReader::with_capacity(7, &b"short\n\nfar too long a line\nexactly8\nend"[..]);
        let mut line = Vec::new();
        let mut next = || {
            let read = read_line(&mut reader, &mut line, 8).expect("reads");
            read.map(|read| (read.length, read.finished, line.len()))
        };
        assert_eq!(next(), Some((6, true, 6)));
        assert_eq!(next(), Some((1, true, 1)));
        assert_eq!(next(), Some((20, true, 8)));
        assert_eq!(next(), Some((9, true, 8)));
        assert_eq!(next(), Some((3, false, 3)));
        assert_eq!(next(), None);
    }
}
