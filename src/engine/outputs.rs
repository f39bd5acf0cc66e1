//! Calls with an output operand, `f(a, x)` for `x = f(a)`, of builtins that the engine does not know by itself.
//!
//! The engine sees an output operand only where it knows the arity: for functions of policies and for its own
//! builtins. For ours the statement `f(a, x)` is written as `f(a)=x `, which moves nothing to another line, and, with
//! a space after the comma, nothing to another column. Knows nothing of what policies are for.

use serde_json::Value;

use crate::engine::builtins;
use crate::engine::evaluate::empty_engine;

/// The text of a module that the engine takes, the same text if nothing needs to change. `text` must parse.
pub(crate) fn rewrite(text: &str, v0: bool) -> Option<String> {
    // Most policies stop here: the tree is dear.
    if !builtins::unknown_to_engine().any(|b| b.name.split('.').all(|part| text.contains(part))) {
        return None;
    }
    let mut engine = empty_engine();
    engine.set_rego_v0(v0);
    engine.add_policy("module".to_owned(), text.to_owned()).ok()?;
    let tree: Value = serde_json::from_str(&engine.get_ast_as_json().ok()?).ok()?;
    let mut edits = Vec::new();
    walk(&tree, text, &mut edits);
    if edits.is_empty() {
        return None;
    }
    edits.sort_by_key(|e| std::cmp::Reverse(e.at));
    let mut bytes = text.as_bytes().to_vec();
    for edit in edits {
        bytes.splice(edit.at..edit.at + edit.length, edit.put.bytes());
    }
    String::from_utf8(bytes).ok()
}

/// The same for the text of a query.
pub(crate) fn rewrite_query(text: &str) -> Option<String> {
    const HEAD: &str = "package query\nquery if {\n";
    let module = rewrite(&format!("{HEAD}{text}\n}}\n"), false)?;
    Some(module.strip_prefix(HEAD)?.strip_suffix("\n}\n")?.to_owned())
}

struct Edit {
    at: usize,
    length: usize,
    put: &'static str,
}

/// Finds the statements: a call as an operand of something else has no output operand.
fn walk(node: &Value, text: &str, edits: &mut Vec<Edit>) {
    match node {
        Value::Array(items) => items.iter().for_each(|item| walk(item, text, edits)),
        Value::Object(map) => {
            for (key, value) in map {
                if (key == "Expr" || key == "NotExpr")
                    && let Some(call) = value.pointer("/expr/Call")
                {
                    edits.extend(output(call, text).into_iter().flatten());
                }
                walk(value, text, edits);
            }
        }
        _ => {}
    }
}

/// The changes for one statement, if it is such a call.
fn output(call: &Value, text: &str) -> Option<Vec<Edit>> {
    let place = |pointer: &str| call.pointer(pointer).and_then(Value::as_u64).and_then(|n| usize::try_from(n).ok());
    let function = call.get("fcn")?.as_object()?.values().next()?.get("span")?;
    let function = |key: &str| function.get(key).and_then(Value::as_u64).and_then(|n| usize::try_from(n).ok());
    let (start, end) = (function("start")?, function("end")?);
    let name: String = text.get(start..end)?.chars().filter(|c| !c.is_whitespace()).collect();
    let operands = call.get("params")?.as_array()?.len();
    let builtin = builtins::unknown_to_engine().find(|b| b.name == name)?;
    if operands != usize::from(builtin.arity) + 1 {
        return None;
    }
    let close = place("/span/end")?.checked_sub(1)?;
    let inside = end + text.get(end..close)?.find('(')? + 1;
    let last = Edit { at: close, length: 1, put: " " };
    if builtin.arity == 0 {
        return Some(vec![Edit { at: inside, length: 0, put: ")=" }, last]);
    }
    let within = text.get(inside..close)?;
    let mut comma = last_comma(within)?;
    let mut changes = vec![last];
    if within.get(comma + 1..)?.trim().is_empty() {
        // A comma may stand after the last operand.
        changes.push(Edit { at: inside + comma, length: 1, put: " " });
        comma = last_comma(within.get(..comma)?)?;
    }
    let comma = inside + comma;
    let spaced = text.as_bytes().get(comma + 1) == Some(&b' ');
    changes.push(Edit { at: comma, length: if spaced { 2 } else { 1 }, put: ")=" });
    Some(changes)
}

/// The last comma outside brackets, strings and comments.
fn last_comma(text: &str) -> Option<usize> {
    let (mut depth, mut last) = (0usize, None);
    let mut bytes = text.bytes().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            b',' if depth == 0 => last = Some(at),
            b'#' => {
                let _ = bytes.find(|(_, b)| *b == b'\n');
            }
            b'`' => {
                let _ = bytes.find(|(_, b)| *b == b'`');
            }
            b'"' => {
                while let Some((_, b)) = bytes.next() {
                    match b {
                        b'\\' => {
                            bytes.next();
                        }
                        b'"' => break,
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    last
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_operands_become_unifications() {
        for (body, wanted) in [
            ("net.cidr_merge([\"a,b\"], x)", Some("net.cidr_merge([\"a,b\"])=x ")),
            ("not any([1],x)", Some("not any([1])=x ")),
            ("set_diff({1}, {y | any([2], y)}, [x]) # a, b", Some("set_diff({1}, {y | any([2])=y })=[x]  # a, b")),
            ("all([],\n\t\tx,\n\t)", Some("all([])=\n\t\tx \n\t ")),
            ("x := net.cidr_merge([])", None),
            ("sprintf(\"%d any\", [1], x)", None),
        ] {
            let module = format!("package a\np if {{\n\t{body}\n}}\n");
            let got = rewrite(&module, false);
            assert_eq!(got, wanted.map(|w| format!("package a\np if {{\n\t{w}\n}}\n")), "{body}");
        }
    }
}
