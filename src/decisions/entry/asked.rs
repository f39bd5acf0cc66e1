//! What an entry repeats of the request and of what was read for it, cut to size. Knows records and requests; must not
//! know what is secret: the caller says how text is hidden.

use std::collections::BTreeMap;

use super::room;
use crate::admission::Request;
use crate::decisions::clip;
use crate::decisions::record::{RequestRecord, UserRecord};
use crate::engine::{HttpRead, Read};

/// Where the content of a read stands in the body.
pub(super) fn read_pointer(path: &str) -> String {
    format!("/reads/{}", path.replace('~', "~0").replace('/', "~1"))
}

/// What was read; of a request that a policy made, with its URL masked: a policy may write anything into it.
pub(super) fn asked_for(read: &Read, mask: impl Fn(&str) -> String) -> Read {
    let Some(http) = &read.http else { return read.clone() };
    let http = HttpRead { url: mask(&http.url), ..http.clone() };
    Read { path: format!("http.send {} {}", http.method, http.url), http: Some(http), ..read.clone() }
}

pub(super) fn read(read: &Read) -> Read {
    let short = |text: &String| clip::text(text, 128);
    Read {
        path: clip::text(&read.path, room::SHORT),
        uid: read.uid.as_ref().map(short),
        resource_version: read.resource_version.as_ref().map(short),
        digest: read.digest,
        http: read.http.as_ref().map(|http| HttpRead {
            method: clip::text(&http.method, 32),
            url: clip::text(&http.url, room::SHORT),
            status: http.status,
        }),
        content: None,
    }
}

/// The request as the record repeats it. `identity` hides what the operator named, `name` what is a secret.
pub(super) fn asked(
    request: &Request,
    identity: impl Fn(&str, &str) -> String,
    name: impl Fn(&str, &str) -> String,
) -> RequestRecord {
    let fixed = |text: &str, pointer: &str, max: usize| clip::text(&identity(text, pointer), max);
    let named = |text: &str, pointer: &str| clip::text(&name(&identity(text, pointer), pointer), room::NAME);
    let user = &request.user;
    let groups = user.groups.iter().enumerate();
    let groups = groups.map(|(i, g)| fixed(g, &format!("/request/userInfo/groups/{i}"), room::SHORT));
    let (groups, groups_omitted) = clip::list(groups, room::GROUPS);
    let extra = user.extra.iter().flat_map(|(key, values)| values.iter().enumerate().map(move |(i, v)| (key, i, v)));
    let extra: Vec<(&String, usize, &String)> = extra.collect();
    let (values, extra_omitted) = clip::list(
        extra.iter().map(|(key, i, value)| {
            let pointer = format!("/request/userInfo/extra/{}/{i}", key.replace('~', "~0").replace('/', "~1"));
            (clip::text(key, room::SHORT), fixed(value, &pointer, room::NAME))
        }),
        room::EXTRA,
    );
    let mut extra: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (key, value) in values {
        extra.entry(key).or_default().push(value);
    }
    RequestRecord {
        uid: fixed(&request.uid, "/request/uid", 128),
        operation: request.operation,
        group: fixed(&request.resource.group, "/request/resource/group", room::SHORT),
        version: fixed(&request.resource.version, "/request/resource/version", 128),
        kind: fixed(&request.kind.kind, "/request/kind/kind", 128),
        resource: fixed(&request.resource.resource, "/request/resource/resource", 128),
        subresource: fixed(&request.sub_resource, "/request/subResource", 128),
        namespace: fixed(&request.namespace, "/request/namespace", room::SHORT),
        name: named(&request.name, "/request/name"),
        generate_name: request
            .generate_name()
            .filter(|_| request.name.is_empty())
            .map(|n| named(n, "/request/object/metadata/generateName")),
        user: UserRecord {
            username: fixed(&user.username, "/request/userInfo/username", room::NAME),
            uid: fixed(&user.uid, "/request/userInfo/uid", room::SHORT),
            groups,
            groups_omitted,
            extra,
            extra_omitted,
        },
        dry_run: request.dry_run,
    }
}
