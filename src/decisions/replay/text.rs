//! Texts of records held against texts of now. Knows what a record may have put in place of a part: a commitment, a cut.

/// What a commitment begins with, and how many hexadecimal digits follow.
pub(super) const COMMITMENT: (&str, usize) = ("hmac-sha256:", 64);

/// Whether `recorded` may be how `now` was recorded: the same, but for masked parts and a cut end.
pub(super) fn may_be(recorded: &str, now: &str) -> bool {
    if recorded == now || recorded == "[masked]" {
        return true;
    }
    let (recorded, cut) = without_cut(recorded);
    let mut parts = split(recorded);
    let Some(first) = parts.next() else { return false };
    let Some(mut rest) = now.strip_prefix(first) else { return false };
    let mut last = first;
    let mut masked = false;
    for part in parts {
        masked = true;
        last = part;
        match rest.find(part) {
            Some(at) => rest = rest.get(at + part.len()..).unwrap_or_default(),
            None => return false,
        }
    }
    // What follows the last part must be nothing, a masked end or the part that was cut off.
    rest.is_empty() || cut || (masked && (last.is_empty() || now.ends_with(last)))
}

/// The text before `... (123 bytes cut)`, and whether it ends so.
fn without_cut(text: &str) -> (&str, bool) {
    let cut = text.strip_suffix(" bytes cut)").and_then(|t| t.rsplit_once("... ("));
    match cut {
        Some((before, digits)) if digits.bytes().all(|b| b.is_ascii_digit()) => (before, true),
        _ => (text, false),
    }
}

/// The parts between commitments.
fn split(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        match commitment_in(text) {
            Some((start, end)) => {
                rest = text.get(end..);
                text.get(..start)
            }
            None => rest.take(),
        }
    })
}

/// Where the first commitment of a text begins and ends.
pub(super) fn commitment_in(text: &str) -> Option<(usize, usize)> {
    let (prefix, digits) = COMMITMENT;
    let mut from = 0;
    while let Some(at) = text.get(from..)?.find(prefix) {
        let start = from + at;
        let end = start + prefix.len() + digits;
        if text.get(start + prefix.len()..end).is_some_and(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit())) {
            return Some((start, end));
        }
        from = start + prefix.len();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recorded_texts() {
        let mask = format!("hmac-sha256:{}", "0f".repeat(32));
        for (recorded, now, fits) in [
            ("a b", "a b", true),
            ("a b", "a c", false),
            ("a b", "a b c", false),
            (&format!("key {mask} of x"), "key AKIA of x", true),
            (&format!("key {mask} of x"), "key AKIA of y", false),
            (&format!("key {mask}"), "key AKIA", true),
            (&format!("{mask} of x"), "AKIA of x", true),
            (&format!("{mask} and {mask}"), "a and b", true),
            ("long... (12 bytes cut)", "long text of many words", true),
            ("long... (12 bytes cut)", "short", false),
            ("hmac-sha256:xyz", "hmac-sha256:abc", false),
            ("[masked]", "anything", true),
        ] {
            assert_eq!(may_be(recorded, now), fits, "{recorded} / {now}");
        }
    }
}
