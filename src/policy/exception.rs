//! `PolicyException` of `portcullis.io/v1alpha1`: what is let pass although a policy stands against it, who approved
//! that, and until when.
//!
//! Where it applies it applies whole: of several things it asks for, each must hold. What cannot be told (a label of an
//! unknown namespace, the container of a violation without a field) does not hold.

use serde::Deserialize;
use serde_json::Value;

use crate::admission::Request;
use crate::policy::gatekeeper::Document;
use crate::policy::instant::Instant;
use crate::policy::match_spec::MatchSpec;
use crate::policy::names::is_subdomain;
use crate::policy::selector::glob_matches;
use crate::policy::{LoadError, Match, kinds, wording};

/// Longest `reason`, in bytes; `ticket` and `approver` have a quarter of it.
const MAX_REASON: usize = 1024;

/// An exception, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct PolicyException {
    /// `metadata.name`.
    pub name: String,
    /// `spec.policyRefs`; at least one.
    pub refs: Vec<PolicyRef>,
    /// `spec.subjects`; empty: everybody.
    pub subjects: Vec<Subject>,
    /// `spec.match`: which requests, within what the policies take. `None`: all.
    pub matching: Option<Match>,
    /// `spec.reason`.
    pub reason: String,
    /// `spec.ticket`.
    pub ticket: String,
    /// `spec.approver`.
    pub approver: String,
    /// `spec.expires`: from then on it counts for nothing.
    pub expires: Instant,
    /// Where it stands, and for digests.
    pub document: Document,
}

/// A policy, and which of its violations.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyRef {
    /// Name or glob of policies; constraints are `<Kind>/<name>`.
    pub name: String,
    /// Globs of messages; empty: any.
    #[serde(default)]
    pub messages: Vec<String>,
    /// Globs of fields; empty: any, also none.
    #[serde(default)]
    pub fields: Vec<String>,
    /// Globs of names of the container that the field lies in; empty: any, also none.
    #[serde(default)]
    pub containers: Vec<String>,
    /// Globs of images of the container that the field lies in; empty: any, also none.
    #[serde(default)]
    pub images: Vec<String>,
}

