//! `portcullis bundle`: packs a directory of policies into an OPA bundle, and signs it.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;

use crate::cli::style::Style;
use crate::cli::{Exit, report_load_errors};
use crate::engine::{CompileOptions, JwsSigningKey, compile};
use crate::policy::Digest;
use crate::source::{Signing, build};

/// Pack a directory of policies and data into an OPA bundle, and sign it.
///
/// The bundle holds what is read of one: Rego, `data.json` and `data.yaml`, documents of portcullis.io and of Gatekeeper, and
/// the directory's `.manifest` if it has one. It is compiled first: what would be refused later is refused here. The same
/// files give the same bytes.
/// Exit codes: 0 written, 1 something is wrong with the policies, 2 could not read or write.
#[derive(Debug, Args)]
pub(super) struct BundleArgs {
    /// Directory to pack.
    dir: PathBuf,
    /// File to write.
    #[arg(short, long, value_name = "FILE", default_value = "bundle.tar.gz")]
    output: PathBuf,
    /// Which one it is, for people: a version or a commit.
    #[arg(long, value_name = "TEXT")]
    revision: Option<String>,
    /// Path below `data` that the bundle owns, such as `portcullis/tenancy`; may be given more than once.
    #[arg(long = "root", value_name = "PATH")]
    roots: Vec<String>,
    /// Sign with this key: a file with a private key in PEM, a JWK, or a shared secret.
    #[arg(long, env = "PORTCULLIS_SIGNING_KEY", value_name = "FILE")]
    signing_key: Option<PathBuf>,
    /// Algorithm of the signature [default: RS256, ES256, ES384, ES512, EdDSA or HS256, as the key is].
    #[arg(long, value_name = "ALG", requires = "signing_key")]
    signing_alg: Option<String>,
    /// Name of the key in the signature.
    #[arg(long, value_name = "ID", requires = "signing_key")]
    signing_key_id: Option<String>,
    /// Scope of the signature.
    #[arg(long, value_name = "SCOPE", requires = "signing_key")]
    scope: Option<String>,
}

/// Packs.
///
/// # Errors
/// The key or the output cannot be used.
pub(super) fn run(args: &BundleArgs) -> anyhow::Result<Exit> {
    let signing = signing(args)?;
    let built = build(
        &args.dir,
        |manifest| {
            if let Some(revision) = &args.revision {
                manifest.revision.clone_from(revision);
            }
            if !args.roots.is_empty() {
                manifest.roots = Some(args.roots.iter().map(|r| r.trim_matches('/').to_owned()).collect());
            }
        },
        signing.as_ref(),
    );
    let compiled = built.and_then(|b| compile(&b.sources, CompileOptions::default()).map(|c| (b, c.snapshot)));
    let (built, snapshot) = match compiled {
        Ok(both) => both,
        Err(errors) => {
            report_load_errors(&errors);
            let unreadable = errors.iter().any(|e| e.code == "io" || e.code == "signature");
            return Ok(if unreadable { Exit::CouldNotRun } else { Exit::Finding });
        }
    };
    for path in &built.left_out {
        eprintln!(
            "{}: `{path}` is left out: data in a bundle is named data.json or data.yaml",
            Style::stderr().yellow("note")
        );
    }
    let output = args.output.display();
    std::fs::write(&args.output, &built.archive).with_context(|| format!("--output: cannot write `{output}`"))?;
    let policies = snapshot.policies().count();
    println!("{output}: {} files, {policies} policies, {} bytes", built.files, built.archive.len());
    if !built.manifest.revision.is_empty() {
        println!("revision:   {}", built.manifest.revision);
    }
    println!("policy set: {}", snapshot.policy_set());
    println!("archive:    {}", Digest::of(&built.archive));
    println!(
        "signed:     {}",
        args.signing_key.as_ref().map_or("no".to_owned(), |key| format!("by {}", key.display()))
    );
    Ok(Exit::Fine)
}

fn signing(args: &BundleArgs) -> anyhow::Result<Option<Signing>> {
    let Some(path) = &args.signing_key else { return Ok(None) };
    let shown = path.display();
    let text = std::fs::read_to_string(path).with_context(|| format!("--signing-key: cannot read `{shown}`"))?;
    let key = JwsSigningKey::read(&text).map_err(|e| anyhow::anyhow!("--signing-key: `{shown}` {e}"))?;
    let (algorithm, key_id, scope) = (args.signing_alg.clone(), args.signing_key_id.clone(), args.scope.clone());
    Ok(Some(Signing { key, algorithm, key_id, scope }))
}
