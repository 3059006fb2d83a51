//! TLS for imitation upstreams: an authority of this process's own, and certificates with one thing wrong with them.

use std::sync::{Arc, OnceLock};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::ServerConfig;
use rustls::pki_types::PrivatePkcs8KeyDer;
use tokio_rustls::TlsAcceptor;

/// What is to be said of an upstream's certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Certificate {
    /// Valid for 127.0.0.1, by [`authority_pem`].
    Good,
    /// It was valid until 2020.
    Expired,
    /// It is for another host.
    WrongName,
    /// Its authority is one that nobody was told of.
    UnknownAuthority,
}

/// The certificate authority that clients have to be told of, in PEM. The same in the whole process.
pub fn authority_pem() -> &'static str {
    &authority().pem
}

struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

fn authority() -> &'static Authority {
    static AUTHORITY: OnceLock<Authority> = OnceLock::new();
    AUTHORITY.get_or_init(make_authority)
}

#[expect(clippy::expect_used, reason = "constant names, and keys of the default kind")]
fn make_authority() -> Authority {
    let mut params = CertificateParams::new(Vec::new()).expect("no names");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().expect("a key");
    let pem = params.self_signed(&key).expect("a certificate").pem();
    Authority { issuer: Issuer::new(params, key), pem }
}

/// Accepts TLS with such a certificate, and offers these protocols.
#[expect(clippy::expect_used, reason = "constant names, and keys of the default kind")]
pub(crate) fn acceptor(certificate: Certificate, protocols: &[&str]) -> TlsAcceptor {
    let name = if certificate == Certificate::WrongName { "elsewhere.example" } else { "127.0.0.1" };
    let mut params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
    if certificate == Certificate::Expired {
        params.not_before = date_time_ymd(2019, 1, 1);
        params.not_after = date_time_ymd(2020, 1, 1);
    }
    let key = KeyPair::generate().expect("a key");
    let signed = match certificate {
        Certificate::UnknownAuthority => params.signed_by(&key, &make_authority().issuer),
        Certificate::Good | Certificate::Expired | Certificate::WrongName => {
            params.signed_by(&key, &authority().issuer)
        }
    };
    let chain = vec![signed.expect("a certificate").der().clone()];
    let key = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.expect("TLS 1.2 and 1.3").with_no_client_auth().with_single_cert(chain, key);
    let mut config = config.expect("the key is the certificate's");
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    TlsAcceptor::from(Arc::new(config))
}