/// Who asks. Names are globs.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, tag = "kind")]
pub enum Subject {
    /// A user by name.
    User {
        /// User name.
        name: String,
    },
    /// Everybody in a group.
    Group {
        /// Group name.
        name: String,
    },
    /// A service account.
    ServiceAccount {
        /// Its name.
        name: String,
        /// Its namespace.
        namespace: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct ExceptionDocument {
    api_version: String,
    #[serde(rename = "kind")]
    _kind: String,
    metadata: Named,
    spec: ExceptionSpec,
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct ExceptionSpec {
    policy_refs: Vec<PolicyRef>,
    #[serde(default)]
    subjects: Vec<Subject>,
    #[serde(default, rename = "match")]
    matching: Option<MatchSpec>,
    reason: String,
    ticket: String,
    approver: String,
    expires: String,
}

impl PolicyException {
    /// Whether a document is one.
    #[must_use]
    pub fn is_one(document: &Document) -> bool {
        document.group() == "portcullis.io" && document.kind() == "PolicyException"
    }

    /// Reads one.
    ///
    /// # Errors
    /// What is wrong with it, with its line.
    pub fn read(document: &Document) -> Result<Self, LoadError> {
        let label = format!("exception `{}`", document.name());
        let fault =
            |path: &[&str], message: String| document.fault_at("exception", path, format!("{label}: {message}"));
        let parsed: ExceptionDocument = serde_path_to_error::deserialize(&document.value).map_err(|e| {
            let (path, message) = wording::of_path(&e);
            fault(&path.iter().map(String::as_str).collect::<Vec<_>>(), message)
        })?;
        if parsed.api_version != "portcullis.io/v1alpha1" {
            let message = format!("`{}` is not known; write portcullis.io/v1alpha1", parsed.api_version);
            return Err(fault(&["apiVersion"], message));
        }
        let spec = parsed.spec;
        if !is_subdomain(&parsed.metadata.name) {
            let message = "`metadata.name` is no name of RFC 1123: lower case letters, digits, `-` and `.`";
            return Err(fault(&["metadata", "name"], message.to_owned()));
        }
        if spec.policy_refs.is_empty() {
            return Err(fault(&["spec", "policyRefs"], "`policyRefs` is empty: name at least one policy".to_owned()));
        }
        for (key, text, most) in [
            ("reason", &spec.reason, MAX_REASON),
            ("ticket", &spec.ticket, MAX_REASON / 4),
            ("approver", &spec.approver, MAX_REASON / 4),
        ] {
            if text.trim().is_empty() {
                return Err(fault(&["spec", key], format!("`{key}` is empty: an exception needs one")));
            }
            if text.len() > most || text.chars().any(|c| c.is_control() && c != '\n') {
                let message = format!("`{key}` must be text of at most {most} bytes without control characters");
                return Err(fault(&["spec", key], message));
            }
        }
        let expires =
            Instant::parse(&spec.expires).map_err(|m| fault(&["spec", "expires"], format!("`expires`: {m}")))?;
        let matching = spec.matching.map(MatchSpec::check).transpose().map_err(|m| fault(&["spec", "match"], m))?;
        Ok(Self {
            name: parsed.metadata.name,
            refs: spec.policy_refs,
            subjects: spec.subjects,
            matching,
            reason: spec.reason.trim().to_owned(),
            ticket: spec.ticket.trim().to_owned(),
            approver: spec.approver.trim().to_owned(),
            expires,
            document: document.clone(),
        })
    }

    /// Whether it still counts.
    #[must_use]
    pub fn is_live(&self, now: Instant) -> bool {
        now < self.expires
    }

    /// Whether any of its references may take `policy`.
    #[must_use]
    pub fn names(&self, policy: &str) -> bool {
        self.refs.iter().any(|r| r.names(policy))
    }

    /// Whether the labels of the namespace have to be known to say if it applies.
    #[must_use]
    pub fn selects_by_namespace(&self) -> bool {
        self.matching.as_ref().is_some_and(|m| m.namespace_selector.is_some())
    }

    /// Whether the name of the object has to be known to say if it applies.
    pub(crate) fn selects_by_name(&self) -> bool {
        self.matching.as_ref().is_some_and(Match::selects_by_name)
    }

    /// Whether it is for `request`, but for the labels of its namespace. `made`: the object that a controller would
    /// make, if that is what was judged; it then is enough that the exception is for that.
    #[must_use]
    pub fn takes(&self, request: &Request, made: Option<&Request>) -> bool {
        let asks = self.subjects.is_empty() || self.subjects.iter().any(|s| s.is(request));
        let matches = |m: &Match| {
            let made = made.cloned().map(|mut made| {
                made.namespace.clone_from(&request.namespace);
                made
            });
            std::iter::once(request).chain(&made).any(|r| m.covers(&with_resource(r)))
        };
        asks && self.matching.as_ref().is_none_or(matches)
    }

    /// Whether its namespace selector takes every one of the label sets, of which there must be one. An object in no
    /// namespace is never selected.
    #[must_use]
    pub fn takes_namespace(&self, labels: &[&Value]) -> bool {
        let selector = self.matching.as_ref().and_then(|m| m.namespace_selector.as_ref());
        selector.is_none_or(|s| !labels.is_empty() && labels.iter().all(|l| s.selects(l)))
    }

    /// Whether it covers a violation of `policy` with this message and field in `object`.
    #[must_use]
    pub fn covers(&self, policy: &str, msg: &str, field: Option<&str>, object: &Value) -> bool {
        self.refs.iter().any(|r| r.names(policy) && r.covers(msg, field, object))
    }

    /// The fields of a container by which it takes violations of `policy`: `name`, `image`.
    pub(crate) fn looks_at(&self, policy: &str) -> impl Iterator<Item = &'static str> {
        let refs = || self.refs.iter().filter(|r| r.names(policy));
        let by_name = refs().any(|r| !r.containers.is_empty()).then_some("name");
        let by_image = refs().any(|r| !r.images.is_empty()).then_some("image");
        by_name.into_iter().chain(by_image)
    }

    /// Whether it keeps the mutations of `policy` away: only if it names the policy outright, and all of it.
    #[must_use]
    pub fn covers_mutations(&self, policy: &str) -> bool {
        self.refs.iter().any(|r| r.name == policy && r.is_whole())
    }
}

impl PolicyRef {
    /// Whether it takes `policy` by name.
    #[must_use]
    pub fn names(&self, policy: &str) -> bool {
        glob_matches(&self.name, policy)
    }

    /// Whether it takes every violation.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        [&self.messages, &self.fields, &self.containers, &self.images].iter().all(|list| list.is_empty())
    }

    /// Whether it takes only violations with a field.
    #[must_use]
    pub fn needs_field(&self) -> bool {
        [&self.fields, &self.containers, &self.images].iter().any(|list| !list.is_empty())
    }

    fn covers(&self, msg: &str, field: Option<&str>, object: &Value) -> bool {
        let fits = |globs: &[String], text: Option<&str>| {
            globs.is_empty() || text.is_some_and(|t| globs.iter().any(|g| glob_matches(g, t)))
        };
        if !fits(&self.messages, Some(msg)) || !fits(&self.fields, field) {
            return false;
        }
        if self.containers.is_empty() && self.images.is_empty() {
            return true;
        }
        let Some(container) = field.and_then(|f| container_of(f, object, &mut |_| {})) else { return false };
        let text = |key: &str| container.get(key).and_then(Value::as_str);
        fits(&self.containers, text("name")) && fits(&self.images, text("image"))
    }
}

impl Subject {
    fn is(&self, request: &Request) -> bool {
        let user = &request.user;
        match self {
            Self::User { name } => glob_matches(name, &user.username),
            Self::Group { name } => user.groups.iter().any(|g| glob_matches(name, g)),
            Self::ServiceAccount { name, namespace } => user
                .username
                .strip_prefix("system:serviceaccount:")
                .and_then(|account| account.split_once(':'))
                .is_some_and(|(ns, account)| glob_matches(namespace, ns) && glob_matches(name, account)),
        }
    }
}

/// The container that a field such as `spec.template.spec.initContainers[0].image` lies in. `see` is shown every value on
/// the way.
pub(crate) fn container_of<'o>(field: &str, object: &'o Value, see: &mut impl FnMut(&Value)) -> Option<&'o Value> {
    let mut at = object;
    for step in field.split('.') {
        see(at);
        let Some((key, index)) = step.split_once('[') else {
            at = at.get(step)?;
            continue;
        };
        let index: usize = index.strip_suffix(']')?.parse().ok()?;
        let list = at.get(key)?;
        see(list);
        at = list.get(index)?;
        if ["containers", "initContainers", "ephemeralContainers"].contains(&key) {
            see(at);
            return Some(at);
        }
    }
    None
}

