//! From nodes and variables to text.

use regorus::Value;

use super::{Node, Operand, Pipeline};
use crate::engine::builtins::call::{CallError, at_most, field, type_name};
use crate::engine::builtins::sprintf;

/// Bytes of output.
const MAX_OUTPUT: usize = 1 << 20;

/// Nodes that are run: loops within loops end here.
const MAX_STEPS: usize = 1_000_000;

/// How a list of nodes ended.
#[derive(PartialEq)]
enum Flow {
    On,
    Break,
    Continue,
}

struct Run<'a> {
    root: &'a Value,
    variables: Vec<(String, Value)>,
    out: String,
    steps: usize,
}

pub(super) fn run(nodes: &[Node], variables: &Value) -> Result<String, CallError> {
    let mut run = Run { root: variables, variables: Vec::new(), out: String::new(), steps: 0 };
    match run.nodes(nodes, variables)? {
        Flow::On => Ok(run.out),
        Flow::Break | Flow::Continue => Err("template: break or continue outside range".into()),
    }
}

impl Run<'_> {
    fn nodes(&mut self, nodes: &[Node], dot: &Value) -> Result<Flow, CallError> {
        let known = self.variables.len();
        for node in nodes {
            self.steps += 1;
            at_most(self.steps, MAX_STEPS, "steps of a template")?;
            at_most(self.out.len(), MAX_OUTPUT, "bytes of result")?;
            match node {
                Node::Text(text) => self.out.push_str(text),
                Node::Print(pipeline) => {
                    let value = self.pipeline(pipeline, dot)?;
                    self.assign(pipeline, std::slice::from_ref(&value))?;
                    if pipeline.variables.is_empty() {
                        print(&value, &mut self.out);
                    }
                }
                Node::Break => return Ok(Flow::Break),
                Node::Continue => return Ok(Flow::Continue),
                Node::If(..) | Node::With(..) | Node::Range(..) => {
                    let inside = self.variables.len();
                    let flow = self.control(node, dot)?;
                    self.variables.truncate(inside);
                    if flow != Flow::On {
                        self.variables.truncate(known);
                        return Ok(flow);
                    }
                }
            }
        }
        // Variables of a list end with it, except at the top, where nothing follows.
        self.variables.truncate(known);
        Ok(Flow::On)
    }

    fn control(&mut self, node: &Node, dot: &Value) -> Result<Flow, CallError> {
        match node {
            Node::If(pipeline, then, otherwise) | Node::With(pipeline, then, otherwise) => {
                let value = self.pipeline(pipeline, dot)?;
                self.assign(pipeline, std::slice::from_ref(&value))?;
                let inner = if matches!(node, Node::With(..)) { &value } else { dot };
                if truth(&value) { self.nodes(then, inner) } else { self.nodes(otherwise, dot) }
            }
            Node::Range(pipeline, body, otherwise) => {
                let items = items(&self.pipeline(pipeline, dot)?)?;
                if items.is_empty() {
                    return self.nodes(otherwise, dot);
                }
                let known = self.variables.len();
                for (key, item) in items {
                    let values =
                        if pipeline.variables.len() == 2 { vec![key, item.clone()] } else { vec![item.clone()] };
                    self.assign(pipeline, &values)?;
                    let flow = self.nodes(body, &item)?;
                    self.variables.truncate(known);
                    if flow == Flow::Break {
                        break;
                    }
                }
                Ok(Flow::On)
            }
            _ => Ok(Flow::On),
        }
    }

    fn assign(&mut self, pipeline: &Pipeline, values: &[Value]) -> Result<(), CallError> {
        for (name, value) in pipeline.variables.iter().zip(values) {
            if pipeline.declares {
                self.variables.push((name.clone(), value.clone()));
                continue;
            }
            let known = self.variables.iter_mut().rev().find(|(known, _)| known == name);
            known.ok_or_else(|| format!("template: undefined variable \"${name}\""))?.1 = value.clone();
        }
        Ok(())
    }

    fn pipeline(&mut self, pipeline: &Pipeline, dot: &Value) -> Result<Value, CallError> {
        let mut last: Option<Value> = None;
        for command in &pipeline.commands {
            let (first, rest) = command.split_first().ok_or("template: empty command")?;
            let value = match first {
                Operand::Function(name) => {
                    let mut arguments = Vec::with_capacity(rest.len() + 1);
                    for operand in rest {
                        arguments.push(self.operand(operand, dot)?);
                    }
                    arguments.extend(last);
                    call(name, &arguments)?
                }
                _ if !rest.is_empty() || last.is_some() => {
                    return Err("template: can't give argument to non-function".into());
                }
                operand => self.operand(operand, dot)?,
            };
            last = Some(value);
        }
        Ok(last.unwrap_or(Value::Undefined))
    }

    fn operand(&mut self, operand: &Operand, dot: &Value) -> Result<Value, CallError> {
        match operand {
            Operand::Dot => Ok(dot.clone()),
            Operand::Nil => Ok(Value::Null),
            Operand::Constant(value) => Ok(value.clone()),
            Operand::Fields(fields) => below(dot.clone(), fields),
            Operand::Variable(name, fields) if name.is_empty() => below(self.root.clone(), fields),
            Operand::Variable(name, fields) => {
                let known = self.variables.iter().rev().find(|(known, _)| known == name);
                let value = known.ok_or_else(|| format!("template: undefined variable \"${name}\""))?;
                below(value.1.clone(), fields)
            }
            Operand::Function(name) => call(name, &[]),
            Operand::Inner(pipeline, fields) => {
                let value = self.pipeline(pipeline, dot)?;
                below(value, fields)
            }
        }
    }
}

