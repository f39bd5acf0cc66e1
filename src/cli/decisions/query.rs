//! `portcullis decisions query`: SQL over an index of the log. Knows arguments and layout.

use std::cell::{OnceCell, RefCell};
use std::io::{self, BufWriter, Write as _};
use std::path::PathBuf;

use anyhow::bail;
use clap::Args;
use serde_json::{Map, Value};

use super::output::{Output, csv_row};
use super::{plain, progress};
use crate::cli::Exit;
use crate::cli::style::Style;
use crate::decisions::LogReader;
use crate::decisions::index::Index;

/// Rows by which the widths of a table's columns are measured; longer cells further down stand out.
const MEASURED: usize = 1000;

/// Ask the log in SQL
///
/// The log is copied into a SQLite index beside it first, and each time only what is new. Tables: `decision`,
/// `violation`, `error`, `exception`, `record`; `.schema` prints them, docs/evidence.md explains them. Only reading is
/// allowed.
///
///   portcullis decisions query "SELECT policy, count(*) FROM violation GROUP BY policy ORDER BY 2 DESC"
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct QueryArgs {
    /// One SELECT, or `.schema`
    #[arg(value_name = "SQL")]
    sql: String,
    /// Directory of a decision log; once for each replica. Default: `decisions` in the state directory
    #[arg(long, value_name = "DIR", env = "PORTCULLIS_DECISION_LOG", value_delimiter = ',')]
    decision_log: Vec<PathBuf>,
    /// State directory of `portcullis serve`
    #[arg(long, value_name = "DIR", env = "PORTCULLIS_STATE_DIR", default_value = ".portcullis")]
    state_dir: PathBuf,
    /// File of the index. Default: beside the (first) log, with the suffix `.index.sqlite`
    #[arg(long, value_name = "FILE")]
    index: Option<PathBuf>,
    /// How to print; `json` gives one object a row
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

/// Runs the command.
///
/// # Errors
/// A log that cannot be read, a query that SQLite refuses.
pub(super) fn query(args: &QueryArgs) -> anyhow::Result<Exit> {
    let mut dirs = args.decision_log.clone();
    if dirs.is_empty() {
        dirs.push(args.state_dir.join("decisions"));
    }
    for dir in &dirs {
        if LogReader::open(dir).is_err() {
            bail!("no decision log in `{}`; name one with --decision-log or --state-dir", dir.display());
        }
    }
    let beside = || dirs.first().map(|d| d.with_extension("index.sqlite")).unwrap_or_default();
    let mut index = Index::open(&args.index.clone().unwrap_or_else(beside))?;
    let sql = match args.sql.trim() {
        ".schema" => "SELECT sql FROM sqlite_schema WHERE type = 'table' AND name != 'segment'",
        sql => sql,
    };
    index.check(sql)?;
    let bar = progress::count("records read into the index");
    let updated = index.update(&dirs, &mut || bar.inc(1));
    bar.finish_and_clear();
    let updated = updated?;
    if updated.unreadable > 0 {
        eprintln!("{}: {} lines of the log are no records", Style::stderr().yellow("warning"), updated.unreadable);
    }
    if updated.anew > 0 {
        eprintln!(
            "{}: {} of the log's segments were not as they had been read and were read anew; see what `portcullis decisions verify` says",
            Style::stderr().yellow("warning"),
            updated.anew
        );
    }
    match args.output {
        Output::Table => table(&index, sql)?,
        Output::Json => json(&index, sql)?,
        Output::Csv => csv(&index, sql)?,
    }
    Ok(Exit::Fine)
}

fn json(index: &Index, sql: &str) -> anyhow::Result<()> {
    let mut out = BufWriter::new(io::stdout());
    let names = OnceCell::new();
    index.query(
        sql,
        |columns| {
            let _ = names.set(distinct(columns));
            Ok::<(), anyhow::Error>(())
        },
        |cells| {
            let names: &[String] = names.get().map_or(&[], Vec::as_slice);
            let row: Map<String, Value> = names.iter().cloned().zip(cells.iter().cloned()).collect();
            Ok(writeln!(out, "{}", Value::Object(row))?)
        },
    )?;
    Ok(out.flush()?)
}

/// Names of columns, those that came before with a number: an object has each once.
fn distinct(columns: &[String]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for column in columns {
        let numbered = (2..).map(|n| format!("{column}_{n}"));
        let taken = |name: &String| names.contains(name) || (name != column && columns.contains(name));
        let name = std::iter::once(column.clone()).chain(numbered).find(|name| !taken(name));
        names.extend(name);
    }
    names
}

fn csv(index: &Index, sql: &str) -> anyhow::Result<()> {
    let writer = RefCell::new(csv::Writer::from_writer(io::stdout()));
    index.query(
        sql,
        |columns| Ok::<(), anyhow::Error>(csv_row(&mut writer.borrow_mut(), columns)?),
        |cells| Ok(csv_row(&mut writer.borrow_mut(), cells.iter().map(text))?),
    )?;
    Ok(writer.borrow_mut().flush()?)
}

fn text(cell: &Value) -> String {
    match cell {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Rows as they come, in columns as wide as the first thousand rows need.
fn table(index: &Index, sql: &str) -> anyhow::Result<()> {
    let mut out = BufWriter::new(io::stdout());
    let (held, mut widths): (RefCell<Vec<Vec<String>>>, Vec<usize>) = (RefCell::default(), Vec::new());
    let (mut count, mut written) = (0_u64, false);
    let line = |out: &mut BufWriter<io::Stdout>, cells: &[String], widths: &[usize]| {
        let padded: Vec<String> = cells.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        writeln!(out, "{}", padded.join("  ").trim_end())
    };
    let head = |columns: &[String]| {
        held.borrow_mut().push(columns.iter().map(|c| plain(&c.to_uppercase())).collect());
        Ok::<(), anyhow::Error>(())
    };
    index.query(sql, head, |cells| {
        count += 1;
        let mut held = held.borrow_mut();
        held.push(cells.iter().map(|c| plain(&text(c))).collect());
        if held.len() > MEASURED || written {
            widths = if written { std::mem::take(&mut widths) } else { measure(&held) };
            written = true;
            for row in held.drain(..) {
                line(&mut out, &row, &widths)?;
            }
        }
        Ok(())
    })?;
    let held = held.into_inner();
    if !written {
        widths = measure(&held);
    }
    for row in held {
        line(&mut out, &row, &widths)?;
    }
    out.flush()?;
    eprintln!("{count} row{}", if count == 1 { "" } else { "s" });
    Ok(())
}

fn measure(rows: &[Vec<String>]) -> Vec<usize> {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |n: usize| {
        rows.iter().filter_map(|row| row.get(n)).map(|c: &String| c.chars().count()).max().unwrap_or_default()
    };
    (0..columns).map(width).collect()
}
