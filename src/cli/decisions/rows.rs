//! Records as rows of CSV. Knows columns; what a record says is `decisions`' business.

use std::io::{self, Write};

use super::output::csv_row;
use super::{own_members, policies};
use crate::decisions::Record;

/// In the order of a table, then what is left. Lists are separated by spaces.
const COLUMNS: [&str; 24] = [
    "time",
    "id",
    "verdict",
    "cause",
    "operation",
    "group",
    "version",
    "kind",
    "resource",
    "subresource",
    "namespace",
    "name",
    "user",
    "groups",
    "dry_run",
    "mutated",
    "policies",
    "endpoint",
    "uid",
    "cluster",
    "replica",
    "seq",
    "type",
    "members",
];

/// Writes the names of the columns.
pub(super) fn head(out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "{}", COLUMNS.join(","))
}

/// Writes one record, and before it the names of the columns if it is the first. Of a record that is no decision,
/// `members` says the rest.
pub(super) fn csv(out: &mut impl Write, record: &Record, first: bool) -> io::Result<()> {
    if first {
        head(out)?;
    }
    let mut writer = csv::Writer::from_writer(Vec::new());
    let head = &record.head;
    let ending = |members: String| {
        let labels = &head.labels;
        [labels.cluster.clone(), labels.replica.clone(), head.seq.to_string(), head.r#type.as_str().to_owned(), members]
    };
    let row: Vec<String> = match record.decision() {
        Some(d) => {
            let r = &d.request;
            let name = if r.name.is_empty() { r.generate_name.clone().unwrap_or_default() } else { r.name.clone() };
            let found = policies(&d);
            let begun = [
                head.timestamp.clone(),
                d.decision_id.clone(),
                d.verdict.as_str().to_owned(),
                d.cause.as_str().to_owned(),
                r.operation.as_str().to_owned(),
                r.group.clone(),
                r.version.clone(),
                r.kind.clone(),
                r.resource.clone(),
                r.subresource.clone(),
                r.namespace.clone(),
                name,
                r.user.username.clone(),
                r.user.groups.join(" "),
                r.dry_run.to_string(),
                d.mutated.to_string(),
                if found == "-" { String::new() } else { found.replace(',', " ") },
                d.endpoint.as_str().to_owned(),
                r.uid.clone(),
            ];
            begun.into_iter().chain(ending(String::new())).collect()
        }
        None => {
            let empty = std::iter::repeat_n(String::new(), 18);
            std::iter::once(head.timestamp.clone()).chain(empty).chain(ending(own_members(record))).collect()
        }
    };
    csv_row(&mut writer, &row)?;
    out.write_all(&writer.into_inner().map_err(|e| io::Error::other(e.to_string()))?)
}
