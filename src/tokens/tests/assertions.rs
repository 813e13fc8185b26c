//! The assertion of an application with a certificate, verified by another program.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use super::*;
use crate::config::OwnCertificate;

fn openssl(arguments: &[&str]) -> String {
    let output = Command::new("openssl").args(arguments).output().expect("openssl is missing: apt-get install openssl");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A certificate and its key.
fn pair(folder: &Path, name: &str, kind: &[&str]) -> (PathBuf, PathBuf) {
    let (certificate, key) = (folder.join(format!("{name}.pem")), folder.join(format!("{name}.key")));
    let (out, keyout) = (certificate.to_str().unwrap(), key.to_str().unwrap());
    let rest = ["-nodes", "-subj", "/CN=relay", "-out", out, "-keyout", keyout];
    openssl(&[&["req", "-x509"], kind, &rest].concat());
    (certificate, key)
}

impl Scene {
    fn certified(&self, (certificate, key): (PathBuf, PathBuf)) -> Arc<Source> {
        let key = self.secret("key", &std::fs::read_to_string(key).unwrap());
        let proof = ClientProof::Certificate(OwnCertificate { certificate, key });
        self.tokens.source(&NAME.into(), &self.provider.oauth(proof, Grant::Application))
    }
}

#[tokio::test]
async fn an_assertion_is_what_microsoft_asks_for() {
    let scene = Scene::set().await;
    let folder = scene.folder.path();
    let (certificate, key) = pair(folder, "rsa", &["-newkey", "rsa:2048"]);
    scene.provider.says(200, &token("one", 3600));
    let source = scene.certified((certificate.clone(), key));
    assert_eq!(shown(&source).await, "one");
    let form = scene.provider.heard().remove(0);
    assert_eq!(form["client_assertion_type"], "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
    assert!(!form.contains_key("client_secret"));
    let (signed, signature) = form["client_assertion"].rsplit_once('.').unwrap();
    let parts: Vec<Value> =
        signed.split('.').map(|part| serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()).collect();
    let fingerprint = openssl(&["x509", "-in", certificate.to_str().unwrap(), "-noout", "-fingerprint", "-sha256"]);
    let octets =
        fingerprint.trim().split_once('=').unwrap().1.split(':').map(|hex| u8::from_str_radix(hex, 16).unwrap());
    let thumbprint = URL_SAFE_NO_PAD.encode(octets.collect::<Vec<_>>());
    assert_eq!(parts[0], serde_json::json!({"alg": "PS256", "typ": "JWT", "x5t#S256": thumbprint}));
    let claims = &parts[1];
    assert_eq!(claims["aud"], format!("{}/token", scene.provider.url));
    assert_eq!((&claims["iss"], &claims["sub"]), (&"app".into(), &"app".into()));
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["nbf"].as_i64().unwrap(), 600);

    let file = |name: &str, octets: &[u8]| {
        std::fs::write(folder.join(name), octets).unwrap();
        folder.join(name).to_str().unwrap().to_owned()
    };
    let public = openssl(&["x509", "-in", certificate.to_str().unwrap(), "-noout", "-pubkey"]);
    let (public, text) = (file("public.pem", public.as_bytes()), file("text", signed.as_bytes()));
    let signature = file("signature", &URL_SAFE_NO_PAD.decode(signature).unwrap());
    let pss = ["-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:32"];
    let verify = [&["dgst", "-sha256"], &pss[..], &["-verify", &public, "-signature", &signature, &text]].concat();
    assert_eq!(openssl(&verify).trim(), "Verified OK");

    // No two assertions are the same.
    scene.pass(3600);
    shown(&source).await;
    let heard = scene.provider.heard();
    assert_ne!(heard[0]["client_assertion"], heard[1]["client_assertion"]);
}

#[tokio::test]
async fn a_certificate_that_cannot_be_used_is_told() {
    let scene = Scene::set().await;
    let folder = scene.folder.path();
    let (certificate, key) = pair(folder, "rsa", &["-newkey", "rsa:2048"]);
    let other = pair(folder, "other", &["-newkey", "rsa:2048"]);
    let curve = pair(folder, "curve", &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]);
    for (certificate, key, wanted) in [
        (certificate.clone(), other.1, "belongs to another key"),
        (curve.0, curve.1, "is no RSA key"),
        (certificate.clone(), certificate.clone(), "is no private key in PEM"),
        (key, certificate.clone(), "is no PEM file of a certificate"),
        (folder.join("none"), certificate, "none cannot be read"),
    ] {
        let (kind, detail) = trouble(&scene.certified((certificate, key))).await;
        assert_eq!(kind, TroubleKind::Local);
        assert!(detail.contains(wanted), "{detail}");
        scene.tokens.retain(&[]);
    }
    assert!(scene.provider.heard().is_empty());
}
