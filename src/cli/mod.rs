//! The command line: one file a command. Arguments in, an exit code out; results on stdout, the rest on stderr.

mod bundle;
mod check;
mod decisions;
mod eval;
mod manifest;
mod serve;
mod style;
mod test;
mod webhook;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, Parser, Subcommand};

use crate::config::{BundleSettings, ConfigError};
use crate::engine::{HttpDoor, HttpSend};
use crate::outbound::{Client, Hosts, Loopback};
use crate::policy::LoadError;
use crate::source::LoadOptions;

/// How a command ended. The numbers are a contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// All is well.
    Fine = 0,
    /// It ran, and what it found is not well: a denial, a failed test, a record that is not there.
    Finding = 1,
    /// It could not do what was asked.
    CouldNotRun = 2,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// A Kubernetes admission webhook policy engine.
///
/// Exit codes: 0 fine, 1 a negative finding (denied, failed, not found), 2 could not run.
#[derive(Debug, Parser)]
#[command(name = "portcullis", version, max_term_width = 120)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(Box<serve::ServeArgs>),
    Eval(eval::EvalArgs),
    Test(test::TestArgs),
    Check(check::CheckArgs),
    Bundle(bundle::BundleArgs),
    Webhook(webhook::WebhookArgs),
    Decisions(decisions::DecisionsArgs),
}

/// Which policies and data a command works on.
#[derive(Debug, Clone, Args)]
struct PolicyArgs {
    /// File, directory or bundle (.tar.gz, https://.., oci://..) of policies; may be given more than once. Default:
    /// `./policies`, else the shipped ones.
    #[arg(
        short = 'b',
        long,
        visible_alias = "bundle",
        value_name = "PATH",
        env = "PORTCULLIS_POLICIES",
        value_delimiter = ','
    )]
    policies: Vec<PathBuf>,
    /// File or directory of data (JSON, YAML, Kubernetes manifests); may be given more than once.
    #[arg(short, long, value_name = "PATH", env = "PORTCULLIS_DATA", value_delimiter = ',')]
    data: Vec<PathBuf>,
    /// File or directory of exceptions; may be given more than once. They count from here and from nowhere else.
    #[arg(long, value_name = "PATH", env = "PORTCULLIS_EXCEPTIONS", value_delimiter = ',')]
    exceptions: Vec<PathBuf>,
    #[command(flatten)]
    bundle: BundleSettings,
}

/// What policies may ask.
#[derive(Debug, Clone, Args)]
struct HttpArgs {
    /// Host that `http.send` may ask: `HOST` (at 80 and 443), `HOST:PORT` or `*.DOMAIN`; may be given more than once.
    #[arg(long, value_name = "HOST[:PORT]", env = "PORTCULLIS_HTTP_ALLOW", value_delimiter = ',')]
    http_allow: Vec<String>,
    /// Allowed hosts may be on this machine.
    #[arg(long, env = "PORTCULLIS_HTTP_ALLOW_LOOPBACK")]
    http_allow_loopback: bool,
}

impl HttpArgs {
    /// What `http.send` goes out by, if any host is allowed.
    fn door(&self) -> anyhow::Result<Option<Arc<dyn HttpDoor>>> {
        let hosts = Hosts::parse(&self.http_allow).map_err(|e| anyhow::anyhow!("--http-allow: {e}"))?;
        let loopback = if self.http_allow_loopback { Loopback::Allow } else { Loopback::Forbid };
        Ok((!hosts.is_empty()).then(|| Arc::new(Client::new(hosts, loopback)) as Arc<dyn HttpDoor>))
    }

    /// Whether any host is allowed.
    fn http_send(&self) -> HttpSend {
        if self.http_allow.is_empty() { HttpSend::Refuse } else { HttpSend::Allow }
    }
}

impl PolicyArgs {
    fn load_options(&self, more: &[PathBuf], example_data: bool) -> Result<LoadOptions, ConfigError> {
        Ok(LoadOptions {
            policies: self.policies.iter().chain(more).cloned().collect(),
            data: self.data.clone(),
            exceptions: self.exceptions.clone(),
            example_data,
            bundles: self.bundle.check(None)?,
        })
    }
}

/// Runs the command that the process was started with.
#[must_use]
pub fn run() -> ExitCode {
    let command = Cli::parse().command;
    // A reader that leaves (`| head`) ends the command quietly; a server outlives whoever reads its messages.
    if !matches!(command, Command::Serve(_)) {
        sigpipe::reset();
    }
    let result = match command {
        Command::Serve(args) => serve::run(*args),
        Command::Eval(args) => eval::run(&args),
        Command::Test(args) => test::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Bundle(args) => bundle::run(&args),
        Command::Webhook(args) => webhook::run(&args),
        Command::Decisions(args) => decisions::run(&args),
    };
    match result {
        Ok(exit) => exit.into(),
        Err(error) => {
            eprintln!("{}: {error:#}", style::Style::stderr().red("error"));
            Exit::CouldNotRun.into()
        }
    }
}

/// Prints load errors, one a line, and says how many there are.
fn report_load_errors(errors: &[LoadError]) {
    let style = style::Style::stderr();
    for error in errors {
        eprintln!("{}: {error}", style.red("error"));
    }
    eprintln!("{} error{} in the policies or data", errors.len(), if errors.len() == 1 { "" } else { "s" });
}

/// Nanoseconds since the Unix epoch.
fn now_ns() -> i64 {
    i64::try_from(jiff::Timestamp::now().as_nanosecond()).unwrap_or(i64::MAX)
}
