//! How the commands on the log print.

use clap::ValueEnum;

/// Rows: for people, for programs, for spreadsheets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Output {
    Table,
    Json,
    Csv,
}

/// Few words, or one document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum ShortOutput {
    Table,
    Json,
}
