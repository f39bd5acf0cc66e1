//! Sinks that are asked over HTTP: OPA's decision-log API, OTLP, and endpoints that take a document a line. Knows requests
//! and answers; when and how often they are made is `run`'s business.

use std::io::Write as _;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use prost::Message as _;
use reqwest::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Client, Response, StatusCode};
use url::Url;

use super::otlp;
use super::{Event, Failure, Format, Reason, Sent, SinkSpec};
use crate::causes::chain;

/// From the first to the last byte.
const PATIENCE: Duration = Duration::from_secs(20);

/// Compressed bytes of one upload to OPA's API, as its own plugin has it (`reporting.upload_size_limit_bytes`).
const UPLOAD_LIMIT: usize = 32_768;

/// Of an answer no more is read.
const MAX_ANSWER: usize = 16 * 1024;

/// A service that is asked over HTTP.
pub(super) struct Service {
    client: Client,
    spec: SinkSpec,
    url: Url,
    kind: Kind,
    /// How many events went into the last upload that fitted.
    fits: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Opa,
    Otlp,
    Lines,
}

impl Service {
    pub(super) fn opa(spec: &SinkSpec, url: &Url, partition: Option<&str>) -> Result<Self, String> {
        let mut url = url.clone();
        {
            let mut path = url.path_segments_mut().map_err(|()| "is no URL that a path can be added to".to_owned())?;
            path.pop_if_empty().push("logs");
            if let Some(partition) = partition {
                path.push(partition);
            }
        }
        Self::new(spec, url, Kind::Opa)
    }

    pub(super) fn otlp(spec: &SinkSpec, url: &Url) -> Result<Self, String> {
        Self::new(spec, url.clone(), Kind::Otlp)
    }

    pub(super) fn lines(spec: &SinkSpec, url: &Url) -> Result<Self, String> {
        Self::new(spec, url.clone(), Kind::Lines)
    }

    fn new(spec: &SinkSpec, url: Url, kind: Kind) -> Result<Self, String> {
        // Somebody else may have settled it, with the same.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = Client::builder()
            .redirect(Policy::none())
            .timeout(PATIENCE)
            .user_agent(concat!("portcullis/", env!("CARGO_PKG_VERSION")));
        if let Some(path) = &spec.ca {
            let pem = std::fs::read(path).map_err(|e| format!("`ca`: cannot read `{}`: {e}", path.display()))?;
            let found = reqwest::Certificate::from_pem_bundle(&pem).ok().filter(|found| !found.is_empty());
            let found = found.ok_or_else(|| format!("`ca`: there is no certificate in `{}`", path.display()))?;
            builder = builder.tls_certs_only(found);
        }
        let client = builder.build().map_err(|e| e.to_string())?;
        Ok(Self { client, spec: spec.clone(), url, kind, fits: 64 })
    }

    /// Sends events from the first on; what was taken counts even if what follows fails.
    pub(super) async fn send(&mut self, events: &[Event]) -> Sent {
        match self.kind {
            Kind::Opa => self.upload(events).await,
            Kind::Otlp => Sent::all_or(events.len(), self.export(events).await),
            Kind::Lines => Sent::all_or(events.len(), self.post_lines(events).await),
        }
    }

