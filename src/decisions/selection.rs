//! Which records a legal hold keeps, or whose bodies an erasure takes. Knows records; must not know files.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::decisions::entry::rfc3339;
use crate::decisions::record::DecisionRecord;
use crate::decisions::{Record, RecordType};
use crate::policy::glob_matches;

/// Which records. All that is set must hold, of a list one; names may be globs. Nothing set takes every record.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Selection {
    /// Not before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Not after.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// Namespaces of requests.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub namespaces: Vec<String>,
    /// Who asked: the user name, or any value of the user's `extra`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub users: Vec<String>,
    /// Policies that found something, could not be judged, or were spared by an exception.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub policies: Vec<String>,
    /// Ids of decisions, whole.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ids: Vec<String>,
}

impl Selection {
    /// Whether it takes every record.
    #[must_use]
    pub fn is_all(&self) -> bool {
        *self == Self::default()
    }

    /// Whether nothing but the time counts.
    pub(super) fn is_of_time(&self) -> bool {
        self.names().all(Vec::is_empty)
    }

    /// Whether records between these times can be among them.
    pub(super) fn reaches(&self, first: &str, last: &str) -> bool {
        self.since.is_none_or(|t| rfc3339(t).as_str() <= last)
            && self.until.is_none_or(|t| rfc3339(t).as_str() >= first)
    }

    /// Whether `record` is one of them.
    #[must_use]
    pub fn takes(&self, record: &Record) -> bool {
        let time = &record.head.timestamp;
        self.reaches(time, time)
            && (self.is_of_time() || record.decision().is_some_and(|d| self.asked_by(&d) && self.takes_but_user(&d)))
    }

    /// Whether the user is one of them.
    pub(super) fn asked_by(&self, d: &DecisionRecord) -> bool {
        let user = &d.request.user;
        self.users.is_empty()
            || self.users.iter().any(|wanted| {
                glob_matches(wanted, &user.username) || user.extra.values().flatten().any(|v| glob_matches(wanted, v))
            })
    }

    /// All but time and user.
    pub(super) fn takes_but_user(&self, d: &DecisionRecord) -> bool {
        let found = d.violations.iter().map(|v| &v.policy).chain(d.errors.iter().map(|e| &e.policy));
        let mut policies = found.chain(d.exceptions.iter().map(|e| &e.policy));
        let one = |wanted: &[String], has: &str| wanted.is_empty() || wanted.iter().any(|w| glob_matches(w, has));
        one(&self.namespaces, &d.request.namespace)
            && (self.ids.is_empty() || self.ids.iter().any(|id| id.eq_ignore_ascii_case(&d.decision_id)))
            && (self.policies.is_empty() || policies.any(|p| self.policies.iter().any(|w| glob_matches(w, p))))
    }

    /// Whether a line can be of such a record, as far as its text says without reading it.
    pub(super) fn may_take(&self, line: &str) -> bool {
        let plain = |names: &&Vec<String>| !names.is_empty() && names.iter().all(|n| !n.is_empty() && !n.contains('*'));
        self.names().filter(plain).all(|names| {
            names.iter().any(|name| {
                let quoted = serde_json::to_string(name).unwrap_or_default();
                line.contains(&quoted) || line.contains(&quoted.to_lowercase())
            })
        })
    }

    fn names(&self) -> impl Iterator<Item = &Vec<String>> {
        [&self.namespaces, &self.users, &self.policies, &self.ids].into_iter()
    }
}

/// What `record` is, for a message.
pub(super) fn named(record: &Record) -> String {
    let id = (record.head.r#type == RecordType::Decision).then(|| record.decision().map(|d| d.decision_id)).flatten();
    id.map_or_else(|| format!("record {}", record.head.seq), |id| format!("decision `{id}`"))
}
