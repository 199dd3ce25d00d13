//! The root certificates that the tool trusts, with a small AWS that speaks TLS.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use super::KEYS;
use super::aws::{Aws, Facts};

/// Creates the settings of a server for `127.0.0.1`, and the root certificate of its own certificate, as PEM. A root has the
/// name of its owner.
pub(super) fn identity(owner: &str) -> (Arc<ServerConfig>, String) {
    // The root needs its own name: a leaf with the same name would count as self-signed.
    let mut root = CertificateParams::new(vec![]).unwrap();
    root.distinguished_name.push(DnType::CommonName, owner);
    root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    root.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    let root = CertifiedIssuer::self_signed(root, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap().signed_by(&key, &root).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = config.with_no_client_auth().with_single_cert(vec![leaf.der().clone()], key).unwrap();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    (Arc::new(config), root.pem())
}

/// A stage without components.
fn facts() -> Facts {
    let mut facts = Facts::default();
    let stages = r#"[{"api":"a1b2c3d4e5","name":"orders-api","stage":"prod"}]"#;
    facts.variables.insert("PROTECTED_STAGES", stages.to_owned());
    facts
}

/// Writes a file of certificates for one test.
fn file(name: &str, content: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::write(&path, content).unwrap();
    path
}

fn status(endpoint: &str, env: &[(&str, &Path)]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_apigw-rollback"));
    command.arg("status").env_clear().envs(KEYS).env("AWS_ENDPOINT_URL", endpoint).envs(env.iter().copied());
    command.env("AWS_CONFIG_FILE", "/nowhere").env("AWS_SHARED_CREDENTIALS_FILE", "/nowhere");
    let output = command.output().unwrap();
    let shown = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(shown).unwrap())
}

#[test]
fn aws_ca_bundle_names_the_only_root_certificates_to_trust() {
    let (aws, authority) = Aws::over_tls(facts());
    let (_, other) = identity("another company");
    let both = file("both.pem", &format!("{other}\n# ours\n{authority}"));
    let (ours, theirs) = (file("ours.pem", &authority), file("theirs.pem", &other));
    let bundle = "AWS_CA_BUNDLE";
    for (env, exit, text) in [
        (vec![], 1, "UnknownIssuer"),
        (vec![(bundle, theirs.as_path())], 1, "UnknownIssuer"),
        (vec![(bundle, theirs.as_path()), ("SSL_CERT_FILE", &ours)], 1, "UnknownIssuer"),
        (vec![(bundle, ours.as_path())], 0, "account 210987654321"),
        (vec![(bundle, both.as_path())], 0, "account 210987654321"),
        (vec![("SSL_CERT_FILE", ours.as_path())], 0, "account 210987654321"),
        (vec![(bundle, Path::new(" ")), ("SSL_CERT_FILE", &ours)], 0, "account 210987654321"),
    ] {
        let (code, shown) = status(&aws.endpoint, &env);
        assert!(code == Some(exit) && shown.contains(text), "{env:?}: {code:?} {shown}");
    }
}

#[test]
fn a_bundle_that_no_client_could_use_is_refused_before_any_call() {
    let (aws, authority) = Aws::over_tls(facts());
    let (body, no_certificate) =
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "no certificate\n");
    for (name, content, why) in [
        ("nothing.pem", "", "has no certificate in PEM form"),
        ("text.pem", no_certificate, "has no certificate in PEM form"),
        ("broken.pem", body, "certificate 1 of"),
        ("second.pem", &format!("{authority}{body}"), "certificate 2 of"),
        ("cut.pem", authority.split_at(authority.len() / 2).0, "certificate 1 of"),
    ] {
        let path = file(name, content);
        let (code, shown) = status(&aws.endpoint, &[("AWS_CA_BUNDLE", &path)]);
        assert!(code == Some(2) && shown.starts_with("error: AWS_CA_BUNDLE: "), "{name}: {code:?} {shown}");
        assert!(shown.contains(why) && shown.contains(name), "{name}: {shown}");
    }
    let (code, shown) = status(&aws.endpoint, &[("AWS_CA_BUNDLE", Path::new("/nowhere/ca.pem"))]);
    assert!(code == Some(2) && shown.contains("`/nowhere/ca.pem` cannot be read"), "{code:?} {shown}");
    assert_eq!(aws.look(|facts| facts.requests.len()), 0);
}
