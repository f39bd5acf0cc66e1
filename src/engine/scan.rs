//! What is measured on a policy's text before the engine parses it: how deep brackets nest, how long expressions are.
//!
//! The engine's parser and its recursive passes take time or stack without a bound of their own.

/// The deepest nesting of brackets in `text`, outside strings and comments, with its line.
///
/// The parser takes time exponential in this depth, and no timer interrupts it, so it is measured before. It takes the
/// operands of a call but once: the calls that stand for operators do not count, which are bounded as these are.
pub(crate) fn bracket_depth(text: &str) -> (usize, u32) {
    let (mut depth, mut deepest, mut at) = (0usize, 0usize, 1u32);
    let mut word = String::new();
    let mut open = Vec::new();
    code(text, |c, line| {
        match c {
            '(' | '[' | '{' => {
                let counts = c != '(' || !word.starts_with(OPERATORS);
                open.push(counts);
                depth += usize::from(counts);
            }
            ')' | ']' | '}' => depth = depth.saturating_sub(usize::from(open.pop().unwrap_or(false))),
            _ => {}
        }
        if c.is_ascii_alphanumeric() || c == '_' || c == '.' {
            word.push(c);
        } else {
            word.clear();
        }
        if depth > deepest {
            (deepest, at) = (depth, line);
        }
    });
    (deepest, at)
}

/// What the names of the functions begin with that stand for operators.
const OPERATORS: &str = "__rego__.";

/// The most operators (dots of references among them) in one expression of `text`, with the line where it ends. An
/// expression goes on over a line's end where an operator stands before or after it.
pub(crate) fn longest_expression(text: &str) -> (usize, u32) {
    let (mut count, mut most, mut at) = (0usize, 0usize, 1u32);
    let (mut fresh_line, mut open) = (false, false);
    code(text, |c, line| match c {
        '\n' => fresh_line = true,
        ';' | '{' | '}' | ',' => (count, open, fresh_line) = (0, false, false),
        c if c.is_whitespace() => {}
        c => {
            let operator = "+-*/%&|.<>=!:".contains(c);
            if fresh_line && !operator && !open {
                count = 0;
            }
            (fresh_line, open) = (false, operator);
            count += usize::from(operator);
            if count > most {
                (most, at) = (count, line);
            }
        }
    });
    (most, at)
}

/// The first numeral outside strings and comments whose exponent is past `most`, with its line. The engine computes all
/// of its digits when it reads it.
pub(crate) fn vast_numeral(text: &str, most: u64) -> Option<(String, u32)> {
    let (mut numeral, mut found) = (String::new(), None);
    let mut end = |numeral: &mut String, line| {
        let exponent = numeral.split_once(['e', 'E']).map(|(_, e)| e.trim_start_matches('+'));
        let vast = exponent.is_some_and(|e| {
            !e.is_empty() && e.bytes().all(|b| b.is_ascii_digit()) && !e.parse().is_ok_and(|e: u64| e <= most)
        });
        if vast && found.is_none() && numeral.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
            found = Some((numeral.clone(), line));
        }
        numeral.clear();
    };
    let mut last = 1;
    code(text, |c, line| {
        let sign = (c == '+' || c == '-') && numeral.ends_with(['e', 'E']);
        if c.is_ascii_alphanumeric() || c == '.' || c == '_' || sign {
            numeral.push(c);
        } else {
            end(&mut numeral, line);
        }
        last = line;
    });
    end(&mut numeral, last);
    found
}

/// How many brackets `text` closes that it has not opened.
pub(crate) fn surplus_closers(text: &str) -> usize {
    let (mut depth, mut surplus) = (0usize, 0usize);
    brackets(text, |opens, _| match (opens, depth) {
        (true, _) => depth += 1,
        (false, 0) => surplus += 1,
        (false, _) => depth -= 1,
    });
    surplus
}

/// Calls `found` for each bracket outside strings and comments: whether it opens, and its line.
fn brackets(text: &str, mut found: impl FnMut(bool, u32)) {
    code(text, |c, line| match c {
        '(' | '[' | '{' => found(true, line),
        ')' | ']' | '}' => found(false, line),
        _ => {}
    });
}

/// Calls `found` for each character outside strings and comments, with its line; a string is one `"`.
fn code(text: &str, mut found: impl FnMut(char, u32)) {
    let mut line = 1u32;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '#' => {
                if chars.by_ref().any(|c| c == '\n') {
                    found('\n', line);
                    line += 1;
                }
            }
            '"' => {
                found('"', line);
                while let Some(c) = chars.next() {
                    match c {
                        '\\' => drop(chars.next()),
                        '"' | '\n' => break,
                        _ => {}
                    }
                }
            }
            '`' => {
                found('"', line);
                let lines = chars.by_ref().take_while(|c| *c != '`').filter(|c| *c == '\n').count();
                line += u32::try_from(lines).unwrap_or(0);
            }
            c => {
                found(c, line);
                line += u32::from(c == '\n');
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vast_numerals_are_found() {
        for (text, wanted) in [
            ("x := 1e1000000000", Some("1e1000000000")),
            ("x := 1.5E+99999", Some("1.5E+99999")),
            ("x := 1e99999999999999999999999", Some("1e99999999999999999999999")),
            ("x := 1e308\ny := rule1e99999\nz := \"1e99999\" # 1e99999\nw := 1e-99999", None),
        ] {
            assert_eq!(vast_numeral(text, 1_000).map(|(n, _)| n).as_deref(), wanted, "{text}");
        }
        assert_eq!(vast_numeral("\n\nx := [1e9999]", 1_000).map(|(_, line)| line), Some(3));
    }

    #[test]
    fn depth_is_measured_outside_strings_and_comments() {
        assert_eq!(bracket_depth("a := [[{}]] # [[[[\nb := \"[[[[[\" + `\n((((`\n{}").0, 3);
        assert_eq!(bracket_depth("\n\n[[[").1, 3);
        assert_eq!(bracket_depth("x := __rego__.plus(__rego__.plus([a] , (b)), f([c]))").0, 2);
    }
}
