//! How the 32 KiB of an envelope are shared out, in bytes of JSON. With the fixed fields (digests, ids, names: at most
//! 7 KiB) the sum stays below [`MAX_ENVELOPE`](crate::decisions::MAX_ENVELOPE).

pub(super) const VIOLATIONS: usize = 8 * 1024;
pub(super) const EXCEPTIONS: usize = 3 * 1024;
pub(super) const ERRORS: usize = 3 * 1024;
pub(super) const WARNINGS: usize = 2 * 1024;
pub(super) const GROUPS: usize = 2 * 1024;
pub(super) const EXTRA: usize = 2 * 1024;
pub(super) const MASKED: usize = 2 * 1024;
pub(super) const OMITTED: usize = 256;
pub(super) const READS: usize = 1024;
pub(super) const METRICS: usize = 1024;
pub(super) const CONTROLS: usize = 512;
pub(super) const MSG: usize = 1024;
pub(super) const FIELD: usize = 512;
pub(super) const NAME: usize = 512;
pub(super) const SHORT: usize = 256;
/// Bytes of a text that are masked at all: far more than can be shown, little enough to search.
pub(super) const TEXT: usize = 8 * 1024;
/// Details in one body, in bytes of JSON.
pub(super) const DETAILS: usize = 1024 * 1024;
/// Violations in one body that had no room in the envelope, in bytes of JSON.
pub(super) const MORE_VIOLATIONS: usize = 1024 * 1024;
