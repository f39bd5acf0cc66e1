//! HTTPS as the API server speaks it, and as others might.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::server::Server;

/// An answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {:?}", self.body))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.to_vec()).expect("text")
    }

    /// The `response` of an AdmissionReview.
    pub(crate) fn response(&self) -> Value {
        assert_eq!(self.status, StatusCode::OK, "{:?}", self.body);
        self.json()["response"].clone()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|v| v.to_str().expect("text"))
    }

    /// `error.code` of a refusal.
    pub(crate) fn error_code(&self) -> String {
        self.json()["error"]["code"].as_str().expect("a code").to_owned()
    }
}

/// Certificate and key of a client, PEM.
pub(crate) struct Identity {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

/// What a client trusts and speaks.
pub(crate) fn tls(ca: &Path, alpn: &[&str], identity: Option<&Identity>) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(ca).expect("readable") {
        roots.add(certificate.expect("PEM")).expect("a root");
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots);
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some(identity) => {
            let chain = CertificateDer::pem_slice_iter(identity.certificate.as_bytes()).collect::<Result<_, _>>();
            let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).expect("a key");
            builder.with_client_auth_cert(chain.expect("PEM"), key).expect("an identity")
        }
    };
    config.alpn_protocols = alpn.iter().map(|p| p.as_bytes().to_vec()).collect();
    config
}

/// A TLS connection.
pub(crate) async fn connect(addr: SocketAddr, config: ClientConfig) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(addr).await?;
    let name = ServerName::try_from("localhost").expect("a name");
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

/// One kept connection.
pub(crate) enum Client {
    Http1(conn::http1::SendRequest<Full<Bytes>>),
    Http2(conn::http2::SendRequest<Full<Bytes>>),
}

impl Client {
    /// HTTP/1.1 over TLS, trusting the server's own authority.
    pub(crate) async fn http1(server: &Server) -> Self {
        Self::http1_as(server, None).await.expect("connects")
    }

    /// The same with a client certificate.
    pub(crate) async fn http1_as(server: &Server, identity: Option<&Identity>) -> std::io::Result<Self> {
        let stream = connect(server.webhook, tls(&server.ca(), &["http/1.1"], identity)).await?;
        let (sender, connection) = conn::http1::handshake(TokioIo::new(stream)).await.expect("HTTP/1.1");
        tokio::spawn(connection);
        Ok(Self::Http1(sender))
    }

    /// HTTP/2 over TLS.
    pub(crate) async fn http2(server: &Server) -> Self {
        let stream = connect(server.webhook, tls(&server.ca(), &["h2"], None)).await.expect("connects");
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let (sender, connection) =
            conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.expect("HTTP/2");
        tokio::spawn(connection);
        Self::Http2(sender)
    }

    /// HTTP/1.1 in the clear, to the admin listener.
    pub(crate) async fn admin(server: &Server) -> Self {
        let stream = TcpStream::connect(server.admin).await.expect("connects");
        let (sender, connection) = conn::http1::handshake(TokioIo::new(stream)).await.expect("HTTP/1.1");
        tokio::spawn(connection);
        Self::Http1(sender)
    }

    /// Sends a request and reads its answer.
    pub(crate) async fn send(&mut self, request: Request<Full<Bytes>>) -> hyper::Result<Reply> {
        let response = match self {
            Self::Http1(sender) => {
                sender.ready().await?;
                sender.send_request(request).await?
            }
            Self::Http2(sender) => {
                sender.ready().await?;
                sender.send_request(request).await?
            }
        };
        let (head, body) = response.into_parts();
        let body = body.collect().await?.to_bytes();
        Ok(Reply { status: head.status, headers: head.headers, body })
    }

    /// Posts JSON.
    pub(crate) async fn post(&mut self, path: &str, body: &str) -> Reply {
        self.send(request(self, Method::POST, path, &[], body)).await.expect("an answer")
    }

    /// Gets a path.
    pub(crate) async fn get(&mut self, path: &str) -> Reply {
        self.send(request(self, Method::GET, path, &[], "")).await.expect("an answer")
    }
}

/// A request; JSON unless `headers` say otherwise. A header without a value is left out.
pub(crate) fn request(
    client: &Client,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Request<Full<Bytes>> {
    let uri = match client {
        Client::Http1(_) => path.to_owned(),
        Client::Http2(_) => format!("https://localhost{path}"),
    };
    let mut request = Request::new(Full::new(Bytes::from(body.to_owned())));
    *request.method_mut() = method;
    *request.uri_mut() = uri.parse().expect("a URI");
    let map = request.headers_mut();
    if matches!(client, Client::Http1(_)) {
        map.insert("host", HeaderValue::from_static("localhost"));
    }
    map.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    for (name, value) in headers {
        let name: HeaderName = name.parse().expect("a name");
        if value.is_empty() {
            map.remove(name);
        } else {
            map.insert(name, value.parse().expect("a value"));
        }
    }
    request
}

/// `/metrics` as `name{labels}` and value.
pub(crate) async fn metric(server: &Server, name: &str) -> f64 {
    let text = Client::admin(server).await.get("/metrics").await.text();
    let line = text.lines().find_map(|l| l.strip_prefix(name).and_then(|rest| rest.strip_prefix(' ')));
    line.map_or(0.0, |value| value.parse().expect("a number"))
}
