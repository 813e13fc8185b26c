//! What a certificate says of itself (RFC 5280 §4.1.2): for people.

use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::time::Timestamp;

/// A certificate, as far as people ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// Whose it is: its distinguished name.
    pub subject: String,
    /// Who signed it.
    pub issuer: String,
    /// When it ends.
    pub ends: Timestamp,
}

impl Certificate {
    /// Reads it; none where it is no certificate.
    pub fn parse(der: &[u8]) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        Some(Self {
            subject: certificate.subject().to_string(),
            issuer: certificate.issuer().to_string(),
            ends: Timestamp::from_secs(certificate.validity().not_after.timestamp()),
        })
    }

    /// Whole days from `now` until it ends; negative where it has ended.
    pub fn days_left(&self, now: Timestamp) -> i64 {
        days_until(self.ends, now)
    }
}

/// Whole days from `now` until `then`; negative where that has passed.
pub fn days_until(then: Timestamp, now: Timestamp) -> i64 {
    then.as_micros().saturating_sub(now.as_micros()).div_euclid(86_400_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_dates_are_read() {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut parameters = rcgen::CertificateParams::new(vec!["smtp.example.com".into()]).unwrap();
        parameters.distinguished_name.push(rcgen::DnType::CommonName, "smtp.example.com");
        parameters.not_before = rcgen::date_time_ymd(2026, 11, 1);
        parameters.not_after = rcgen::date_time_ymd(2026, 12, 1);
        let made = parameters.self_signed(&key).unwrap();
        let certificate = Certificate::parse(made.der()).unwrap();
        assert!(certificate.subject.contains("CN=smtp.example.com"), "{certificate:?}");
        let now = crate::time::day_begins(2026, 11, 24).unwrap();
        assert_eq!(certificate.days_left(now), 7);
        assert_eq!(days_until(now, certificate.ends), -7);
        assert_eq!(Certificate::parse(b"no certificate"), None);
    }
}
