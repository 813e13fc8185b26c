//! What a smarthost offers in its reply to EHLO (RFC 5321 §4.1.1.1).

use crate::smtp::Reply;

/// The service extensions that a delivery looks at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extensions {
    /// 8BITMIME (RFC 6152): octets above 127 may stand in the body.
    pub eight_bit_mime: bool,
    /// SMTPUTF8 (RFC 6531): addresses and header fields may be UTF-8.
    pub smtp_utf8: bool,
    /// PIPELINING (RFC 2920).
    pub pipelining: bool,
    /// SIZE (RFC 1870): the most octets of a message; [`u64::MAX`] where it is offered without a limit.
    pub size: Option<u64>,
    /// STARTTLS (RFC 3207).
    pub start_tls: bool,
    /// The mechanisms of AUTH (RFC 4954), in upper case, in the order offered.
    pub auth: Vec<String>,
}

impl Extensions {
    /// Reads a positive reply to EHLO: after the first line, one extension a line. Old servers write `AUTH=LOGIN`.
    pub fn of(reply: &Reply) -> Self {
        let mut offered = Self::default();
        for line in reply.lines.iter().skip(1) {
            let line = line.to_ascii_uppercase();
            let mut words = line.split([' ', '=']).filter(|word| !word.is_empty());
            match words.next() {
                Some("8BITMIME") => offered.eight_bit_mime = true,
                Some("SMTPUTF8") => offered.smtp_utf8 = true,
                Some("PIPELINING") => offered.pipelining = true,
                Some("STARTTLS") => offered.start_tls = true,
                Some("SIZE") => {
                    let limit = words.next().and_then(|word| word.parse().ok()).filter(|limit| *limit > 0);
                    offered.size = Some(limit.unwrap_or(u64::MAX));
                }
                Some("AUTH") => {
                    for mechanism in words {
                        if !offered.auth.iter().any(|known| known == mechanism) {
                            offered.auth.push(mechanism.to_owned());
                        }
                    }
                }
                _ => {}
            }
        }
        offered
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offered(lines: &[&str]) -> Extensions {
        Extensions::of(&Reply { code: 250, lines: lines.iter().map(|line| (*line).to_owned()).collect() })
    }

    #[test]
    fn what_microsoft_365_offers_is_read() {
        let lines = [
            "AM0PR01CA0001.outlook.office365.com Hello [192.0.2.1]",
            "SIZE 157286400",
            "PIPELINING",
            "DSN",
            "AUTH LOGIN XOAUTH2",
            "8BITMIME",
            "SMTPUTF8",
        ];
        let wanted = Extensions {
            eight_bit_mime: true,
            smtp_utf8: true,
            pipelining: true,
            size: Some(157_286_400),
            start_tls: false,
            auth: vec!["LOGIN".into(), "XOAUTH2".into()],
        };
        assert_eq!(offered(&lines), wanted);
    }

    #[test]
    fn the_name_in_the_first_line_is_no_extension() {
        assert_eq!(offered(&["PIPELINING"]), Extensions::default());
    }

    #[test]
    fn case_and_the_old_form_of_auth_do_not_matter() {
        let old = offered(&["x", "auth=login plain", "AUTH PLAIN", "starttls", "Size 0"]);
        assert_eq!(old.auth, ["LOGIN", "PLAIN"]);
        assert!(old.start_tls);
        assert_eq!(old.size, Some(u64::MAX));
    }
}
