//! One decision as an entry of the log: masked, cut to size and serialised on the caller's thread, so the writer only
//! stamps and writes. Knows records, bodies and masking; must not know files or queues.

mod asked;
mod config;
mod room;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};
use uuid::Uuid;

use self::asked::{asked, asked_for, read, read_pointer};
pub use self::config::ConfigChange;
use crate::admission::Request;
use crate::decisions::body::{Body, BodyLine, Detail, salted};
use crate::decisions::clip;
use crate::decisions::mask::{Input, Masker, Masking};
use crate::decisions::record::{
    CallerRecord, DecisionRecord, ENGINE, ErrorRecord, ExceptionRecord, InputRecord, InventoryRecord, RecordType,
    RequestRecord, ViolationRecord,
};
use crate::engine::{Decision, Excepted, Location, PolicyFailure, Read, Violation, Way};
use crate::policy::Digest;

/// Who called the webhook.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Caller {
    /// Address and port.
    pub addr: Option<SocketAddr>,
    /// Subject of the client certificate.
    pub tls_subject: Option<String>,
    /// Whether the certificate was checked against `--client-ca`.
    pub authenticated: bool,
}

/// What a record says of a decision that neither the request nor the decision knows.
#[derive(Debug, Clone)]
pub struct DecisionMeta {
    /// UUIDv7.
    pub decision_id: Uuid,
    /// When the review arrived.
    pub timestamp: Timestamp,
    /// `time.now_ns()` as policies saw it.
    pub now_ns: i64,
    /// Who called.
    pub caller: Caller,
    /// Durations by name, in nanoseconds.
    pub metrics: BTreeMap<&'static str, u64>,
}

/// A decision, or a change of configuration, ready to be written.
#[derive(Debug, Clone)]
pub struct Entry {
    pub(super) record_type: RecordType,
    pub(super) decision_id: Uuid,
    pub(super) timestamp: Timestamp,
    /// The members after the head, as a JSON object.
    pub(super) members: Vec<u8>,
    /// The body line, without line feed.
    pub(super) body: Vec<u8>,
}

impl Entry {
    /// Masks, cuts to size and serialises. Total: when masking fails, everything is masked.
    #[must_use]
    pub fn decision(meta: &DecisionMeta, request: &Request, decision: &Decision, masker: &Masker) -> Self {
        let salt = salt(meta.decision_id, masker);
        let shown = or_else(|| show(meta, request, decision, masker), || hide(request, decision, masker));
        entry(meta, decision, shown, salt)
    }

    /// Bytes that the entry takes while it waits.
    #[must_use]
    pub fn size(&self) -> usize {
        self.members.len() + self.body.len()
    }

    /// UUIDv7 of the decision.
    #[must_use]
    pub fn decision_id(&self) -> Uuid {
        self.decision_id
    }
}

/// RFC 3339 with nanoseconds, UTC: all of one length, so they sort as text.
pub(super) fn rfc3339(timestamp: Timestamp) -> String {
    format!("{timestamp:.9}")
}

/// What may be seen of a decision.
struct Shown<'r> {
    request: RequestRecord,
    violations: Vec<ViolationRecord>,
    violations_omitted: u64,
    exceptions: Vec<ExceptionRecord>,
    exceptions_omitted: u64,
    errors: Vec<ErrorRecord>,
    errors_omitted: u64,
    warnings: Vec<String>,
    warnings_omitted: u64,
    reads: Vec<Read>,
    masked: Vec<String>,
    omitted: Vec<String>,
    mask_failed: bool,
    body: Body<Input<'r>>,
}

/// `first`, or `second` if the first panics.
fn or_else<T>(first: impl FnOnce() -> T, second: impl FnOnce() -> T) -> T {
    // What is shared is only read.
    catch_unwind(AssertUnwindSafe(first)).unwrap_or_else(|_| second())
}