fn below(mut value: Value, fields: &[String]) -> Result<Value, CallError> {
    for name in fields {
        value = match &value {
            Value::Object(_) => field(&value, name).cloned().unwrap_or(Value::Undefined),
            other => return Err(format!("template: can't evaluate field {name} in {}", type_name(other)).into()),
        };
    }
    Ok(value)
}

/// Keys or indexes with the items, in order.
fn items(value: &Value) -> Result<Vec<(Value, Value)>, CallError> {
    Ok(match value {
        Value::Array(items) => items.iter().enumerate().map(|(n, v)| (Value::from(n), v.clone())).collect(),
        Value::Set(items) => items.iter_sorted().enumerate().map(|(n, v)| (Value::from(n), v.clone())).collect(),
        Value::Object(map) => map.iter_sorted().map(|(k, v)| (k.clone(), v.clone())).collect(),
        Value::Null | Value::Undefined => Vec::new(),
        other => return Err(format!("template: range can't iterate over {}", type_name(other)).into()),
    })
}

/// What is not empty is true.
fn truth(value: &Value) -> bool {
    match value {
        Value::Null | Value::Undefined => false,
        Value::Bool(b) => *b,
        Value::Number(n) => n.as_f64() != Some(0.0) && n.as_i64() != Some(0),
        Value::String(s) => !s.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Set(items) => !items.is_empty(),
        Value::Object(map) => map.iter().next().is_some(),
    }
}

/// As Go's `fmt.Print`.
fn print(value: &Value, out: &mut String) {
    let list = |items: &mut dyn Iterator<Item = &Value>, out: &mut String| {
        out.push('[');
        for (n, item) in items.enumerate() {
            if n > 0 {
                out.push(' ');
            }
            print(item, out);
        }
        out.push(']');
    };
    match value {
        Value::Undefined => out.push_str("<undefined>"),
        Value::Null => out.push_str("<no value>"),
        Value::String(text) => out.push_str(text),
        Value::Array(items) => list(&mut items.iter(), out),
        Value::Set(items) => list(&mut items.iter_sorted(), out),
        Value::Object(map) => {
            out.push_str("map[");
            for (n, (key, value)) in map.iter_sorted().enumerate() {
                if n > 0 {
                    out.push(' ');
                }
                print(key, out);
                out.push(':');
                print(value, out);
            }
            out.push(']');
        }
        other => out.push_str(&other.to_string()),
    }
}

