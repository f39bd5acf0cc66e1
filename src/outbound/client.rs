//! The client: one request at a time, on the thread that evaluates.
//!
//! Names are resolved here and only what may be reached is connected to, so a name cannot lead elsewhere between look
//! and leap. No proxy, no cookies, no credentials, no connection is kept.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ureq::http::{self, Method};
use ureq::tls::{Certificate, ClientCert, PemItem, PrivateKey, RootCerts, TlsConfig, parse_pem};
use ureq::unversioned::transport::DefaultConnector;
use ureq::{Agent, Error};
use url::Url;

use crate::engine::{HttpDoor, HttpFault, HttpRequest, HttpResponse, HttpTls, Redirects, Verification};
use crate::outbound::resolver::{Careful, Refused};
use crate::outbound::{Hosts, Loopback};

/// A policy reads no more of a response.
const MOST_BYTES: u64 = 4 << 20;

/// A policy reads no more headers of a response.
const MOST_HEADER_BYTES: usize = 64 << 10;

/// Redirects that are followed, as in OPA.
const MOST_REDIRECTS: usize = 10;

/// The first wait before a request is tried again; each further one doubles.
const RETRY_DELAY: Duration = Duration::from_millis(100);

/// Asks allowed hosts.
#[derive(Debug)]
pub struct Client {
    hosts: Hosts,
    loopback: Loopback,
}

impl Client {
    /// A client that asks `hosts`.
    #[must_use]
    pub fn new(hosts: Hosts, loopback: Loopback) -> Self {
        Self { hosts, loopback }
    }

    /// The URL, if its host is allowed. What is checked is what is asked: the parsed form.
    fn allowed(&self, url: Url) -> Result<Url, HttpFault> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err(HttpFault::Forbidden(format!("`{}` is no URL of http or https", url.scheme())));
        }
        if !url.username().is_empty() || url.password().is_some() {
            let msg = "the URL names a user: write an `Authorization` header instead";
            return Err(HttpFault::Forbidden(msg.to_owned()));
        }
        let (host, port) = (url.host_str().unwrap_or_default(), url.port_or_known_default().unwrap_or_default());
        if !self.hosts.allow(host, port) {
            let msg = format!("host `{host}:{port}` is not allowed; allowed are {}", self.hosts);
            return Err(HttpFault::Forbidden(msg));
        }
        Ok(url)
    }

    fn agent(&self, tls: &HttpTls) -> Result<Agent, HttpFault> {
        let config = Agent::config_builder()
            .proxy(None)
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .max_idle_connections(0)
            .max_response_header_size(MOST_HEADER_BYTES)
            .allow_non_standard_methods(true)
            .user_agent(concat!("portcullis/", env!("CARGO_PKG_VERSION")))
            .tls_config(tls_config(tls)?)
            .build();
        Ok(Agent::with_parts(config, DefaultConnector::default(), Careful::new(self.loopback)))
    }
}

impl HttpDoor for Client {
    fn send(&self, request: &HttpRequest) -> Result<HttpResponse, HttpFault> {
        let url =
            Url::parse(&request.url).map_err(|e| HttpFault::Request(format!("`{}` is no URL: {e}", request.url)))?;
        let url = self.allowed(url)?;
        let agent = self.agent(&request.tls)?;
        let until = Instant::now().checked_add(request.timeout);
        let left = || until.map(|u| u.saturating_duration_since(Instant::now()));
        let mut delay = RETRY_DELAY;
        let mut tries = 0;
        loop {
            let fault = match self.follow(&agent, request, url.clone(), &left) {
                Err(HttpFault::Network(msg)) => HttpFault::Network(msg),
                done => return done,
            };
            if tries >= request.retries || left().is_some_and(|l| l <= delay) {
                return Err(fault);
            }
            std::thread::sleep(delay);
            tries += 1;
            delay = delay.saturating_mul(2);
        }
    }
}

impl Client {
    /// Sends a request and, if that is wanted, those that the answers point to.
    fn follow(
        &self,
        agent: &Agent,
        request: &HttpRequest,
        mut url: Url,
        left: &dyn Fn() -> Option<Duration>,
    ) -> Result<HttpResponse, HttpFault> {
        let mut next =
            Step { method: request.method.clone(), headers: request.headers.clone(), body: request.body.clone() };
        for _ in 0..=MOST_REDIRECTS {
            let response = next.send(agent, &url, left())?;
            let location = response.headers.get("location").and_then(|v| v.first());
            let moved = matches!(response.code, 301 | 302 | 303 | 307 | 308);
            let (Some(location), true) = (location, moved && request.redirects == Redirects::Follow) else {
                return Ok(response);
            };
            let target =
                url.join(location).map_err(|e| HttpFault::Network(format!("redirect to `{location}`: {e}")))?;
            let target = self.allowed(target)?;
            next.redirect(response.code, target.origin() == url.origin());
            url = target;
        }
        Err(HttpFault::Network(format!("stopped after {MOST_REDIRECTS} redirects")))
    }
}

