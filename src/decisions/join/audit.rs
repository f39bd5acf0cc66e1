//! The API server's audit events, as far as a join needs them. Knows `audit.k8s.io/v1`; must not know files, nor
//! decisions.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::decisions::entry::rfc3339;
use crate::policy::Digest;

/// A decision that an event bears witness to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// Name of the webhook in the registration.
    pub webhook: String,
    /// Id of the decision.
    pub id: String,
    /// Origin of the log that should have it, where the event says it: of a webhook that answered more than once only
    /// the first answer's is there.
    pub origin: Option<String>,
}

/// One event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditEvent {
    /// `auditID`: the same for all stages of a request.
    pub audit_id: String,
    /// `ResponseStarted`, `ResponseComplete`, `Panic`.
    pub stage: String,
    /// `create`, `patch`, `deletecollection`, ...
    pub verb: String,
    /// Who asked; the impersonated user where there is one, as admission sees it.
    pub user: String,
    /// Where from.
    pub source_ips: Vec<String>,
    /// With what.
    pub user_agent: String,
    /// API group; empty for core.
    pub group: String,
    /// Plural resource; empty for requests that are about none.
    pub resource: String,
    /// Subresource.
    pub subresource: String,
    /// Namespace.
    pub namespace: String,
    /// Name; empty for a `deletecollection`.
    pub name: String,
    /// HTTP status of the answer; 0 when the event has none.
    pub code: u16,
    /// The answer is a refusal or a failure of the API server itself, and nothing that it handed on.
    pub refused: bool,
    /// `requestReceivedTimestamp` (RFC 3339, nanoseconds, UTC): the same for all stages of a request.
    pub received: String,
    /// `stageTimestamp`, likewise.
    pub stage_time: String,
    /// `requestURI`.
    pub uri: String,
    /// Decisions of the webhooks.
    pub marks: Vec<Mark>,
    /// Webhooks that were not heard, so that the request went on without them.
    pub failed_open: Vec<String>,
    /// The authorizer refused, so admission was never reached.
    pub forbidden: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire {
    #[serde(rename = "auditID")]
    audit_id: Option<String>,
    #[serde(default)]
    stage: String,
    #[serde(default)]
    verb: String,
    #[serde(default)]
    user: WireUser,
    impersonated_user: Option<WireUser>,
    #[serde(rename = "sourceIPs", default)]
    source_ips: Vec<String>,
    #[serde(default)]
    user_agent: String,
    object_ref: Option<WireObject>,
    response_status: Option<WireStatus>,
    #[serde(default)]
    request_received_timestamp: String,
    #[serde(default)]
    stage_timestamp: String,
    #[serde(rename = "requestURI", default)]
    request_uri: String,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

#[derive(Deserialize, Default)]
struct WireUser {
    #[serde(default)]
    username: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireObject {
    #[serde(default)]
    resource: String,
    #[serde(default)]
    subresource: String,
    #[serde(default)]
    namespace: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    api_group: String,
}

#[derive(Deserialize, Default)]
struct WireStatus {
    #[serde(default)]
    code: u16,
    #[serde(default)]
    status: String,
}

impl AuditEvent {
    /// Reads one event; `None`: it is none, or does not say which request it is of and when that came.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::of(serde_json::from_str(text).ok()?)
    }

    fn of(wire: Wire) -> Option<Self> {
        let object = wire.object_ref;
        let text = |of: fn(&WireObject) -> &String| object.as_ref().map(|o| of(o).clone()).unwrap_or_default();
        let (mut marks, mut failed_open, mut forbidden) = (Vec::<Mark>::new(), Vec::new(), false);
        for (key, value) in &wire.annotations {
            if key == "authorization.k8s.io/decision" {
                forbidden = value == "forbid";
            } else if is_failed_open(key) {
                failed_open.push(value.clone());
            } else if let Some(webhook) = decision_of(key, value) {
                marks.push(Mark { webhook: webhook.to_owned(), id: value.to_ascii_lowercase(), origin: None });
            }
        }
        for at in 0..marks.len() {
            let webhook = marks.get(at).map(|m| m.webhook.clone()).unwrap_or_default();
            let alone = marks.iter().filter(|m| m.webhook == webhook).count() == 1;
            let checkpoint = wire.annotations.get(&format!("{webhook}/checkpoint")).filter(|_| alone);
            if let (Some(mark), Some(checkpoint)) = (marks.get_mut(at), checkpoint) {
                mark.origin = checkpoint.split_once(' ').map(|(origin, _)| origin.to_owned());
            }
        }
        let status = wire.response_status.unwrap_or_default();
        let received = nanoseconds(&wire.request_received_timestamp)?;
        Some(Self {
            audit_id: wire.audit_id?,
            stage: wire.stage,
            verb: wire.verb,
            user: wire.impersonated_user.unwrap_or(wire.user).username,
            source_ips: wire.source_ips,
            user_agent: wire.user_agent,
            group: text(|o| &o.api_group),
            resource: text(|o| &o.resource),
            subresource: text(|o| &o.subresource),
            namespace: text(|o| &o.namespace),
            name: text(|o| &o.name),
            code: status.code,
            refused: status.status == "Failure",
            stage_time: nanoseconds(&wire.stage_timestamp).unwrap_or_else(|| received.clone()),
            received,
            uri: wire.request_uri,
            marks,
            failed_open,
            forbidden,
        })
    }

    /// Whether the request was done. `None`: the event does not say.
    ///
    /// What is connected to through `proxy` gives its own status, which says nothing of the API server.
    #[must_use]
    pub fn done(&self) -> Option<bool> {
        match self.code {
            0 => None,
            _ if self.subresource == "proxy" => Some(!self.refused && !self.forbidden),
            code => Some((200..400).contains(&code) || code == 101),
        }
    }

    /// Whether nothing was to be persisted, as far as the URI says: a deletion's options may say it in its body.
    #[must_use]
    pub fn dry_run(&self) -> bool {
        self.uri.split_once('?').is_some_and(|(_, query)| query.split('&').any(|part| part.starts_with("dryRun=")))
    }
}

/// The API server writes microseconds, we nanoseconds: made equally long, times sort as text. `None`: it is no time.
pub(super) fn nanoseconds(time: &str) -> Option<String> {
    time.parse().ok().map(rfc3339)
}

/// `failed-open.validating.webhook.admission.k8s.io/round_0_index_1` and the like, for both kinds of webhooks.
fn is_failed_open(key: &str) -> bool {
    key.starts_with("failed-open.") && key.contains("webhook.admission.k8s.io/")
}

/// The webhook of the annotation `<webhook>/decision-id.<first 8 hex of SHA-256(id)>`, if it is one.
fn decision_of<'k>(key: &'k str, id: &str) -> Option<&'k str> {
    let (webhook, rest) = key.split_once('/')?;
    let digest = rest.strip_prefix("decision-id.")?;
    (Digest::of(id.as_bytes()).hex().get(..8) == Some(digest)).then_some(webhook)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn event(annotations: &serde_json::Value) -> serde_json::Value {
        json!({"kind": "Event", "auditID": "a1", "stage": "ResponseComplete", "verb": "create",
            "user": {"username": "admin"}, "impersonatedUser": {"username": "ben"}, "sourceIPs": ["10.0.0.1"],
            "objectRef": {"resource": "pods", "namespace": "shop", "name": "p"}, "responseStatus": {"code": 201},
            "requestReceivedTimestamp": "2026-03-01T10:00:00.5Z", "annotations": annotations})
    }

    fn read(event: &serde_json::Value) -> AuditEvent {
        AuditEvent::parse(&event.to_string()).unwrap_or_else(|| panic!("no event: {event}"))
    }

    #[test]
    fn marks_and_what_failed_open() {
        let id = "01a1fbf1-d11a-71fe-9b72-e7887de9861c";
        let short = Digest::of(id.as_bytes()).hex()[..8].to_owned();
        let read = read(&event(&json!({
            format!("enforce.validate.portcullis.io/decision-id.{short}"): id,
            "enforce.validate.portcullis.io/decision-id.00000000": id,
            "enforce.validate.portcullis.io/checkpoint": "test/r-0 7 abc",
            "failed-open.mutation.webhook.admission.k8s.io/round_0_index_2": "enforce.mutate.portcullis.io",
            "authorization.k8s.io/decision": "allow"})));
        let mark =
            Mark { webhook: "enforce.validate.portcullis.io".into(), id: id.into(), origin: Some("test/r-0".into()) };
        assert_eq!(read.marks, [mark]);
        assert_eq!(read.failed_open, ["enforce.mutate.portcullis.io"]);
        assert_eq!((read.user.as_str(), read.forbidden, read.done()), ("ben", false, Some(true)));
        assert_eq!(read.received, "2026-03-01T10:00:00.500000000Z");
        assert_eq!(read.stage_time, read.received);
    }

    #[test]
    fn of_two_answers_one_checkpoint_says_nothing() {
        let ids = ["01a1fbf1-d11a-71fe-9b72-e7887de9861c", "01a1fbf1-d11a-71fe-9b72-e7887de9861d"];
        let key = |id: &str| format!("w/decision-id.{}", &Digest::of(id.as_bytes()).hex()[..8]);
        let marked = json!({key(ids[0]): ids[0], key(ids[1]): ids[1], "w/checkpoint": "test/r-0 7 abc"});
        let origins: Vec<Option<String>> = read(&event(&marked)).marks.into_iter().map(|m| m.origin).collect();
        assert_eq!(origins, [None, None]);
    }

    #[test]
    fn what_is_behind_a_proxy_answers_for_itself() {
        let of = |subresource: &str, status: serde_json::Value| {
            let mut event = event(&json!({}));
            event["objectRef"]["subresource"] = subresource.into();
            event["responseStatus"] = status;
            read(&event).done()
        };
        assert_eq!(of("proxy", json!({"code": 404})), Some(true));
        assert_eq!(of("proxy", json!({"code": 403, "status": "Failure"})), Some(false));
        assert_eq!(of("exec", json!({"code": 404})), Some(false));
        assert_eq!(of("exec", json!({"code": 101})), Some(true));
        assert_eq!(of("proxy", json!(null)), None);
    }

    #[test]
    fn an_event_of_no_time_is_none() {
        for (key, value) in [("requestReceivedTimestamp", json!("then")), ("auditID", json!(null))] {
            let mut event = event(&json!({}));
            event[key] = value;
            assert_eq!(AuditEvent::parse(&event.to_string()), None, "{key}");
        }
        assert_eq!(nanoseconds("2026-03-01T12:00:00.123456+02:00").as_deref(), Some("2026-03-01T10:00:00.123456000Z"));
    }
}
