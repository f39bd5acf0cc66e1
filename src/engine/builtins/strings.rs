//! Builtins on strings that the engine lacks: `strings.split_n` and `strings.render_template`.

use regorus::Value;

use super::call::{Builtin, Outcome, integer, operand, string, wrong};
use super::template;

pub(super) const BUILTINS: &[Builtin] = &[
    // The engine's own panics on an empty text.
    Builtin { name: "strings.count", arity: 2, call: count },
    Builtin { name: "strings.render_template", arity: 2, call: render_template },
    Builtin { name: "strings.split_n", arity: 3, call: split_n },
];

/// How often the text holds another, without overlap; the empty text stands at every place.
fn count(args: &[Value]) -> Outcome {
    let (text, part) = (string(args, 0)?, string(args, 1)?);
    Ok(Value::from(text.matches(part).count()))
}

/// At most `n` parts, the last with the rest; all parts if `n` is negative. An empty delimiter splits characters.
fn split_n(args: &[Value]) -> Outcome {
    let (text, delimiter, n) = (string(args, 0)?, string(args, 1)?, integer(args, 2)?);
    let most = usize::try_from(n).unwrap_or(usize::MAX);
    let parts: Vec<Value> = if most == 0 {
        Vec::new()
    } else if delimiter.is_empty() {
        let starts: Vec<usize> = text.char_indices().map(|(at, _)| at).take(most).collect();
        let ends = starts.iter().skip(1).copied().chain([text.len()]);
        starts.iter().zip(ends).map(|(from, to)| Value::from(text.get(*from..to).unwrap_or_default())).collect()
    } else {
        text.splitn(most, delimiter).map(Value::from).collect()
    };
    Ok(Value::from(parts))
}

fn render_template(args: &[Value]) -> Outcome {
    let (text, variables) = (string(args, 0)?, operand(args, 1)?);
    if !matches!(variables, Value::Object(_)) {
        return Err(wrong(1, "object", variables));
    }
    Ok(Value::from(template::render(text, variables)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_at_most_n_times() {
        for (text, delimiter, n, wanted) in [
            ("a,b,c", ",", 2i64, "[\"a\", \"b,c\"]"),
            ("a,b,c", ",", -1, "[\"a\", \"b\", \"c\"]"),
            ("a,b,c", ",", 0, "[]"),
            ("abc", "", 2, "[\"a\", \"bc\"]"),
            ("", ",", 3, "[\"\"]"),
        ] {
            let got = split_n(&[text.into(), delimiter.into(), n.into()]);
            assert_eq!(got, Ok(Value::from_json_str(wanted).expect("JSON")), "{text} {n}");
        }
    }
}
