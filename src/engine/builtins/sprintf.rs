//! `sprintf` with the verbs and fallbacks of Go's `fmt`, as OPA has it. Bounded: no result is longer than 1 MiB.
//!
//! Source: OPA's `sprintf`, which hands numbers to Go as int or float, strings as they are, and everything else as
//! its JSON text; the documentation of Go's package fmt for the rest.

use num_bigint::BigInt;
use regorus::Value;

use super::call::{Builtin, CallError, Outcome, at_most};
use crate::engine::meter;

pub(super) const BUILTINS: &[Builtin] = &[Builtin { name: "sprintf", arity: 2, call: sprintf }];

/// Widths and precisions past this are an error, as is a longer result.
const MAX_WIDTH: usize = 10_000;
const MAX_LENGTH: usize = 1 << 20;

pub(super) fn sprintf(args: &[Value]) -> Outcome {
    let [Value::String(format), Value::Array(values)] = args else {
        return Err("takes a string and an array".into());
    };
    // Written out, what values share within counts each time.
    values.iter().try_for_each(|value| meter::weigh(value).map(drop))?;
    let operands: Vec<Operand> = values.iter().map(Operand::new).collect::<anyhow::Result<_>>()?;
    let text = Formatter { operands: &operands, next: 0, out: String::with_capacity(format.len() * 2) }.run(format)?;
    Ok(Value::from(text))
}

enum Operand {
    Int(i128),
    BigInt(String),
    Float(f64),
    Text(String),
}

impl Operand {
    fn new(value: &Value) -> anyhow::Result<Self> {
        Ok(match value {
            Value::String(s) => Self::Text(s.as_ref().to_owned()),
            Value::Number(n) => match n.as_i128() {
                Some(n) if i64::try_from(n).is_ok() => Self::Int(n),
                Some(n) => Self::BigInt(n.to_string()),
                None if n.is_integer() => Self::BigInt(n.format_decimal()),
                None => Self::Float(n.as_f64().unwrap_or(f64::NAN)),
            },
            other => Self::Text(opa_text(other)?),
        })
    }

    fn go_type(&self) -> &'static str {
        match self {
            Self::Int(_) => "int",
            Self::BigInt(_) => "*big.Int",
            Self::Float(_) => "float64",
            Self::Text(_) => "string",
        }
    }

    fn plain(&self) -> String {
        match self {
            Self::Int(n) => n.to_string(),
            Self::BigInt(n) | Self::Text(n) => n.clone(),
            Self::Float(f) => go_float(*f),
        }
    }
}

/// A composite as OPA prints it: JSON, with sets in braces.
pub(super) fn opa_text(value: &Value) -> anyhow::Result<String> {
    let join = |parts: Vec<String>| parts.join(", ");
    Ok(match value {
        Value::Array(items) => format!("[{}]", join(items.iter().map(opa_text).collect::<Result<_, _>>()?)),
        Value::Set(items) if items.is_empty() => "set()".to_owned(),
        Value::Set(items) => format!("{{{}}}", join(items.iter_sorted().map(opa_text).collect::<Result<_, _>>()?)),
        Value::Object(map) => {
            let pair = |(k, v): (&Value, &Value)| Ok(format!("{}: {}", opa_text(k)?, opa_text(v)?));
            format!("{{{}}}", join(map.iter_sorted().map(pair).collect::<anyhow::Result<_>>()?))
        }
        other => other.to_json_str()?,
    })
}

struct Formatter<'a> {
    operands: &'a [Operand],
    next: usize,
    out: String,
}

#[derive(Default)]
struct Spec {
    plus: bool,
    minus: bool,
    sharp: bool,
    space: bool,
    zero: bool,
    width: Option<usize>,
    precision: Option<usize>,
}

