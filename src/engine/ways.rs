//! The ways in which a policy can be run. Names only: what decides stands with what runs them.

use serde::{Deserialize, Serialize};

/// How a policy was run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Way {
    /// By the interpreter, the reference.
    Interpreter,
    /// By its plan.
    Plan,
}

impl Way {
    /// The name in records, metrics and lists.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Interpreter => "interpreter",
            Self::Plan => "plan",
        }
    }
}

/// The ways that policies may be run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ways {
    /// By a plan where there is one, else by the interpreter.
    #[default]
    Auto,
    /// By the interpreter only.
    Interpreter,
}
