//! What metrics are labelled with: closed lists. Knows names only; must not know who counts.

/// A stage of a review.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Bytes to request.
    Decode,
    /// Waiting for a thread, and evaluating.
    Evaluate,
    /// Masking and writing the record.
    Record,
}

/// Why a TLS handshake came to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HandshakeFailure {
    /// It took too long.
    Timeout,
    /// The caller's certificate is missing or not of the client CA.
    ClientCertificate,
    /// The caller refused our certificate.
    RefusedByPeer,
    /// Anything else: not TLS, no common version, a broken connection.
    Other,
}

/// How a namespace was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lookup {
    /// In the view.
    View,
    /// Not in the view, but the API server had it.
    Live,
    /// The API server does not know it either.
    Missing,
    /// The API server could not be asked in time.
    Failed,
}

/// What asking a server of bundles came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Poll {
    /// It has another bundle.
    Change,
    /// It has the same.
    Same,
    /// It did not answer, or wrongly.
    Failure,
}

/// What loading the policies again came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reload {
    /// They are in force.
    Success,
    /// Those from before are.
    Failure,
}
