//! The root certificates that `AWS_CA_BUNDLE` names, as for the AWS CLI. The SDK does not read that variable.

use std::path::Path;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use super::Roots;

/// Reads a file of root certificates. The clients then trust no others.
///
/// # Errors
/// A sentence: the file cannot be read, has no certificate, or has one that no client could use.
pub fn bundle(path: &str) -> Result<Roots, String> {
    let pem = std::fs::read(Path::new(path)).map_err(|error| format!("`{path}` cannot be read: {error}"))?;
    let mut store = RootCertStore::empty();
    for (nth, certificate) in (1..).zip(CertificateDer::pem_slice_iter(&pem)) {
        let added = certificate.map_err(|error| error.to_string());
        let added = added.and_then(|found| store.add(found).map_err(|error| error.to_string()));
        added.map_err(|error| format!("certificate {nth} of `{path}` is invalid: {error}"))?;
    }
    if store.is_empty() {
        return Err(format!("`{path}` has no certificate in PEM form"));
    }
    Ok(Roots::Bundle(pem))
}
