//! The syntax tree as OPA writes it in JSON (`opa parse --format json`, `rego.parse_module`), without places.

use serde_json::{Map, Value as Json, json};

use crate::engine::rego::ast::{Body, Else, Import, Kind, Literal, LiteralKind, Module, Part, Rule, Step, Term, Value};

/// A module.
pub(crate) fn module(module: &Module<'_>) -> Json {
    let mut writer = Writer { wildcards: 0 };
    let path = module.package.iter().map(|s| text(s));
    let path: Vec<Json> = std::iter::once(var("data")).chain(path).collect();
    let mut fields = Map::from_iter([("package".to_owned(), json!({ "path": path }))]);
    if !module.imports.is_empty() {
        fields.insert("imports".to_owned(), module.imports.iter().map(|i| writer.import(i)).collect());
    }
    if !module.rules.is_empty() {
        fields.insert("rules".to_owned(), module.rules.iter().flat_map(|r| writer.rules(r)).collect());
    }
    Json::Object(fields)
}

struct Writer {
    /// How many `_` there were: each is a variable of its own.
    wildcards: usize,
}

fn var(name: &str) -> Json {
    json!({"type": "var", "value": name})
}

fn text(text: &str) -> Json {
    json!({"type": "string", "value": text})
}

/// The name of an operator as a function.
fn operator(sign: &str) -> Json {
    let name = match sign {
        "=" => "eq",
        ":=" => "assign",
        "==" => "equal",
        "!=" => "neq",
        "<" => "lt",
        ">" => "gt",
        "<=" => "lte",
        ">=" => "gte",
        "+" => "plus",
        "-" => "minus",
        "*" => "mul",
        "/" => "div",
        "%" => "rem",
        "&" => "and",
        _ => "or",
    };
    json!({"type": "ref", "value": [var(name)]})
}

fn truth() -> Json {
    json!([{"index": 0, "terms": {"type": "boolean", "value": true}}])
}

impl Writer {
    fn import(&mut self, import: &Import<'_>) -> Json {
        let path = match self.term(&import.path) {
            path if path.get("type") == Some(&Json::from("var")) => json!({"type": "ref", "value": [path]}),
            path => path,
        };
        match import.alias {
            Some(alias) => json!({"path": path, "alias": alias}),
            None => json!({ "path": path }),
        }
    }

