//! Changes to a text, and the way back from the changed text to the places of the author's.
//!
//! Lines keep their numbers: what is moved to another place is put on one line there and leaves its line breaks behind.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use crate::engine::Location;
use crate::engine::evaluate::Fault;

/// What stands in place of a span; an empty span is an insertion.
#[derive(Debug, Clone)]
pub(super) struct Edit {
    pub span: Range<usize>,
    /// Of an insertion: the span that it begins or ends, and goes along with.
    pub within: Option<Range<usize>>,
    pub put: Vec<Put>,
}

/// A piece of what is put.
#[derive(Debug, Clone)]
pub(super) enum Put {
    Text(String),
    /// What stands (changed where it is to be changed) in another span, on one line.
    Copy(Range<usize>),
}

impl Edit {
    pub(super) fn of(span: Range<usize>, put: Vec<Put>) -> Self {
        Self { span, within: None, put }
    }

    pub(super) fn replace(span: Range<usize>, put: impl Into<String>) -> Self {
        Self::of(span, vec![Put::Text(put.into())])
    }

    pub(super) fn insert(at: usize, put: impl Into<String>) -> Self {
        Self::replace(at..at, put)
    }
}

/// A text where edits have been made.
#[derive(Debug, Clone)]
pub(crate) struct Places {
    original: Arc<str>,
    text: Arc<str>,
    /// By their begin in the changed text.
    segments: Vec<Segment>,
}

/// Bytes that are the same in both texts; none where something was put.
#[derive(Debug, Clone, Copy)]
struct Segment {
    at: usize,
    original: usize,
    length: usize,
}

/// Strings over several lines and comments: what cannot stand on one line as it is.
#[derive(Debug, Default)]
pub(super) struct Unflat {
    pub comments: Vec<Range<usize>>,
    pub strings: Vec<(Range<usize>, String)>,
}

/// The text with its edits made. Edits are either apart from one another or within one another; those within one that
/// replaces a span are made only in copies of it.
pub(super) fn render(original: &str, mut edits: Vec<Edit>, unflat: &Unflat) -> Places {
    let order = |e: &Edit| match &e.within {
        // What ends here stands before all that begins here; what is wider ends last and begins first.
        Some(within) if within.start < e.span.start => (0, Reverse(within.start), 0),
        None if e.span.is_empty() => (1, Reverse(0), 0),
        None => (2, Reverse(e.span.end), 0),
        Some(within) => (2, Reverse(within.end), 1),
    };
    edits.sort_by_key(|e| (e.span.start, order(e)));
    let mut renderer =
        Renderer { original, edits: &edits, unflat, out: String::new(), segments: Vec::new(), flat: false };
    renderer.span(0..original.len(), true);
    let Renderer { out, segments, .. } = renderer;
    Places { original: original.into(), text: out.into(), segments }
}

struct Renderer<'e> {
    original: &'e str,
    edits: &'e [Edit],
    unflat: &'e Unflat,
    out: String,
    segments: Vec<Segment>,
    flat: bool,
}

impl Renderer<'_> {
    /// `whole` says that edits of the span itself are made too, not only those within it.
    fn span(&mut self, span: Range<usize>, whole: bool) {
        let mut at = span.start;
        let mut replaced = 0..0;
        let edits = self.edits;
        for edit in edits {
            let e = &edit.span;
            let gone = |w: &Range<usize>| w.start >= replaced.start && w.end <= replaced.end && !replaced.is_empty();
            let inside = if let Some(within) = &edit.within {
                !gone(within) && within.start >= span.start && within.end <= span.end
            } else if whole {
                e.end <= span.end
            } else if e.is_empty() {
                e.start > span.start && e.start < span.end
            } else {
                e.start >= span.start && e.end <= span.end && *e != span
            };
            if e.start < at || !inside {
                continue;
            }
            self.source(at..e.start);
            for put in &edit.put {
                match put {
                    Put::Text(text) if self.flat => self.text(&text.replace('\n', ""), e.start),
                    Put::Text(text) => self.text(text, e.start),
                    Put::Copy(copied) => {
                        let flat = std::mem::replace(&mut self.flat, true);
                        self.span(copied.clone(), false);
                        self.flat = flat;
                    }
                }
            }
            at = e.end;
            if !e.is_empty() {
                replaced = e.clone();
            }
        }
        self.source(at..span.end);
    }

    fn text(&mut self, text: &str, original: usize) {
        self.segments.push(Segment { at: self.out.len(), original, length: 0 });
        self.out.push_str(text);
    }

    fn source(&mut self, span: Range<usize>) {
        if span.is_empty() {
            return;
        }
        if !self.flat {
            self.verbatim(span);
            return;
        }
        let mut at = span.start;
        while at < span.end {
            let within = |s: &&(Range<usize>, String)| s.0.start >= at && s.0.end <= span.end;
            let string = self.unflat.strings.iter().find(within);
            let end = string.map_or(span.end, |s| s.0.start);
            let start = self.out.len();
            self.verbatim(at..end);
            let flat = self.out.split_off(start);
            let bytes = flat.char_indices().map(|(offset, c)| match c {
                '\n' => ' ',
                _ if self.unflat.comments.iter().any(|c| c.contains(&(at + offset))) => ' ',
                c => c,
            });
            let flat: String = bytes.collect();
            self.out.push_str(&flat);
            at = end;
            if let Some((string, quoted)) = string {
                self.text(quoted, string.start);
                at = string.end;
            }
        }
    }

    fn verbatim(&mut self, span: Range<usize>) {
        self.segments.push(Segment { at: self.out.len(), original: span.start, length: span.len() });
        self.out.push_str(self.original.get(span).unwrap_or_default());
    }
}