/// A request that nobody sent may name no resource: the one of its kind then.
fn with_resource(request: &Request) -> Request {
    let mut request = request.clone();
    if request.resource.resource.is_empty()
        && let Some(kind) = kinds::built_in(&request.kind.kind).iter().find(|k| k.group == request.kind.group)
    {
        request.resource.group = kind.group.to_owned();
        request.resource.version.clone_from(&request.kind.version);
        request.resource.resource = kind.resource.to_owned();
    }
    request
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const WHOLE: &str = "apiVersion: portcullis.io/v1alpha1
kind: PolicyException
metadata: {name: legacy}
spec:
  policyRefs:
    - {name: run_as_non_root, images: ['registry/legacy/*'], fields: ['*runAsUser']}
    - {name: 'K8sRequired*/*', messages: ['*owner*']}
  subjects:
    - {kind: Group, name: 'team-*'}
    - {kind: ServiceAccount, name: deployer, namespace: ci}
  match: {namespaces: [shop], kinds: [Pod]}
  reason: the old image runs as root
  ticket: SEC-1
  approver: jane@example.com
  expires: 2026-12-31T00:00:00+01:00
";

    fn read(text: &str) -> Result<PolicyException, LoadError> {
        PolicyException::read(&Document::parse_all("e.yaml", text).expect("YAML")[0])
    }

    fn request(user: &Value, namespace: &str, labels: &Value) -> Request {
        let object = json!({"metadata": {"name": "p", "labels": labels}});
        Request::standing(&json!({"operation": "UPDATE", "namespace": namespace, "userInfo": user, "object": object,
            "oldObject": {"metadata": {"labels": {"old": "1"}}}, "kind": {"group": "", "version": "v1", "kind": "Pod"}}))
    }

    #[test]
    fn everything_it_asks_for_must_hold() {
        let exception = read(WHOLE).expect("reads");
        assert_eq!(exception.expires.to_string(), "2026-12-30T23:00:00Z");
        let at = |text: &str| Instant::parse(text).expect(text);
        assert!(exception.is_live(at("2026-12-30T22:59:59Z")) && !exception.is_live(at("2026-12-30T23:00:00Z")));
        let takes = |user: Value, namespace| exception.takes(&request(&user, namespace, &Value::Null), None);
        assert!(takes(json!({"username": "eve", "groups": ["team-a"]}), "shop"));
        assert!(takes(json!({"username": "system:serviceaccount:ci:deployer"}), "shop"));
        assert!(!takes(json!({"username": "system:serviceaccount:shop:deployer"}), "shop"));
        assert!(!takes(json!({"username": "team-a"}), "shop"));
        assert!(!takes(json!({"groups": ["team-a"]}), "other"));
    }

    #[test]
    fn references_narrow_to_violations() {
        let exception = read(WHOLE).expect("reads");
        let object = json!({"spec": {"containers": [{"image": "registry/legacy/a:1"}, {"image": "registry/new:1"}]}});
        let covers = |field| exception.covers("run_as_non_root", "m", field, &object);
        assert!(covers(Some("spec.containers[0].securityContext.runAsUser")));
        for field in [
            None,
            Some("spec.containers[1].securityContext.runAsUser"),
            Some("spec.containers[2].securityContext.runAsUser"),
            Some("spec.securityContext.runAsUser"),
            Some("spec.containers[0].image"),
        ] {
            assert!(!covers(field), "{field:?}");
        }
        assert!(exception.covers("K8sRequiredLabels/a", "no owner label", None, &object));
        assert!(!exception.covers("K8sRequiredLabels/a", "no label", None, &object));
        assert!(!exception.covers("other", "owner", None, &object));
        assert!(!exception.covers_mutations("run_as_non_root"));
    }

    #[test]
    fn labels_must_be_on_what_is_asked_for_and_on_every_view_of_the_namespace() {
        let text = WHOLE.replace(
            "kinds: [Pod]}",
            "labelSelector: {matchLabels: {old: '1'}}, namespaceSelector: {matchLabels: {env: dev}}}",
        );
        let exception = read(&text).expect("reads");
        let member = json!({"groups": ["team-a"]});
        assert!(exception.takes(&request(&member, "shop", &json!({"old": "1"})), None));
        assert!(
            !exception.takes(&request(&member, "shop", &Value::Null), None),
            "the old object's label counts for nothing"
        );
        let (dev, prod) = (json!({"env": "dev"}), json!({"env": "prod"}));
        assert!(exception.takes_namespace(&[&dev]));
        assert!(!exception.takes_namespace(&[&dev, &prod]) && !exception.takes_namespace(&[]));
    }

    #[test]
    fn faults_have_lines() {
        for (from, to, told) in [
            (
                "ticket: SEC-1",
                "ticket: ''",
                "e.yaml:13:3: exception `legacy`: `ticket` is empty: an exception needs one",
            ),
            ("  ticket: SEC-1\n", "", "e.yaml:4:1: exception `legacy`: `spec`: missing field `ticket`"),
            (
                "ticket:",
                "tickets:",
                "e.yaml:13:3: exception `legacy`: `spec.tickets`: unknown field `tickets`; did you mean `ticket`?",
            ),
            (
                "2026-12-31T00:00:00+01:00",
                "2026-12-31",
                "e.yaml:15:3: exception `legacy`: `expires`: `2026-12-31` names a day but no time; write `2026-12-31T00:00:00Z`",
            ),
            (
                "kinds: [Pod]",
                "kinds: [Pods]",
                "e.yaml:11:3: exception `legacy`: `Pods` in `match.kinds` is not a built-in kind (did you mean `Pod`?); for custom resources write `match.rules`",
            ),
            (
                "kind: Group, name",
                "kind: Team, name",
                "e.yaml:8:3: exception `legacy`: `spec.subjects[0].kind`: unknown value `Team`; write `User`, `Group` or `ServiceAccount`",
            ),
            (
                "name: legacy",
                "name: Legacy",
                "e.yaml:3:1: exception `Legacy`: `metadata.name` is no name of RFC 1123: lower case letters, digits, `-` and `.`",
            ),
        ] {
            assert_eq!(read(&WHOLE.replace(from, to)).expect_err(to).to_string(), told);
        }
    }
}
