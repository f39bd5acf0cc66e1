//! Patterns as Go's regexp package reads them (RE2 syntax), written for the regex crate.
//!
//! The two differ in little, and silently: `\d`, `\w`, `\s` and `\b` are ASCII in Go; `[` and `&&` inside a class and
//! a `{` that is no repetition are literal; `\<` is a bracket; a repetition of a repetition is an error.
//! Source: the documentation of Go's regexp/syntax.

/// The same pattern for the regex crate, or why Go does not take it.
pub(super) fn translate(pattern: &str) -> Result<String, String> {
    let mut out = String::with_capacity(pattern.len() + 16);
    let mut chars = Chars { rest: pattern };
    // Whether the last thing was a repetition, such as `*` or `*?`.
    let mut repeated = false;
    while let Some(c) = chars.next() {
        let was_repeated = std::mem::take(&mut repeated);
        match c {
            '\\' => escape(&mut chars, &mut out, Place::Outside)?,
            '[' => class(&mut chars, &mut out)?,
            '(' => group(&mut chars, &mut out)?,
            '*' | '+' | '?' => {
                repetition(was_repeated, &mut chars, &mut out, &c.to_string())?;
                repeated = true;
            }
            '{' => match counted(chars.rest) {
                Some(length) => {
                    let text = chars.take(length);
                    repetition(was_repeated, &mut chars, &mut out, &format!("{{{text}"))?;
                    repeated = true;
                }
                None => out.push_str("\\{"),
            },
            c => out.push(c),
        }
    }
    Ok(out)
}

struct Chars<'a> {
    rest: &'a str,
}

impl<'a> Chars<'a> {
    fn next(&mut self) -> Option<char> {
        let c = self.rest.chars().next()?;
        self.rest = self.rest.get(c.len_utf8()..).unwrap_or_default();
        Some(c)
    }

    fn take(&mut self, length: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at_checked(length).unwrap_or((self.rest, ""));
        self.rest = rest;
        taken
    }

    fn next_if(&mut self, wanted: char) -> bool {
        match self.rest.strip_prefix(wanted) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }
}

fn repetition(was_repeated: bool, chars: &mut Chars<'_>, out: &mut String, text: &str) -> Result<(), String> {
    if was_repeated {
        return Err("invalid nested repetition operator".to_owned());
    }
    out.push_str(text);
    if chars.next_if('?') {
        out.push('?');
    }
    Ok(())
}

/// The length of `3}`, `3,}` or `3,5}` at the start.
fn counted(rest: &str) -> Option<usize> {
    let (inside, _) = rest.split_once('}')?;
    let (from, to) = inside.split_once(',').unwrap_or((inside, ""));
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    (!from.is_empty() && digits(from) && digits(to)).then_some(inside.len() + 1)
}

/// After `(`: Go knows the flags `imsU` and named groups, and nothing else that begins with `?`.
fn group(chars: &mut Chars<'_>, out: &mut String) -> Result<(), String> {
    out.push('(');
    if !chars.rest.starts_with('?') || chars.rest.starts_with("?P<") || chars.rest.starts_with("?<") {
        return Ok(());
    }
    let length = chars.rest.find([':', ')']).ok_or("missing closing )")?;
    let flags = chars.take(length);
    if flags.chars().skip(1).any(|c| !"imsU-".contains(c)) {
        return Err(format!("invalid or unsupported Perl syntax: `({flags}`"));
    }
    out.push_str(flags);
    Ok(())
}

#[derive(Clone, Copy, PartialEq)]
enum Place {
    Outside,
    InClass,
}

/// After `\`.
fn escape(chars: &mut Chars<'_>, out: &mut String, place: Place) -> Result<(), String> {
    let c = chars.next().ok_or("trailing backslash at end of expression")?;
    let (open, close) = if place == Place::Outside { ("[", "]") } else { ("", "") };
    match c {
        'd' => out.extend([open, "0-9", close]),
        's' => out.extend([open, "\\t\\n\\x0C\\r\\x20", close]),
        'w' => out.extend([open, "0-9A-Za-z_", close]),
        // Negated classes may stand inside a class of the regex crate.
        'D' => out.push_str("[^0-9]"),
        'S' => out.push_str("[^\\t\\n\\x0C\\r\\x20]"),
        'W' => out.push_str("[^0-9A-Za-z_]"),
        'b' if place == Place::Outside => out.push_str("(?-u:\\b)"),
        '<' | '>' => out.push(c),
        'Q' => {
            let end = chars.rest.find("\\E").unwrap_or(chars.rest.len());
            out.push_str(&regex::escape(chars.take(end)));
            chars.take(2);
        }
        '1'..='7' if chars.rest.starts_with(|c: char| c.is_digit(8)) => octal(c, 2, chars, out),
        '0' => octal(c, 2, chars, out),
        c => out.extend(['\\', c]),
    }
    Ok(())
}

fn octal(first: char, more: usize, chars: &mut Chars<'_>, out: &mut String) {
    let digits = chars.rest.chars().take(more).take_while(|c| c.is_digit(8)).count();
    let value = u32::from_str_radix(&format!("{first}{}", chars.take(digits)), 8).unwrap_or(0);
    out.push_str(&format!("\\x{{{value:X}}}"));
}

/// After `[`, up to and with the `]`.
fn class(chars: &mut Chars<'_>, out: &mut String) -> Result<(), String> {
    out.push('[');
    if chars.next_if('^') {
        out.push('^');
    }
    // A `]` that comes first is one of the class.
    if chars.next_if(']') {
        out.push_str("\\]");
    }
    loop {
        match chars.next().ok_or("missing closing ]")? {
            ']' => {
                out.push(']');
                return Ok(());
            }
            '\\' => escape(chars, out, Place::InClass)?,
            '[' if chars.rest.starts_with(':') => {
                let length = chars.rest.find(":]").ok_or("invalid character class range")? + 2;
                out.push('[');
                out.push_str(chars.take(length));
            }
            c @ ('[' | '&' | '~') => out.extend(['\\', c]),
            // `--` takes away a set in the regex crate; a single `-` makes a range in both.
            '-' if chars.rest.starts_with('-') => out.push_str("\\-"),
            c => out.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_mean_what_they_mean_in_go() {
        for (pattern, text, wanted) in [
            (r"^\w{1,63}$", "é", false),
            (r"^\d+$", "٣", false),
            (r"^[\w-]+$", "a-b_c", true),
            (r"^[^\W\d]+$", "ab", true),
            (r"a{,2}", "a{,2}", true),
            (r"^[[a]$", "[", true),
            (r"^[a&&b]$", "&", true),
            (r"^[]a]+$", "]a", true),
            (r"\bé", "é", false),
            (r"^\<x\>$", "<x>", true),
            (r"^\Qa.b\E$", "a.b", true),
            (r"^\Qa.b\E$", "axb", false),
            (r"^[[:alpha:]]+$", "ab", true),
            (r"^(?i)abc$", "ABC", true),
            (r"^\x{41}\101$", "AA", true),
        ] {
            let regex = regex::Regex::new(&translate(pattern).expect(pattern)).expect(pattern);
            assert_eq!(regex.is_match(text), wanted, "{pattern} on {text}");
        }
        for pattern in ["a**", "(?x)a", "[a", "a\\", "(?=a)"] {
            assert!(translate(pattern).is_err(), "{pattern}");
        }
    }
}
