//! The Secret that carries a serving certificate, as a manifest.

use base64::Engine as _;
use serde_json::{Value, json};

use crate::webhook::Pair;

/// A `kubernetes.io/tls` Secret with `tls.crt`, `tls.key` and `ca.crt`.
#[must_use]
pub fn secret(name: &str, namespace: &str, serving: &Pair, ca: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/tls",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": {"app.kubernetes.io/name": "portcullis"},
        },
        "data": {
            "ca.crt": ca_bundle(ca),
            "tls.crt": encode(&serving.certificate),
            "tls.key": encode(&serving.key.0),
        },
    })
}

/// `clientConfig.caBundle` of the webhook configurations: base64 over PEM, the same text as the Secret's `ca.crt`.
#[must_use]
pub fn ca_bundle(ca: &str) -> String {
    encode(ca)
}

fn encode(text: &str) -> String {
    base64::engine::general_purpose::STANDARD.encode(text)
}
