//! How commands reach the one writer: a Unix socket beside the log's keys, one line of JSON each way. Knows commands and
//! who sends them; must not know what they do to files.
//!
//! `{"log":"<dir>","command":{"do":"release","name":"x"},"author":{"ticket":"LEGAL-1"}}` is answered by `{"ok":..}` or
//! `{"error":{"code","message"}}`. Only the server's own user and root are heard; who that is goes on record.

use std::fs;
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;

use crate::decisions::{Author, DecisionLog, Entry, Erasure, HoldRequest, LogError, ReadRecord};

/// The socket's name in the state directory.
const NAME: &str = "control.sock";
/// Longest path that an address has room for, with some to spare (108 bytes on Linux).
const MAX_PATH: usize = 100;
/// Longest command, in bytes: some thousand ids.
const MAX_COMMAND: u64 = 256 * 1024;
/// Commands at once: people type them.
const AT_ONCE: usize = 4;
/// Whoever connects has something to say.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long the log may take to write the record of a reading.
const RECORD_PATIENCE: Duration = Duration::from_secs(10);

/// What is asked of the writer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum Command {
    /// Place a legal hold.
    Hold(HoldRequest),
    /// Release one.
    Release {
        /// Its name.
        name: String,
    },
    /// Erase bodies.
    Erase(Erasure),
    /// Delete what is older.
    Prune {
        /// Bodies.
        bodies: Option<Timestamp>,
        /// Records.
        records: Option<Timestamp>,
    },
    /// Write down that something was read or revealed.
    Note(ReadRecord),
}

#[derive(Debug, Serialize, Deserialize)]
struct Asked {
    log: PathBuf,
    command: Command,
    #[serde(default)]
    author: Author,
}

/// Does what `command` says, for `author`. What blocks is done off the threads that answer.
///
/// # Errors
/// Whatever keeps it from being done.
pub async fn execute(log: &DecisionLog, command: Command, author: Author) -> Result<Value, LogError> {
    if let Command::Note(record) = command {
        let record = ReadRecord { reader: author.by, ..record };
        let entry = Entry::read(record, Timestamp::now());
        let receipt = log.append(entry, Instant::now() + RECORD_PATIENCE).await?;
        return Ok(json!({ "seq": receipt.seq }));
    }
    let log = log.clone();
    let done = tokio::task::spawn_blocking(move || match command {
        Command::Hold(request) => log.place_hold(request, &author).map(|hold| json!(hold)),
        Command::Release { name } => log.release_hold(&name, &author).map(|()| json!({})),
        Command::Erase(erasure) => log.erase(&erasure, &author).map(|erased| json!(erased)),
        Command::Prune { bodies, records } => log.prune_older(bodies, records, &author).map(|pruned| json!(pruned)),
        Command::Note(_) => Ok(Value::Null),
    });
    done.await.unwrap_or(Err(LogError::Closed))
}

/// The socket, while a server listens on it. It goes with it.
#[derive(Debug)]
pub struct Control {
    listener: UnixListener,
    path: PathBuf,
    /// Our own user.
    uid: u32,
}

impl Control {
    /// Where the socket of a state directory is.
    #[must_use]
    pub fn path(state_dir: &Path) -> PathBuf {
        state_dir.join(NAME)
    }

    /// Listens in `state_dir`. A socket that nobody answers on any more is replaced.
    ///
    /// # Errors
    /// `AddrInUse` when another server answers there; whatever else the system says, such as that the file system is
    /// read-only.
    pub async fn bind(state_dir: &Path) -> io::Result<Self> {
        let path = Self::path(state_dir);
        if connect(&path).await.is_ok() {
            return Err(io::Error::new(io::ErrorKind::AddrInUse, "another server answers there"));
        }
        // Made under another name: nobody finds it before it is ours alone.
        let draft = state_dir.join(format!(".{NAME}.{}", std::process::id()));
        let _ = fs::remove_file(&draft);
        let (short, _dir) = short(&draft)?;
        let listener = UnixListener::bind(short)?;
        let made = fs::set_permissions(&draft, fs::Permissions::from_mode(0o600))
            .and_then(|()| fs::metadata(&draft))
            .and_then(|metadata| fs::rename(&draft, &path).map(|()| metadata.uid()));
        let uid = made.inspect_err(|_| drop(fs::remove_file(&draft)))?;
        Ok(Self { listener, path, uid })
    }

