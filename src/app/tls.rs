//! The server's certificate: read from PEM files, and read again without a restart.

use std::{path::Path, sync::Arc};

use anyhow::Context as _;
use arc_swap::ArcSwap;
use rustls::{
    ServerConfig,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

use crate::config::Tls;

/// The certificate in use.
#[derive(Debug)]
pub(super) struct Certificate {
    current: ArcSwap<CertifiedKey>,
    provider: Arc<CryptoProvider>,
}

impl Certificate {
    pub(super) fn open(files: &Tls) -> anyhow::Result<Arc<Self>> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let current = ArcSwap::new(Arc::new(read(files, &provider)?));
        Ok(Arc::new(Self { current, provider }))
    }

    /// Reads the files again; new connections get what they hold.
    pub(super) fn load(&self, files: &Tls) -> anyhow::Result<()> {
        self.current.store(Arc::new(read(files, &self.provider)?));
        Ok(())
    }

    pub(super) fn server_config(self: &Arc<Self>) -> anyhow::Result<ServerConfig> {
        let config = ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(self) as Arc<dyn ResolvesServerCert>);
        Ok(config)
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.load_full())
    }
}

fn read(files: &Tls, provider: &CryptoProvider) -> anyhow::Result<CertifiedKey> {
    let place = |path: &Path| path.display().to_string();
    let chain = CertificateDer::pem_file_iter(&files.cert)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .with_context(|| format!("tls.cert: {}", place(&files.cert)))?;
    anyhow::ensure!(!chain.is_empty(), "tls.cert: {} holds no certificate", place(&files.cert));
    let key = PrivateKeyDer::from_pem_file(&files.key)
        .with_context(|| format!("tls.key: {}", place(&files.key)))?;
    CertifiedKey::from_der(chain, key, provider)
        .context("tls.cert and tls.key do not belong together")
}
