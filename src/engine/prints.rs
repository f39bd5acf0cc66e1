//! `print(...)` in policies that are served: nobody reads it there, and what it would write has no bound.
//!
//! The call is written as `true`, as OPA does where printing is off, with its other bytes as spaces: nothing moves to
//! another line or byte. Knows nothing of what policies are for; tests print as ever.

use serde_json::Value;

use crate::engine::evaluate::empty_engine;

/// The text without its calls of `print`; `None` if it has none. `text` must parse.
pub(crate) fn silenced(text: &str, v0: bool) -> Option<String> {
    // Most policies stop here: the tree is dear. A function of that name is the author's own.
    if !text.contains("print") || text.lines().any(|line| line.starts_with("print")) {
        return None;
    }
    let mut engine = empty_engine();
    engine.set_rego_v0(v0);
    engine.add_policy("module".to_owned(), text.to_owned()).ok()?;
    let tree: Value = serde_json::from_str(&engine.get_ast_as_json().ok()?).ok()?;
    let mut calls = Vec::new();
    walk(&tree, text, &mut calls);
    if calls.is_empty() {
        return None;
    }
    // Outer calls first: one within another goes with it.
    calls.sort_unstable();
    let (mut silent, mut at) = (String::with_capacity(text.len()), 0);
    for (start, end) in calls {
        let (Some(before), Some(call)) = (text.get(at..start), text.get(start..end)) else { continue };
        silent.push_str(before);
        silent.push_str("true");
        silent.extend(call.chars().skip(4).flat_map(|c| match c {
            c if c.is_whitespace() => std::iter::repeat_n(c, 1),
            c => std::iter::repeat_n(' ', c.len_utf8()),
        }));
        at = end;
    }
    silent.push_str(text.get(at..)?);
    Some(silent)
}

fn walk(node: &Value, text: &str, calls: &mut Vec<(usize, usize)>) {
    match node {
        Value::Array(items) => items.iter().for_each(|item| walk(item, text, calls)),
        Value::Object(map) => {
            for (key, value) in map {
                if key == "Call" {
                    calls.extend(call(value, text));
                }
                walk(value, text, calls);
            }
        }
        _ => {}
    }
}

/// Where a call of `print` stands.
fn call(call: &Value, text: &str) -> Option<(usize, usize)> {
    let place = |node: &Value, key: &str| node.get("span")?.get(key)?.as_u64().and_then(|n| usize::try_from(n).ok());
    let function = call.get("fcn")?.as_object()?.values().next()?;
    let name = text.get(place(function, "start")?..place(function, "end")?)?;
    (name.trim() == "print").then_some((place(function, "start")?, place(call, "end")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_become_true_and_nothing_moves() {
        let text = "package a\n\np if {\n\tprint(\"é\", [1,\n\t\t2]); x := 1\n\tprint(x)\n\tx == 1 # print(x)\n}\n";
        let silent = silenced(text, false).expect("prints");
        assert_eq!(
            silent,
            "package a\n\np if {\n\ttrue           \n\t\t   ; x := 1\n\ttrue    \n\tx == 1 # print(x)\n}\n"
        );
        assert_eq!(silenced("package a\nx := \"print\"\n", false), None);
    }
}
