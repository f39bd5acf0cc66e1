//! Messages of the engine's parser and passes in the words of whoever writes Rego.

/// The message without names of libraries and without a period.
pub(crate) fn plain(message: &str) -> String {
    let message = message.trim_end_matches('.');
    if let Some(why) = message.strip_prefix("invalid number. serde_json cannot parse number:") {
        return format!("this is no number: {}", cause(why));
    }
    if let Some((_, why)) = message.split_once("serde_json cannot parse string:") {
        return format!("this is no string: {}", cause(why));
    }
    if let Some(variable) = message.strip_prefix("var `").and_then(|m| m.split_once("` used before definition below")) {
        let (name, _) = variable;
        return format!("variable `{name}` is assigned twice, or used before `:=` gives it a value");
    }
    message.to_owned()
}

/// Without the place, which is the one within the token.
fn cause(why: &str) -> &str {
    let why = why.split(" at line ").next().unwrap_or(why).trim();
    if why == "number out of range" { "out of range" } else { why }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_library_is_named() {
        for (said, told) in [
            ("invalid number. serde_json cannot parse number: out of range", "this is no number: out of range"),
            (
                "serde_json cannot parse string: invalid unicode code point at line 1 column 7",
                "this is no string: invalid unicode code point",
            ),
            (
                "var `m` used before definition below.",
                "variable `m` is assigned twice, or used before `:=` gives it a value",
            ),
            ("expecting expression", "expecting expression"),
        ] {
            assert_eq!(plain(said), told);
        }
    }
}
