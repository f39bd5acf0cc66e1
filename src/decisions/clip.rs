//! Cutting texts and lists to a size in JSON bytes. Knows sizes only.

use serde::Serialize;

/// `text` in at most `max` bytes of JSON (quotes not counted), with a note of what was cut.
pub(super) fn text(text: &str, max: usize) -> String {
    // The widest character of a byte has six.
    if text.len().saturating_mul(6) <= max || json_length(text) <= max {
        return text.to_owned();
    }
    let mut left = max.saturating_sub(NOTE);
    let mut end = 0;
    for c in text.chars() {
        let length = json_width(c);
        if length > left {
            break;
        }
        left -= length;
        end += c.len_utf8();
    }
    let kept = text.get(..end).unwrap_or_default();
    note(kept, text.len() - end)
}

/// What is kept of a text, with the note that so many bytes of it were cut.
pub(super) fn note(kept: &str, cut: usize) -> String {
    format!("{kept}... ({cut}{END}")
}

/// As many of `items`, in order, as fit into `max` bytes of JSON, and how many did not. Items past the cut are not made.
pub(super) fn list<T: Serialize>(items: impl ExactSizeIterator<Item = T>, max: usize) -> (Vec<T>, u64) {
    let total = items.len();
    let (mut kept, mut left) = (Vec::new(), max);
    for item in items {
        let mut length = Length(1);
        let length = serde_json::to_writer(&mut length, &item).map_or(usize::MAX, |()| length.0);
        if length > left {
            break;
        }
        left -= length;
        kept.push(item);
    }
    let omitted = u64::try_from(total - kept.len()).unwrap_or(u64::MAX);
    (kept, omitted)
}

/// Counts what is written.
struct Length(usize);

impl std::io::Write for Length {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 = self.0.saturating_add(bytes.len());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// What a text ends with that was cut.
pub(super) const END: &str = " bytes cut)";
/// Room for the note at the end of a cut text.
const NOTE: usize = 36;

fn json_length(text: &str) -> usize {
    text.chars().map(json_width).sum()
}

/// Bytes that serde_json writes for a character.
fn json_width(c: char) -> usize {
    match c {
        '"' | '\\' | '\n' | '\r' | '\t' | '\u{8}' | '\u{c}' => 2,
        c if c < ' ' => 6,
        c => c.len_utf8(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_text_fits_and_says_so() {
        for (long, max) in [("x".repeat(5000), 100), ("\u{1}".repeat(5000), 100), ("é\"".repeat(3000), 1000)] {
            let cut = text(&long, max);
            let json = serde_json::to_string(&cut).expect("serialises");
            assert!(json.len() - 2 <= max, "{} bytes", json.len());
            assert!(cut.ends_with("bytes cut)"), "{cut}");
        }
        assert_eq!(text("short", 5), "short");
    }

    #[test]
    fn a_cut_list_counts_what_is_gone() {
        let (kept, omitted) = list((0..1000).map(|_| "12345678"), 110);
        assert_eq!((kept.len(), omitted), (10, 990));
        let (kept, omitted) = list(["a", "b"].into_iter(), 100);
        assert_eq!((kept, omitted), (vec!["a", "b"], 0));
    }
}
