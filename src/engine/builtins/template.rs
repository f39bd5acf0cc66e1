//! Templates of `strings.render_template`: Go's text/template without functions that run code.
//!
//! Fields, variables, pipelines, `if`, `with`, `range`, `else`, `break`, `continue`, comments, trim markers, and the
//! functions that only look at values. `define`, `template` and `block` are refused. Bounded in depth, steps and output.
//! Source: the documentation of Go's text/template.

mod parse;
mod run;

use regorus::Value;

use super::call::CallError;

/// Actions nest at most this deep.
const MAX_DEPTH: usize = 64;

/// A part of a template.
enum Node {
    Text(String),
    /// `{{pipeline}}`; with a declaration it prints nothing.
    Print(Pipeline),
    If(Pipeline, Vec<Node>, Vec<Node>),
    With(Pipeline, Vec<Node>, Vec<Node>),
    Range(Pipeline, Vec<Node>, Vec<Node>),
    Break,
    Continue,
}

/// `$a, $b := command | command`.
struct Pipeline {
    /// Without `$`.
    variables: Vec<String>,
    /// `:=` makes new variables, `=` sets those there are.
    declares: bool,
    commands: Vec<Vec<Operand>>,
}

enum Operand {
    Dot,
    Nil,
    Constant(Value),
    /// Fields of the dot.
    Fields(Vec<String>),
    /// A variable (the root if it has no name) and fields of it.
    Variable(String, Vec<String>),
    Function(String),
    /// A pipeline in parentheses and fields of its value.
    Inner(Pipeline, Vec<String>),
}

/// The text that a template makes of the variables. What is missing prints as `<undefined>`.
pub(super) fn render(text: &str, variables: &Value) -> Result<String, CallError> {
    run::run(&parse::parse(text)?, variables)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_go_renders() {
        let variables = Value::from_json_str(
            r#"{"name": "a<b", "n": 3, "list": ["x", "y"], "map": {"k": 1, "j": 2}, "none": [], "deep": {"a": {"b": "c"}}}"#,
        )
        .expect("JSON");
        for (template, wanted) in [
            ("{{.name}} {{.n}}", "a<b 3"),
            ("{{range $i, $x := .list}}{{if $i}},{{end}}{{$x}}{{end}}", "x,y"),
            ("{{range .none}}a{{else}}empty{{end}}", "empty"),
            ("{{range $k, $v := .map}}{{$k}}={{$v}};{{end}}", "j=2;k=1;"),
            ("{{with .deep.a}}{{.b}}{{end}}", "c"),
            ("a {{- /* gone */ -}} b", "ab"),
            ("{{if and (eq .n 3) (not .none)}}yes{{else if .n}}maybe{{end}}", "yes"),
            ("{{printf \"%s-%d\" .name .n | printf \"%q\"}}", "\"a<b-3\""),
            ("{{len .list}}{{index .list 1}}{{index .map \"k\"}}{{html .name}}", "2y1a&lt;b"),
            ("{{$x := 1}}{{range .list}}{{$x = 2}}{{end}}{{$x}}{{$.n}}", "23"),
            ("{{range .list}}{{if eq . \"y\"}}{{break}}{{end}}{{.}}{{end}}", "x"),
            ("{{.list}} {{.map}} {{true}} {{1.5}}", "[x y] map[j:2 k:1] true 1.5"),
            ("{{.missing}}", "<undefined>"),
        ] {
            assert_eq!(render(template, &variables).as_deref(), Ok(wanted), "{template}");
        }
        for template in ["{{", "{{end}}", "{{if .n}}", "{{nope .n}}", "{{define \"a\"}}{{end}}", "{{index .list 9}}"] {
            assert!(render(template, &variables).is_err(), "{template}");
        }
    }
}
