//! Who talks to the API server, and what they get back.

use std::time::Duration;

use http_body_util::BodyExt;
use hyper::{Method, Request, StatusCode};
use kube::Client;
use kube::client::Body;
use serde_json::Value;

/// No request of the test takes longer, on whatever machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Somebody with a client of their own.
#[derive(Clone)]
pub(super) struct Person {
    client: Client,
    name: String,
}

impl Person {
    pub(super) fn new(client: Client, name: &str) -> Self {
        Self { client, name: name.to_owned() }
    }

    pub(super) async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, None).await
    }

    /// A POST; of nothing if the body is `null`.
    pub(super) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(Method::POST, path, Some(("application/json", body))).await
    }

    pub(super) async fn put(&self, path: &str, body: &Value) -> Answer {
        self.send(Method::PUT, path, Some(("application/json", body))).await
    }

    /// A JSON merge patch (RFC 7386).
    pub(super) async fn merge(&self, path: &str, patch: &Value) -> Answer {
        self.send(Method::PATCH, path, Some(("application/merge-patch+json", patch))).await
    }

    /// A patch by the keys of lists, as kubectl sends it.
    pub(super) async fn patch(&self, path: &str, patch: &Value) -> Answer {
        self.send(Method::PATCH, path, Some(("application/strategic-merge-patch+json", patch))).await
    }

    pub(super) async fn delete(&self, path: &str) -> Answer {
        self.send(Method::DELETE, path, None).await
    }

    async fn send(&self, method: Method, path: &str, body: Option<(&str, &Value)>) -> Answer {
        let what = format!("{} {method} {path}", self.name);
        let mut request = Request::builder().method(method).uri(path);
        let mut bytes = Vec::new();
        if let Some((content_type, body)) = body.filter(|(_, body)| !body.is_null()) {
            request = request.header("content-type", content_type);
            bytes = body.to_string().into_bytes();
        }
        let request = request.body(Body::from(bytes)).expect("a request can be made");
        let exchange = async {
            let response = self.client.send(request).await.unwrap_or_else(|e| panic!("{what}: {e}"));
            let (head, body) = response.into_parts();
            let body = body.collect().await.unwrap_or_else(|e| panic!("{what}: {e}")).to_bytes();
            let warnings = head.headers.get_all("warning").iter();
            let warnings = warnings.map(|w| String::from_utf8_lossy(w.as_bytes()).into_owned()).collect();
            let text = || Value::String(String::from_utf8_lossy(&body).into_owned());
            let body = serde_json::from_slice(&body).unwrap_or_else(|_| text());
            Answer { what: what.clone(), code: head.status, body, warnings }
        };
        let answer = tokio::time::timeout(PATIENCE, exchange).await;
        answer.unwrap_or_else(|_| panic!("{what}: no answer within {PATIENCE:?}"))
    }
}

/// What the API server said.
#[derive(Debug)]
pub(super) struct Answer {
    what: String,
    pub(super) code: StatusCode,
    /// The object, or a Status.
    pub(super) body: Value,
    pub(super) warnings: Vec<String>,
}

impl Answer {
    pub(super) fn message(&self) -> &str {
        self.at("/message").as_str().unwrap_or_default()
    }

    /// A part of the body; `null` when it is not there.
    pub(super) fn at(&self, pointer: &str) -> &Value {
        self.body.pointer(pointer).unwrap_or(&Value::Null)
    }

    /// It was done; the object that came back.
    #[track_caller]
    pub(super) fn passed(self) -> Value {
        assert!(self.code.is_success(), "{} must pass, but: {} {}", self.what, self.code, self.body);
        self.body
    }

    /// A policy refused it, with a message that holds all of `parts`.
    #[track_caller]
    pub(super) fn refused(&self, policy: &str, parts: &[&str]) {
        assert_eq!(self.code, StatusCode::FORBIDDEN, "{} must be refused: {}", self.what, self.body);
        assert_eq!(self.at("/reason"), "Forbidden", "{}", self.what);
        let message = self.message();
        let webhook = r#"admission webhook "enforce.validate.portcullis.io" denied the request: "#;
        assert!(message.starts_with(webhook), "{}: refused by somebody else: {message}", self.what);
        let sentence = format!("{policy}: ");
        let of_policy: Vec<&str> = message[webhook.len()..].lines().filter(|l| l.starts_with(&sentence)).collect();
        assert!(!of_policy.is_empty(), "{}: {policy} says nothing in: {message}", self.what);
        for part in parts {
            let said = of_policy.iter().any(|line| line.contains(part));
            assert!(said, "{}: `{part}` is not in: {message}", self.what);
        }
    }

    #[track_caller]
    pub(super) fn has_code(&self, code: u16) {
        assert_eq!(self.code.as_u16(), code, "{}: {}", self.what, self.body);
    }
}
