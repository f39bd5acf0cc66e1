//! `net.*`: addresses and CIDR blocks, without any network. Names are not looked up.
//!
//! An IPv4 address written as IPv6 (`::ffff:1.2.3.4`, RFC 4291 section 2.5.5.2) is the IPv4 address.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use regorus::Value;

use super::call::{Builtin, CallError, Outcome, at_most, items, operand, set, string, wrong};

pub(super) const BUILTINS: &[Builtin] = &[
    Builtin { name: "net.cidr_contains", arity: 2, call: cidr_contains },
    Builtin { name: "net.cidr_contains_matches", arity: 2, call: cidr_contains_matches },
    Builtin { name: "net.cidr_expand", arity: 1, call: cidr_expand },
    Builtin { name: "net.cidr_intersects", arity: 2, call: cidr_intersects },
    Builtin {
        name: "net.cidr_is_valid",
        arity: 1,
        call: |args| Ok(string(args, 0).and_then(Block::parse).is_ok().into()),
    },
    Builtin { name: "net.cidr_merge", arity: 1, call: cidr_merge },
    // The name of `net.cidr_contains` in Rego v0.
    Builtin { name: "net.cidr_overlap", arity: 2, call: cidr_contains },
    Builtin { name: "net.lookup_ip_addr", arity: 1, call: lookup_ip_addr },
];

/// Addresses that `net.cidr_expand` gives at most: an IPv4 /16.
const MAX_EXPANDED: usize = 1 << 16;

/// Pairs that `net.cidr_contains_matches` compares at most.
const MAX_PAIRS: usize = 1 << 20;

/// An address as a number, of one family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Address {
    v4: bool,
    bits: u128,
}

impl Address {
    fn parse(text: &str) -> Option<Self> {
        Some(match text.parse().ok()? {
            IpAddr::V4(ip) => Self { v4: true, bits: u128::from(ip.to_bits()) },
            IpAddr::V6(ip) => match ip.to_ipv4_mapped() {
                Some(ip) => Self { v4: true, bits: u128::from(ip.to_bits()) },
                None => Self { v4: false, bits: ip.to_bits() },
            },
        })
    }

    fn text(self) -> String {
        if self.v4 {
            Ipv4Addr::from_bits(u32::try_from(self.bits).unwrap_or(u32::MAX)).to_string()
        } else {
            Ipv6Addr::from_bits(self.bits).to_string()
        }
    }

    const fn width(self) -> u32 {
        if self.v4 { 32 } else { 128 }
    }
}

/// A CIDR block. `first` need not be its network address: `text` prints it as it was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Block {
    first: Address,
    prefix: u32,
}

impl Block {
    /// A block of the form `10.0.0.0/8`; the host part is dropped.
    fn parse(text: &str) -> Result<Self, CallError> {
        let invalid = || CallError::Operand(format!("invalid CIDR address: {text}"));
        let (ip, prefix) = text.split_once('/').ok_or_else(invalid)?;
        let address = Address::parse(ip).ok_or_else(invalid)?;
        let digits = prefix.len() <= 3 && !prefix.is_empty() && prefix.bytes().all(|b| b.is_ascii_digit());
        let prefix: u32 = prefix.parse().ok().filter(|_| digits).ok_or_else(invalid)?;
        let width = if ip.contains(':') { 128 } else { 32 };
        if prefix > width {
            return Err(invalid());
        }
        // Of a mapped IPv4 address the mask's last 32 bits count.
        let prefix = if address.v4 && width == 128 { prefix.saturating_sub(96) } else { prefix };
        let mut block = Self { first: address, prefix };
        block.first.bits &= block.mask();
        Ok(block)
    }

    fn host_bits(self) -> u32 {
        self.first.width() - self.prefix
    }

    fn mask(self) -> u128 {
        let width = if self.first.v4 { u128::from(u32::MAX) } else { u128::MAX };
        width.checked_shl(self.host_bits()).unwrap_or(0) & width
    }

    fn hosts(self) -> u128 {
        let width = if self.first.v4 { u128::from(u32::MAX) } else { u128::MAX };
        !self.mask() & width
    }

    fn range(self) -> (u128, u128) {
        let first = self.first.bits & self.mask();
        (first, first | self.hosts())
    }

    fn contains(self, address: Address) -> bool {
        let (first, last) = self.range();
        address.v4 == self.first.v4 && (first..=last).contains(&address.bits)
    }

    fn holds(self, other: Self) -> bool {
        let (_, last) = other.range();
        self.contains(other.first) && self.contains(Address { v4: other.first.v4, bits: last })
    }

    fn text(self) -> String {
        format!("{}/{}", self.first.text(), self.prefix)
    }
}

fn block(args: &[Value], n: usize) -> Result<Block, CallError> {
    Block::parse(string(args, n)?)
}

fn contains(block: Block, text: &str) -> Result<bool, CallError> {
    if let Some(address) = Address::parse(text) {
        return Ok(block.contains(address));
    }
    let inner = Block::parse(text)
        .map_err(|_| format!("not a valid textual representation of an IP address or CIDR: {text}"))?;
    Ok(block.holds(inner))
}

fn cidr_contains(args: &[Value]) -> Outcome {
    Ok(contains(block(args, 0)?, string(args, 1)?)?.into())
}

