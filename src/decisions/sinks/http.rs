//! Sinks that are asked over HTTP: OPA's decision-log API, OTLP, and endpoints that take a document a line. Knows requests
//! and answers; when and how often they are made is `run`'s business.

use std::io::Write as _;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use jiff::Timestamp;
use prost::Message as _;
use reqwest::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Client, Response, StatusCode};
use url::Url;

use super::chunks::Chunks;
use super::otlp;
use super::{Event, Failure, Format, Reason, Sent, SinkSpec};
use crate::causes::chain;
use crate::decisions::web::settle_cryptography;

/// From the first to the last byte.
const PATIENCE: Duration = Duration::from_secs(20);

/// Compressed bytes of one upload to OPA's API, as its own plugin has it (`reporting.upload_size_limit_bytes`).
const UPLOAD_LIMIT: usize = 32_768;

/// Of an answer no more is read.
const MAX_ANSWER: usize = 16 * 1024;

/// A service that is asked over HTTP.
pub(super) struct Service {
    chunks: Chunks,
    asked: Asked,
}

struct Asked {
    client: Client,
    spec: SinkSpec,
    url: Url,
    kind: Kind,
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
        settle_cryptography();
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
        let chunks = Chunks::of(if kind == Kind::Opa { 64 } else { usize::MAX });
        Ok(Self { chunks, asked: Asked { client, spec: spec.clone(), url, kind } })
    }

    /// Sends events from the first on, in chunks that the service takes.
    pub(super) async fn send(&mut self, events: &[Event]) -> Sent {
        let Self { chunks, asked } = self;
        chunks.send(events, async |piece| asked.send(piece).await).await
    }
}

impl Asked {
    /// One request; how many of the events the service would not have.
    async fn send(&self, events: &[Event]) -> Result<u64, Failure> {
        let Some(body) = self.body(events)? else { return Ok(0) };
        if self.kind == Kind::Opa && events.len() > 1 && body.len() > UPLOAD_LIMIT {
            return Err(Failure::new(Reason::TooLarge, "more than OPA's own plugin uploads at once"));
        }
        let answer = self.post(body, self.content_type()).await?;
        // The service took what it took: the protocol forbids sending the rest again.
        Ok(if self.kind == Kind::Otlp { otlp::rejected(&answer) } else { 0 })
    }

    /// What is posted of these events; `None` where the format has nothing to say of any.
    fn body(&self, events: &[Event]) -> Result<Option<Vec<u8>>, Failure> {
        if self.kind == Kind::Otlp {
            return gzip(&otlp::request(events, self.spec.format).encode_to_vec()).map(Some);
        }
        let documents: Vec<String> = events.iter().filter_map(|e| self.spec.format.write(e)).collect();
        if documents.is_empty() {
            return Ok(None);
        }
        let text = if self.kind == Kind::Opa || self.spec.format == Format::CloudEvents {
            format!("[{}]", documents.join(","))
        } else {
            documents.join("\n") + "\n"
        };
        gzip(text.as_bytes()).map(Some)
    }

    fn content_type(&self) -> &'static str {
        match self.kind {
            Kind::Opa => "application/json",
            Kind::Otlp => "application/x-protobuf",
            Kind::Lines if self.spec.format == Format::CloudEvents => "application/cloudevents-batch+json",
            Kind::Lines => "application/x-ndjson",
        }
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
            // OTLP's word for data that no repetition makes better. Elsewhere it may be the address that is wrong.
            StatusCode::BAD_REQUEST if self.kind == Kind::Otlp => Reason::Unfit,
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => Reason::Busy,
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Reason::Denied,
            s if s.is_server_error() => Reason::Server,
            _ => Reason::Refused,
        };
        let after = response.headers().get(RETRY_AFTER).and_then(|v| later(v.to_str().ok()?, Timestamp::now()));
        Err(Failure { after, ..Failure::new(reason, format!("the service answered {status}")) })
    }
}

/// What `Retry-After` says: seconds, or a date (RFC 9110 section 10.2.3).
fn later(text: &str, now: Timestamp) -> Option<Duration> {
    let of_date = || {
        let date = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
        Some(Duration::try_from(date.duration_since(now)).unwrap_or_default())
    };
    text.parse().ok().map(Duration::from_secs).or_else(of_date)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = "1994-11-06T08:49:07Z".parse().expect("a time");
        for (text, seconds) in [
            ("7", Some(7)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(30)),
            ("Sun, 06 Nov 1994 08:48:37 GMT", Some(0)),
            ("soon", None),
            ("-3", None),
        ] {
            assert_eq!(later(text, now), seconds.map(Duration::from_secs), "{text}");
        }
    }
}
