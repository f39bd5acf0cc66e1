//! What holding deliveries against a log comes to. Knows names and counts; must not know how they are found.

use serde::Serialize;

/// What is wrong with a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryFault {
    /// It is not what the record of that number says.
    Altered,
    /// The log has no such record.
    Unknown,
    /// It lies between others that arrived, or was [expected](Expected), and did not arrive.
    Missing,
    /// It arrived more than once. No loss: a sink sends again what it cannot be sure of.
    Twice,
}

impl DeliveryFault {
    /// All, the worst first.
    pub const ALL: [Self; 4] = [Self::Altered, Self::Unknown, Self::Missing, Self::Twice];

    /// The name in reports.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Altered => "altered",
            Self::Unknown => "unknown",
            Self::Missing => "missing",
            Self::Twice => "twice",
        }
    }

    /// Whether it is a negative finding.
    #[must_use]
    pub fn is_negative(self) -> bool {
        self != Self::Twice
    }
}

/// Records that must have arrived, beside those between the first and the last that did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Expected {
    /// From this number on.
    pub from: Option<u64>,
    /// Up to and with this number.
    pub to: Option<u64>,
}

impl Expected {
    /// The first and the last number that must have arrived, when these did.
    pub(super) fn range(self, delivered: Option<(u64, u64)>) -> Option<(u64, u64)> {
        let (first, last) = delivered.unzip();
        let all = || [first, last, self.from, self.to].into_iter().flatten();
        all().min().zip(all().max())
    }
}

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Reconciliation {
    /// The log.
    pub origin: String,
    /// Events of this log that arrived.
    pub delivered: u64,
    /// Records that they are.
    pub records: u64,
    /// Of these, the same as in the tree in all that was delivered of them.
    pub intact: u64,
    /// Of these, those that nothing speaks against and that cannot be compared whole: what they are made of is deleted.
    pub leaf_only: u64,
    /// The first and the last of them.
    pub range: Option<(u64, u64)>,
    /// Records of the log before the first that had to arrive, as far as the format has a word for them.
    pub before: u64,
    /// Records of the log after the last that had to arrive: under way, if a sink is at work.
    pub behind: u64,
    /// Records that did not arrive and are deleted, where decisions only were delivered: whether they were decisions
    /// cannot be told any more.
    pub untold: u64,
    /// Events of other logs.
    pub of_others: u64,
    /// Lines and files that are no events of ours.
    pub strange: u64,
}
