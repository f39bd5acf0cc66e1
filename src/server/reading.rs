//! Reading the decision log over HTTPS: who asks, what they may see, and the record of it, which is written before the
//! answer leaves. Knows HTTP and bounds; how a log is read is `decisions`' business.
//!
//! Reviews come first: few readings run at once, on threads of their own kind, each within a time and a size.

mod sending;
mod turns;

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, Request, State};
use axum::http::{HeaderValue, Response, StatusCode, header};
use axum::routing::get;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;
use tokio::sync::Semaphore;

use self::sending::sent;
use self::turns::{Turn, Turns};

use crate::decisions::{
    BodyState, Bound, Caller, CallerRecord, DecisionLog, Durability, Entry, Filter, Found, LogReader, PageBounds,
    ReadAction, ReadRecord, Reader, ReadersFile, Record, RecordType, bound, tree_file,
};
use crate::engine::{Cause, Verdict};
use crate::server::refusal::json_response;
use crate::server::routes::caller;
use crate::telemetry::Metrics;

/// Readings that look through the log at once; of one reader one, so that there is room for another.
const AT_ONCE: usize = 2;
/// Answers that are being sent at once, each of [`MOST_BYTES`] at most.
const ANSWERS: usize = 16;
/// Records of a page, unless asked for less.
const PAGE: usize = 100;
/// And at most.
const MOST_RECORDS: usize = 1000;
/// Bytes of a page.
const MOST_BYTES: usize = 4 << 20;
/// How long a reading looks through the log; then it gives what it found and where to go on.
const LONGEST: Duration = Duration::from_secs(10);
/// How long the log may take to write the record of a reading.
const RECORD_PATIENCE: Duration = Duration::from_secs(5);

struct Readings {
    readers: ReadersFile,
    log: DecisionLog,
    metrics: Metrics,
    room: Arc<Semaphore>,
    answers: Arc<Semaphore>,
    /// What each reader may still ask.
    turns: Turns,
}

/// Why a reading gets no answer.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("a token is needed: `Authorization: Bearer ..`")]
    Unauthorized,
    #[error("{0}")]
    Forbidden(&'static str),
    #[error("{0}")]
    Query(String),
    #[error("there is no such decision that you may see")]
    Absent,
    #[error("there is no such file in the tree")]
    NoFile,
    #[error("you read too much at once; try again in a second")]
    TooFast,
    #[error("others are reading; try again in a second")]
    Crowded,
    #[error("the log could not be looked through in {} s; ask for a page of the time", LONGEST.as_secs())]
    Late,
    #[error("the reading could not be recorded, so there is no answer")]
    Unrecorded,
    #[error("the log could not be read; see the server's messages")]
    Unreadable,
}

impl Refused {
    fn parts(&self) -> (StatusCode, &'static str) {
        match self {
            Self::Unauthorized => (StatusCode::UNAUTHORIZED, "unauthorized"),
            Self::Forbidden(_) => (StatusCode::FORBIDDEN, "forbidden"),
            Self::Query(_) => (StatusCode::BAD_REQUEST, "bad_query"),
            Self::Absent | Self::NoFile => (StatusCode::NOT_FOUND, "not_found"),
            Self::TooFast => (StatusCode::TOO_MANY_REQUESTS, "too_many_reads"),
            Self::Crowded => (StatusCode::SERVICE_UNAVAILABLE, "too_many_readers"),
            Self::Late => (StatusCode::SERVICE_UNAVAILABLE, "too_late"),
            Self::Unrecorded => (StatusCode::SERVICE_UNAVAILABLE, "log"),
            Self::Unreadable => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
        }
    }
}