    /// A rule, and one more for each chained body.
    fn rules(&mut self, rule: &Rule<'_>) -> Vec<Json> {
        let mut rules = Vec::new();
        let bodies: Vec<Option<&Body<'_>>> = match rule.bodies.as_slice() {
            [] => vec![None],
            bodies => bodies.iter().map(|b| Some(&b.body)).collect(),
        };
        for (place, body) in bodies.into_iter().enumerate() {
            let head = self.head(rule, rule.value.as_ref());
            let body = body.map_or_else(truth, |b| self.body(b));
            let mut fields = Map::new();
            if rule.is_default {
                fields.insert("default".to_owned(), Json::Bool(true));
            }
            fields.insert("head".to_owned(), head);
            fields.insert("body".to_owned(), body);
            if let Some(branch) = self.branches(rule, &rule.elses).filter(|_| place == 0) {
                fields.insert("else".to_owned(), branch);
            }
            rules.push(Json::Object(fields));
        }
        rules
    }

    fn branches(&mut self, rule: &Rule<'_>, elses: &[Else<'_>]) -> Option<Json> {
        let (branch, rest) = elses.split_first()?;
        let head = self.head(rule, branch.value.as_ref());
        let body = branch.body.as_ref().map_or_else(truth, |b| self.body(&b.body));
        let mut fields = Map::from_iter([("head".to_owned(), head), ("body".to_owned(), body)]);
        fields.extend(self.branches(rule, rest).map(|rest| ("else".to_owned(), rest)));
        Some(Json::Object(fields))
    }

    fn head(&mut self, rule: &Rule<'_>, value: Option<&Value<'_>>) -> Json {
        let mut steps: Vec<Json> = match self.term(&rule.name) {
            Json::Object(mut name) if name.get("type") == Some(&Json::from("ref")) => {
                name.remove("value").and_then(|v| v.as_array().cloned()).unwrap_or_default()
            }
            name => vec![name],
        };
        let is_partial = rule.key.is_none() && rule.arguments.is_none() && steps.len() == 2;
        let mut fields = Map::new();
        if steps.len() == 1 || (is_partial && (!rule.has_if || value.is_some())) {
            fields.extend(rule.name.root().map(|name| ("name".to_owned(), Json::from(name))));
        }
        if let Some(arguments) = &rule.arguments {
            fields.insert("args".to_owned(), arguments.iter().map(|t| self.term(t)).collect());
        }
        let key = match &rule.key {
            Some(key) => Some(self.term(key)),
            None if is_partial && !rule.has_if && !rule.is_default => {
                let key = steps.last().cloned();
                if value.is_none() {
                    steps.pop();
                }
                key
            }
            None => None,
        };
        let is_set = key.is_some() && value.is_none();
        fields.extend(key.map(|key| ("key".to_owned(), key)));
        match value {
            Some(value) => {
                fields.insert("value".to_owned(), self.term(&value.term));
                if value.assigned {
                    fields.insert("assign".to_owned(), Json::Bool(true));
                }
            }
            None if !is_set => drop(fields.insert("value".to_owned(), json!({"type": "boolean", "value": true}))),
            None => {}
        }
        fields.insert("ref".to_owned(), Json::Array(steps));
        Json::Object(fields)
    }

    fn body(&mut self, body: &Body<'_>) -> Json {
        let expression = |(index, literal)| {
            let mut fields = self.literal(literal);
            fields.insert("index".to_owned(), Json::from(index));
            Json::Object(fields)
        };
        body.iter().enumerate().map(expression).collect()
    }

    fn literal(&mut self, literal: &Literal<'_>) -> Map<String, Json> {
        let terms = match &literal.kind {
            LiteralKind::Term(term) => match self.term(term) {
                Json::Object(mut call) if call.get("type") == Some(&Json::from("call")) => {
                    call.remove("value").unwrap_or_default()
                }
                term => term,
            },
            LiteralKind::Assign(left, right) => json!([operator(":="), self.term(left), self.term(right)]),
            LiteralKind::Unify(left, right) => json!([operator("="), self.term(left), self.term(right)]),
            LiteralKind::Some(names) => json!({"symbols": names.iter().map(|t| self.term(t)).collect::<Vec<_>>()}),
            LiteralKind::SomeIn { key, value, collection } => {
                json!({"symbols": [self.member(key.as_ref(), value, collection)]})
            }
            LiteralKind::Every { key, value, collection, body } => json!({
                "key": key.as_ref().map(|t| self.term(t)), "value": self.term(value),
                "domain": self.term(collection), "body": self.body(body),
            }),
        };
        let mut fields = Map::from_iter([("terms".to_owned(), terms)]);
        if literal.negated {
            fields.insert("negated".to_owned(), Json::Bool(true));
        }
        if !literal.with.is_empty() {
            let with = literal.with.iter();
            let with = with.map(|w| json!({"target": self.term(&w.target), "value": self.term(&w.value)}));
            fields.insert("with".to_owned(), with.collect());
        }
        fields
    }

    fn member(&mut self, key: Option<&Term<'_>>, value: &Term<'_>, collection: &Term<'_>) -> Json {
        let name = if key.is_some() { "member_3" } else { "member_2" };
        let operator = json!({"type": "ref", "value": [var("internal"), text(name)]});
        let operands = key.into_iter().chain([value, collection]).map(|t| self.term(t));
        json!({"type": "call", "value": std::iter::once(operator).chain(operands).collect::<Vec<_>>()})
    }

    fn all(&mut self, terms: &[Term<'_>]) -> Vec<Json> {
        terms.iter().map(|t| self.term(t)).collect()
    }

    fn term(&mut self, term: &Term<'_>) -> Json {
        match &term.kind {
            Kind::Null => json!({"type": "null", "value": {}}),
            Kind::Bool(value) => json!({"type": "boolean", "value": value}),
            Kind::Number(digits) => {
                let number = serde_json::from_str::<Json>(&digits.replacen("-.", "-0.", 1));
                json!({"type": "number", "value": number.unwrap_or_else(|_| Json::from(digits.as_str()))})
            }
            Kind::Text(value) => text(value),
            Kind::Var("_") => {
                self.wildcards += 1;
                var(&format!("${}", self.wildcards - 1))
            }
            Kind::Var(name @ ("data" | "input")) => json!({"type": "ref", "value": [var(name)]}),
            Kind::Var(name) => var(name),
            Kind::Ref(head, steps) => {
                let mut path = vec![match head.kind {
                    Kind::Var(name) if name != "_" => var(name),
                    _ => self.term(head),
                }];
                for step in steps {
                    path.push(match step {
                        Step::Dot(name, _) => text(name),
                        Step::Bracket(term, _) => self.term(term),
                    });
                }
                json!({"type": "ref", "value": path})
            }
            Kind::Call(name, operands) => {
                let name = match self.term(name) {
                    name if name.get("type") == Some(&Json::from("ref")) => name,
                    name => json!({"type": "ref", "value": [name]}),
                };
                let operands = self.all(operands);
                json!({"type": "call", "value": std::iter::once(name).chain(operands).collect::<Vec<_>>()})
            }
            Kind::Infix(sign, sides) => {
                json!({"type": "call", "value": [operator(sign.sign), self.term(&sides.0), self.term(&sides.1)]})
            }
            Kind::In { key, value, collection } => self.member(key.as_deref(), value, collection),
            Kind::Array(items) => json!({"type": "array", "value": self.all(items)}),
            Kind::Set(items) => json!({"type": "set", "value": self.all(items)}),
            Kind::Object(pairs) => {
                let pairs: Vec<Json> = pairs.iter().map(|(k, v)| json!([self.term(k), self.term(v)])).collect();
                json!({"type": "object", "value": pairs})
            }
            Kind::ArrayOf(term, body) => {
                json!({"type": "arraycomprehension", "value": {"term": self.term(term), "body": self.body(body)}})
            }
            Kind::SetOf(term, body) => {
                json!({"type": "setcomprehension", "value": {"term": self.term(term), "body": self.body(body)}})
            }
            Kind::ObjectOf(pair, body) => json!({"type": "objectcomprehension", "value": {
                "key": self.term(&pair.0), "value": self.term(&pair.1), "body": self.body(body),
            }}),
            Kind::Template(parts) => {
                let parts = parts.iter().filter_map(|part| match part {
                    Part::Text(said, _) => Some(said).filter(|s| !s.is_empty()).map(|s| text(s)),
                    Part::Expression(literal) => Some(Json::Object(self.literal(literal))),
                });
                json!({"type": "templatestring", "value": {"parts": parts.collect::<Vec<_>>()}})
            }
        }
    }
}
