//! Results of a query for people: one value as JSON, several as a table, as `opa eval --format pretty` has them.

use serde_json::Value;

use crate::cli::eval::query::Row;

/// A column: a variable, or the expression with this number.
enum Column {
    Variable(String),
    Expression(usize),
}

/// The rows as people read them; `undefined` where there are none. Cells are cut after `limit` bytes, 0 cuts nothing.
pub(super) fn pretty(rows: &[Row], limit: usize) -> String {
    let Some(first) = rows.first() else { return "undefined\n".to_owned() };
    if let ([row], true) = (rows, first.bindings.is_empty())
        && (row.expressions.len() == 1 || row.expressions.iter().all(|e| e.value.is_boolean()))
    {
        let value = row.expressions.first().map(|e| &e.value);
        return value.map(|v| format!("{v:#}\n")).unwrap_or_default();
    }
    let columns = columns(first);
    let header: Vec<String> = columns
        .iter()
        .map(|column| match column {
            Column::Variable(name) => name.clone(),
            Column::Expression(n) => first.expressions.get(*n).map(|e| e.text.clone()).unwrap_or_default(),
        })
        .collect();
    let cell = |row: &Row, column: &Column| {
        let value = match column {
            Column::Variable(name) => row.bindings.get(name),
            Column::Expression(n) => row.expressions.get(*n).map(|e| &e.value),
        };
        cut(value.unwrap_or(&Value::Null).to_string(), limit)
    };
    let body: Vec<Vec<String>> = rows.iter().map(|row| columns.iter().map(|c| cell(row, c)).collect()).collect();
    table(&header, &body)
}

/// Variables by name, then the expressions that are not merely true or false.
fn columns(row: &Row) -> Vec<Column> {
    let mut names: Vec<&String> = row.bindings.keys().collect();
    names.sort();
    let told = |value: &Value| !value.is_boolean() || row.bindings.is_empty();
    let expressions = row.expressions.iter().enumerate().filter(|(_, e)| told(&e.value));
    let variables = names.into_iter().cloned().map(Column::Variable);
    variables.chain(expressions.map(|(n, _)| Column::Expression(n))).collect()
}

fn cut(mut text: String, limit: usize) -> String {
    if limit > 0 && text.len() > limit {
        let at = (0..=limit).rev().find(|i| text.is_char_boundary(*i)).unwrap_or(0);
        text.truncate(at);
        text.push_str("...");
    }
    text
}

/// Boxes around cells, headers in the middle, cells on the left.
fn table(header: &[String], body: &[Vec<String>]) -> String {
    let width = |n: usize| {
        let cells = body.iter().filter_map(|row| row.get(n)).chain(header.get(n));
        cells.map(|c| c.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    let rule = |left: &str, middle: &str, right: &str| {
        let bars: Vec<String> = widths.iter().map(|w| "─".repeat(w + 2)).collect();
        format!("{left}{}{right}\n", bars.join(middle))
    };
    let line = |cells: Vec<String>| format!("│ {} │\n", cells.join(" │ "));
    let mut text = rule("┌", "┬", "┐");
    text.push_str(&line(header.iter().zip(&widths).map(|(cell, w)| format!("{cell:^w$}")).collect()));
    text.push_str(&rule("├", "┼", "┤"));
    for row in body {
        text.push_str(&line(row.iter().zip(&widths).map(|(cell, w)| format!("{cell:<w$}")).collect()));
    }
    text.push_str(&rule("└", "┴", "┘"));
    text
}
