//! `numbers.range`, `numbers.range_step`, `units.parse` and `units.parse_bytes`: exact, and bounded, since users write
//! the quantities that policies read.

use num_bigint::BigInt;
use regorus::Value;

use super::call::{Builtin, CallError, Outcome, at_most, operand, string, wrong};

pub(super) const BUILTINS: &[Builtin] = &[
    Builtin { name: "numbers.range", arity: 2, call: |args| range(whole(args, 0)?, whole(args, 1)?, 1) },
    Builtin { name: "numbers.range_step", arity: 3, call: range_step },
    Builtin { name: "units.parse", arity: 1, call: parse },
    Builtin { name: "units.parse_bytes", arity: 1, call: parse_bytes },
];

/// Numbers that a range holds at most: 24 MB of values.
const MAX_RANGE: usize = 1_000_000;

/// Digits of an exponent, as in OPA.
const MAX_EXPONENT_DIGITS: usize = 6;

/// Exponents past this are refused: the number would have more digits.
const MAX_EXPONENT: usize = 1_000;

/// Length of a quantity: longer texts are no quantities.
const MAX_QUANTITY: usize = 1_000;

fn whole(args: &[Value], n: usize) -> Result<i128, CallError> {
    match operand(args, n)? {
        Value::Number(number) => {
            number.as_i128().ok_or_else(|| format!("operand {} must be integer number", n + 1).into())
        }
        other => Err(wrong(n, "number", other)),
    }
}

fn range_step(args: &[Value]) -> Outcome {
    let step = whole(args, 2)?;
    if step <= 0 {
        return Err("step must be a positive integer".into());
    }
    range(whole(args, 0)?, whole(args, 1)?, step)
}

/// From `from` to `to`, both included where the step hits them, downwards if need be.
fn range(from: i128, to: i128, step: i128) -> Outcome {
    let count = from.abs_diff(to) / step.unsigned_abs() + 1;
    at_most(usize::try_from(count).unwrap_or(usize::MAX), MAX_RANGE, "numbers in the range")?;
    let step = if from <= to { step } else { -step };
    let numbers = std::iter::successors(Some(from), |n| n.checked_add(step));
    Ok(Value::from(numbers.take(usize::try_from(count).unwrap_or(0)).map(Value::from).collect::<Vec<_>>()))
}

/// A decimal number: `digits * 10^exponent`.
struct Decimal {
    digits: BigInt,
    exponent: i32,
}

impl Decimal {
    /// `-1.5`, `.5`, `5.`, `1e3`.
    fn parse(text: &str) -> Result<Self, CallError> {
        let invalid = || CallError::Operand("could not parse amount to a number".to_owned());
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().map_err(|_| invalid())?),
            None => (text, 0),
        };
        at_most(usize::try_from(exponent.unsigned_abs()).unwrap_or(usize::MAX), MAX_EXPONENT, "powers of ten")?;
        let (sign, unsigned) = match mantissa.strip_prefix('-') {
            Some(rest) => ("-", rest),
            None => ("", mantissa.strip_prefix('+').unwrap_or(mantissa)),
        };
        let (integer, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
        let digits = format!("{integer}{fraction}");
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(invalid());
        }
        let digits = format!("{sign}{digits}").parse().map_err(|_| invalid())?;
        Ok(Self { digits, exponent: exponent - i32::try_from(fraction.len()).unwrap_or(i32::MAX) })
    }

    /// Times `factor`, as a fraction.
    fn times(&self, factor: &BigInt) -> (BigInt, BigInt) {
        let power = BigInt::from(10u8).pow(self.exponent.unsigned_abs());
        let digits = &self.digits * factor;
        if self.exponent < 0 { (digits, power) } else { (digits * power, BigInt::from(1u8)) }
    }
}

/// The number at the start, and the unit after it. An `e` is an exponent only where digits follow.
fn split(text: &str) -> Result<(&str, &str), CallError> {
    at_most(text.len(), MAX_QUANTITY, "bytes of quantity")?;
    let bytes = text.as_bytes();
    let at = |n: usize| bytes.get(n).copied().unwrap_or(0);
    let mut end = 0;
    while end < bytes.len() {
        match at(end) {
            b'e' | b'E' => {
                let signed = matches!(at(end + 1), b'+' | b'-');
                if !signed && !at(end + 1).is_ascii_digit() {
                    break;
                }
                let start = end + 1 + usize::from(signed);
                let digits = bytes.iter().skip(start).take_while(|b| b.is_ascii_digit()).count();
                if digits > MAX_EXPONENT_DIGITS {
                    return Err(CallError::Limit("exponent too large".to_owned()));
                }
                end = start + digits;
            }
            b'0'..=b'9' | b'.' | b'+' | b'-' => end += 1,
            _ => break,
        }
    }
    text.split_at_checked(end).ok_or_else(|| "could not parse amount to a number".into())
}

/// What SI and binary units stand for; `unit` in lower case. Source: OPA's documentation of `units.parse`.
fn factor(unit: &str) -> Option<BigInt> {
    let power = |prefix: &str| "kmgtpe".find(prefix).and_then(|n| u32::try_from(n + 1).ok());
    match (unit.len(), unit.strip_suffix('i')) {
        (0, _) => Some(BigInt::from(1u8)),
        (1, None) => Some(BigInt::from(1000u32).pow(power(unit)?)),
        (2, Some(prefix)) => Some(BigInt::from(1024u32).pow(power(prefix)?)),
        _ => None,
    }
}

/// A quantity of bytes, case ignored, with or without a final `b`; the fraction is cut off.
fn parse_bytes(args: &[Value]) -> Outcome {
    let text = string(args, 0)?.to_lowercase().replace('"', "");
    let (number, unit) = amount(&text)?;
    let short = unit.strip_suffix('b').filter(|u| !u.is_empty()).unwrap_or(unit);
    let factor = factor(short).ok_or_else(|| format!("byte unit {unit} not recognized"))?;
    let (digits, divisor) = Decimal::parse(number)?.times(&factor);
    value(&(digits / divisor).to_string())
}

/// A quantity: `m` is milli and `M` is mega, else the case does not matter. Ten places after the point are kept.
fn parse(args: &[Value]) -> Outcome {
    let text = string(args, 0)?.replace('"', "");
    let (number, unit) = amount(&text)?;
    let (factor, milli) = match unit {
        "m" => (BigInt::from(1u8), true),
        unit => (factor(&unit.to_lowercase()).ok_or_else(|| format!("unit {unit} not recognized"))?, false),
    };
    let (digits, mut divisor) = Decimal::parse(number)?.times(&factor);
    if milli {
        divisor *= 1000u32;
    }
    if &digits % &divisor == BigInt::ZERO {
        return value(&(digits / divisor).to_string());
    }
    let scaled = digits * BigInt::from(10_000_000_000u64) * 2u8;
    let negative = scaled < BigInt::ZERO;
    let rounded = (if negative { -scaled } else { scaled } + &divisor) / (divisor * 2u8);
    let text = format!("{rounded:0>11}", rounded = rounded.to_string());
    let (integer, fraction) = text.split_at(text.len() - 10);
    value(&format!("{}{integer}.{fraction}", if negative { "-" } else { "" }))
}

fn amount(text: &str) -> Result<(&str, &str), CallError> {
    if text.contains(' ') {
        return Err("spaces not allowed in resource strings".into());
    }
    match split(text)? {
        ("", _) => Err("no amount provided".into()),
        parts => Ok(parts),
    }
}

fn value(text: &str) -> Outcome {
    Ok(Value::from_numeric_string(text)?)
}