impl Places {
    /// A text that is read as it is.
    pub(crate) fn same(text: &str) -> Self {
        let text: Arc<str> = text.into();
        let segments = vec![Segment { at: 0, original: 0, length: text.len() }];
        Self { original: Arc::clone(&text), text, segments }
    }

    /// The same places in a text whose parts stand at the same bytes.
    pub(crate) fn alike(&self, text: &str) -> Self {
        Self { original: Arc::clone(&self.original), text: text.into(), segments: self.segments.clone() }
    }

    /// What the engine reads.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Line and column, in characters from 1, of the author's text, of a byte of the changed text.
    pub(crate) fn of_offset(&self, offset: usize) -> (u32, u32) {
        let before = self.segments.partition_point(|s| s.at <= offset).checked_sub(1);
        let segment = before.and_then(|n| self.segments.get(n));
        let original = segment.map_or(offset, |s| s.original + (offset - s.at).min(s.length));
        line_and_column(&self.original, original)
    }

    /// What the author wrote where the changed text has this span.
    pub(crate) fn written(&self, span: Range<usize>) -> &str {
        let before = |offset: usize| self.segments.partition_point(|s| s.at < offset).checked_sub(1);
        let start = self.segments.get(self.segments.partition_point(|s| s.at <= span.start).saturating_sub(1));
        let start = start.map_or(span.start, |s| s.original + (span.start - s.at).min(s.length));
        let last = before(span.end);
        let end = match last.and_then(|n| self.segments.get(n)) {
            Some(s) if s.length > 0 => s.original + (span.end - s.at).min(s.length),
            // What was put there stands for all up to what follows.
            _ => last.and_then(|n| self.segments.get(n + 1)).map_or(self.original.len(), |s| s.original),
        };
        self.original.get(start..end).unwrap_or_default()
    }

    /// The same of a line and a column of the changed text; `tab` is how many columns a tab counts.
    fn of_place(&self, line: u32, column: u32, tab: u32) -> Option<(u32, u32)> {
        let text = self.text.split('\n').nth(usize::try_from(line).ok()?.checked_sub(1)?)?;
        let start = self.text.split_inclusive('\n').take(usize::try_from(line).ok()? - 1).map(str::len).sum::<usize>();
        if text.trim().is_empty() {
            return None;
        }
        let mut reached = 1;
        let offset = text.char_indices().find(|(_, c)| {
            let here = reached >= column;
            reached += if *c == '\t' { tab } else { 1 };
            here
        });
        Some(self.of_offset(start + offset.map_or(text.len(), |(at, _)| at)))
    }

    /// A place in the changed text, its column in characters, as one in the author's.
    pub(crate) fn place(&self, at: &mut Location) {
        if let Some((line, column)) = self.of_place(at.line, at.column, 1) {
            (at.line, at.column) = (line, column);
        }
    }
}

/// The places of a unit's files. A file may be read as several modules, each with the others' rules left out.
#[derive(Debug, Clone, Default)]
pub(crate) struct Originals(BTreeMap<String, Vec<Arc<Places>>>);

impl Originals {
    pub(crate) fn add(&mut self, path: &str, places: &Arc<Places>) {
        self.0.entry(path.to_owned()).or_default().push(Arc::clone(places));
    }

    /// A fault with its place in the author's text.
    pub(crate) fn fault(&self, fault: Fault) -> Fault {
        Fault { location: fault.location.map(|at| self.place(at)), ..fault }
    }

    /// A place of the engine, which counts a tab as four columns, as one of the author's text.
    pub(crate) fn place(&self, at: Location) -> Location {
        self.place_where_tabs_count(4, at)
    }

    /// A place whose column is counted in characters, as one of the author's text.
    pub(crate) fn place_of_span(&self, at: Location) -> Location {
        self.place_where_tabs_count(1, at)
    }

    fn place_where_tabs_count(&self, tab: u32, at: Location) -> Location {
        let found = self.0.get(&at.file).into_iter().flatten().find_map(|p| p.of_place(at.line, at.column, tab));
        match found {
            Some((line, column)) => Location { line, column, ..at },
            None => at,
        }
    }
}

/// Line and column, in characters, both from 1.
pub(crate) fn line_and_column(text: &str, offset: usize) -> (u32, u32) {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
    (u32::try_from(line).unwrap_or(u32::MAX), u32::try_from(column).unwrap_or(u32::MAX))
}
