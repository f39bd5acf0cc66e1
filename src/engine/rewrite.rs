//! What the engine's parser and evaluator read differently from OPA, put so that both read the same.
//!
//! Works on the text, token by token, before the engine sees it. Every line keeps its number; columns move only on
//! lines that are changed. Knows nothing of policies. Three constructs:
//!
//! - a line that begins with `(` is an expression of its own, not a call of what stands before it;
//! - `rule { .. } { .. }` are two rules with one head;
//! - `not f(x.y)`: the argument is evaluated before the negation, so where it is undefined the body is undefined.

use std::borrow::Cow;
use std::collections::BTreeSet;

/// The text as the engine should read it.
pub(crate) fn rewrite(text: &str) -> Cow<'_, str> {
    let tokens = tokens(text);
    let mut edits = Vec::new();
    calls_across_lines(&tokens, &mut edits);
    chained_bodies(text, &tokens, &mut edits);
    negated_calls(text, &tokens, &mut edits);
    if edits.is_empty() { Cow::Borrowed(text) } else { Cow::Owned(apply(text, edits)) }
}

/// Text in place of `from..to`.
struct Edit {
    from: usize,
    to: usize,
    text: String,
}

fn insert(at: usize, text: impl Into<String>) -> Edit {
    Edit { from: at, to: at, text: text.into() }
}

fn apply(text: &str, mut edits: Vec<Edit>) -> String {
    // Stable: what is inserted at one place stays in order.
    edits.sort_by_key(|e| e.from);
    let mut out = String::with_capacity(text.len() + 64 * edits.len());
    let mut at = 0;
    for edit in edits {
        out.push_str(text.get(at..edit.from).unwrap_or_default());
        out.push_str(&edit.text);
        at = at.max(edit.to);
    }
    out.push_str(text.get(at..).unwrap_or_default());
    out
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Name,
    Literal,
    Sign,
}

#[derive(Debug, Clone, Copy)]
struct Token<'t> {
    kind: Kind,
    text: &'t str,
    start: usize,
    end: usize,
    /// Whether it is the first of its line.
    first: bool,
}

impl Token<'_> {
    fn is(&self, text: &str) -> bool {
        self.kind != Kind::Literal && self.text == text
    }

    fn opens(&self) -> bool {
        self.kind == Kind::Sign && matches!(self.text, "(" | "[" | "{")
    }

    fn closes(&self) -> bool {
        self.kind == Kind::Sign && matches!(self.text, ")" | "]" | "}")
    }

    /// Whether a term may end here.
    fn ends_term(&self) -> bool {
        match self.kind {
            Kind::Name => !KEYWORDS.contains(&self.text),
            Kind::Literal => true,
            Kind::Sign => self.closes(),
        }
    }
}

const KEYWORDS: [&str; 13] =
    ["as", "contains", "default", "else", "every", "if", "import", "in", "not", "package", "some", "with", "set"];

/// Names at the beginning of a line outside all brackets that go on with the rule before.
const CONTINUES: [&str; 6] = ["as", "contains", "else", "if", "in", "with"];

fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut found = Vec::new();
    let mut first = true;
    let mut chars = text.char_indices().peekable();
    while let Some((start, c)) = chars.next() {
        let kind = match c {
            '\n' => {
                first = true;
                continue;
            }
            c if c.is_whitespace() => continue,
            '#' => {
                while chars.next_if(|(_, c)| *c != '\n').is_some() {}
                continue;
            }
            '"' => {
                while let Some((_, c)) = chars.next() {
                    match c {
                        '\\' => drop(chars.next()),
                        '"' | '\n' => break,
                        _ => {}
                    }
                }
                Kind::Literal
            }
            '`' => {
                chars.by_ref().find(|(_, c)| *c == '`');
                Kind::Literal
            }
            c if c.is_alphabetic() || c == '_' => {
                while chars.next_if(|(_, c)| c.is_alphanumeric() || *c == '_').is_some() {}
                Kind::Name
            }
            c if c.is_ascii_digit() => {
                while chars.next_if(|(_, c)| c.is_ascii_alphanumeric() || *c == '.').is_some() {}
                Kind::Literal
            }
            ':' | '=' | '!' | '<' | '>' => {
                chars.next_if(|(_, c)| *c == '=');
                Kind::Sign
            }
            _ => Kind::Sign,
        };
        let end = chars.peek().map_or(text.len(), |(at, _)| *at);
        found.push(Token { kind, text: text.get(start..end).unwrap_or_default(), start, end, first });
        first = false;
    }
    found
}