impl Formatter<'_> {
    fn run(mut self, format: &str) -> Result<String, CallError> {
        let mut chars = format.chars().peekable();
        while let Some(c) = chars.next() {
            if c != '%' {
                self.out.push(c);
                continue;
            }
            let mut spec = Spec::default();
            while let Some(flag) = chars.next_if(|c| "+-# 0".contains(*c)) {
                match flag {
                    '+' => spec.plus = true,
                    '-' => spec.minus = true,
                    '#' => spec.sharp = true,
                    ' ' => spec.space = true,
                    _ => spec.zero = true,
                }
            }
            spec.width = self.number(&mut chars)?;
            if chars.next_if_eq(&'.').is_some() {
                spec.precision = Some(self.number(&mut chars)?.unwrap_or(0));
            }
            match chars.next() {
                None => self.out.push_str("%!(NOVERB)"),
                Some('%') => self.out.push('%'),
                Some(verb) => self.verb(verb, &spec),
            }
            at_most(self.out.len(), MAX_LENGTH, "bytes of result")?;
        }
        if let Some(extra) = self.operands.get(self.next..).filter(|rest| !rest.is_empty()) {
            let extra: Vec<String> = extra.iter().map(|o| format!("{}={}", o.go_type(), o.plain())).collect();
            self.out.push_str(&format!("%!(EXTRA {})", extra.join(", ")));
        }
        at_most(self.out.len(), MAX_LENGTH, "bytes of result")?;
        Ok(self.out)
    }

    /// A width or precision: digits, or `*` for the next operand.
    fn number(&mut self, chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Result<Option<usize>, CallError> {
        let number = if chars.next_if_eq(&'*').is_some() {
            let operand = self.operands.get(self.next);
            self.next += 1;
            match operand {
                Some(Operand::Int(n)) => usize::try_from(*n).ok(),
                _ => {
                    self.out.push_str("%!(BADWIDTH)");
                    None
                }
            }
        } else {
            let mut number: Option<usize> = None;
            while let Some(digit) = chars.peek().and_then(|c| c.to_digit(10)) {
                chars.next();
                number = Some(number.unwrap_or(0).saturating_mul(10).saturating_add(digit as usize));
            }
            number
        };
        at_most(number.unwrap_or(0), MAX_WIDTH, "columns of width or precision")?;
        Ok(number)
    }

    fn verb(&mut self, verb: char, spec: &Spec) {
        let Some(operand) = self.operands.get(self.next) else {
            self.out.push_str(&format!("%!{verb}(MISSING)"));
            return;
        };
        self.next += 1;
        let (text, numeric) = match format_operand(operand, verb, spec) {
            Some(formatted) => formatted,
            None => (format!("%!{verb}({}={})", operand.go_type(), operand.plain()), false),
        };
        let width = spec.width.unwrap_or(0);
        let missing = width.saturating_sub(text.chars().count());
        if spec.minus {
            self.out.push_str(&text);
            self.out.extend(std::iter::repeat_n(' ', missing));
        } else if spec.zero && numeric {
            let digits = text.find(|c: char| c != '-' && c != '+' && c != ' ').unwrap_or(0);
            let (sign, rest) = text.split_at(digits);
            self.out.push_str(sign);
            self.out.extend(std::iter::repeat_n('0', missing));
            self.out.push_str(rest);
        } else {
            let pad = if spec.zero { '0' } else { ' ' };
            self.out.extend(std::iter::repeat_n(pad, missing));
            self.out.push_str(&text);
        }
    }
}

/// The text and whether zeros may pad it after its sign; `None` for a verb that does not fit the operand.
fn format_operand(operand: &Operand, verb: char, spec: &Spec) -> Option<(String, bool)> {
    let signed = |text: String| {
        if text.starts_with('-') {
            text
        } else if spec.plus {
            format!("+{text}")
        } else if spec.space {
            format!(" {text}")
        } else {
            text
        }
    };
    let text = match (operand, verb) {
        (_, 'T') => return Some((operand.go_type().to_owned(), false)),
        (Operand::Text(s), 'v') if spec.sharp => return Some((go_quote(s), false)),
        (Operand::Text(s), 's' | 'v') => {
            return Some((s.chars().take(spec.precision.unwrap_or(usize::MAX)).collect(), false));
        }
        (Operand::Text(s), 'q') => return Some((go_quote(s), false)),
        (Operand::Text(s), 'x') => return Some((s.bytes().map(|b| format!("{b:02x}")).collect(), false)),
        (Operand::Text(s), 'X') => return Some((s.bytes().map(|b| format!("{b:02X}")).collect(), false)),
        (Operand::Int(_) | Operand::BigInt(_), 'd' | 'v') | (Operand::BigInt(_), 's') => operand.plain(),
        (Operand::Int(n), 'b') => radix(*n, |n| format!("{n:b}"), if spec.sharp { "0b" } else { "" }),
        (Operand::Int(n), 'o') => radix(*n, |n| format!("{n:o}"), if spec.sharp { "0" } else { "" }),
        (Operand::Int(n), 'O') => radix(*n, |n| format!("{n:o}"), "0o"),
        (Operand::Int(n), 'x') => radix(*n, |n| format!("{n:x}"), if spec.sharp { "0x" } else { "" }),
        (Operand::Int(n), 'X') => radix(*n, |n| format!("{n:X}"), if spec.sharp { "0X" } else { "" }),
        (Operand::BigInt(n), 'b' | 'o' | 'x' | 'X') => {
            let number: BigInt = n.parse().unwrap_or_default();
            match verb {
                'b' => number.to_str_radix(2),
                'o' => number.to_str_radix(8),
                'x' => number.to_str_radix(16),
                _ => number.to_str_radix(16).to_uppercase(),
            }
        }
        (Operand::Int(n), 'c') => {
            let c = u32::try_from(*n).ok().and_then(char::from_u32).unwrap_or(char::REPLACEMENT_CHARACTER);
            return Some((c.to_string(), false));
        }
        (Operand::Int(n), 'q') => {
            let c = u32::try_from(*n).ok().and_then(char::from_u32).unwrap_or(char::REPLACEMENT_CHARACTER);
            return Some((format!("'{c}'"), false));
        }
        (Operand::Int(n), 'U') => return Some((format!("U+{n:04X}"), false)),
        (Operand::Float(f), 'v' | 'g') => match spec.precision {
            Some(p) => go_general(*f, p),
            None => go_float(*f),
        },
        (Operand::Float(f), 'f' | 'F') => format!("{:.*}", spec.precision.unwrap_or(6), f),
        (Operand::Float(f), 'e') => go_exponent(*f, spec.precision.unwrap_or(6)),
        (Operand::Float(f), 'E') => go_exponent(*f, spec.precision.unwrap_or(6)).to_uppercase(),
        (Operand::Float(f), 'G') => go_float(*f).to_uppercase(),
        _ => return None,
    };
    Some((signed(text), true))
}

