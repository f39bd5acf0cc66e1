//! Sending what is handed out: in pieces, in room that is bounded, for a time that is bounded. Knows HTTP bodies; must
//! not know who reads.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, Response, header};
use bytes::Bytes;
use tokio::sync::oneshot;

use super::Handed;
use super::turns::Room;

/// How long an answer may take to be sent; then it is given up.
const SENDING: Duration = Duration::from_secs(60);
/// Answers are sent in pieces, so that the room they take is free when the last has left.
const PIECE: usize = 64 << 10;

/// What was not sent yet, and the room that it takes.
struct Unsent(Mutex<Option<(Bytes, Room)>>);

impl Unsent {
    /// The next piece; `None` when nothing is left. Copied: a piece that waits somewhere must not keep the whole.
    fn piece(&self) -> Option<Bytes> {
        let mut unsent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (rest, _) = unsent.as_mut()?;
        let piece = Bytes::copy_from_slice(&rest.split_to(rest.len().min(PIECE)));
        if rest.is_empty() {
            *unsent = None;
        }
        Some(piece)
    }

    fn give_up(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// The response. The room that its body takes is given back with its last piece, or when its time is up: of a client that
/// does not read nothing more is asked for, so the time is not left to the sending.
pub(super) fn sent(handed: Handed, room: Room) -> Response<Body> {
    sent_within(handed, room, SENDING)
}

fn sent_within(handed: Handed, room: Room, time: Duration) -> Response<Body> {
    let length = handed.body.len();
    let unsent = Arc::new(Unsent(Mutex::new(Some((Bytes::from(handed.body), room)))));
    let (sending, ended) = oneshot::channel::<()>();
    let late = Arc::clone(&unsent);
    tokio::spawn(async move {
        if tokio::time::timeout(time, ended).await.is_err() {
            late.give_up();
            tracing::warn!("an answer to a reader was given up: it was not taken in {} s", time.as_secs());
        }
    });
    let pieces = futures::stream::unfold((unsent, sending, 0), move |(unsent, sending, sent)| async move {
        match unsent.piece() {
            Some(piece) => {
                let sent = sent + piece.len();
                Some((Ok(piece), (unsent, sending, sent)))
            }
            None if sent == length => None,
            None => Some((Err(io::Error::from(io::ErrorKind::TimedOut)), (unsent, sending, length))),
        }
    });
    let mut response = Response::new(Body::from_stream(pieces));
    *response.status_mut() = handed.status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(handed.kind));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    for (name, value) in handed.headers {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
    response
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode;
    use futures::StreamExt as _;
    use tokio::sync::Semaphore;

    use super::*;
    use crate::server::reading::turns::Turns;

    fn handed(length: usize) -> Handed {
        let body = vec![b'x'; length];
        Handed {
            body,
            kind: "text/plain",
            headers: vec![],
            span: None,
            count: 0,
            bodies: false,
            status: StatusCode::OK,
        }
    }

    #[tokio::test]
    async fn what_nobody_takes_is_given_up_and_its_room_is_free_again() {
        let (turns, all) = (Turns::default(), Arc::new(Semaphore::new(1)));
        let room = || turns.turn("a").and_then(|turn| turn.room(&all));
        let time = Duration::from_millis(200);
        let mut body = sent_within(handed(3 * PIECE), room().expect("room"), time).into_body().into_data_stream();
        assert_eq!(body.next().await.expect("a piece").expect("is sent").len(), PIECE);
        assert!(room().is_err(), "there is one");
        tokio::time::sleep(Duration::from_secs(1)).await;
        // It was not asked for more, and the room is free all the same.
        drop(room().expect("room"));
        assert!(body.next().await.expect("an end").is_err(), "the client is not told that this was all");
        assert!(body.next().await.is_none());

        let time = Duration::from_secs(20);
        for length in [0, 1, PIECE, PIECE + 1] {
            let response = sent_within(handed(length), room().expect("room"), time);
            let bytes = axum::body::to_bytes(response.into_body(), usize::MAX).await.expect("is sent");
            assert_eq!(bytes.len(), length);
        }
    }
}
