//! The binary, started in a directory of its own on ports of its own, killed when the test ends.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long anything may take before the test gives up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

const FIXED: [&str; 5] = ["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];

/// A running server.
pub(crate) struct Server {
    child: Child,
    dir: tempfile::TempDir,
    /// What it printed before it began to serve.
    pub(crate) banner: String,
    /// Where the webhook listens.
    pub(crate) webhook: SocketAddr,
    /// Where health and metrics are shown.
    pub(crate) admin: SocketAddr,
}

/// `portcullis` with `args` in `dir`, without the environment's own settings.
pub(crate) fn command(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_portcullis"));
    command.args(args).current_dir(dir).stdin(Stdio::null());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("PORTCULLIS_") || name == "KUBERNETES_SERVICE_HOST" {
            command.env_remove(name);
        }
    }
    command
}

impl Server {
    /// Starts `serve` with the shipped policies and example data that are inside the binary.
    pub(crate) fn start(args: &[&str]) -> Self {
        Self::start_in(tempfile::tempdir().expect("a directory"), args)
    }

    /// The same in a directory that already holds something.
    pub(crate) fn start_in(dir: tempfile::TempDir, args: &[&str]) -> Self {
        let command = command(dir.path(), &[&FIXED, args].concat());
        Self::run(dir, command)
    }

    /// The same with further variables in its environment.
    pub(crate) fn start_with(dir: tempfile::TempDir, args: &[&str], environment: &[(&str, &str)]) -> Self {
        let mut command = command(dir.path(), &[&FIXED, args].concat());
        command.envs(environment.iter().copied());
        Self::run(dir, command)
    }

    /// The same where no file can grow past `blocks` of the shell's `ulimit -f` (512 or 1,024 bytes each): as a full
    /// disk, but for this process alone.
    pub(crate) fn start_with_small_files(blocks: u32, args: &[&str]) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let words = command(dir.path(), &[&FIXED, args].concat());
        let mut shell = Command::new("sh");
        // Without the trap a write past the limit would kill the process.
        let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" \"$@\"");
        shell.args(["-c", &script]).arg(words.get_program()).args(words.get_args());
        shell.current_dir(dir.path()).stdin(Stdio::null());
        for (name, _) in words.get_envs() {
            shell.env_remove(name);
        }
        Self::run(dir, shell)
    }

    fn run(dir: tempfile::TempDir, mut command: Command) -> Self {
        let stderr = std::fs::File::create(dir.path().join("stderr.log")).expect("a file");
        let mut child = command.stdout(Stdio::piped()).stderr(stderr).spawn().expect("the binary starts");
        let mut lines = BufReader::new(child.stdout.take().expect("stdout")).lines();
        let mut banner = String::new();
        for line in lines.by_ref() {
            let line = line.expect("text");
            banner.push_str(&line);
            banner.push('\n');
            if line.trim_start().starts_with("curl ") {
                break;
            }
        }
        let stderr = std::fs::read_to_string(dir.path().join("stderr.log")).expect("readable");
        let address = |label: &str, scheme: &str| {
            let line = banner.lines().find(|l| l.starts_with(label)).unwrap_or_else(|| panic!("{banner}{stderr}"));
            let url = line.split_whitespace().find_map(|w| w.strip_prefix(scheme)).expect("a URL");
            url.split('/').next().expect("a host").parse().expect("an address")
        };
        let (webhook, admin) = (address("webhook:", "https://"), address("admin:", "http://"));
        Self { child, dir, banner, webhook, admin }
    }

    /// Its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Its directory.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The certificate of its own authority.
    pub(crate) fn ca(&self) -> PathBuf {
        self.dir().join(".portcullis/tls/ca.crt")
    }

    /// Its messages so far.
    pub(crate) fn messages(&self) -> String {
        std::fs::read_to_string(self.dir().join("stderr.log")).expect("readable")
    }

    /// All records that it wrote so far.
    pub(crate) fn records(&self) -> Vec<Value> {
        records(&self.dir().join(".portcullis/decisions"))
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args([signal, &self.child.id().to_string()]).status().expect("kill runs");
        assert!(sent.success());
    }

    /// Kills it (SIGKILL) and gives its directory back.
    pub(crate) fn kill(mut self) -> tempfile::TempDir {
        self.child.kill().expect("can be killed");
        self.child.wait().expect("ends");
        std::mem::replace(&mut self.dir, tempfile::tempdir().expect("a directory"))
    }

    /// Its directory, once it has ended.
    pub(crate) fn kill_if_there(mut self) -> tempfile::TempDir {
        let _ = self.child.kill();
        let _ = self.child.wait();
        std::mem::replace(&mut self.dir, tempfile::tempdir().expect("a directory"))
    }

    /// Waits for its end.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("can be waited for") {
                return status;
            }
            assert!(start.elapsed() < PATIENCE, "the server did not end: {}", self.messages());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Already gone is fine.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// All records of a decision log, in order; a torn last line is left out, as a reader would.
pub(crate) fn records(dir: &Path) -> Vec<Value> {
    let mut segments: Vec<PathBuf> = std::fs::read_dir(dir)
        .expect("the log is there")
        .map(|e| e.expect("an entry").path())
        .filter(|p| p.extension().is_some_and(|e| e == "jsonl"))
        .collect();
    segments.sort();
    let mut records = Vec::new();
    for segment in segments {
        let mut text = String::new();
        std::fs::File::open(segment).expect("opens").read_to_string(&mut text).expect("is text");
        records.extend(
            text.split_inclusive('\n')
                .filter(|l| l.ends_with('\n'))
                .map(|line| serde_json::from_str::<Value>(line).unwrap_or_else(|e| panic!("{e}: {line}"))),
        );
    }
    records
}
