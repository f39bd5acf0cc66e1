//! Addresses that no policy may reach, whatever name leads there: the machine itself, its link, its cloud's metadata.
//!
//! Private networks (RFC 1918, RFC 4193) are not among them: a host there is asked because it was listed.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Whether the machine itself may be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Loopback {
    /// Never.
    #[default]
    Forbid,
    /// Where a listed host is there: for tests and sidecars.
    Allow,
}

/// Where clouds tell a machine its secrets, beside the link-local addresses.
const METADATA: [IpAddr; 5] = [
    // Amazon (IMDS by IPv6), Google (by IPv6), Alibaba, Azure (WireServer), Oracle Classic.
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V6(Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
];

/// What an address is that no policy may reach; `None` for others.
#[must_use]
pub fn forbidden(address: IpAddr, loopback: Loopback) -> Option<&'static str> {
    if METADATA.contains(&address) {
        return Some("a metadata address");
    }
    match address {
        IpAddr::V4(v4) => forbidden_v4(v4, loopback),
        IpAddr::V6(v6) => forbidden_v6(v6, loopback),
    }
}

fn forbidden_v4(address: Ipv4Addr, loopback: Loopback) -> Option<&'static str> {
    let [first, ..] = address.octets();
    if address.is_loopback() {
        return (loopback == Loopback::Forbid).then_some("a loopback address");
    }
    if address.is_link_local() {
        return Some("a link-local address, where metadata is");
    }
    if address.is_multicast() || address.is_broadcast() {
        return Some("a multicast address");
    }
    // 0.0.0.0/8 is "this host on this network" (RFC 1122), 240.0.0.0/4 is reserved (RFC 1112).
    (first == 0 || first >= 240).then_some("a reserved address")
}

fn forbidden_v6(address: Ipv6Addr, loopback: Loopback) -> Option<&'static str> {
    if address.is_loopback() {
        return (loopback == Loopback::Forbid).then_some("a loopback address");
    }
    if address.is_unspecified() {
        return Some("a reserved address");
    }
    if address.is_unicast_link_local() {
        return Some("a link-local address");
    }
    if address.is_multicast() {
        return Some("a multicast address");
    }
    embedded(address).and_then(|v4| forbidden(IpAddr::V4(v4), loopback))
}

/// The address of IP version 4 that one of version 6 stands for: mapped and compatible (RFC 4291), translated (RFC 6052,
/// RFC 8215), 6to4 (RFC 3056).
fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let [a, b, c, d, e, f, g, h] = address.segments();
    let v4 = |high: u16, low: u16| {
        let ([w, x], [y, z]) = (high.to_be_bytes(), low.to_be_bytes());
        Ipv4Addr::new(w, x, y, z)
    };
    match [a, b, c, d, e, f] {
        [0, 0, 0, 0, 0, 0 | 0xffff] | [0, 0, 0, 0, 0xffff, 0] => Some(v4(g, h)),
        [0x64, 0xff9b, 0, 0, 0, 0] | [0x64, 0xff9b, 1, ..] => Some(v4(g, h)),
        [0x2002, high, low, ..] => Some(v4(high, low)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refused_address_is_refused_in_every_shape() {
        for (address, wanted) in [
            ("127.0.0.1", "loopback"),
            ("127.255.255.254", "loopback"),
            ("::1", "loopback"),
            ("::ffff:127.0.0.1", "loopback"),
            ("::127.0.0.1", "loopback"),
            ("64:ff9b::7f00:1", "loopback"),
            ("64:ff9b:1::7f00:1", "loopback"),
            ("2002:7f00:1::", "loopback"),
            ("169.254.169.254", "link-local"),
            ("169.254.0.1", "link-local"),
            ("::ffff:169.254.169.254", "link-local"),
            ("::ffff:0:169.254.169.254", "link-local"),
            ("64:ff9b::a9fe:a9fe", "link-local"),
            ("2002:a9fe:a9fe::1", "link-local"),
            ("fe80::1", "link-local"),
            ("febf::1", "link-local"),
            ("fd00:ec2::254", "metadata"),
            ("fd20:ce::254", "metadata"),
            ("100.100.100.200", "metadata"),
            ("::ffff:100.100.100.200", "metadata"),
            ("168.63.129.16", "metadata"),
            ("192.0.0.192", "metadata"),
            ("224.0.0.1", "multicast"),
            ("239.255.255.255", "multicast"),
            ("255.255.255.255", "multicast"),
            ("ff02::1", "multicast"),
            ("0.0.0.0", "reserved"),
            ("0.1.2.3", "reserved"),
            ("240.0.0.1", "reserved"),
            ("::", "reserved"),
            ("::ffff:0.0.0.0", "reserved"),
        ] {
            let parsed: IpAddr = address.parse().expect(address);
            let found = forbidden(parsed, Loopback::Forbid).unwrap_or_else(|| panic!("{address} is let through"));
            assert!(found.contains(wanted), "{address}: {found}");
            let still = forbidden(parsed, Loopback::Allow).is_some();
            assert_eq!(still, wanted != "loopback", "{address}");
        }
        for address in
            ["10.0.0.1", "172.16.0.1", "192.168.1.1", "93.184.216.34", "fd00::1", "2606:2800::1", "::ffff:10.0.0.1"]
        {
            assert_eq!(forbidden(address.parse().expect(address), Loopback::Forbid), None, "{address}");
        }
    }
}