/// The masked decision. Documents first: what is found in them is then looked for in all text.
fn show<'r>(meta: &DecisionMeta, request: &'r Request, decision: &Decision, masker: &Masker) -> Shown<'r> {
    let id = meta.decision_id.to_string();
    let mut mask = masker.of_decision(&id);
    let (mut input, omitted) = mask.input(request);
    let patch = decision.patch.as_ref().map(|p| serde_json::to_value(p).unwrap_or(Value::Null));
    let mut patch = patch.map(|p| mask.patch(p, &request.kind.kind));
    let (mut details, details_omitted) = details(decision, &mut mask);
    let mut contents = contents(decision, &mut mask);
    mask.recurrences_in_input(&mut input);
    if let Some(patch) = &mut patch {
        mask.recurrences_in_output(patch, "/patch");
    }
    for (path, content) in &mut contents {
        mask.recurrences_in_output(content, &read_pointer(path));
    }
    for detail in &mut details {
        let pointer = format!("/details/{}", detail.violation);
        mask.recurrences_in_output(&mut detail.details, &pointer);
        detail.fix = detail.fix.as_ref().map(|fix| mask.text(fix, &pointer));
    }
    let excepted =
        |(i, e): (usize, &Excepted)| exception(e, violation(&e.violation, &mask, &format!("/exceptions/{i}")));
    let exceptions = clip::list(decision.exceptions.iter().enumerate().map(excepted), room::EXCEPTIONS);
    let violation = |(i, v): (usize, &Violation)| violation(v, &mask, &format!("/violations/{i}"));
    let (violations, cut) = clip::list(decision.violations.iter().enumerate().map(violation), room::VIOLATIONS);
    let rest = decision.violations.iter().enumerate().skip(violations.len()).map(violation);
    // The envelope's count covers what has no room here either.
    let (more, _) = clip::list(rest, room::MORE_VIOLATIONS);
    let failures = decision
        .failures
        .iter()
        .enumerate()
        .map(|(i, f)| failure(f, &mask.first(&f.msg, room::TEXT, &format!("/errors/{i}"))));
    let (errors, errors_omitted) = clip::list(failures, room::ERRORS);
    let warnings = decision.warnings.iter().enumerate();
    let warnings = warnings.map(|(i, w)| clip::text(&mask.first(w, room::TEXT, &format!("/warnings/{i}")), room::MSG));
    let (warnings, warnings_omitted) = clip::list(warnings, room::WARNINGS);
    let annotations = decision.audit_annotations.iter();
    let annotations: serde_json::Map<String, Value> = annotations
        .map(|(k, v)| {
            (mask.text(k, "/audit_annotations"), Value::String(mask.text(v, &format!("/audit_annotations/{k}"))))
        })
        .collect();
    let audit_annotations = if annotations.is_empty() { Value::Null } else { Value::Object(annotations) };
    Shown {
        request: asked(request, |text, pointer| mask.identity(text, pointer), |text, pointer| mask.name(text, pointer)),
        violations,
        violations_omitted: cut,
        exceptions: exceptions.0,
        exceptions_omitted: exceptions.1,
        errors,
        errors_omitted,
        warnings,
        warnings_omitted,
        reads: decision.reads.iter().map(|r| asked_for(r, |url| mask.first(url, room::TEXT, "/reads"))).collect(),
        masked: mask.masked(),
        omitted,
        mask_failed: false,
        body: Body { input, patch, details, details_omitted, violations: more, audit_annotations, reads: contents },
    }
}

