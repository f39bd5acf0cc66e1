//! TLS: the serving certificate, which may change while we run, and who may connect.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use rustls::crypto::{CryptoProvider, ring};
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// How often the files are looked at. Two `stat` calls; a rotated Secret takes a minute to arrive anyway.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);

/// What can be wrong with TLS files. Messages name the flag.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file is missing or not PEM.
    #[error("--{flag}: cannot read `{path}`: {message}")]
    File {
        /// The flag.
        flag: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        message: String,
    },
    /// Certificate and key do not fit, or nobody can use them.
    #[error("--tls-cert: `{path}` cannot be used: {message}")]
    Pair {
        /// The certificate.
        path: PathBuf,
        /// Why.
        message: String,
    },
    /// The client CA cannot be used.
    #[error("--client-ca: `{path}` cannot be used: {message}")]
    ClientCa {
        /// The file.
        path: PathBuf,
        /// Why.
        message: String,
    },
}

/// Files of the serving certificate.
#[derive(Debug, Clone)]
pub struct TlsIdentity {
    /// Chain, PEM.
    pub cert: PathBuf,
    /// Key, PEM.
    pub key: PathBuf,
}

/// The serving certificate in force.
#[derive(Debug)]
pub struct ServingCertificate {
    files: TlsIdentity,
    /// Of the files before they were first read: a change since then is not missed.
    seen: Option<Stamp>,
    current: RwLock<Arc<CertifiedKey>>,
}

/// Time of change and size of certificate and key.
type Stamp = [(SystemTime, u64); 2];

impl ServingCertificate {
    /// Reads the files.
    ///
    /// # Errors
    /// They cannot be read or do not fit one another.
    pub fn load(files: TlsIdentity) -> Result<Self, TlsError> {
        let seen = stamp(&files);
        let current = RwLock::new(Arc::new(load(&files)?));
        Ok(Self { files, seen, current })
    }

    /// When it ends.
    #[must_use]
    pub fn not_after(&self) -> Option<SystemTime> {
        use x509_parser::prelude::{FromDer, X509Certificate};
        let current = Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner));
        let (_, parsed) = X509Certificate::from_der(current.cert.first()?).ok()?;
        let seconds = u64::try_from(parsed.validity().not_after.timestamp()).ok()?;
        Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
    }

    /// Takes up changed files, for ever. Files that cannot be used leave the certificate as it is.
    /// `changed` is called after each change.
    pub async fn follow(&self, changed: impl Fn(&Self)) {
        let mut seen = self.seen;
        loop {
            tokio::time::sleep(LOOK_INTERVAL).await;
            let now = stamp(&self.files);
            if now == seen || now.is_none() {
                continue;
            }
            match load(&self.files) {
                Ok(fresh) => {
                    *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(fresh);
                    tracing::info!(file = %self.files.cert.display(), "took up a new serving certificate");
                    changed(self);
                }
                Err(error) => tracing::warn!(error = %error, "kept the serving certificate"),
            }
            seen = now;
        }
    }
}

impl ResolvesServerCert for ServingCertificate {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

/// TLS 1.2 and 1.3, HTTP/2 and HTTP/1.1. With `client_ca`, callers without a certificate of it are not heard.
///
/// # Errors
/// The client CA cannot be used.
pub fn server_config(certificate: Arc<ServingCertificate>, client_ca: Option<&Path>) -> Result<ServerConfig, TlsError> {
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(|e| TlsError::Pair { path: certificate.files.cert.clone(), message: e.to_string() })?;
    let builder = match client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => builder.with_client_cert_verifier(client_verifier(path, provider)?),
    };
    let mut config = builder.with_cert_resolver(certificate);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

fn client_verifier(
    path: &Path,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn rustls::server::danger::ClientCertVerifier>, TlsError> {
    let fault = |message: String| TlsError::ClientCa { path: path.to_owned(), message };
    let mut roots = RootCertStore::empty();
    for certificate in certificates("client-ca", path)? {
        roots.add(certificate).map_err(|e| fault(e.to_string()))?;
    }
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().map_err(|e| fault(e.to_string()))
}

fn load(files: &TlsIdentity) -> Result<CertifiedKey, TlsError> {
    let chain = certificates("tls-cert", &files.cert)?;
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|e| TlsError::File {
        flag: "tls-key",
        path: files.key.clone(),
        message: e.to_string(),
    })?;
    let fault = |e: rustls::Error| TlsError::Pair { path: files.cert.clone(), message: e.to_string() };
    // Refuses a key that does not belong to the certificate.
    CertifiedKey::from_der(chain, key, &ring::default_provider()).map_err(fault)
}

fn certificates(flag: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let fault = |message: String| TlsError::File { flag, path: path.to_owned(), message };
    let found: Vec<_> = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|e: rustls_pki_types::pem::Error| fault(e.to_string()))?;
    if found.is_empty() {
        return Err(fault("there is no certificate in it".to_owned()));
    }
    Ok(found)
}

/// Changes whenever either file does. `None`: one of them cannot be seen just now.
fn stamp(files: &TlsIdentity) -> Option<Stamp> {
    let of = |path: &Path| {
        let metadata = std::fs::metadata(path).ok()?;
        Some((metadata.modified().ok()?, metadata.len()))
    };
    Some([of(&files.cert)?, of(&files.key)?])
}
