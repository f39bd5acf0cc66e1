//! The policies and the example data inside the binary.

use crate::policy::{LoadError, Sources};
use crate::source::{data, policies};

/// Path in the repository and text of every shipped file.
const SHIPPED: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/shipped.rs"));

const EXAMPLE_DATA: &str = "policies/example-data/";

pub(super) fn policies(sources: &mut Sources, errors: &mut Vec<LoadError>) {
    for (path, text) in SHIPPED.iter().filter(|(p, _)| !p.starts_with(EXAMPLE_DATA)) {
        policies::take(path, (*text).to_owned(), sources, errors);
    }
}

pub(super) fn example_data(sources: &mut Sources, errors: &mut Vec<LoadError>) {
    for (path, text) in SHIPPED.iter().filter(|(p, _)| p.starts_with(EXAMPLE_DATA)) {
        data::take(path, text, &[], data::Reading::Manifests, sources, errors);
    }
}