/// The decision when masking failed: verdict and policies, nothing anybody wrote.
fn hide<'r>(request: &'r Request, decision: &Decision, masker: &Masker) -> Shown<'r> {
    const HIDDEN: &str = "[masked]";
    let bare =
        |v: &Violation| ViolationRecord { msg: HIDDEN.to_owned(), field: None, ..violation_of(v, String::new(), None) };
    let (violations, violations_omitted) = clip::list(decision.violations.iter().map(bare), room::VIOLATIONS);
    let excepted = |e: &Excepted| exception(e, bare(&e.violation));
    let (exceptions, exceptions_omitted) = clip::list(decision.exceptions.iter().map(excepted), room::EXCEPTIONS);
    let (errors, errors_omitted) = clip::list(decision.failures.iter().map(|f| failure(f, HIDDEN)), room::ERRORS);
    let hide = |text: &str, _: &str| if text.is_empty() { String::new() } else { HIDDEN.to_owned() };
    let named = masker.has_pointers();
    Shown {
        request: asked(request, |text, pointer| if named { hide(text, pointer) } else { text.to_owned() }, hide),
        violations,
        violations_omitted,
        exceptions,
        exceptions_omitted,
        errors,
        errors_omitted,
        warnings: Vec::new(),
        warnings_omitted: u64::try_from(decision.warnings.len()).unwrap_or(u64::MAX),
        reads: decision.reads.iter().map(|r| asked_for(r, |_| HIDDEN.to_owned())).collect(),
        masked: vec![String::new()],
        omitted: Vec::new(),
        mask_failed: true,
        body: Body {
            input: Input::hidden(request, json!({ "masked": HIDDEN })),
            patch: decision.patch.as_ref().map(|_| json!({ "masked": HIDDEN })),
            details: Vec::new(),
            details_omitted: 0,
            violations: Vec::new(),
            audit_annotations: Value::Null,
            reads: BTreeMap::new(),
        },
    }
}

/// What was read of the cluster, so that the decision can be made again.
fn contents(decision: &Decision, mask: &mut Masking<'_>) -> BTreeMap<String, Value> {
    let known = decision.reads.iter().filter_map(|read| Some((read.path.clone(), read.content.as_ref()?)));
    known
        .map(|(path, content)| {
            let content = mask.details(content.as_ref().clone(), &read_pointer(&path));
            (path, content)
        })
        .collect()
}

fn entry(meta: &DecisionMeta, decision: &Decision, shown: Shown<'_>, salt: [u8; 32]) -> Entry {
    let body = json_of(&shown.body);
    let patch_digest = shown.body.patch.as_ref().map(|p| Digest::from_bytes(salted(&salt, json_of(p).as_bytes())));
    let line = BodyLine { decision_id: meta.decision_id.to_string(), salt, body };
    let (masked, masked_omitted) = clip::list(shown.masked.iter().map(|p| clip::text(p, room::NAME)), room::MASKED);
    let (omitted, _) = clip::list(shown.omitted.into_iter(), room::OMITTED);
    let (reads, reads_omitted) = clip::list(shown.reads.iter().map(read), room::READS);
    let (metrics, _) = clip::list(meta.metrics.iter(), room::METRICS);
    let record = DecisionRecord {
        timestamp: rfc3339(meta.timestamp),
        decision_id: line.decision_id.clone(),
        now: rfc3339(Timestamp::from_nanosecond(i128::from(meta.now_ns)).unwrap_or(meta.timestamp)),
        endpoint: decision.endpoint,
        caller: CallerRecord {
            addr: meta.caller.addr.map(|a| a.to_string()),
            tls_subject: meta.caller.tls_subject.as_ref().map(|s| clip::text(s, room::NAME)),
            authenticated: meta.caller.authenticated,
        },
        request: shown.request,
        verdict: decision.verdict,
        cause: decision.cause,
        mutated: decision.allowed() && decision.patch.is_some(),
        violations: shown.violations,
        violations_omitted: shown.violations_omitted,
        errors: shown.errors,
        errors_omitted: shown.errors_omitted,
        warnings: shown.warnings,
        warnings_omitted: shown.warnings_omitted,
        exceptions: shown.exceptions,
        exceptions_omitted: shown.exceptions_omitted,
        policy_set: decision.policy_set,
        data_digest: decision.data_digest,
        inventory: decision
            .inventory_age
            .map(|age| InventoryRecord { age_ms: u64::try_from(age.as_millis()).unwrap_or(u64::MAX) }),
        reads,
        reads_omitted,
        input: InputRecord {
            digest: Digest::from_bytes(line.digest()),
            masked,
            masked_omitted,
            omitted,
            mask_failed: shown.mask_failed,
        },
        patch_digest,
        engine: engine_of(decision),
        metrics: metrics.into_iter().map(|(name, took)| ((*name).to_owned(), *took)).collect(),
    };
    Entry {
        record_type: RecordType::Decision,
        decision_id: meta.decision_id,
        timestamp: meta.timestamp,
        members: json_of(&record).into_bytes(),
        body: line.encode(),
    }
}

