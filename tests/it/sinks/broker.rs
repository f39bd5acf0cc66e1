//! As much of a Kafka broker as a producer needs: ApiVersions, SaslHandshake, SaslAuthenticate, Metadata and Produce, over
//! TCP or TLS. It keeps what it is sent. The messages are those of <https://kafka.apache.org/protocol>.

use std::collections::{BTreeSet, VecDeque};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use super::scram::Scram;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// A message as it came.
#[derive(Debug, Clone)]
pub(super) struct Message {
    pub partition: i32,
    pub key: Option<String>,
    pub value: Vec<u8>,
    pub leaf: String,
}

#[derive(Default)]
struct State {
    messages: Vec<Message>,
    /// Error codes of answers to come, the first first; then 0.
    answers: VecDeque<i16>,
    /// Batches that had too many messages.
    turned_away: u64,
}

/// Messages that a batch may have.
const MOST: usize = 8;
/// `MESSAGE_TOO_LARGE`.
const TOO_LARGE: i16 = 10;

/// A broker at work, with the topic `decisions` of three partitions.
pub(super) struct Broker {
    pub port: u16,
    state: Arc<Mutex<State>>,
}

impl Broker {
    /// With a user, nobody else may do anything.
    pub(super) fn start(tls: Option<Arc<ServerConfig>>, user: Option<(&str, &str)>) -> Self {
        let user = user.map(|(name, password)| (name.to_owned(), password.to_owned()));
        let listener = TcpListener::bind("127.0.0.1:0").expect("binds");
        let port = listener.local_addr().expect("an address").port();
        let state = Arc::<Mutex<State>>::default();
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (state, tls) = (Arc::clone(&shared), tls.clone());
                let scram = user.as_ref().map(Scram::new);
                std::thread::spawn(move || match tls {
                    None => serve(stream, port, &state, scram),
                    Some(tls) => {
                        let connection = ServerConnection::new(tls).expect("a connection");
                        serve(StreamOwned::<_, TcpStream>::new(connection, stream), port, &state, scram);
                    }
                });
            }
        });
        Self { port, state }
    }

    /// The next batches are answered so: error codes of the protocol.
    pub(super) fn will_answer(&self, codes: &[i16]) {
        self.state.lock().expect("not poisoned").answers.extend(codes);
    }

    pub(super) fn messages(&self) -> Vec<Message> {
        self.state.lock().expect("not poisoned").messages.clone()
    }

    pub(super) fn turned_away(&self) -> u64 {
        self.state.lock().expect("not poisoned").turned_away
    }

    pub(super) fn partitions(&self) -> BTreeSet<i32> {
        self.messages().iter().map(|m| m.partition).collect()
    }
}

/// Answers until the client leaves.
fn serve(mut stream: impl Read + Write, port: u16, state: &Mutex<State>, mut scram: Option<Scram>) {
    loop {
        let mut size = [0; 4];
        if stream.read_exact(&mut size).is_err() {
            return;
        }
        let mut frame = vec![0; usize::try_from(i32::from_be_bytes(size)).expect("a size")];
        stream.read_exact(&mut frame).expect("a request");
        let mut request = Bytes(&frame);
        let (api, version, correlation) = (request.i16(), request.i16(), request.i32());
        let _client = request.string();
        let mut answer = Answer(correlation.to_be_bytes().to_vec());
        match (api, version) {
            (0 | 3, _) if scram.as_ref().is_some_and(|s| !s.is_done()) => return,
            (17, 1) => handshake(&mut request, &mut answer),
            (36, 1) => authenticate(&mut request, &mut answer, scram.as_mut().expect("nobody has to say who they are")),
            (0, 3) => produce(&mut request, &mut answer, state),
            (3, 1) => metadata(&mut answer, port),
            (18, 3) => versions(&mut answer),
            other => panic!("unexpected request {other:?}"),
        }
        let size = i32::try_from(answer.0.len()).expect("a size").to_be_bytes();
        // A client that leaves is none of our business.
        let _ = stream.write_all(&[&size[..], &answer.0].concat()).and_then(|()| stream.flush());
    }
}

fn versions(answer: &mut Answer) {
    answer.i16(0).varint(6);
    for (api, version) in [(0, 3), (3, 1), (17, 1), (18, 3), (36, 1)] {
        answer.i16(api).i16(version).i16(version).varint(0);
    }
    answer.i32(0).varint(0);
}

fn handshake(request: &mut Bytes<'_>, answer: &mut Answer) {
    assert_eq!(request.string().as_deref(), Some("SCRAM-SHA-512"));
    answer.i16(0).i32(1).string("SCRAM-SHA-512");
}

