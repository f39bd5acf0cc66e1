//! Child processes of the test: output in a file, an end on drop, waiting that is bounded and explains itself.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Between two looks at something that is waited for.
const PAUSE: Duration = Duration::from_millis(50);

/// Lines of a log that a failure shows.
const TAIL: usize = 25;

/// Characters of a line that a failure shows.
const WIDTH: usize = 400;

/// A running program. Dropping it kills it and waits for its end.
pub(super) struct Process {
    name: &'static str,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `command` with its output in `<dir>/<name>.log`.
    pub(super) fn start(name: &'static str, mut command: Command, dir: &Path) -> Self {
        let log = dir.join(format!("{name}.log"));
        let file = File::create(&log).expect("a log file can be made");
        let errors = file.try_clone().expect("a log file can be shared");
        let child = command.stdin(Stdio::null()).stdout(file).stderr(errors).spawn();
        Self { name, child: child.unwrap_or_else(|e| panic!("cannot start {:?}: {e}", command.get_program())), log }
    }

    /// Asks until `ready` gives something; the last reason, and what the program said, if it ends or time runs out.
    pub(super) async fn wait<T>(
        &mut self,
        within: Duration,
        mut ready: impl AsyncFnMut() -> Result<T, String>,
    ) -> Result<T, String> {
        let started = Instant::now();
        loop {
            // First, since whoever answers in place of a program that has ended is somebody else.
            if let Some(status) = self.child.try_wait().expect("a child can be asked for its end") {
                return Err(format!("{} ended with {status}\n{}", self.name, self.tail()));
            }
            match ready().await {
                Ok(found) => return Ok(found),
                Err(reason) if started.elapsed() > within => {
                    return Err(format!("{} is not ready after {within:?}: {reason}\n{}", self.name, self.tail()));
                }
                Err(_) => tokio::time::sleep(PAUSE).await,
            }
        }
    }

    /// The file that takes everything the program says.
    pub(super) fn output_file(&self) -> PathBuf {
        self.log.clone()
    }

    /// The last that the program said, for people.
    pub(super) fn tail(&self) -> String {
        let text = String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned();
        let lines: Vec<String> = text.lines().map(|line| line.chars().take(WIDTH).collect()).collect();
        let from = lines.len().saturating_sub(TAIL);
        format!("---- {}, the last lines of its output\n{}\n----", self.name, lines[from..].join("\n"))
    }

    /// Kills the program.
    pub(super) fn kill(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