/// Ends the expression before a line that begins with `(`, inside bodies.
fn calls_across_lines(tokens: &[Token<'_>], edits: &mut Vec<Edit>) {
    // Whether each open bracket holds expressions, one a line.
    let mut open: Vec<bool> = Vec::new();
    let mut before: Option<&Token<'_>> = None;
    for token in tokens {
        if let Some(previous) = before.filter(|p| token.is("(") && token.first && p.ends_term())
            && open.last() == Some(&true)
        {
            edits.push(insert(previous.end, ";"));
        }
        if token.opens() {
            open.push(token.is("{"));
        } else if token.closes() {
            open.pop();
        } else if token.is("|")
            && let Some(top) = open.last_mut()
        {
            *top = true;
        }
        before = Some(token);
    }
}

/// Gives each body that follows another one the head of its rule.
fn chained_bodies(text: &str, tokens: &[Token<'_>], edits: &mut Vec<Edit>) {
    let mut depth = 0usize;
    let mut head: Option<usize> = None;
    let mut first_body: Option<usize> = None;
    let mut has_else = false;
    let mut after_body = false;
    let mut in_body = false;
    let mut before: Option<&Token<'_>> = None;
    for token in tokens {
        let goes_on = |p: &Token<'_>| !p.ends_term();
        if depth == 0 && token.kind == Kind::Name && !CONTINUES.contains(&token.text) {
            if (token.first && !before.is_some_and(goes_on)) || after_body || before.is_none() {
                (head, first_body, has_else) = (Some(token.start), None, false);
            }
        } else if depth == 0 && token.is("else") {
            has_else = true;
        }
        if depth == 0 && token.is("{") {
            let is_value = before.is_some_and(|p| ["=", ":=", "==", ","].iter().any(|s| p.is(s)));
            in_body = !is_value;
            match (head, first_body) {
                (Some(_), None) if in_body => first_body = Some(token.start),
                (Some(head), Some(body)) if after_body && !has_else => {
                    let head = one_line(text, tokens, head, body);
                    // A rule with `if` has one body.
                    if !head.ends_with(" if ") {
                        edits.push(insert(token.start, head));
                    }
                }
                _ => {}
            }
        }
        after_body = false;
        if token.opens() {
            depth += 1;
        } else if token.closes() {
            depth = depth.saturating_sub(1);
            after_body = depth == 0 && in_body && token.is("}");
        }
        before = Some(token);
    }
}

/// The tokens between two places, on one line.
fn one_line(text: &str, tokens: &[Token<'_>], from: usize, to: usize) -> String {
    let mut out = String::new();
    let mut end = from;
    for token in tokens.iter().filter(|t| (from..to).contains(&t.start)) {
        if token.start > end {
            out.push(' ');
        }
        out.push_str(text.get(token.start..token.end).unwrap_or_default());
        end = token.end;
    }
    out.push(' ');
    out
}

/// Evaluates the arguments of negated calls before the negation.
fn negated_calls(text: &str, tokens: &[Token<'_>], edits: &mut Vec<Edit>) {
    let globals = globals(tokens);
    let mut prefix = "__arg".to_owned();
    while text.contains(&prefix) {
        prefix.push('_');
    }
    let mut count = 0usize;
    for (index, token) in tokens.iter().enumerate() {
        let after_dot = index.checked_sub(1).and_then(|i| tokens.get(i)).filter(|p| p.is("."));
        if !token.is("not") || token.kind != Kind::Name || after_dot.is_some() {
            continue;
        }
        let Some((open, close)) = call(tokens, index + 1) else { continue };
        let hoisted: Vec<(usize, usize)> = arguments(tokens, open, close)
            .into_iter()
            .filter(|(from, to)| is_reference(tokens.get(*from..*to), &globals))
            .collect();
        if hoisted.is_empty() {
            continue;
        }
        let end = end_of_expression(tokens, close + 1);
        let place = |i: usize| tokens.get(i).map_or((text.len(), text.len()), |t| (t.start, t.end));
        let modifiers = match tokens.get(close + 1).filter(|t| t.is("with") && close + 1 < end) {
            Some(with) => one_line(text, tokens, with.start, place(end - 1).1),
            None => String::new(),
        };
        let mut before = String::new();
        for (from, to) in hoisted {
            let (start, stop) = (place(from).0, place(to - 1).1);
            let value = one_line(text, tokens, start, stop);
            let name = format!("{prefix}{count}");
            count += 1;
            before.push_str(&format!("{name} := {value}{modifiers}; "));
            // What is cut out keeps its lines.
            let lines = text.get(start..stop).unwrap_or_default().matches('\n').count();
            edits.push(Edit { from: start, to: stop, text: name + &"\n".repeat(lines) });
        }
        // `p if not f(x.y)` has room for one expression only.
        if index.checked_sub(1).and_then(|i| tokens.get(i)).is_some_and(|p| p.is("if")) {
            before.insert_str(0, "{ ");
            edits.push(insert(place(end - 1).1, " }"));
        }
        edits.push(insert(token.start, before));
    }
}

/// Names that stand for rules and imported documents.
fn globals<'t>(tokens: &[Token<'t>]) -> BTreeSet<&'t str> {
    let mut found = BTreeSet::new();
    let mut depth = 0usize;
    let mut import = false;
    for token in tokens {
        if depth == 0 && token.kind == Kind::Name {
            if token.first {
                import = token.is("import");
            }
            if import || (token.first && !CONTINUES.contains(&token.text)) {
                found.insert(token.text);
            }
        }
        if token.opens() {
            depth += 1;
        } else if token.closes() {
            depth = depth.saturating_sub(1);
        }
    }
    for keyword in KEYWORDS {
        found.remove(keyword);
    }
    found
}

/// The brackets of the call that begins at `index`: `a.b.f(..)`.
fn call(tokens: &[Token<'_>], index: usize) -> Option<(usize, usize)> {
    let mut at = index;
    tokens.get(at).filter(|t| t.kind == Kind::Name && !KEYWORDS.contains(&t.text))?;
    loop {
        let (name, next) = (tokens.get(at)?, tokens.get(at + 1)?);
        if next.start != name.end {
            return None;
        }
        if next.is("(") {
            return Some((at + 1, closing(tokens, at + 1)?));
        }
        let step = tokens.get(at + 2).filter(|t| next.is(".") && t.kind == Kind::Name && t.start == next.end);
        step?;
        at += 2;
    }
}

fn closing(tokens: &[Token<'_>], open: usize) -> Option<usize> {
    let mut depth = 0usize;
    for (index, token) in tokens.iter().enumerate().skip(open) {
        if token.opens() {
            depth += 1;
        } else if token.closes() {
            depth = depth.checked_sub(1)?;
            if depth == 0 {
                return Some(index);
            }
        }
    }
    None
}

/// The tokens of each argument between two brackets.
fn arguments(tokens: &[Token<'_>], open: usize, close: usize) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    let (mut depth, mut from) = (0usize, open + 1);
    for (index, token) in tokens.iter().enumerate().take(close).skip(open + 1) {
        if token.opens() {
            depth += 1;
        } else if token.closes() {
            depth = depth.saturating_sub(1);
        } else if depth == 0 && token.is(",") {
            found.push((from, index));
            from = index + 1;
        }
    }
    found.push((from, close));
    found.into_iter().filter(|(from, to)| from < to).collect()
}

/// Whether an argument is a reference (or a call) that may be undefined: a plain variable never is.
fn is_reference(argument: Option<&[Token<'_>]>, globals: &BTreeSet<&str>) -> bool {
    let Some((first, rest)) = argument.and_then(<[_]>::split_first) else { return false };
    let constant = ["true", "false", "null", "_"].contains(&first.text) || KEYWORDS.contains(&first.text);
    if first.kind != Kind::Name || constant {
        return false;
    }
    if rest.is_empty() {
        return globals.contains(first.text);
    }
    let mut at = 0;
    let mut end = first.end;
    while let Some(token) = rest.get(at) {
        if token.start != end {
            return false;
        }
        let last = match token.text {
            "." if token.kind == Kind::Sign => at + 1,
            "[" | "(" if token.kind == Kind::Sign => match closing(rest, at) {
                Some(close) => close,
                None => return false,
            },
            _ => return false,
        };
        let Some(token) = rest.get(last) else { return false };
        (at, end) = (last + 1, token.end);
    }
    true
}

/// The token after the expression that goes on at `index`: the next line's first, or what separates or closes.
fn end_of_expression(tokens: &[Token<'_>], index: usize) -> usize {
    let mut depth = 0usize;
    for (at, token) in tokens.iter().enumerate().skip(index) {
        let ends = token.is(";") || token.is("else") || (token.first && !token.is("with"));
        if depth == 0 && (token.closes() || ends) {
            return at;
        }
        if token.opens() {
            depth += 1;
        } else if token.closes() {
            depth -= 1;
        }
    }
    tokens.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rewritten_texts() {
        for (from, to) in [
            ("p {\n\ta := input.b # c\n\t(1 + a) > 2\n}", "p {\n\ta := input.b; # c\n\t(1 + a) > 2\n}"),
            ("p = [x | x := input.b\n(x > 2)]", "p = [x | x := input.b;\n(x > 2)]"),
            (
                "v[{\"m\":\n m}] { # a\n m := 1\n} {\n m := 2\n} {\n m := 3\n}\nq { true }",
                "v[{\"m\":\n m}] { # a\n m := 1\n} v[{\"m\": m}] {\n m := 2\n} v[{\"m\": m}] {\n m := 3\n}\nq { true }",
            ),
            ("f(x) = y {\n y := x\n} {\n y := x\n}", "f(x) = y {\n y := x\n} f(x) = y {\n y := x\n}"),
            ("p { not f(a, input.x[_].y) }", "p { __arg0 := input.x[_].y ; not f(a, __arg0) }"),
            (
                "p { not lib.f(g(q.r), \"a.b\", 5) with input as {}\n x }",
                "p { __arg0 := g(q.r) with input as {} ; not lib.f(__arg0, \"a.b\", 5) with input as {}\n x }",
            ),
            ("q = 1\np if not f(q)\nr := 2", "q = 1\np if { __arg0 := q ; not f(__arg0) }\nr := 2"),
            ("p { not f(input[\n\"a\"]) }", "p { __arg0 := input[ \"a\"] ; not f(__arg0\n) }"),
        ] {
            assert_eq!(rewrite(from), to);
        }
    }

    #[test]
    fn what_is_read_alike_is_left_alone() {
        for text in [
            "p {\n\tx := f(\n\t\t(1))\n}",
            "p {\n\tx := [a,\n\t(1)]\n}",
            "p = {\"a\": 1} { true }\nq { false }\n\nr { true } else = 5 { false }",
            "x := {\"a\": 1}\n{y | y := 1}",
            "p { not f(x, \"input.y\", `a.b`, _, true) }",
            "p { not input.x.y }\nq { x.not(input.y) }",
            "# not f(input.x) { } { }\np if {\n\tnot x\n}",
        ] {
            assert!(matches!(rewrite(text), Cow::Borrowed(_)), "{text}: {}", rewrite(text));
        }
    }
}