fn call(name: &str, arguments: &[Value]) -> Result<Value, CallError> {
    let first = arguments.first().ok_or_else(|| format!("template: wrong number of args for {name}"))?;
    let rest = arguments.get(1..).unwrap_or_default();
    let text = |arguments: &[Value]| {
        let mut out = String::new();
        for (n, argument) in arguments.iter().enumerate() {
            // Like fmt.Print: spaces only where neither is a string.
            let beside = n.checked_sub(1).and_then(|n| arguments.get(n));
            let apart = !matches!(argument, Value::String(_)) && !matches!(beside, None | Some(Value::String(_)));
            if apart {
                out.push(' ');
            }
            print(argument, &mut out);
        }
        out
    };
    let compare = || rest.first().filter(|second| type_name(first) == type_name(second)).map(|s| first.cmp(s));
    let ordered = |fits: fn(std::cmp::Ordering) -> bool| {
        compare()
            .map(|o| Value::from(fits(o)))
            .ok_or_else(|| CallError::from("template: incompatible types for comparison"))
    };
    match name {
        "and" => Ok(arguments.iter().find(|v| !truth(v)).or(arguments.last()).cloned().unwrap_or(Value::Null)),
        "or" => Ok(arguments.iter().find(|v| truth(v)).or(arguments.last()).cloned().unwrap_or(Value::Null)),
        "not" => Ok(Value::from(!truth(first))),
        "eq" => Ok(Value::from(rest.iter().any(|v| v == first))),
        "ne" => Ok(Value::from(rest.first() != Some(first))),
        "lt" => ordered(std::cmp::Ordering::is_lt),
        "le" => ordered(std::cmp::Ordering::is_le),
        "gt" => ordered(std::cmp::Ordering::is_gt),
        "ge" => ordered(std::cmp::Ordering::is_ge),
        "len" => Ok(Value::from(match first {
            Value::String(text) => text.len(),
            other => items(other)?.len(),
        })),
        "index" => rest.iter().try_fold(first.clone(), |value, key| {
            let found = match (&value, key) {
                (Value::Array(items), Value::Number(n)) => {
                    n.as_u64().and_then(|n| usize::try_from(n).ok()).and_then(|n| items.get(n)).cloned()
                }
                (Value::Object(map), key) => Some(map.get(key).cloned().unwrap_or(Value::Undefined)),
                _ => None,
            };
            found.ok_or_else(|| "template: index out of range".into())
        }),
        "slice" => slice(first, rest),
        "print" => Ok(Value::from(text(arguments))),
        "println" => {
            let parts: Vec<String> = arguments.iter().map(|a| text(std::slice::from_ref(a))).collect();
            Ok(Value::from(format!("{}\n", parts.join(" "))))
        }
        "printf" => sprintf::sprintf(&[first.clone(), Value::from(rest.to_vec())]),
        "html" => Ok(Value::from(escaped(
            &text(arguments),
            &[('&', "&amp;"), ('<', "&lt;"), ('>', "&gt;"), ('"', "&#34;"), ('\'', "&#39;")],
        ))),
        "js" => Ok(Value::from(escaped(
            &text(arguments),
            &[
                ('\\', "\\\\"),
                ('\'', "\\'"),
                ('"', "\\\""),
                ('<', "\\u003C"),
                ('>', "\\u003E"),
                ('&', "\\u0026"),
                ('=', "\\u003D"),
                ('\n', "\\u000A"),
            ],
        ))),
        "urlquery" => Ok(Value::from(text(arguments).bytes().fold(String::new(), |mut out, byte| {
            match byte {
                b' ' => out.push('+'),
                b if b.is_ascii_alphanumeric() || b"-_.~".contains(&b) => out.push(char::from(b)),
                b => out.push_str(&format!("%{b:02X}")),
            }
            out
        }))),
        other => Err(format!("template: function {other:?} not defined").into()),
    }
}

fn escaped(text: &str, table: &[(char, &str)]) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut out, c| {
        match table.iter().find(|(from, _)| *from == c) {
            Some((_, to)) => out.push_str(to),
            None => out.push(c),
        }
        out
    })
}

fn slice(value: &Value, bounds: &[Value]) -> Result<Value, CallError> {
    let bound = |n: usize, default: usize| match bounds.get(n) {
        None => Some(default),
        Some(Value::Number(n)) => n.as_u64().and_then(|n| usize::try_from(n).ok()),
        Some(_) => None,
    };
    let range = |length: usize| Some(bound(0, 0)?..bound(1, length)?);
    let found = match value {
        Value::String(text) => range(text.len()).and_then(|r| text.get(r)).map(Value::from),
        Value::Array(items) => {
            let items: Vec<Value> = items.iter().cloned().collect();
            range(items.len()).and_then(|r| items.get(r)).map(|part| Value::from(part.to_vec()))
        }
        _ => None,
    };
    found.ok_or_else(|| "template: slice out of range".into())
}