    /// In chunks that the service takes; the size is found by trying.
    async fn upload(&mut self, events: &[Event]) -> Sent {
        let mut done = 0;
        let mut refused = 0;
        while done < events.len() {
            let mut count = self.fits.clamp(1, events.len() - done);
            let body = loop {
                let chunk: Vec<String> =
                    events.iter().skip(done).take(count).filter_map(|e| Format::Opa.write(e)).collect();
                let body = match gzip(format!("[{}]", chunk.join(",")).as_bytes()) {
                    Ok(body) => body,
                    Err(failure) => return Sent { delivered: done, refused, failure: Some(failure) },
                };
                if body.len() <= UPLOAD_LIMIT || count == 1 {
                    break (!chunk.is_empty()).then_some(body);
                }
                count = count.div_ceil(2);
            };
            if let Some(body) = body {
                match self.post(body, "application/json").await {
                    Ok(_) => {}
                    // One that is too large by itself holds up nobody else.
                    Err(f) if f.reason == Reason::TooLarge && count == 1 => refused += 1,
                    Err(f) => {
                        if f.reason == Reason::TooLarge {
                            self.fits = count.div_ceil(2);
                            continue;
                        }
                        return Sent { delivered: done, refused, failure: Some(f) };
                    }
                }
            }
            done += count;
            // Somewhat more next time, so that the size follows the events.
            self.fits = count + count / 4 + 1;
        }
        Sent { delivered: done, refused, failure: None }
    }

    async fn export(&self, events: &[Event]) -> Result<u64, Failure> {
        let request = otlp::request(events, self.spec.format);
        let answer = self.post(gzip(&request.encode_to_vec())?, "application/x-protobuf").await?;
        // The service took what it took: the protocol forbids sending it again.
        Ok(otlp::rejected(&answer))
    }

    async fn post_lines(&self, events: &[Event]) -> Result<u64, Failure> {
        let mut text = String::new();
        let lines = events.iter().filter_map(|e| self.spec.format.write(e));
        let kind = if self.spec.format == Format::CloudEvents {
            text.push('[');
            text.push_str(&lines.collect::<Vec<_>>().join(","));
            text.push(']');
            "application/cloudevents-batch+json"
        } else {
            lines.for_each(|line| {
                text.push_str(&line);
                text.push('\n');
            });
            "application/x-ndjson"
        };
        if text.is_empty() || text == "[]" {
            return Ok(0);
        }
        self.post(gzip(text.as_bytes())?, kind).await.map(|_| 0)
    }

    async fn post(&self, body: Vec<u8>, kind: &'static str) -> Result<Vec<u8>, Failure> {
        let mut request =
            self.client.post(self.url.clone()).header(CONTENT_TYPE, kind).header(CONTENT_ENCODING, "gzip");
        if let Some(path) = &self.spec.token_file {
            let token = std::fs::read_to_string(path).map_err(|e| {
                Failure::new(Reason::Local, format!("tokenFile: cannot read `{}`: {e}", path.display()))
            })?;
            let mut value = HeaderValue::from_str(&format!("Bearer {}", token.trim()))
                .map_err(|_| Failure::new(Reason::Local, "tokenFile: the token has characters that no header takes"))?;
            value.set_sensitive(true);
            request = request.header(AUTHORIZATION, value);
        }
        let response =
            request.body(body).send().await.map_err(|e| Failure::new(Reason::Network, chain(&e.without_url())))?;
        let status = response.status();
        if status.is_success() {
            return Ok(answer(response).await);
        }
        let reason = match status {
            StatusCode::PAYLOAD_TOO_LARGE => Reason::TooLarge,
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => Reason::Busy,
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Reason::Denied,
            s if s.is_server_error() => Reason::Server,
            _ => Reason::Refused,
        };
        let after =
            response.headers().get(RETRY_AFTER).and_then(|v| v.to_str().ok()?.parse().ok()).map(Duration::from_secs);
        Err(Failure { after, ..Failure::new(reason, format!("the service answered {status}")) })
    }
}

async fn answer(mut response: Response) -> Vec<u8> {
    let mut bytes = Vec::new();
    // What cannot be read says nothing; the status has said enough.
    while let Ok(Some(chunk)) = response.chunk().await {
        if bytes.len() + chunk.len() > MAX_ANSWER {
            break;
        }
        bytes.extend_from_slice(&chunk);
    }
    bytes
}

fn gzip(bytes: &[u8]) -> Result<Vec<u8>, Failure> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).and_then(|()| encoder.finish()).map_err(|e| Failure::new(Reason::Local, e.to_string()))
}