/// The program and its engine, with how many policies were run which way: `portcullis/.. regorus/.. plan/3`.
fn engine_of(decision: &Decision) -> String {
    let ways = [Way::Plan, Way::Interpreter].into_iter().filter_map(|way| {
        let count = decision.runs.iter().filter(|r| r.way == Some(way)).count();
        (count > 0).then(|| format!(" {}/{count}", way.as_str()))
    });
    std::iter::once(ENGINE.to_owned()).chain(ways).collect()
}

fn details(decision: &Decision, mask: &mut Masking<'_>) -> (Vec<Detail>, u64) {
    let with_more = decision.violations.iter().enumerate().filter(|(_, v)| v.details.is_some() || v.fix.is_some());
    let with_more: Vec<_> = with_more.collect();
    let detail = |(i, v): (usize, &Violation)| Detail {
        violation: u64::try_from(i).unwrap_or(u64::MAX),
        details: v.details.clone().map_or(Value::Null, |d| mask.details(d, &format!("/details/{i}"))),
        fix: v.fix.clone(),
    };
    clip::list(with_more.into_iter().map(detail), room::DETAILS)
}

fn violation(v: &Violation, mask: &Masking<'_>, pointer: &str) -> ViolationRecord {
    let field = v.field.as_ref().map(|f| mask.first_of_name(f, room::TEXT, pointer));
    violation_of(v, mask.first(&v.msg, room::TEXT, pointer), field)
}

/// Short enough that one always fits: who approved what must not be what is cut.
fn exception(e: &Excepted, violation: ViolationRecord) -> ExceptionRecord {
    let given = &e.exception;
    ExceptionRecord {
        name: clip::text(&given.name, room::SHORT),
        policy: clip::text(&e.violation.policy, room::SHORT),
        ticket: clip::text(&given.ticket, room::SHORT),
        approver: clip::text(&given.approver, room::SHORT),
        expires: given.expires.to_string(),
        violation: ViolationRecord {
            controls: Vec::new(),
            controls_omitted: u64::try_from(e.violation.controls.len()).unwrap_or(u64::MAX),
            msg: clip::text(&violation.msg, room::NAME),
            field: violation.field.map(|f| clip::text(&f, room::SHORT)),
            location: violation.location.map(|l| Location { file: clip::text(&l.file, room::SHORT), ..l }),
            ..violation
        },
    }
}

fn violation_of(v: &Violation, msg: String, field: Option<String>) -> ViolationRecord {
    let (controls, controls_omitted) =
        clip::list(v.controls.iter().map(|c| clip::text(c, room::SHORT)), room::CONTROLS);
    ViolationRecord {
        policy: clip::text(&v.policy, room::SHORT),
        digest: v.digest,
        enforcement: v.enforcement,
        severity: v.severity,
        controls,
        controls_omitted,
        msg: clip::text(&msg, room::MSG),
        field: field.map(|f| clip::text(&f, room::FIELD)),
        location: v.location.as_ref().map(place),
    }
}

fn failure(f: &PolicyFailure, msg: &str) -> ErrorRecord {
    ErrorRecord {
        policy: clip::text(&f.policy, room::SHORT),
        digest: f.digest,
        enforcement: f.enforcement,
        code: f.code,
        msg: clip::text(msg, room::MSG),
        location: f.location.as_ref().map(place),
    }
}