/// One request on the way.
struct Step {
    method: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Step {
    /// What goes to the next place (RFC 9110 section 15.4): secrets go nowhere else than where they were meant for.
    fn redirect(&mut self, code: u16, same_origin: bool) {
        if matches!(code, 301..=303) && self.method != "GET" && self.method != "HEAD" {
            "GET".clone_into(&mut self.method);
            self.body.clear();
            self.headers.retain(|(name, _)| !name.eq_ignore_ascii_case("content-type"));
        }
        if !same_origin {
            const SECRET: [&str; 5] = ["authorization", "cookie", "proxy-authorization", "www-authenticate", "host"];
            self.headers.retain(|(name, _)| !SECRET.contains(&name.to_ascii_lowercase().as_str()));
        }
    }

    fn send(&self, agent: &Agent, url: &Url, left: Option<Duration>) -> Result<HttpResponse, HttpFault> {
        let wrong = |e: &dyn std::fmt::Display| HttpFault::Request(e.to_string());
        let method = Method::from_bytes(self.method.as_bytes())
            .map_err(|_| HttpFault::Request(format!("`{}` is no method", self.method)))?;
        let mut builder = http::Request::builder().method(method).uri(url.as_str());
        for (name, value) in self.headers.iter().filter(|(name, _)| !name.eq_ignore_ascii_case("content-length")) {
            builder = builder.header(name, value);
        }
        let outcome = if self.body.is_empty() {
            let request = builder.body(()).map_err(|e| wrong(&e))?;
            agent.run(agent.configure_request(request).timeout_global(left).build())
        } else {
            let request = builder.body(self.body.clone()).map_err(|e| wrong(&e))?;
            agent.run(agent.configure_request(request).timeout_global(left).build())
        };
        let mut response = outcome.map_err(|e| network(e, url))?;
        let status = response.status();
        let mut headers: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (name, value) in response.headers() {
            let text = String::from_utf8_lossy(value.as_bytes()).into_owned();
            headers.entry(name.as_str().to_owned()).or_default().push(text);
        }
        let body = response.body_mut().with_config().limit(MOST_BYTES).read_to_vec().map_err(|e| network(e, url))?;
        let reason = status.canonical_reason().map(|r| format!(" {r}")).unwrap_or_default();
        Ok(HttpResponse { code: status.as_u16(), status: format!("{}{reason}", status.as_u16()), headers, body })
    }
}

fn network(error: Error, url: &Url) -> HttpFault {
    let host = url.host_str().unwrap_or_default();
    match error {
        Error::Other(other) => match other.downcast::<Refused>() {
            Ok(refused) => HttpFault::Forbidden(format!("host `{host}` leads to {refused}")),
            Err(other) => HttpFault::Network(format!("`{host}`: {other}")),
        },
        Error::Timeout(_) => HttpFault::Network(format!("`{host}`: request timed out")),
        Error::BodyExceedsLimit(most) => {
            HttpFault::Network(format!("`{host}`: the response has more than {most} bytes"))
        }
        other => HttpFault::Network(format!("`{host}`: {other}")),
    }
}

fn tls_config(tls: &HttpTls) -> Result<TlsConfig, HttpFault> {
    let wrong = |what: &str| HttpFault::Request(format!("`{what}` is no PEM that can be read"));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = TlsConfig::builder()
        .root_certs(RootCerts::PlatformVerifier)
        .disable_verification(tls.verification == Verification::None)
        .unversioned_rustls_crypto_provider(provider);
    let certificates = |pem: &str| -> Vec<Certificate<'static>> {
        parse_pem(pem.as_bytes())
            .filter_map(|item| match item {
                Ok(PemItem::Certificate(certificate)) => Some(certificate),
                _ => None,
            })
            .collect()
    };
    if let Some(ca) = &tls.ca {
        let roots = certificates(ca);
        if roots.is_empty() {
            return Err(wrong("tls_ca_cert"));
        }
        config = config.root_certs(RootCerts::new_with_certs(&roots));
    }
    if let Some((chain, key)) = &tls.identity {
        let chain = certificates(chain);
        let key = PrivateKey::from_pem(key.as_bytes()).map_err(|_| wrong("tls_client_key"))?;
        if chain.is_empty() {
            return Err(wrong("tls_client_cert"));
        }
        config = config.client_cert(Some(ClientCert::new_with_certs(&chain, key)));
    }
    Ok(config.build())
}
