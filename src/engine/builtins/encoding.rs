//! Encodings that several families share: base64 and hex as Go reads them, DER, PEM, and JSON text as Go writes it.

use base64::Engine as _;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use num_bigint::BigUint;
use regorus::Value;

use super::call::CallError;
use crate::engine::meter;

const STRICT: GeneralPurpose = GeneralPurpose::new(&STANDARD, config(DecodePaddingMode::RequireCanonical));
const URL: GeneralPurpose = GeneralPurpose::new(&URL_SAFE, config(DecodePaddingMode::Indifferent));

const fn config(padding: DecodePaddingMode) -> GeneralPurposeConfig {
    GeneralPurposeConfig::new().with_decode_padding_mode(padding).with_decode_allow_trailing_bits(true)
}

/// Decodes base64 with padding; line ends count for nothing.
pub(super) fn base64(text: &str) -> Result<Vec<u8>, CallError> {
    let text: String = text.chars().filter(|c| *c != '\r' && *c != '\n').collect();
    STRICT.decode(text).map_err(|_| "illegal base64 data".into())
}

/// Encodes base64 with padding.
pub(super) fn to_base64(bytes: &[u8]) -> Value {
    Value::from(STRICT.encode(bytes))
}

/// Decodes base64url (RFC 4648 section 5), padding or not.
pub(super) fn base64url(text: &str) -> Result<Vec<u8>, CallError> {
    URL.decode(text).map_err(|_| "illegal base64 data".into())
}

/// Encodes base64url without padding.
pub(super) fn to_base64url(bytes: &[u8]) -> String {
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
}

/// Lower-case hex.
pub(super) fn to_hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}

/// A big-endian number of any size.
pub(super) fn number(bytes: &[u8]) -> Result<Value, CallError> {
    Ok(Value::from_numeric_string(&BigUint::from_bytes_be(bytes).to_string())?)
}

/// Without leading zeros.
pub(super) fn trimmed(bytes: &[u8]) -> &[u8] {
    let zeros = bytes.iter().take_while(|b| **b == 0).count();
    bytes.get(zeros..).unwrap_or_default()
}

/// One block of PEM (RFC 7468).
pub(super) struct Pem<'a> {
    pub label: &'a str,
    pub content: Vec<u8>,
}

/// The first block of PEM in a text, and what comes after it.
pub(super) fn pem(text: &str) -> Option<(Pem<'_>, &str)> {
    const BEGIN: &str = "-----BEGIN ";
    let mut rest = text;
    loop {
        let at =
            rest.match_indices(BEGIN).find(|(at, _)| *at == 0 || rest.get(..*at).is_some_and(|t| t.ends_with('\n')));
        let after = rest.get(at?.0 + BEGIN.len()..)?;
        rest = after;
        let Some((label, body)) = after.split_once("-----") else { continue };
        let end = format!("-----END {label}-----");
        let Some((body, remains)) = body.split_once(&end) else { continue };
        // Headers, such as `Proc-Type:`, stand before an empty line.
        let body = match body.contains(':') {
            true => body.split_once("\n\n").map_or("", |(_, content)| content),
            false => body,
        };
        let content: String = body.chars().filter(|c| !c.is_whitespace()).collect();
        let Ok(content) = base64(&content) else { continue };
        return Some((Pem { label, content }, remains.trim_start_matches(['\r', '\n', ' ', '\t'])));
    }
}

/// Reads DER (X.690): tag by tag. Tags and lengths are all that it knows.
pub(super) struct Der<'a> {
    rest: &'a [u8],
}

impl<'a> Der<'a> {
    pub(super) const INTEGER: u8 = 0x02;
    pub(super) const BIT_STRING: u8 = 0x03;
    pub(super) const OCTET_STRING: u8 = 0x04;
    pub(super) const OID: u8 = 0x06;
    pub(super) const SEQUENCE: u8 = 0x30;

    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// The next tag with its content.
    pub(super) fn any(&mut self) -> Option<(u8, &'a [u8])> {
        let (tag, rest) = self.rest.split_first()?;
        let (first, mut rest) = rest.split_first()?;
        let length = match *first {
            short @ 0..0x80 => usize::from(short),
            long => {
                let count = usize::from(long & 0x7f);
                let (bytes, after) = rest.split_at_checked(count)?;
                rest = after;
                if count > 4 {
                    return None;
                }
                bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte))
            }
        };
        let (content, rest) = rest.split_at_checked(length)?;
        self.rest = rest;
        Some((*tag, content))
    }

    /// The content of the next tag, which must be `wanted`.
    pub(super) fn expect(&mut self, wanted: u8) -> Option<&'a [u8]> {
        self.any().filter(|(tag, _)| *tag == wanted).map(|(_, content)| content)
    }

    /// The next tag, a constructed one, as a reader of its content.
    pub(super) fn inside(&mut self, wanted: u8) -> Option<Self> {
        self.expect(wanted).map(Self::new)
    }

    /// The next tag, an INTEGER that is not negative, without leading zeros.
    pub(super) fn unsigned(&mut self) -> Option<&'a [u8]> {
        self.expect(Self::INTEGER).map(trimmed)
    }
}

/// JSON as Go's encoding/json writes it: keys in order, `<`, `>`, `&` and line separators escaped. Sets are arrays.
pub(super) fn json(value: &Value) -> Result<String, CallError> {
    let mut out = String::with_capacity(meter::weigh(value)?);
    write_json(value, &mut out)?;
    Ok(out)
}

fn write_json(value: &Value, out: &mut String) -> Result<(), CallError> {
    let list = |items: &mut dyn Iterator<Item = &Value>, out: &mut String| {
        out.push('[');
        for (n, item) in items.enumerate() {
            if n > 0 {
                out.push(',');
            }
            write_json(item, out)?;
        }
        out.push(']');
        Ok(())
    };
    match value {
        Value::Array(items) => list(&mut items.iter(), out),
        Value::Set(items) => list(&mut items.iter_sorted(), out),
        Value::Object(map) => {
            out.push('{');
            for (n, (key, value)) in map.iter_sorted().enumerate() {
                if n > 0 {
                    out.push(',');
                }
                match key {
                    Value::String(key) => write_string(key, out),
                    other => write_string(&json(other)?, out),
                }
                out.push(':');
                write_json(value, out)?;
            }
            out.push('}');
            Ok(())
        }
        Value::String(text) => {
            write_string(text, out);
            Ok(())
        }
        // The engine writes no integer past the range of a double.
        Value::Number(number) if number.is_integer() => {
            out.push_str(&number.format_decimal());
            Ok(())
        }
        other => {
            out.push_str(&other.to_json_str()?);
            Ok(())
        }
    }
}

fn write_string(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c if u32::from(c) < 0x20 => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
}
