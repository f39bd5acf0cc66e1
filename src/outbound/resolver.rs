//! Names to addresses that may be reached, within the time that a request has.
//!
//! The system's resolver cannot be interrupted, so it runs on a thread of its own, and of these only so many.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use ureq::Error;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

use crate::outbound::{Loopback, forbidden};

/// Names that are looked up at once: more than threads judge, less than would hurt while a name server is out.
const MOST_LOOKUPS: usize = 64;

/// Addresses of one name that are tried.
const MOST_ADDRESSES: usize = 8;

static LOOKUPS: AtomicUsize = AtomicUsize::new(0);

/// An address that may not be reached.
#[derive(Debug, thiserror::Error)]
#[error("{address}, {what}: no policy may reach it")]
pub(super) struct Refused {
    address: IpAddr,
    what: &'static str,
}

/// Resolves names to what may be reached.
#[derive(Debug)]
pub(super) struct Careful {
    loopback: Loopback,
}

impl Careful {
    pub(super) fn new(loopback: Loopback) -> Self {
        Self { loopback }
    }
}

impl Resolver for Careful {
    fn resolve(&self, uri: &Uri, _: &ureq::config::Config, timeout: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
        let (Some(scheme), Some(authority)) = (uri.scheme(), uri.authority()) else { return Err(Error::HostNotFound) };
        let place = DefaultResolver::host_and_port(scheme, authority).ok_or(Error::HostNotFound)?;
        let found = match place.parse::<SocketAddr>() {
            Ok(address) => vec![address],
            Err(_) => look_up(place, *timeout.after).map_err(|e| e.unwrap_or(Error::Timeout(timeout.reason)))?,
        };
        let mut reachable = self.empty();
        for address in found.iter().take(MOST_ADDRESSES) {
            // A name that leads there at all is not one that somebody meant to list.
            if let Some(what) = forbidden(address.ip(), self.loopback) {
                return Err(Error::Other(Box::new(Refused { address: address.ip(), what })));
            }
            reachable.push(*address);
        }
        if reachable.is_empty() { Err(Error::HostNotFound) } else { Ok(reachable) }
    }
}

/// Asks the system's resolver; an error of `None` is that it took too long.
fn look_up(place: String, most: Duration) -> Result<Vec<SocketAddr>, Option<Error>> {
    struct Underway;
    impl Drop for Underway {
        fn drop(&mut self) {
            LOOKUPS.fetch_sub(1, Ordering::Relaxed);
        }
    }
    let underway = LOOKUPS.fetch_add(1, Ordering::Relaxed);
    let guard = Underway;
    if underway >= MOST_LOOKUPS {
        return Err(Some(Error::Io(std::io::Error::other("too many names are being looked up"))));
    }
    let (sender, receiver) = sync_channel(1);
    let ask = move || {
        let _guard = guard;
        let found = place.to_socket_addrs().map(Iterator::collect::<Vec<SocketAddr>>);
        drop(sender.send(found));
    };
    std::thread::Builder::new().name("resolve".to_owned()).spawn(ask).map_err(|e| Some(Error::Io(e)))?;
    match receiver.recv_timeout(most) {
        Ok(found) => found.map_err(|e| Some(Error::Io(e))),
        Err(_) => Err(None),
    }
}
