//! Anchors behind HTTP: an endpoint that takes a signed note. Knows one request; what the other side keeps is its
//! own business.

use std::path::PathBuf;

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use url::Url;

use crate::decisions::SignedCheckpoint;
use crate::decisions::anchor::{AnchorError, HttpMethod};
use crate::decisions::web;

pub(super) struct Endpoint {
    client: reqwest::Client,
    url: Url,
    method: HttpMethod,
    token_file: Option<PathBuf>,
}

impl Endpoint {
    pub(super) fn new(url: Url, method: HttpMethod, token_file: Option<PathBuf>) -> Result<Self, AnchorError> {
        Ok(Self { client: web::client()?, url, method, token_file })
    }

    pub(super) async fn send(&self, signed: &SignedCheckpoint) -> Result<(), AnchorError> {
        let mut request = match self.method {
            HttpMethod::Post => self.client.post(self.url.clone()),
            HttpMethod::Put => self.client.put(self.url.clone()),
        };
        if let Some(path) = &self.token_file {
            request = request.header(AUTHORIZATION, bearer(path)?);
        }
        let request = request.header(CONTENT_TYPE, "text/plain; charset=utf-8").body(signed.note.to_string());
        let (status, text) = web::send(request).await?;
        if status.is_success() {
            return Ok(());
        }
        let said: String = text.lines().next().unwrap_or_default().chars().take(200).collect();
        let said = if said.is_empty() { said } else { format!(": {said}") };
        Err(AnchorError(format!("the server answered {status}{said}")))
    }
}

/// Read each time: tokens change.
fn bearer(path: &PathBuf) -> Result<HeaderValue, AnchorError> {
    let token = std::fs::read_to_string(path).map_err(|e| format!("cannot read `{}`: {e}", path.display()))?;
    let mut value = HeaderValue::from_str(&format!("Bearer {}", token.trim()))
        .map_err(|_| format!("the token in `{}` has characters that no header takes", path.display()))?;
    value.set_sensitive(true);
    Ok(value)
}