fn place(location: &Location) -> Location {
    Location { file: clip::text(&location.file, room::NAME), ..location.clone() }
}

/// 32 random bytes; without a source of randomness, bytes that only the mask key gives.
fn salt(decision_id: Uuid, masker: &Masker) -> [u8; 32] {
    let mut salt = [0; 32];
    match getrandom::fill(&mut salt) {
        Ok(()) => salt,
        Err(_) => masker.salt(&decision_id.to_string()),
    }
}

/// JSON text. The types here have string keys and finite numbers only, so serialising them cannot fail.
fn json_of(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_else(|_| "null".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::decode;
    use crate::decisions::MaskKey;
    use crate::engine::{Cause, Endpoint, Verdict};
    use crate::policy::Enforcement;

    #[test]
    fn when_masking_fails_everything_is_masked_and_the_decision_is_on_record() {
        let review = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
            "uid": "u", "operation": "CREATE", "namespace": "shop", "name": "secret-name", "kind": {"kind": "Pod"},
            "resource": {"resource": "pods"}, "userInfo": {"username": "alice"}, "object": {"spec": "secret-spec"}}});
        let request = decode(review.to_string().as_bytes()).expect("decodes");
        let violation = Violation {
            policy: "p".into(),
            digest: Digest::of(b"p"),
            enforcement: Enforcement::Deny,
            severity: None,
            controls: Vec::new().into(),
            msg: "secret-msg".to_owned(),
            field: Some("secret-field".to_owned()),
            details: Some(json!("secret-details")),
            fix: Some("secret-fix".to_owned()),
            location: None,
        };
        let failure = PolicyFailure {
            policy: "q".into(),
            digest: Digest::of(b"q"),
            enforcement: Enforcement::Deny,
            code: crate::engine::ErrorCode::Evaluation,
            msg: "secret-failure".to_owned(),
            location: None,
        };
        let patch = json!([{"op": "add", "path": "/spec", "value": "secret-patch"}]);
        let decision = Decision {
            endpoint: Endpoint::Validate,
            verdict: Verdict::Deny,
            cause: Cause::Policy,
            violations: vec![violation],
            exceptions: Vec::new(),
            mutations: Vec::new(),
            conflicts: Vec::new(),
            failures: vec![failure],
            warnings: vec!["secret-warning".to_owned()],
            patch: Some(serde_json::from_value(patch).expect("a patch")),
            audit_annotations: BTreeMap::from([("secret-key".to_owned(), "secret-value".to_owned())]),
            runs: Vec::new(),
            reads: Vec::new(),
            inventory_age: None,
            policy_set: Digest::of(b""),
            data_digest: Digest::of(b""),
            deny_selected: true,
        };
        let meta = DecisionMeta {
            decision_id: Uuid::nil(),
            timestamp: Timestamp::UNIX_EPOCH,
            now_ns: 0,
            caller: Caller::default(),
            metrics: BTreeMap::new(),
        };
        let text = |pointers: &[&str]| {
            let pointers = pointers.iter().map(|p| (*p).to_owned()).collect();
            let masker = Masker::new(MaskKey::from_bytes([0; 32]), pointers);
            let shown = or_else(|| panic!("a fault in masking"), || hide(&request, &decision, &masker));
            let entry = entry(&meta, &decision, shown, [0; 32]);
            String::from_utf8([entry.members, entry.body].concat()).expect("UTF-8")
        };
        let all = text(&[]);
        assert!(!all.contains("secret-"), "{all}");
        for kept in ["\"mask_failed\":true", "\"verdict\":\"deny\"", "\"policy\":\"p\"", "alice", "shop"] {
            assert!(all.contains(kept), "{kept}: {all}");
        }
        assert!(!text(&["/input/request/userInfo"]).contains("alice"));
    }
}