fn radix(n: i128, digits: impl Fn(u128) -> String, prefix: &str) -> String {
    format!("{}{prefix}{}", if n < 0 { "-" } else { "" }, digits(n.unsigned_abs()))
}

/// Go's `%v` of a float64: the shortest form that reads back, with an exponent below 1e-4 and from 1e21.
fn go_float(f: f64) -> String {
    let magnitude = f.abs();
    if f == 0.0 || (1e-4..1e21).contains(&magnitude) {
        return f.to_string();
    }
    if !f.is_finite() {
        return if f.is_nan() { "NaN".to_owned() } else { format!("{}Inf", if f < 0.0 { '-' } else { '+' }) };
    }
    exponent_of(&format!("{f:e}"))
}

fn go_exponent(f: f64, precision: usize) -> String {
    exponent_of(&format!("{f:.precision$e}"))
}

/// Go's `%.<p>g`: `p` significant digits without trailing zeros.
fn go_general(f: f64, precision: usize) -> String {
    let digits = precision.max(1);
    let scientific = format!("{f:.*e}", digits - 1);
    let exponent: i64 = scientific.split_once('e').and_then(|(_, e)| e.parse().ok()).unwrap_or(0);
    let trim = |text: &str| match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text.to_owned(),
    };
    if exponent < -4 || exponent >= i64::try_from(digits).unwrap_or(i64::MAX) {
        let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
        return exponent_of(&format!("{}e{exponent}", trim(mantissa)));
    }
    let decimals = usize::try_from(i64::try_from(digits).unwrap_or(0) - 1 - exponent).unwrap_or(0);
    trim(&format!("{f:.decimals$}"))
}

/// Rust's `1e-7` as Go's `1e-07`.
fn exponent_of(text: &str) -> String {
    let Some((mantissa, exponent)) = text.split_once('e') else { return text.to_owned() };
    let (sign, digits) = match exponent.strip_prefix('-') {
        Some(digits) => ('-', digits),
        None => ('+', exponent),
    };
    format!("{mantissa}e{sign}{digits:0>2}")
}

fn go_quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            c if c.is_control() && (c as u32) < 0x80 => quoted.push_str(&format!("\\x{:02x}", c as u32)),
            c if c.is_control() => quoted.push_str(&format!("\\u{:04x}", c as u32)),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_go_prints() {
        for (format, values, wanted) in [
            ("%s has %d", "[\"a\", 3]", "a has 3"),
            ("%v", "[{\"b\": [1, \"x\"]}]", "{\"b\": [1, \"x\"]}"),
            ("%d", "[1.5]", "%!d(float64=1.5)"),
            ("%d", "[\"x\"]", "%!d(string=x)"),
            ("%s %s", "[\"a\"]", "a %!s(MISSING)"),
            ("%s", "[\"a\", 1]", "a%!(EXTRA int=1)"),
            ("100%", "[]", "100%!(NOVERB)"),
            ("100%%", "[]", "100%"),
            ("%5d|%-5d|%05d|%+d", "[7, 7, -7, 7]", "    7|7    |-0007|+7"),
            ("%x %X %o %b %c", "[255, 255, 8, 5, 65]", "ff FF 10 101 A"),
            ("%.2f %e", "[3.14159, 1234.5678]", "3.14 1.234568e+03"),
            ("%v %v", "[1e-7, 0.5]", "1e-07 0.5"),
            ("%q %5s|%.1s", "[\"a\\\"b\", \"é\", \"xyz\"]", "\"a\\\"b\"     é|x"),
            ("%T %T %T", "[1, \"a\", 1.5]", "int string float64"),
            ("%s", "[true]", "true"),
            ("%z", "[1]", "%!z(int=1)"),
        ] {
            let args = [Value::from(format), Value::from_json_str(values).expect("JSON")];
            assert_eq!(sprintf(&args).expect(format), Value::from(wanted), "{format}");
        }
    }

    #[test]
    fn bounds_are_errors() {
        let args = [Value::from("%1000000000d"), Value::from_json_str("[1]").expect("JSON")];
        assert!(sprintf(&args).is_err());
    }
}
