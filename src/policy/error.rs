//! What can be wrong with a document. Every finding has a file and, where it is known, a line and a column.

use std::fmt;

/// One thing wrong with a file; prints as `file:line:column: message`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LoadError {
    /// The file as it was named when loading.
    pub file: String,
    /// Line from 1, if known.
    pub line: Option<u32>,
    /// Column from 1, if known.
    pub column: Option<u32>,
    /// A stable, machine-readable name of the kind of error.
    pub code: &'static str,
    /// What is wrong, and where it helps, what to write instead.
    pub message: String,
}

impl LoadError {
    /// A finding about the whole file.
    pub fn new(file: impl Into<String>, code: &'static str, message: impl Into<String>) -> Self {
        Self { file: file.into(), line: None, column: None, code, message: message.into() }
    }

    /// The same finding with its place (line and column from 1).
    #[must_use]
    pub fn at(mut self, line: u32, column: u32) -> Self {
        self.line = Some(line);
        self.column = Some(column);
        self
    }
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Of no file: the circumstances are at fault.
        if self.file.is_empty() {
            return f.write_str(&self.message);
        }
        f.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if let Some(column) = self.column {
            write!(f, ":{column}")?;
        }
        write!(f, ": {}", self.message)
    }
}

impl std::error::Error for LoadError {}
