//! Small modules, made by chance but the same each time, whose rules must have the same values both ways.

/// SplitMix64 (Steele, Lea, Flood 2014).
pub(super) struct Maker {
    state: u64,
    variables: Vec<String>,
    count: usize,
    rules: usize,
}

impl Maker {
    pub(super) fn new(seed: u64) -> Self {
        Self { state: seed, variables: Vec::new(), count: 0, rules: 0 }
    }

    fn below(&mut self, bound: usize) -> usize {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % bound as u64).expect("small")
    }

    fn of<'t>(&mut self, choices: &[&'t str]) -> &'t str {
        choices[self.below(choices.len())]
    }

    /// Four rules and two functions; later ones use earlier ones.
    pub(super) fn module(&mut self) -> String {
        let mut text = "package made\n".to_owned();
        for rule in 0..6 {
            self.variables.clear();
            self.count = 0;
            self.rules = rule;
            text.push_str(&self.rule(rule));
        }
        text
    }

    fn rule(&mut self, rule: usize) -> String {
        if rule % 3 == 1 {
            self.variables.push("p".to_owned());
            let (body, value) = (self.body(2), self.term(1));
            self.variables.truncate(1);
            let (other, second) = (self.body(2), self.term(1));
            self.variables.clear();
            return match self.below(3) {
                0 => format!("r{rule}(p) := {value} if {{ {body} }}\n"),
                1 => format!("r{rule}(p) := {value} if {{ {body} }} else := {second} if {{ {other} }}\n"),
                _ => format!("r{rule}(p) := 1 if {{ {body} }}\nr{rule}(p) := 1 if {{ {other} }}\n"),
            };
        }
        let body = self.body(3);
        let value = self.term(1);
        match self.below(6) {
            0 | 1 => format!("r{rule} contains {value} if {{ {body} }}\n"),
            2 => format!("r{rule} if {{ {body} }}\n"),
            3 => {
                let first = format!("r{rule} contains {value} if {{ {body} }}\n");
                self.variables.clear();
                let (body, value) = (self.body(2), self.term(1));
                format!("{first}r{rule} contains {value} if {{ {body} }}\n")
            }
            4 => format!("default r{rule} := \"d\"\nr{rule} := {value} if {{ {body} }}\n"),
            _ => {
                let key = self.term(0);
                format!("r{rule}[k] := {value} if {{ {body}; k := {key} }}\n")
            }
        }
    }

    fn fresh(&mut self) -> String {
        self.count += 1;
        format!("v{}", self.count)
    }

    fn body(&mut self, depth: usize) -> String {
        let statements: Vec<String> = (0..=self.below(3)).map(|_| self.statement(depth)).collect();
        statements.join("; ")
    }

    fn statement(&mut self, depth: usize) -> String {
        let term = self.term(depth);
        match self.below(12) {
            0 | 1 => self.bring(|v| format!("{v} := {term}")),
            2 | 3 => self.bring(|v| format!("some {v} in {term}")),
            4 => {
                let key = self.fresh();
                self.variables.push(key.clone());
                self.bring(|v| format!("some {key}, {v} in {term}"))
            }
            5 => format!("not {term}"),
            6 => {
                let other = self.term(depth);
                format!("not {term} == {other}")
            }
            7 => {
                let sign = self.of(&["==", "!=", "<", ">=", "="]);
                let other = self.term(depth);
                format!("{term} {sign} {other}")
            }
            8 if depth > 0 => {
                let item = self.fresh();
                let length = self.variables.len();
                self.variables.push(item.clone());
                let body = self.body(depth - 1);
                self.variables.truncate(length);
                format!("every {item} in {term} {{ {body} }}")
            }
            9 => {
                let root = self.of(&["input.a", "input.o", "input.l"]);
                let key = self.fresh();
                self.variables.push(key.clone());
                self.bring(|v| format!("{v} = {root}[{key}]"))
            }
            10 => {
                let root = self.of(&["input.a", "input.o", "input.l", "input.s", "input.none"]);
                self.bring(|v| format!("{v} := {root}[_]"))
            }
            _ => term,
        }
    }

    fn bring(&mut self, statement: impl FnOnce(&str) -> String) -> String {
        let name = self.fresh();
        let text = statement(&name);
        self.variables.push(name);
        text
    }

    fn term(&mut self, depth: usize) -> String {
        const LEAVES: [&str; 17] = [
            "input.a",
            "input.o",
            "input.l",
            "input.s",
            "input.n",
            "input.t",
            "input.none",
            "input.o.k",
            "input.a[1]",
            "input.o.none.x",
            "0",
            "1",
            "\"k\"",
            "true",
            "null",
            "[]",
            "{}",
        ];
        let place = self.below(2 * self.variables.len() + 1);
        let variable = self.variables.get(place).cloned();
        if depth == 0 {
            return variable.unwrap_or_else(|| self.of(&LEAVES).to_owned());
        }
        match (self.below(16), variable) {
            (0, _) => format!("count({})", self.term(depth - 1)),
            (1, Some(v)) => format!("{v}.k"),
            (2, Some(v)) => format!("input.o[{v}]"),
            (3, _) => format!("[{}, {}]", self.term(depth - 1), self.term(depth - 1)),
            (4, _) => format!("{{\"k\": {}, \"j\": {}}}", self.term(depth - 1), self.term(depth - 1)),
            (5, _) => format!("{{{}, 1}}", self.term(depth - 1)),
            (6, _) => {
                let sign = self.of(&["+", "-", "*", "|", "&", "/", "%"]);
                format!("({} {sign} {})", self.term(depth - 1), self.term(depth - 1))
            }
            (7, _) => format!("sprintf(\"%v\", [{}])", self.term(depth - 1)),
            (8, _) => format!("startswith({}, \"k\")", self.term(depth - 1)),
            (9 | 10, _) => {
                let length = self.variables.len();
                let (body, value) = (self.body(depth - 1), self.term(depth - 1));
                self.variables.truncate(length);
                match self.below(3) {
                    0 => format!("[{value} | {body}]"),
                    1 => format!("{{{value} | {body}}}"),
                    _ => format!("{{x: {value} | {body}; x := {}}}", self.of(&LEAVES)),
                }
            }
            (11, _) if self.rules > 0 => {
                let rule = self.below(self.rules);
                if rule % 3 == 1 { format!("r{rule}({})", self.term(depth - 1)) } else { format!("r{rule}") }
            }
            (12, _) => format!("({} in {})", self.term(depth - 1), self.term(depth - 1)),
            (13, _) => format!("object.get({}, \"k\", 7)", self.term(depth - 1)),
            (14, _) => format!("is_string({})", self.term(depth - 1)),
            (_, Some(v)) => v,
            (_, None) => self.of(&LEAVES).to_owned(),
        }
    }
}
