//! Text to tokens. Template strings come as parts, with the tokens of their expressions between them.

use crate::engine::rego::Flaw;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lexeme {
    /// A variable or a keyword.
    Name,
    Number,
    /// `"..."`, with its quotes.
    Text,
    /// A string in backticks, with them.
    RawText,
    /// Text of a template string before an expression: from `$"`, or the `}` of the expression before, to `{`.
    TemplatePart,
    /// Text of a template string up to its end.
    TemplateEnd,
    /// Brackets and operators.
    Sign,
    /// The end of the text.
    End,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Token<'t> {
    pub lexeme: Lexeme,
    pub text: &'t str,
    pub start: usize,
    pub end: usize,
    /// Whether a line ends between the token before and this one.
    pub first: bool,
    /// Whether nothing stands between the token before and this one.
    pub glued: bool,
}

/// `# ...`, without the line's end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Comment<'t> {
    /// What follows `#`.
    pub text: &'t str,
    /// Byte offset of `#`.
    pub start: usize,
}

/// The tokens of a text, the last of them its end, and its comments.
pub(super) fn tokens(text: &str) -> Result<(Vec<Token<'_>>, Vec<Comment<'_>>), Flaw> {
    let mut lexer = Lexer { text, at: 0, tokens: Vec::new(), comments: Vec::new(), templates: Vec::new() };
    if text.starts_with('\u{feff}') {
        lexer.at = '\u{feff}'.len_utf8();
    }
    lexer.run()?;
    Ok((lexer.tokens, lexer.comments))
}

struct Lexer<'t> {
    text: &'t str,
    at: usize,
    tokens: Vec<Token<'t>>,
    comments: Vec<Comment<'t>>,
    /// Template strings that are open, innermost last.
    templates: Vec<Template>,
}

struct Template {
    quote: char,
    /// Braces that are open in its expression.
    depth: usize,
}

impl<'t> Lexer<'t> {
    fn run(&mut self) -> Result<(), Flaw> {
        let mut first = true;
        let mut glued = false;
        while let Some(c) = self.peek() {
            let start = self.at;
            match c {
                '\n' => {
                    first = true;
                    glued = false;
                    self.at += 1;
                    continue;
                }
                ' ' | '\t' | '\r' => {
                    glued = false;
                    self.at += 1;
                    continue;
                }
                '#' => {
                    let rest = self.rest();
                    let line = rest.split('\n').next().unwrap_or(rest);
                    let text = line.trim_end_matches('\r').strip_prefix('#').unwrap_or_default();
                    self.comments.push(Comment { text, start });
                    self.at += line.len();
                    glued = false;
                    continue;
                }
                _ => {}
            }
            let lexeme = self.token(c)?;
            let text = self.text.get(start..self.at).unwrap_or_default();
            self.tokens.push(Token { lexeme, text, start, end: self.at, first, glued });
            (first, glued) = (false, true);
        }
        if !self.templates.is_empty() {
            return Err(Flaw::new(self.at, "the template string has no end"));
        }
        let (start, end) = (self.at, self.at);
        self.tokens.push(Token { lexeme: Lexeme::End, text: "", start, end, first: true, glued: false });
        Ok(())
    }

    fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn take_while(&mut self, keep: impl Fn(char) -> bool) {
        while let Some(c) = self.peek().filter(|c| keep(*c)) {
            self.at += c.len_utf8();
        }
    }