fn authenticate(request: &mut Bytes<'_>, answer: &mut Answer, scram: &mut Scram) {
    let size = usize::try_from(request.i32()).expect("a size");
    match scram.step(request.take(size)) {
        Some(said) => answer.i16(0).i16(-1).bytes(&said).i64(0),
        // `SASL_AUTHENTICATION_FAILED`.
        None => answer.i16(58).string("wrong").bytes(&[]).i64(0),
    };
}

fn metadata(answer: &mut Answer, port: u16) {
    // Brokers; the controller; topics with partitions, leaders and replicas.
    answer.i32(1).i32(1).string("localhost").i32(i32::from(port)).i16(-1).i32(1);
    answer.i32(1).i16(0).string("decisions").byte(0).i32(3);
    for partition in 0..3 {
        answer.i16(0).i32(partition).i32(1).i32(1).i32(1).i32(1).i32(1);
    }
}

fn produce(request: &mut Bytes<'_>, answer: &mut Answer, state: &Mutex<State>) {
    let mut state = state.lock().expect("not poisoned");
    let (_transaction, acks, _timeout) = (request.string(), request.i16(), request.i32());
    assert_eq!((acks, request.i32()), (-1, 1), "all replicas, one topic");
    assert_eq!(request.string().as_deref(), Some("decisions"));
    assert_eq!(request.i32(), 1, "one partition");
    let (partition, size) = (request.i32(), request.i32());
    let mut batch = Bytes(request.take(usize::try_from(size).expect("a size")));
    let records = records(&mut batch, partition);
    let code = match state.answers.pop_front() {
        Some(code) => code,
        None if records.len() > MOST => TOO_LARGE,
        None => 0,
    };
    state.turned_away += u64::from(code == TOO_LARGE);
    if code == 0 {
        state.messages.extend(records);
    }
    answer.i32(1).string("decisions").i32(1).i32(partition).i16(code).i64(0).i64(-1).i32(0);
}

/// A record batch of version 2.
fn records(batch: &mut Bytes<'_>, partition: i32) -> Vec<Message> {
    batch.take(8 + 4 + 4);
    assert_eq!(batch.take(1), [2], "the version");
    batch.take(4 + 2 + 4 + 8 + 8 + 8 + 2 + 4);
    let count = batch.i32();
    let record = |_| {
        let _size = batch.varint();
        batch.take(1);
        let (_time, _offset) = (batch.varint(), batch.varint());
        let key = batch.bytes().map(|k| String::from_utf8(k.to_vec()).expect("UTF-8"));
        let value = batch.bytes().expect("a value").to_vec();
        assert_eq!(batch.varint(), 1, "one header");
        assert_eq!(batch.bytes(), Some(&b"leaf"[..]));
        let leaf = String::from_utf8(batch.bytes().expect("a leaf").to_vec()).expect("UTF-8");
        Message { partition, key, value, leaf }
    };
    (0..count).map(record).collect()
}

/// What is left to read.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, count: usize) -> &'a [u8] {
        let (first, rest) = self.0.split_at(count);
        self.0 = rest;
        first
    }

    fn i16(&mut self) -> i16 {
        i16::from_be_bytes(self.take(2).try_into().expect("two bytes"))
    }

    fn i32(&mut self) -> i32 {
        i32::from_be_bytes(self.take(4).try_into().expect("four bytes"))
    }

    fn string(&mut self) -> Option<String> {
        let size = usize::try_from(self.i16()).ok()?;
        Some(String::from_utf8(self.take(size).to_vec()).expect("UTF-8"))
    }

    /// Zigzag, as in a record.
    fn varint(&mut self) -> i64 {
        let (mut raw, mut shift) = (0_u64, 0);
        loop {
            let byte = self.take(1)[0];
            raw |= u64::from(byte & 0x7f) << shift;
            shift += 7;
            if byte < 0x80 {
                let half = i64::try_from(raw >> 1).expect("63 bits");
                return if raw & 1 == 1 { -half - 1 } else { half };
            }
        }
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let size = usize::try_from(self.varint()).ok()?;
        Some(self.take(size))
    }
}

struct Answer(Vec<u8>);

impl Answer {
    fn byte(&mut self, byte: u8) -> &mut Self {
        self.0.push(byte);
        self
    }

    fn i16(&mut self, value: i16) -> &mut Self {
        self.0.extend(value.to_be_bytes());
        self
    }

    fn i32(&mut self, value: i32) -> &mut Self {
        self.0.extend(value.to_be_bytes());
        self
    }

    fn i64(&mut self, value: i64) -> &mut Self {
        self.0.extend(value.to_be_bytes());
        self
    }

    fn string(&mut self, text: &str) -> &mut Self {
        self.i16(i16::try_from(text.len()).expect("short")).0.extend(text.as_bytes());
        self
    }

    fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.i32(i32::try_from(bytes.len()).expect("short")).0.extend(bytes);
        self
    }

    /// Unsigned; all here are below 128.
    fn varint(&mut self, value: u8) -> &mut Self {
        self.byte(value)
    }
}
