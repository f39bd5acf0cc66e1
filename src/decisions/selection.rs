//! Which records a legal hold keeps, or whose bodies an erasure takes. Knows records; must not know files.
//!
//! A record may leave things out: lists and names are cut to size, names may be masked. For an erasure, what is not said
//! is not there: it takes only what it is surely about. For a hold it could be anything: what it may be about stays.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::decisions::clip;
use crate::decisions::entry::rfc3339;
use crate::decisions::mask::{COMMITMENT, MASKED, commitments};
use crate::decisions::query::SLACK;
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

    /// Whether `record` says that it is one of them.
    #[must_use]
    pub fn takes(&self, record: &Record) -> bool {
        self.judge(record, Unsaid::Nothing)
    }

    /// Whether `record` is one of them or may be, as far as it does not say.
    pub(super) fn could_take(&self, record: &Record) -> bool {
        self.judge(record, Unsaid::Anything)
    }

    fn judge(&self, record: &Record, unsaid: Unsaid) -> bool {
        let time = &record.head.timestamp;
        if !self.reaches(time, time) || self.is_of_time() {
            return self.reaches(time, time);
        }
        if record.head.r#type != RecordType::Decision {
            return false;
        }
        // Of a later version, which cannot be read, nothing is said.
        let anything = unsaid == Unsaid::Anything;
        record.decision().map_or(anything, |d| self.is_asked_by(&d, unsaid) && self.is_but_user(&d, unsaid))
    }

    /// Whether a decision that no record has is surely one of them.
    pub(super) fn takes_unrecorded(&self, d: &Unrecorded<'_>) -> bool {
        self.judge_unrecorded(d, Unsaid::Nothing)
    }

    /// Whether it is one of them or may be.
    pub(super) fn could_take_unrecorded(&self, d: &Unrecorded<'_>) -> bool {
        self.judge_unrecorded(d, Unsaid::Anything)
    }

    fn judge_unrecorded(&self, d: &Unrecorded<'_>, unsaid: Unsaid) -> bool {
        let anything = unsaid == Unsaid::Anything;
        // A record's time may be a little before the id's.
        let slack = if anything { SLACK } else { Duration::ZERO };
        let around = |t: Timestamp| Some((t.saturating_sub(slack).ok()?, t.saturating_add(slack).ok()?));
        let timeless = self.since.is_none() && self.until.is_none();
        let in_time = d
            .time
            .and_then(around)
            .map_or(anything || timeless, |(first, last)| self.reaches(&rfc3339(first), &rfc3339(last)));
        let unreadable = anything && !d.readable;
        in_time
            && (self.ids.is_empty() || self.ids.iter().any(|id| id.eq_ignore_ascii_case(d.id)))
            && (self.namespaces.is_empty() || unreadable || unsaid.is_one(&self.namespaces, d.namespace))
            && (self.users.is_empty() || unreadable || d.users.iter().any(|u| unsaid.is_one(&self.users, u)))
            && (self.policies.is_empty() || anything)
    }

    fn is_asked_by(&self, d: &DecisionRecord, unsaid: Unsaid) -> bool {
        let user = &d.request.user;
        let mut names = std::iter::once(&user.username).chain(user.extra.values().flatten());
        self.users.is_empty()
            || names.any(|name| unsaid.is_one(&self.users, name))
            || (unsaid == Unsaid::Anything && user.extra_omitted > 0)
    }

    fn is_but_user(&self, d: &DecisionRecord, unsaid: Unsaid) -> bool {
        let found = d.violations.iter().map(|v| &v.policy).chain(d.errors.iter().map(|e| &e.policy));
        let mut policies = found.chain(d.exceptions.iter().map(|e| &e.policy));
        let omitted = [d.violations_omitted, d.errors_omitted, d.exceptions_omitted];
        let cut = unsaid == Unsaid::Anything && omitted.iter().any(|n| *n > 0);
        (self.namespaces.is_empty() || unsaid.is_one(&self.namespaces, &d.request.namespace))
            && (self.ids.is_empty() || self.ids.iter().any(|id| id.eq_ignore_ascii_case(&d.decision_id)))
            && (self.policies.is_empty() || cut || policies.any(|p| unsaid.is_one(&self.policies, p)))
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

    /// The same for a record that may be one of them.
    pub(super) fn could_be_of(&self, line: &str) -> bool {
        self.may_take(line) || [r#"_omitted":"#, clip::END, MASKED, COMMITMENT].iter().any(|text| line.contains(text))
    }

    fn names(&self) -> impl Iterator<Item = &Vec<String>> {
        [&self.namespaces, &self.users, &self.policies, &self.ids].into_iter()
    }
}

/// What is known of a decision that no record has: what its body says.
pub(super) struct Unrecorded<'b> {
    pub id: &'b str,
    /// When its id was made, if the id says so.
    pub time: Option<Timestamp>,
    /// Whether the body says anything of its request.
    pub readable: bool,
    pub namespace: &'b str,
    /// The user name and the values of the user's `extra`.
    pub users: Vec<&'b str>,
}

/// What a record does not say, because it was cut or masked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unsaid {
    /// Is not there.
    Nothing,
    /// Could be anything.
    Anything,
}

impl Unsaid {
    /// Whether `name` is one of those that are wanted.
    fn is_one(self, wanted: &[String], name: &str) -> bool {
        let hidden = || name.ends_with(clip::END) || name.contains(MASKED) || !commitments(name).is_empty();
        wanted.iter().any(|w| glob_matches(w, name)) || (self == Self::Anything && hidden())
    }
}

/// What `record` is, for a message.
pub(super) fn named(record: &Record) -> String {
    let id = (record.head.r#type == RecordType::Decision).then(|| record.decision().map(|d| d.decision_id)).flatten();
    id.map_or_else(|| format!("record {}", record.head.seq), |id| format!("decision `{id}`"))
}