fn cidr_intersects(args: &[Value]) -> Outcome {
    let (a, b) = (block(args, 0)?, block(args, 1)?);
    Ok((a.contains(b.first) || b.contains(a.first)).into())
}

/// The blocks or addresses of an operand, each with what names it in the result: itself, its index or its key.
fn named(args: &[Value], n: usize) -> Result<Vec<(&str, Value)>, CallError> {
    fn text(value: &Value, n: usize) -> Result<&str, CallError> {
        let value = match value {
            Value::Array(items) => items.first(),
            other => Some(other),
        };
        match value {
            Some(Value::String(s)) => Ok(s),
            _ => Err(format!("operand {}: element must be string or non-empty array", n + 1).into()),
        }
    }
    match operand(args, n)? {
        Value::String(s) => Ok(vec![(s, Value::String(s.clone()))]),
        Value::Array(items) => items.iter().enumerate().map(|(i, v)| Ok((text(v, n)?, Value::from(i)))).collect(),
        Value::Set(items) => items.iter().map(|v| Ok((text(v, n)?, v.clone()))).collect(),
        Value::Object(map) => map.iter().map(|(k, v)| Ok((text(v, n)?, k.clone()))).collect(),
        other => Err(wrong(n, "one of {string, array, set, object}", other)),
    }
}

fn cidr_contains_matches(args: &[Value]) -> Outcome {
    let (blocks, inner) = (named(args, 0)?, named(args, 1)?);
    at_most(blocks.len().saturating_mul(inner.len()), MAX_PAIRS, "pairs to compare")?;
    let mut found = Vec::new();
    for (text, name) in &blocks {
        // Only with something to compare is a malformed block an error, as in OPA.
        for (other, other_name) in &inner {
            if contains(Block::parse(text)?, other)? {
                found.push(Value::from(vec![name.clone(), other_name.clone()]));
            }
        }
    }
    Ok(set(found))
}

fn cidr_expand(args: &[Value]) -> Outcome {
    let block = block(args, 0)?;
    let (first, last) = block.range();
    at_most(usize::try_from(last - first).unwrap_or(usize::MAX).saturating_add(1), MAX_EXPANDED, "addresses")?;
    Ok(set((first..=last).map(|bits| Value::from(Address { v4: block.first.v4, bits }.text()))))
}

/// A block, or an IPv4 address that stands for its classful network (RFC 791 section 3.2), as in OPA.
fn block_or_address(text: &str) -> Result<Block, CallError> {
    let Some(first) = Address::parse(text) else { return Block::parse(text) };
    if !first.v4 {
        return Err("IPv6 invalid: needs prefix length".into());
    }
    let prefix = match first.bits >> 24 {
        0..128 => 8,
        128..192 => 16,
        _ => 24,
    };
    Ok(Block { first, prefix })
}

/// The fewest blocks that cover the same addresses.
fn cidr_merge(args: &[Value]) -> Outcome {
    let mut blocks = Vec::new();
    for item in items(args, 0)? {
        let Value::String(text) = item else { return Err("element must be string".into()) };
        blocks.push(block_or_address(text)?);
    }
    blocks.sort_by_key(|b| (b.first.v4, b.range()));
    let mut merged: Vec<(bool, u128, u128, Option<Block>)> = Vec::new();
    for block in blocks {
        let (first, last) = block.range();
        match merged.last_mut() {
            Some((v4, _, end, kept)) if *v4 == block.first.v4 && first <= end.saturating_add(1) => {
                *end = last.max(*end);
                *kept = None;
            }
            _ => merged.push((block.first.v4, first, last, Some(block))),
        }
    }
    let texts = merged.into_iter().flat_map(|(v4, first, last, kept)| match kept {
        Some(block) => vec![block.text()],
        None => cover(v4, first, last),
    });
    Ok(set(texts.map(Value::from)))
}

/// The blocks that cover a range, the largest that fits first.
fn cover(v4: bool, mut first: u128, last: u128) -> Vec<String> {
    let width = if v4 { 32 } else { 128 };
    let mut blocks = Vec::new();
    loop {
        let left = last - first;
        // A block of 2^n addresses starts at a multiple of 2^n and does not pass the end.
        let fits = if left == u128::MAX { 128 } else { 127 - (left + 1).leading_zeros() };
        let host_bits = first.trailing_zeros().min(fits).min(width);
        let block = Block { first: Address { v4, bits: first }, prefix: width - host_bits };
        blocks.push(block.text());
        match first.checked_add(block.hosts()).and_then(|end| end.checked_add(1)) {
            Some(next) if next <= last => first = next,
            _ => return blocks,
        }
    }
}

/// What needs no network: an address is itself, `localhost` is the loopback address (RFC 6761 section 6.3).
fn lookup_ip_addr(args: &[Value]) -> Outcome {
    let name = string(args, 0)?;
    if let Some(address) = Address::parse(name) {
        return Ok(set([Value::from(address.text())]));
    }
    if name.trim_end_matches('.').eq_ignore_ascii_case("localhost") {
        return Ok(set([Value::from("127.0.0.1")]));
    }
    Err(CallError::Unsupported(format!("names are not looked up, policies do without the network: `{name}`")))
}
