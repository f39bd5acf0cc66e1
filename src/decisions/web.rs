//! Requests that the log itself makes: to anchors and witnesses. Knows one client and its bounds; must not know what is
//! sent. What is sent is signed and so is what comes back, so a redirect is not followed and needs not be.

use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Client, RequestBuilder, StatusCode};

use crate::causes::chain;

/// From first to last byte.
const PATIENCE: Duration = Duration::from_secs(10);
/// Of an answer no more is read.
const MAX_ANSWER: usize = 64 * 1024;

/// The HTTP libraries take the process' provider of cryptography: ring, as for everything else here.
pub(super) fn settle_cryptography() {
    // Somebody else may have settled it, with the same.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// A client for such requests.
pub(super) fn client() -> Result<Client, String> {
    settle_cryptography();
    let builder = Client::builder()
        .redirect(Policy::none())
        .timeout(PATIENCE)
        .user_agent(concat!("portcullis/", env!("CARGO_PKG_VERSION")));
    builder.build().map_err(|e| chain(&e))
}

/// Status and text of an answer.
pub(super) async fn send(request: RequestBuilder) -> Result<(StatusCode, String), String> {
    let mut response = request.send().await.map_err(|e| chain(&e.without_url()))?;
    let (status, mut bytes) = (response.status(), Vec::new());
    while let Some(chunk) = response.chunk().await.map_err(|e| chain(&e.without_url()))? {
        if bytes.len() + chunk.len() > MAX_ANSWER {
            return Err(format!("the answer has more than {MAX_ANSWER} bytes"));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok((status, String::from_utf8_lossy(&bytes).into_owned()))
}
