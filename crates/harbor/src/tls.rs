//! TLS towards Harbor: which certificates are trusted, and what a failed handshake means in a person's words.
//!
//! rustls takes no certificate of an authority for a server's, while `openssl req -x509` marks every self-signed one as
//! that of an authority, and Go's programs accept it. So a certificate that stands in `caFile` itself is trusted as what
//! it is. Nothing here is about connections that fail before or after the handshake.

use std::error::Error;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_name;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    AlertDescription, CertificateError, ClientConfig, DigitallySignedStruct, InvalidMessage, PeerIncompatible,
    SignatureScheme,
};

/// A client's TLS that trusts these certificates and the system's authorities.
///
/// # Errors
/// A certificate can't be an authority's, being of version 1 for example.
pub(super) fn trusting(certificates: Vec<CertificateDer<'static>>) -> Result<ClientConfig, rustls::Error> {
    let provider =
        CryptoProvider::get_default().cloned().unwrap_or_else(|| Arc::new(rustls::crypto::ring::default_provider()));
    let usual = rustls_platform_verifier::Verifier::new_with_extra_roots(certificates.clone(), Arc::clone(&provider))?;
    let verifier = Arc::new(Verifier { usual, named: certificates });
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// The usual verifier, and beside it the certificates that the configuration names.
#[derive(Debug)]
struct Verifier {
    usual: rustls_platform_verifier::Verifier,
    named: Vec<CertificateDer<'static>>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match self.usual.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            // webpki asks for the time before it asks whose certificate it is, so this one is neither expired nor early.
            Err(error) if is_authoritys(&error) && self.named.iter().any(|named| named == end_entity) => {
                verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
                Ok(ServerCertVerified::assertion())
            }
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.usual.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.usual.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.usual.supported_verify_schemes()
    }
}

/// Whether a server's certificate is refused for being that of an authority. rustls has no variant for it.
fn is_authoritys(error: &rustls::Error) -> bool {
    matches!(error, rustls::Error::InvalidCertificate(CertificateError::Other(other))
        if other.to_string().contains("CaUsedAsEndEntity"))
}

/// The innermost cause of an error of a connection, in words that say what to do where TLS failed.
pub fn cause_of(error: &(dyn Error + 'static)) -> String {
    let mut innermost = error;
    loop {
        if let Some(told) = tls_error(innermost).and_then(words) {
            return told;
        }
        match innermost.source() {
            Some(source) => innermost = source,
            None => return innermost.to_string(),
        }
    }
}

/// An I/O error that was made of another one hides it from [`Error::source`].
fn tls_error<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e rustls::Error> {
    let within = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
    match within {
        Some(within) => tls_error(within),
        None => error.downcast_ref(),
    }
}

/// `None` where rustls' own words will do.
fn words(error: &rustls::Error) -> Option<String> {
    use rustls::Error::{
        AlertReceived, InvalidCertificate, InvalidMessage as Garbled, PeerIncompatible as Incompatible,
    };
    const NO_COMMON: &str = "it speaks neither TLS 1.2 nor 1.3 with today's ciphers, or wants a client certificate, which \
                             the warmer has none of";
    let told = match error {
        Garbled(InvalidMessage::InvalidContentType) => "what answers there is not TLS, probably plain HTTP; write its \
                                                        address with http:// or name the port that speaks HTTPS"
            .to_owned(),
        AlertReceived(AlertDescription::CertificateRequired) => {
            "it wants a client certificate, which the warmer has none of".to_owned()
        }
        AlertReceived(AlertDescription::UnrecognisedName) => "it has no certificate for this host name".to_owned(),
        AlertReceived(
            AlertDescription::HandshakeFailure
            | AlertDescription::ProtocolVersion
            | AlertDescription::InsufficientSecurity,
        )
        | Incompatible(
            PeerIncompatible::ServerDoesNotSupportTls12Or13
            | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
            | PeerIncompatible::NoCipherSuitesInCommon,
        ) => NO_COMMON.to_owned(),
        AlertReceived(alert) => format!("it ended the TLS handshake with the alert {alert:?}"),
        error if is_authoritys(error) => "its certificate is marked as an authority's (CA:TRUE), so only one that names \
                                          it can trust it; put this very certificate into caFile, or give the server one \
                                          that an authority issued"
            .to_owned(),
        InvalidCertificate(error) => certificate_words(error)?,
        _ => return None,
    };
    Some(told)
}

fn certificate_words(error: &CertificateError) -> Option<String> {
    let told = match error {
        CertificateError::UnknownIssuer => {
            "its certificate is issued by nobody who is trusted here; put the issuing authority's certificate into caFile"
                .to_owned()
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "its certificate has expired; renew it, or set this machine's clock if that is wrong".to_owned()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "its certificate is not valid yet; set the clock of this machine, or of the one that issued it".to_owned()
        }
        CertificateError::NotValidForNameContext { expected, presented } => {
            let expected = expected.to_str();
            match presented.as_slice() {
                [] => format!("its certificate names no host; issue one with {expected} as subjectAltName"),
                names => {
                    let names = names.join(", ");
                    format!("its certificate is for {names}, not for {expected}; write a name that the certificate has")
                }
            }
        }
        _ => return None,
    };
    Some(told)
}

#[cfg(test)]
mod tests;