    fn token(&mut self, c: char) -> Result<Lexeme, Flaw> {
        match c {
            c if c.is_ascii_alphabetic() || c == '_' => {
                self.take_while(|c| c.is_ascii_alphanumeric() || c == '_');
                Ok(Lexeme::Name)
            }
            c if c.is_ascii_digit() => self.number(),
            '"' => {
                self.at += 1;
                self.quoted()?;
                Ok(Lexeme::Text)
            }
            '`' => {
                let end = self.rest().char_indices().skip(1).find(|(_, c)| *c == '`').map(|(at, _)| at);
                let Some(end) = end else { return Err(Flaw::new(self.at, "the string has no end")) };
                self.at += end + 1;
                Ok(Lexeme::RawText)
            }
            '$' => match self.rest().chars().nth(1) {
                Some(quote @ ('"' | '`')) => {
                    self.at += 2;
                    self.template(quote)
                }
                _ => Err(Flaw::new(self.at, "illegal character `$`")),
            },
            '{' => {
                if let Some(template) = self.templates.last_mut() {
                    template.depth += 1;
                }
                self.sign(1)
            }
            '}' => match self.templates.last_mut() {
                Some(Template { quote, depth: 0 }) => {
                    let quote = *quote;
                    self.templates.pop();
                    self.at += 1;
                    self.template(quote)
                }
                Some(template) => {
                    template.depth -= 1;
                    self.sign(1)
                }
                None => self.sign(1),
            },
            ':' | '=' | '<' | '>' | '!' => {
                let two = self.rest().chars().nth(1) == Some('=');
                if c == '!' && !two {
                    return Err(Flaw::new(self.at, "illegal character `!`; negation is written `not`"));
                }
                self.sign(if two { 2 } else { 1 })
            }
            '[' | ']' | '(' | ')' | ',' | '+' | '-' | '*' | '/' | '%' | '&' | '|' | ';' | '.' => self.sign(1),
            other => Err(Flaw::new(self.at, format!("illegal character `{}`", other.escape_debug()))),
        }
    }

    #[expect(clippy::unnecessary_wraps, reason = "the last step of `token`")]
    fn sign(&mut self, length: usize) -> Result<Lexeme, Flaw> {
        self.at += length;
        Ok(Lexeme::Sign)
    }

    fn number(&mut self) -> Result<Lexeme, Flaw> {
        let start = self.at;
        self.take_while(|c| c.is_ascii_digit());
        let digit_at = |lexer: &Self, n: usize| lexer.rest().chars().nth(n).is_some_and(|c| c.is_ascii_digit());
        if self.peek() == Some('.') {
            if !digit_at(self, 1) {
                return Err(Flaw::new(start, "a number needs digits after its point"));
            }
            self.at += 1;
            self.take_while(|c| c.is_ascii_digit());
        }
        if matches!(self.peek(), Some('e' | 'E')) {
            let sign = usize::from(matches!(self.rest().chars().nth(1), Some('+' | '-')));
            if !digit_at(self, 1 + sign) {
                return Err(Flaw::new(start, "a number needs digits in its exponent"));
            }
            self.at += 1 + sign;
            self.take_while(|c| c.is_ascii_digit());
        }
        if self.peek().is_some_and(|c| c.is_ascii_alphanumeric() || c == '_') {
            return Err(Flaw::new(start, "illegal number"));
        }
        let digits = self.text.get(start..self.at).unwrap_or_default();
        if digits.len() > 1 && digits.starts_with('0') && digits.as_bytes().get(1).is_some_and(u8::is_ascii_digit) {
            return Err(Flaw::new(start, "a number may not begin with `0`"));
        }
        Ok(Lexeme::Number)
    }

    /// The rest of a string after its first quote.
    fn quoted(&mut self) -> Result<(), Flaw> {
        let start = self.at - 1;
        loop {
            let Some(c) = self.peek().filter(|c| *c != '\n') else {
                return Err(Flaw::new(start, "the string has no end"));
            };
            self.at += c.len_utf8();
            match c {
                '"' => return Ok(()),
                '\\' => self.escape(false)?,
                _ => {}
            }
        }
    }

    /// What follows a `\`.
    fn escape(&mut self, in_template: bool) -> Result<(), Flaw> {
        match self.peek() {
            Some('\\' | '"' | '/' | 'b' | 'f' | 'n' | 'r' | 't' | 'u') => self.at += 1,
            Some('{') if in_template => self.at += 1,
            _ => return Err(Flaw::new(self.at - 1, "illegal escape in a string")),
        }
        Ok(())
    }

    /// Text of a template string, up to an expression or its end.
    fn template(&mut self, quote: char) -> Result<Lexeme, Flaw> {
        let raw = quote == '`';
        let start = self.at;
        loop {
            let Some(c) = self.peek().filter(|c| raw || *c != '\n') else {
                return Err(Flaw::new(start - 1, "the template string has no end"));
            };
            self.at += c.len_utf8();
            match c {
                c if c == quote => return Ok(Lexeme::TemplateEnd),
                '{' => {
                    self.templates.push(Template { quote, depth: 0 });
                    return Ok(Lexeme::TemplatePart);
                }
                '\\' if raw && self.peek() == Some('{') => self.at += 1,
                '\\' if !raw => self.escape(true)?,
                _ => {}
            }
        }
    }
}
