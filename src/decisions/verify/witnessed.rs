//! Who cosigned a log, of the witnesses that somebody trusts. Knows notes and a quorum; must not know the tree.

use crate::decisions::verify::{Finding, FindingCode, Report};
use crate::tlog::{Checkpoint, Note, WitnessKey, cosignatures};

/// The witnesses that count, and how many of them are enough.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WitnessPolicy {
    /// Their keys.
    pub keys: Vec<WitnessKey>,
    /// How many must have signed one checkpoint.
    pub quorum: usize,
}

/// A witness' signature on the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cosignature {
    /// Who.
    pub witness: WitnessKey,
    /// When, in seconds since the epoch.
    pub time: u64,
}

/// What was cosigned so far.
pub(super) struct Witnessed<'p> {
    policy: &'p WitnessPolicy,
    best: Option<(Checkpoint, Vec<Cosignature>)>,
}

impl<'p> Witnessed<'p> {
    pub(super) fn new(policy: &'p WitnessPolicy) -> Self {
        Self { policy, best: None }
    }

    /// Takes a checkpoint of this log. A signature that claims to be of a witness and is not is a finding.
    pub(super) fn take(&mut self, checkpoint: &Checkpoint, note: &Note, place: &str, report: &mut Report) {
        match cosignatures(note, &self.policy.keys) {
            Ok(found) => {
                let found: Vec<Cosignature> =
                    found.iter().map(|c| Cosignature { witness: c.witness.clone(), time: c.time }).collect();
                let enough = |n: usize| n.min(self.policy.quorum);
                let better = self.best.as_ref().is_none_or(|(best, by)| {
                    // Past the quorum a larger tree says more than another witness.
                    (enough(found.len()), checkpoint.size, found.len()) > (enough(by.len()), best.size, by.len())
                });
                if !found.is_empty() && better {
                    self.best = Some((checkpoint.clone(), found));
                }
            }
            Err(error) => {
                report.find(Finding::whole(FindingCode::Signature, format!("the checkpoint in {place}: {error}")));
            }
        }
    }

    /// Says what it came to.
    pub(super) fn end(self, report: &mut Report) {
        let (size, by) = self.best.map_or((0, Vec::new()), |(checkpoint, by)| (checkpoint.size, by));
        if by.len() < self.policy.quorum {
            let message = format!(
                "no checkpoint is signed by {} of the {} witnesses; the most are {}",
                self.policy.quorum,
                self.policy.keys.len(),
                by.len()
            );
            report.find(Finding::whole(FindingCode::Witness, message));
        }
        (report.cosigned, report.cosigned_by) = (size, by);
    }
}
