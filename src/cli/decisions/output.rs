//! How the commands on the log print.

use std::borrow::Cow;
use std::io::Write;

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

/// Writes a row of CSV whose cells no spreadsheet takes for formulas.
pub(super) fn csv_row<T: AsRef<str>>(
    writer: &mut csv::Writer<impl Write>,
    cells: impl IntoIterator<Item = T>,
) -> csv::Result<()> {
    for text in cells {
        writer.write_field(cell(text.as_ref()).as_bytes())?;
    }
    writer.write_record(None::<&[u8]>)
}

/// A text with `'` before it where a spreadsheet would take it for a formula; numbers, and a dash for nothing, stay.
fn cell(text: &str) -> Cow<'_, str> {
    let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    if !formula || text == "-" || text.parse::<f64>().is_ok() { text.into() } else { format!("'{text}").into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_cell_is_a_formula() {
        for (text, written) in [
            ("=1+1", "'=1+1"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("+cmd|' /C calc'!A0", "'+cmd|' /C calc'!A0"),
            ("-2+3", "'-2+3"),
            ("\t=1", "'\t=1"),
            ("\r=1", "'\r=1"),
            ("-5", "-5"),
            ("+1.5", "+1.5"),
            ("-", "-"),
            ("", ""),
            ("alice", "alice"),
            ("a=b", "a=b"),
        ] {
            assert_eq!(cell(text), written);
        }
    }
}