    /// Answers commands for as long as the process lives.
    pub async fn serve(self, log: DecisionLog) {
        let room = Arc::new(Semaphore::new(AT_ONCE));
        loop {
            let Ok(permit) = Arc::clone(&room).acquire_owned().await else { return };
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    let (log, uid) = (log.clone(), self.uid);
                    tokio::spawn(async move {
                        if let Err(error) = answer(stream, &log, uid).await {
                            tracing::debug!(%error, "a command broke off");
                        }
                        drop(permit);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a command");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

async fn answer(stream: UnixStream, log: &DecisionLog, own: u32) -> io::Result<()> {
    let peer = stream.peer_cred()?;
    let (read, mut write) = stream.into_split();
    let mut line = String::new();
    let mut reader = BufReader::new(read.take(MAX_COMMAND));
    let read = tokio::time::timeout(PATIENCE, reader.read_line(&mut line)).await;
    let refused = |code: &str, message: String| json!({"error": {"code": code, "message": message}});
    let reply = match read {
        Err(_) => return Ok(()),
        Ok(Err(error)) => return Err(error),
        Ok(Ok(_)) if peer.uid() != own && peer.uid() != 0 => {
            refused("forbidden", format!("only the server's own user and root are heard, not {}", user(peer.uid())))
        }
        Ok(Ok(_)) => match serde_json::from_str::<Asked>(&line) {
            Err(error) => refused("command", format!("the command cannot be read: {error}")),
            Ok(asked) if !same(&asked.log, log.dir()) => {
                let own = log.dir().display();
                refused("other_log", format!("the server writes `{own}`, not `{}`", asked.log.display()))
            }
            Ok(asked) => {
                let author = Author { by: user(peer.uid()), ..asked.author };
                match execute(log, asked.command, author).await {
                    Ok(done) => json!({ "ok": done }),
                    Err(error) => refused(error.code(), error.to_string()),
                }
            }
        },
    };
    write.write_all(format!("{reply}\n").as_bytes()).await?;
    write.shutdown().await
}

/// Asks the server of `state_dir`, which writes the log in `log`. `None` when no server answers there.
///
/// # Errors
/// What the server says, with its code; `Err` of the connection.
pub async fn ask(
    state_dir: &Path,
    log: &Path,
    command: &Command,
    author: &Author,
) -> io::Result<Option<Result<Value, (String, String)>>> {
    let stream = match connect(&Control::path(state_dir)).await {
        Ok(stream) => stream,
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => return Ok(None),
        Err(e) => return Err(e),
    };
    let (read, mut write) = stream.into_split();
    let asked = json!({"log": fs::canonicalize(log)?, "command": command, "author": author});
    write.write_all(format!("{asked}\n").as_bytes()).await?;
    let mut line = String::new();
    BufReader::new(read).read_line(&mut line).await?;
    let reply: Value =
        serde_json::from_str(&line).map_err(|_| io::Error::other("the server left without an answer"))?;
    if let Some(done) = reply.get("ok") {
        return Ok(Some(Ok(done.clone())));
    }
    let of = |key: &str| {
        reply
            .get("error")
            .and_then(|e| e.get(key))
            .and_then(Value::as_str)
            .unwrap_or("the answer says nothing")
            .to_owned()
    };
    Ok(Some(Err((of("code"), of("message")))))
}

async fn connect(path: &Path) -> io::Result<UnixStream> {
    let (short, _dir) = short(path)?;
    UnixStream::connect(short).await
}

/// `path` as an address has room for it; by its open directory where it is too long. The directory must stay open.
fn short(path: &Path) -> io::Result<(PathBuf, Option<fs::File>)> {
    let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else { return Ok((path.to_path_buf(), None)) };
    if path.as_os_str().len() <= MAX_PATH {
        return Ok((path.to_path_buf(), None));
    }
    let dir = fs::File::open(dir)?;
    Ok((PathBuf::from(format!("/proc/self/fd/{}", dir.as_raw_fd())).join(name), Some(dir)))
}

fn same(one: &Path, other: &Path) -> bool {
    fs::canonicalize(one).ok().zip(fs::canonicalize(other).ok()).is_some_and(|(one, other)| one == other)
}

/// The user of this process, as records name it.
#[must_use]
pub fn own_user() -> String {
    fs::metadata("/proc/self").map_or_else(|_| "unknown user".to_owned(), |metadata| user(metadata.uid()))
}

/// A user by the number, and by the name that this machine has for it.
fn user(uid: u32) -> String {
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    });
    name.map_or_else(|| format!("uid {uid}"), |name| format!("uid {uid} ({name})"))
}