/// What is asked of `GET /v1/decisions`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Asked {
    since: Option<String>,
    until: Option<String>,
    namespace: Option<String>,
    user: Option<String>,
    policy: Option<String>,
    verdict: Option<Verdict>,
    cause: Option<Cause>,
    uid: Option<String>,
    r#type: Option<String>,
    limit: Option<usize>,
    cursor: Option<u64>,
    output: Option<Output>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Output {
    Json,
    Ndjson,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct One {
    body: bool,
}

/// Who asks, and for what.
struct Call {
    caller: Caller,
    what: String,
    token: Option<String>,
}

impl Call {
    fn of(request: Request) -> Self {
        let given = request.headers().get(header::AUTHORIZATION).and_then(|v| v.to_str().ok());
        let token = given.and_then(|v| {
            let (scheme, token) = v.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then(|| token.trim().to_owned())
        });
        let path = request.uri().path_and_query().map_or("", |p| p.as_str());
        Self { caller: caller(&request), what: format!("{} {path}", request.method()), token }
    }
}

/// What is handed out.
struct Handed {
    body: Vec<u8>,
    kind: &'static str,
    headers: Vec<(&'static str, String)>,
    span: Option<(u64, u64)>,
    count: u64,
    bodies: bool,
    status: StatusCode,
}

/// The routes below `/v1/decisions`.
pub fn reading_router(readers: ReadersFile, log: DecisionLog, metrics: Metrics) -> Router {
    let readings = Arc::new(Readings {
        readers,
        log,
        metrics,
        room: Arc::new(Semaphore::new(AT_ONCE)),
        answers: Arc::new(Semaphore::new(ANSWERS)),
        turns: Turns::default(),
    });
    Router::new()
        .route("/v1/decisions", get(page))
        .route("/v1/decisions/checkpoint", get(checkpoint))
        .route("/v1/decisions/{id}", get(one))
        .route("/v1/decisions/tlog/{*file}", get(tree))
        .with_state(readings)
}

async fn page(
    State(readings): State<Arc<Readings>>,
    asked: Result<Query<Asked>, QueryRejection>,
    request: Request,
) -> Response<Body> {
    let call = Call::of(request);
    let answer = async {
        let (reader, turn) = readings.reader(&call)?;
        let Query(asked) = asked.map_err(|e| Refused::Query(e.body_text()))?;
        let filter = filter(&asked)?;
        let limit = asked.limit.unwrap_or(PAGE);
        if !(1..=MOST_RECORDS).contains(&limit) {
            return Err(Refused::Query(format!("`limit` is `{limit}`; write 1 to {MOST_RECORDS}")));
        }
        let (from, output) = (asked.cursor.unwrap_or(0), asked.output.unwrap_or(Output::Json));
        let seen = reader.clone();
        let look = move |log: LogReader| {
            let bounds = PageBounds { records: limit, bytes: MOST_BYTES, until: Instant::now() + LONGEST };
            let page = log.page(&filter, from, bounds, |r| seen.may_see(r)).map_err(unreadable)?;
            let lines = page.records.iter().map(|r| r.line.as_str());
            let (body, kind) = match output {
                Output::Json => {
                    let records = lines.collect::<Vec<_>>().join(",\n");
                    let (next, more, unjudged) = (page.next, page.more, page.unjudged);
                    let text = format!(
                        "{{\"records\":[{records}],\"next\":{next},\"more\":{more},\"unjudged\":{unjudged}}}\n"
                    );
                    (text, "application/json")
                }
                Output::Ndjson => (lines.map(|l| format!("{l}\n")).collect(), "application/x-ndjson"),
            };
            let headers = vec![
                ("portcullis-next", page.next.to_string()),
                ("portcullis-more", page.more.to_string()),
                ("portcullis-unjudged", page.unjudged.to_string()),
            ];
            Ok(Handed {
                body: body.into_bytes(),
                kind,
                headers,
                span: span(&page.records),
                count: u64::try_from(page.records.len()).unwrap_or(u64::MAX),
                bodies: false,
                status: StatusCode::OK,
            })
        };
        readings.answer((&reader, &turn), &call, look).await
    };
    readings.shown(answer.await, &call)
}

async fn one(
    State(readings): State<Arc<Readings>>,
    Path(id): Path<String>,
    asked: Result<Query<One>, QueryRejection>,
    request: Request,
) -> Response<Body> {
    let call = Call::of(request);
    let answer = async {
        let (reader, turn) = readings.reader(&call)?;
        let Query(One { body: with_body }) = asked.map_err(|e| Refused::Query(e.body_text()))?;
        let id =
            uuid::Uuid::try_parse(&id).map_err(|_| Refused::Query("write the whole id of a decision".to_owned()))?;
        if with_body && !reader.bodies {
            return Err(Refused::Forbidden("you may not read bodies"));
        }
        let seen = reader.clone();
        let look = move |log: LogReader| {
            let until = Some(Instant::now() + LONGEST);
            match log.find_until(&id.to_string(), until).map_err(unreadable)?.ok_or(Refused::Late)? {
                Found::One(record) if seen.may_see(&record) => whole(&log, &record, with_body),
                _ => Ok(absent()),
            }
        };
        readings.answer((&reader, &turn), &call, look).await
    };
    readings.shown(answer.await, &call)
}

/// A decision that is not there, or not for this reader: that somebody asked is on record too.
fn absent() -> Handed {
    let text = json!({"error": {"code": "not_found", "message": Refused::Absent.to_string()}}).to_string();
    Handed {
        body: text.into_bytes(),
        kind: "application/json",
        headers: Vec::new(),
        span: None,
        count: 0,
        bodies: false,
        status: StatusCode::NOT_FOUND,
    }
}

/// One record, and its body byte for byte as it is stored, so that its digest can be checked.
fn whole(log: &LogReader, record: &Record, with_body: bool) -> Result<Handed, Refused> {
    let mut text = format!("{{\"envelope\":{}", record.line);
    if with_body && let Some(decision) = record.decision() {
        let (state, line) = match log.body(record, &decision).map_err(unreadable)? {
            BodyState::Intact(line) => ("intact", Some(line)),
            BodyState::Altered(line) => ("altered", Some(line)),
            BodyState::Missing => ("missing", None),
            BodyState::Deleted => ("deleted", None),
            BodyState::Erased => ("erased", None),
        };
        text.push_str(&format!(",\"bodyState\":\"{state}\""));
        if let Some(line) = line {
            let salt = data_encoding::HEXLOWER.encode(&line.salt);
            text.push_str(&format!(",\"salt\":\"{salt}\",\"body\":{}", line.body));
        }
    }
    text.push_str("}\n");
    Ok(Handed {
        body: text.into_bytes(),
        kind: "application/json",
        headers: Vec::new(),
        span: span(std::slice::from_ref(record)),
        count: 1,
        bodies: with_body,
        status: StatusCode::OK,
    })
}

async fn checkpoint(State(readings): State<Arc<Readings>>, request: Request) -> Response<Body> {
    let call = Call::of(request);
    readings.shown(readings.file(&call, "checkpoint").await, &call)
}

async fn tree(State(readings): State<Arc<Readings>>, Path(file): Path<String>, request: Request) -> Response<Body> {
    let call = Call::of(request);
    readings.shown(readings.file(&call, &file).await, &call)
}

impl Readings {
    /// Who asks, if they may ask now.
    fn reader(&self, call: &Call) -> Result<(Reader, Turn), Refused> {
        let token = call.token.as_deref().ok_or(Refused::Unauthorized)?;
        let reader = self.readers.find(token).ok_or(Refused::Unauthorized)?;
        let turn = self.turns.turn(&reader.name)?;
        Ok((reader, turn))
    }

    /// Looks, writes down that it did, and only then answers.
    async fn answer(
        &self,
        (reader, turn): (&Reader, &Turn),
        call: &Call,
        look: impl FnOnce(LogReader) -> Result<Handed, Refused> + Send + 'static,
    ) -> Result<Response<Body>, Refused> {
        let room = turn.room(&self.answers)?;
        let handed = self.look(turn, look).await?;
        let record = ReadRecord {
            timestamp: String::new(),
            action: ReadAction::Read,
            reader: reader.name.clone(),
            caller: Some(caller_record(&call.caller)),
            what: call.what.clone(),
            first_seq: handed.span.map(|s| s.0),
            last_seq: handed.span.map(|s| s.1),
            count: handed.count,
            bodies: handed.bodies,
            reason: None,
        };
        let entry = Entry::read(record, Timestamp::now());
        if let Err(error) = self.log.append(entry, Instant::now() + RECORD_PATIENCE).await {
            tracing::warn!(reader = reader.name, %error, "a reading was refused: it could not be recorded");
            return Err(Refused::Unrecorded);
        }
        // Where nobody waits for the log, the last that is known of it has to do.
        if self.log.durability() == Durability::BestEffort && !self.log.health().writable {
            return Err(Refused::Unrecorded);
        }
        Ok(sent(handed, room))
    }

    async fn look(
        &self,
        turn: &Turn,
        look: impl FnOnce(LogReader) -> Result<Handed, Refused> + Send + 'static,
    ) -> Result<Handed, Refused> {
        let room = turn.look(&self.room, LONGEST).await?;
        let dir = self.log.dir().to_path_buf();
        let looked = tokio::task::spawn_blocking(move || {
            let _room = room;
            look(LogReader::open(&dir).map_err(unreadable)?)
        });
        looked.await.unwrap_or(Err(Refused::Unreadable))
    }

    /// A checkpoint or a tile: hashes, which say nothing of what was decided, so no record is written.
    async fn file(&self, call: &Call, name: &str) -> Result<Response<Body>, Refused> {
        let (reader, turn) = self.reader(call)?;
        if !reader.sees_all() && name != "checkpoint" {
            return Err(Refused::Forbidden("you may read decisions of some namespaces only"));
        }
        let room = turn.room(&self.answers)?;
        let (dir, name) = (self.log.dir().to_path_buf(), name.to_owned());
        let kind = if name == "checkpoint" { "text/plain; charset=utf-8" } else { "application/octet-stream" };
        let read = tokio::task::spawn_blocking(move || tree_file(&dir, &name));
        let body = read.await.map_err(|_| Refused::Unreadable)?.map_err(unreadable)?.ok_or(Refused::NoFile)?;
        let handed =
            Handed { body, kind, headers: Vec::new(), span: None, count: 0, bodies: false, status: StatusCode::OK };
        Ok(sent(handed, room))
    }

    fn shown(&self, answer: Result<Response<Body>, Refused>, call: &Call) -> Response<Body> {
        let refused = match answer {
            Ok(response) => return response,
            Err(refused) => refused,
        };
        let (status, code) = refused.parts();
        self.metrics.refused(code);
        tracing::warn!(code, caller = call.caller.addr.map(tracing::field::display), "refused a reading");
        let text = json!({"error": {"code": code, "message": refused.to_string()}}).to_string();
        let mut response = json_response(status, text.into_bytes());
        let headers = response.headers_mut();
        match refused {
            Refused::Unauthorized => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            Refused::TooFast | Refused::Crowded | Refused::Late => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            _ => {}
        }
        response
    }
}

fn unreadable(error: crate::decisions::LogError) -> Refused {
    tracing::error!(%error, "the decision log could not be read for a reader");
    Refused::Unreadable
}

fn span(records: &[Record]) -> Option<(u64, u64)> {
    records.first().zip(records.last()).map(|(first, last)| (first.head.seq, last.head.seq))
}

fn caller_record(caller: &Caller) -> CallerRecord {
    CallerRecord {
        addr: caller.addr.map(|a| a.to_string()),
        tls_subject: caller.tls_subject.clone(),
        authenticated: caller.authenticated,
    }
}

fn filter(asked: &Asked) -> Result<Filter, Refused> {
    let kind = match asked.r#type.as_deref() {
        None => Some(RecordType::Decision),
        Some("all") => None,
        Some(name) => {
            let known = serde_json::from_value(json!(name)).ok().filter(|t| *t != RecordType::Unknown);
            Some(known.ok_or_else(|| Refused::Query(format!("`type` is `{name}`, which is no type of record")))?)
        }
    };
    let filter = Filter {
        since: time("since", asked.since.as_deref(), Bound::First)?,
        until: time("until", asked.until.as_deref(), Bound::Last)?,
        namespace: asked.namespace.clone(),
        user: asked.user.clone(),
        policy: asked.policy.clone(),
        verdict: asked.verdict,
        cause: asked.cause,
        uid: asked.uid.clone(),
        r#type: kind,
    };
    if filter.asks_of_decisions() && !matches!(kind, None | Some(RecordType::Decision)) {
        return Err(Refused::Query("only decisions have what is asked for; leave out `type`".to_owned()));
    }
    Ok(filter)
}

fn time(name: &str, text: Option<&str>, end: Bound) -> Result<Option<Timestamp>, Refused> {
    let Some(text) = text else { return Ok(None) };
    let shown: String = text.chars().take(40).collect();
    bound(text, end).map(Some).ok_or_else(|| {
        Refused::Query(format!(
            "`{name}` is `{shown}`; write an RFC 3339 time such as `2026-01-31T12:00:00Z`, or a date"
        ))
    })
}
