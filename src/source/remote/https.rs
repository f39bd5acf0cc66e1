//! A bundle over HTTPS, asked for with the version that is there already (RFC 9110, section 13.1.2).

use std::time::Duration;

use reqwest::header::{AUTHORIZATION, ETAG, HeaderMap, HeaderValue, IF_NONE_MATCH};
use reqwest::redirect::{Attempt, Policy};
use reqwest::{Client, StatusCode, Url};

use crate::causes::chain;
use crate::policy::Digest;
use crate::source::bundle::MAX_ARCHIVE_BYTES;
use crate::source::remote::{
    Answer, CONNECT_PATIENCE, Held, PATIENCE, RemoteOptions, is_loopback, settle_cryptography,
};

/// Redirects that are followed: a storage service needs one or two.
const MAX_REDIRECTS: usize = 5;

/// A connection that is silent for so long is given up.
const READ_PATIENCE: Duration = Duration::from_secs(20);

pub(super) async fn get(address: &str, has: Option<&str>, options: &RemoteOptions) -> Result<Answer, String> {
    let url = Url::parse(address).map_err(|e| format!("is not a URL: {e}"))?;
    may_be_asked(&url, options.plain_http)?;
    let mut headers = HeaderMap::new();
    if let Some(token) = super::auth::bearer_token(options.token_file.as_deref())? {
        let mut value = HeaderValue::from_str(&format!("Bearer {token}"))
            .map_err(|_| "the token has characters that no header takes")?;
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
    }
    if let Some(etag) = has.and_then(|v| HeaderValue::from_str(v).ok()) {
        headers.insert(IF_NONE_MATCH, etag);
    }
    let mut response = client(options)?.get(url).headers(headers).send().await.map_err(|e| chain(&e.without_url()))?;
    match response.status() {
        StatusCode::NOT_MODIFIED if has.is_some() => return Ok(Answer::Unchanged),
        StatusCode::OK => {}
        status => return Err(format!("the server answered {status}")),
    }
    let etag = response.headers().get(ETAG).and_then(|v| v.to_str().ok()).map(str::to_owned);
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|e| chain(&e.without_url()))? {
        if bytes.len() + chunk.len() > MAX_ARCHIVE_BYTES {
            return Err(format!("the bundle has more than {MAX_ARCHIVE_BYTES} bytes"));
        }
        bytes.extend_from_slice(&chunk);
    }
    let version = etag.unwrap_or_else(|| format!("\"{}\"", Digest::of(&bytes)));
    Ok(Answer::New(Held { bytes: bytes.into(), version }))
}

fn may_be_asked(url: &Url, plain_http: bool) -> Result<(), String> {
    match url.scheme() {
        "https" => Ok(()),
        "http" if plain_http || url.host_str().is_some_and(is_loopback) => Ok(()),
        "http" => {
            Err("policies in the clear can be changed on their way: write https, or give --bundle-plain-http"
                .to_owned())
        }
        other => Err(format!("`{other}` is not a scheme for bundles; write https or oci")),
    }
}

fn client(options: &RemoteOptions) -> Result<Client, String> {
    settle_cryptography();
    let plain_http = options.plain_http;
    let follow = move |attempt: Attempt<'_>| {
        // From https to http is never right, whatever is allowed at first.
        let downgraded = attempt.url().scheme() != "https" && attempt.previous().iter().any(|u| u.scheme() == "https");
        if attempt.previous().len() > MAX_REDIRECTS {
            attempt.error(format!("more than {MAX_REDIRECTS} redirects"))
        } else if downgraded {
            attempt.error("it redirects from https to http")
        } else if let Err(message) = may_be_asked(attempt.url(), plain_http) {
            attempt.error(message)
        } else {
            attempt.follow()
        }
    };
    let mut builder = Client::builder()
        .redirect(Policy::custom(follow))
        .connect_timeout(CONNECT_PATIENCE)
        .read_timeout(READ_PATIENCE)
        .timeout(PATIENCE)
        .user_agent(concat!("portcullis/", env!("CARGO_PKG_VERSION")));
    if let Some(path) = &options.ca {
        let pem = std::fs::read(path).map_err(|e| format!("--bundle-ca: cannot read `{}`: {e}", path.display()))?;
        let certificates = reqwest::Certificate::from_pem_bundle(&pem)
            .ok()
            .filter(|found| !found.is_empty())
            .ok_or_else(|| format!("--bundle-ca: there is no certificate in `{}`", path.display()))?;
        builder = builder.tls_certs_only(certificates);
    }
    builder.build().map_err(|e| chain(&e))
}
