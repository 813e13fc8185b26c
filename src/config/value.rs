//! The forms of values: durations `"5d"`, sizes `"35MiB"`, rates `"30/min"`, addresses, networks, names, words.
//! Each parser takes a value of the document and says what it wanted where it finds something else.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;
use toml::de::DeValue;

use super::problem::Report;
use super::table::Wanted;
use crate::provider::{Cap, caps::Counted};
use crate::route::LocalUser;
use crate::smtp::Address;
use crate::time::{Timestamp, day_begins};

/// A whole number within bounds.
pub(super) fn number(value: &DeValue<'_>, bounds: RangeInclusive<u32>) -> Result<u32, Wanted> {
    let wanted = || format!("a number from {} to {}", bounds.start(), bounds.end());
    let number = match value {
        DeValue::Integer(digits) => u32::from_str_radix(digits.as_str(), digits.radix()).map_err(|_| wanted())?,
        _ => return Err(wanted()),
    };
    if bounds.contains(&number) { Ok(number) } else { Err(wanted()) }
}

/// How many of something there may be.
pub(super) fn count(value: &DeValue<'_>, most: u32) -> Result<usize, Wanted> {
    number(value, 1..=most).map(|count| count as usize)
}

/// `true` or `false`.
pub(super) fn truth(value: &DeValue<'_>) -> Result<bool, Wanted> {
    value.as_bool().ok_or_else(|| "true or false".into())
}

/// The permissions of a file, in octal as chmod(1) takes them: `"0660"`.
pub(super) fn mode(value: &DeValue<'_>) -> Result<u32, Wanted> {
    let text = value.as_str().filter(|text| (3..=4).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit()));
    let mode = text.and_then(|text| u32::from_str_radix(text, 8).ok()).filter(|mode| *mode <= 0o777);
    mode.ok_or_else(|| "permissions such as \"0660\"".into())
}

/// One of some words.
pub(super) fn word<T: Copy>(value: &DeValue<'_>, words: &[(&'static str, T)]) -> Result<T, Wanted> {
    let known = value.as_str().and_then(|text| words.iter().find(|(word, _)| *word == text));
    known.map(|(_, meaning)| *meaning).ok_or_else(|| {
        let words: Vec<String> = words.iter().map(|(word, _)| format!("{word:?}")).collect();
        words.split_last().map_or(String::new(), |(last, others)| format!("{} or {last}", others.join(", ")))
    })
}

/// A text that is not empty and has no control characters.
pub(super) fn text(value: &DeValue<'_>, wanted: &str) -> Result<String, Wanted> {
    match value.as_str() {
        Some(text) if !text.is_empty() && !text.contains(char::is_control) => Ok(text.into()),
        _ => Err(wanted.into()),
    }
}

/// A path; a relative one starts at `folder`.
pub(super) fn path(value: &DeValue<'_>, folder: &Path) -> Result<PathBuf, Wanted> {
    text(value, "a path").map(|path| folder.join(path))
}

/// What [`std::str::FromStr`] takes.
pub(super) fn parsed<T: std::str::FromStr>(value: &DeValue<'_>, wanted: &str) -> Result<T, Wanted> {
    value.as_str().and_then(|text| text.parse().ok()).ok_or_else(|| wanted.into())
}

/// A name that commands and logs can use without quoting.
pub(super) fn name(value: &DeValue<'_>) -> Result<String, Wanted> {
    let fits = |text: &str| {
        (1..=64).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
    };
    match value.as_str() {
        Some(text) if fits(text) => Ok(text.into()),
        _ => Err("a name of 1 to 64 letters, digits, dots, hyphens and underscores".into()),
    }
}

/// A user of this machine: by its name, or by its id. Whether there is one is another matter: packages bring users and take
/// them away.
pub(super) fn local_user(value: &DeValue<'_>) -> Result<LocalUser, Wanted> {
    let is_name = |text: &&str| {
        (1..=256).contains(&text.len())
            && !text.contains(|c: char| c.is_control() || c == ':')
            && !text.bytes().all(|b| b.is_ascii_digit())
    };
    match value {
        DeValue::Integer(digits) => u32::from_str_radix(digits.as_str(), digits.radix()).ok().map(LocalUser::Id),
        other => other.as_str().filter(is_name).map(|name| LocalUser::Name(name.into())),
    }
    .ok_or_else(|| "a user such as \"www-data\", or an id without quotes, such as 33".into())
}

/// A span of time: a whole number and `ms`, `s`, `min`, `h` or `d`.
pub(super) fn duration(value: &DeValue<'_>, bounds: RangeInclusive<&'static str>) -> Result<Duration, Wanted> {
    let wanted = || format!("a duration from {:?} to {:?} in ms, s, min, h or d", bounds.start(), bounds.end());
    let read = value.as_str().and_then(duration_of).ok_or_else(wanted)?;
    let fits = duration_of(bounds.start()) <= Some(read) && Some(read) <= duration_of(bounds.end());
    if fits { Ok(read) } else { Err(wanted()) }
}

/// A number of octets: bare, or with `B`, `KiB`, `MiB`, `GiB`, `TiB`, or decimal `KB`, `MB`, `GB`, `TB`.
pub(super) fn size(value: &DeValue<'_>, bounds: RangeInclusive<&'static str>) -> Result<u64, Wanted> {
    let wanted = || format!("a size from {:?} to {:?}", bounds.start(), bounds.end());
    let read = match value {
        DeValue::Integer(digits) => u64::from_str_radix(digits.as_str(), digits.radix()).ok(),
        DeValue::String(text) => size_of(text),
        _ => None,
    };
    let read = read.ok_or_else(wanted)?;
    let fits = size_of(bounds.start()) <= Some(read) && Some(read) <= size_of(bounds.end());
    if fits { Ok(read) } else { Err(wanted()) }
}

/// At most so many in any such span: a count, a slash and a duration, of which 1 goes without saying.
pub(super) fn rate(value: &DeValue<'_>, counted: Counted) -> Result<Cap, Wanted> {
    let wanted = || {
        format!(
            "a rate such as \"30/min\", \"30/60s\" or \"10000/24h\": 1 to {MAX_RATE_COUNT} in any \"1ms\" to \"31d\""
        )
    };
    let (count, window) = value.as_str().and_then(|text| text.split_once('/')).ok_or_else(wanted)?;
    let count = digits(count.trim()).and_then(|count| u32::try_from(count).ok()).ok_or_else(wanted)?;
    let window = window.trim();
    let window = unit_of_time(window).or_else(|| duration_of(window)).ok_or_else(wanted)?;
    let fits = (1..=MAX_RATE_COUNT).contains(&count) && !window.is_zero() && window <= MAX_RATE_WINDOW;
    if fits { Ok(Cap { counted, count, window }) } else { Err(wanted()) }
}

/// Where to listen: an IP address and a port. Port 0 lets the system choose one.
pub(super) fn socket_address(value: &DeValue<'_>) -> Result<SocketAddr, Wanted> {
    parsed(value, "an IP address and a port, such as \"127.0.0.1:25\" or \"[::1]:25\"")
}

/// A network, or an address, which is a network of one.
pub(super) fn network(value: &DeValue<'_>) -> Result<IpNet, Wanted> {
    let text = value.as_str().unwrap_or_default();
    let network = match text.parse::<IpAddr>() {
        Ok(address) => IpNet::from(address),
        Err(_) => text.parse().map_err(|_| "a network such as \"192.168.1.0/24\" or \"fd00::/64\", or an address")?,
    };
    if network.trunc() != network {
        return Err(format!("\"{}\", or \"{}\" for this address alone", network.trunc(), network.addr()));
    }
    match network {
        // Who connects by IPv4 is known by the IPv4 address: such a network would hold nobody.
        IpNet::V6(v6) if v6.addr().to_ipv4_mapped().is_some() => Err("the network as IPv4 writes it".into()),
        _ => Ok(network),
    }
}

/// A date, as TOML writes it: 2027-03-01. Means its beginning in UTC.
pub(super) fn date(value: &DeValue<'_>) -> Result<Timestamp, Wanted> {
    let date = match value {
        DeValue::Datetime(toml::value::Datetime { date: Some(date), time: None, .. }) => Some(date),
        _ => None,
    };
    let day = date.and_then(|date| day_begins(date.year, date.month, date.day));
    day.ok_or_else(|| "a date without quotes, such as 2027-03-01".into())
}

/// The address of a mailbox.
pub(super) fn mailbox(value: &DeValue<'_>) -> Result<Address, Wanted> {
    parsed(value, "an address such as \"ops@example.com\"")
}

/// A part of a hundred: `"80%"`.
pub(super) fn percent(value: &DeValue<'_>) -> Result<u32, Wanted> {
    let number = value.as_str().and_then(|text| digits(text.trim().strip_suffix('%')?.trim_end()));
    let number = number.and_then(|number| u32::try_from(number).ok()).filter(|number| (1..=100).contains(number));
    number.ok_or_else(|| "a percentage from \"1%\" to \"100%\"".into())
}

/// An address on the web: https, or http to this machine alone.
pub(super) fn web_address(value: &DeValue<'_>) -> Result<String, Wanted> {
    let text = value.as_str().unwrap_or_default();
    if is_web_address(text) { Ok(text.into()) } else { Err(WEB_ADDRESS.into()) }
}

/// What [`web_address`] accepts.
pub(super) fn is_web_address(text: &str) -> bool {
    oauth2::url::Url::parse(text).is_ok_and(|url| {
        let local = match url.host() {
            Some(oauth2::url::Host::Domain(name)) => name == "localhost",
            Some(oauth2::url::Host::Ipv4(address)) => address.is_loopback(),
            Some(oauth2::url::Host::Ipv6(address)) => address.is_loopback(),
            None => false,
        };
        let open = url.username().is_empty() && url.password().is_none();
        open && url.has_host() && (url.scheme() == "https" || url.scheme() == "http" && local)
    })
}

/// More than all public authorities together.
const MAX_PEM_OCTETS: u64 = 4 << 20;

/// Certificates are read again when they are used; a file that could never serve is told at once.
pub(super) fn check_certificates(report: &mut Report<'_>, line: usize, key: &str, path: &Path) {
    use rustls::pki_types::{CertificateDer, pem::PemObject};
    let holds_certificates = |pem: &[u8]| {
        let mut store = rustls::RootCertStore::empty();
        let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
        let (added, ignored) = store.add_parsable_certificates(certificates.unwrap_or_default());
        added > 0 && ignored == 0
    };
    let found = match read_pem(path) {
        Ok(pem) if holds_certificates(&pem) => return,
        Ok(_) => format!("no certificate, or a broken one, in {}", path.display()),
        Err(error) => format!("{}, which cannot be read: {error}", path.display()),
    };
    report.add(line, key, found, "a PEM file of certificates");
}

/// Reads a file that may hold certificates. A pipe or a device could go on for ever.
fn read_pem(path: &Path) -> io::Result<Vec<u8>> {
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is no file"));
    }
    let mut pem = Vec::new();
    File::open(path)?.take(MAX_PEM_OCTETS).read_to_end(&mut pem)?;
    Ok(pem)
}

/// The name of a host in the DNS, or an IP address.
pub(super) fn host(value: &DeValue<'_>, wanted: &str) -> Result<String, Wanted> {
    match value.as_str() {
        Some(text) if text.parse::<IpAddr>().is_ok() || is_host_name(text) => Ok(text.into()),
        _ => Err(wanted.into()),
    }
}

/// A name that the relay may give as its own: no address, which EHLO writes in brackets, and no dot at its end.
pub(super) fn own_name(value: &DeValue<'_>) -> Result<String, Wanted> {
    host(value, OWN_NAME).and_then(|name| if is_own_name(&name) { Ok(name) } else { Err(OWN_NAME.into()) })
}

/// What [`own_name`] accepts.
pub(super) fn is_own_name(text: &str) -> bool {
    is_host_name(text) && !text.ends_with('.') && text.parse::<IpAddr>().is_err()
}

/// Letters, digits and hyphens (and underscores, which networks at home have) in labels of up to 63 (RFC 1035 §2.3.4).
fn is_host_name(text: &str) -> bool {
    let octet = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    let label = |label: &str| (1..=63).contains(&label.len()) && label.bytes().all(octet) && !label.starts_with('-');
    text.len() <= 253 && text.strip_suffix('.').unwrap_or(text).split('.').all(label)
}

fn duration_of(text: &str) -> Option<Duration> {
    let (count, unit) = count_and_unit(text)?;
    unit_of_time(unit)?.checked_mul(u32::try_from(count).ok()?)
}

fn unit_of_time(unit: &str) -> Option<Duration> {
    Some(match unit {
        "ms" => Duration::from_millis(1),
        "s" => Duration::from_secs(1),
        "min" => Duration::from_secs(60),
        "h" => Duration::from_secs(3600),
        "d" => Duration::from_secs(86_400),
        _ => return None,
    })
}

fn size_of(text: &str) -> Option<u64> {
    let (count, unit) = count_and_unit(text)?;
    let octets: u64 = match unit {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        "KB" | "kB" => 1000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "TB" => 1_000_000_000_000,
        _ => return None,
    };
    count.checked_mul(octets)
}

/// `35 MiB` apart; the space may be missing.
fn count_and_unit(text: &str) -> Option<(u64, &str)> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    Some((digits(&text[..end])?, text[end..].trim_start()))
}

/// Digits alone: `parse` would take a sign.
fn digits(text: &str) -> Option<u64> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok())?
}

pub(super) const WEB_ADDRESS: &str = "an address that begins with https:// (http:// to this machine only)";
const OWN_NAME: &str = "a host name, such as \"relay.example.com\"";
const MAX_RATE_COUNT: u32 = 10_000_000;
const MAX_RATE_WINDOW: Duration = Duration::from_secs(31 * 86_400);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn string(text: &str) -> DeValue<'_> {
        DeValue::String(text.into())
    }

    #[test]
    fn what_has_another_form_is_refused() {
        for text in
            ["", "5", "d", "5 days", "5m", "-5d", "+5d", "1.5h", "1h30min", "99999999999d", "9999999999999999999999s"]
        {
            assert_eq!(duration_of(text), None, "{text}");
        }
        for text in ["", "MiB", "35mib", "35Mib", "-1", "+1", "1.5GiB", "35 M", "99999999999TiB"] {
            assert_eq!(size_of(text), None, "{text}");
        }
        for text in ["", "30", "30/", "/min", "30/0s", "0/min", "30/m", "30/min/h", "-30/min", "30/32d", "10000001/d"] {
            assert!(rate(&string(text), Counted::Messages).is_err(), "{text}");
        }
        for text in ["", "10.0.0.0/33", "10.0.0.5/24", "localhost", "10.0.0.0-10.0.0.9", "::ffff:10.0.0.0/104"] {
            assert!(network(&string(text)).is_err(), "{text}");
        }
        for text in ["", "a..b", ".a", "smtp://host", "host:25", "-a.example", "a b", "[::1]", &"a.".repeat(128)] {
            assert!(host(&string(text), "").is_err(), "{text}");
        }
    }

    #[test]
    fn bounds_belong_to_what_they_bound() {
        let duration = |text| duration(&string(text), "1min"..="2h");
        assert!(duration("60s").is_ok() && duration("120min").is_ok());
        assert!(duration("59s").is_err() && duration("7201s").is_err());
        let size = |text| size(&string(text), "1KiB"..="1MiB");
        assert!(size("1024").is_ok() && size("1024 KiB").is_ok());
        assert!(size("1023B").is_err() && size("1048577").is_err());
    }

    proptest! {
        #[test]
        fn durations_read_as_they_are_written(count in 0_u32..1_000_000, unit in 0_usize..5, gap in " {0,2}") {
            let (unit, millis) = [("ms", 1), ("s", 1000), ("min", 60_000), ("h", 3_600_000), ("d", 86_400_000)][unit];
            let wanted = Duration::from_millis(u64::from(count) * millis);
            prop_assert_eq!(duration_of(&format!("{count}{gap}{unit}")), Some(wanted));
        }

        #[test]
        fn sizes_read_as_they_are_written(count in 0_u64..1_000_000, unit in 0_usize..10, gap in " {0,2}") {
            let units = [("", 1), ("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40),
                ("KB", 1000), ("MB", 1_000_000), ("GB", 1_000_000_000), ("TB", 1_000_000_000_000)];
            let (unit, octets) = units[unit];
            prop_assert_eq!(size_of(&format!("{count}{gap}{unit}")), Some(count * octets));
        }

        #[test]
        fn a_cap_reads_back_from_how_it_is_shown(count in 1..=MAX_RATE_COUNT, millis in 1_u64..=31 * 86_400_000) {
            let cap = Cap { counted: Counted::Recipients, count, window: Duration::from_millis(millis) };
            prop_assert_eq!(rate(&string(&cap.to_string()), Counted::Recipients), Ok(cap));
        }

        #[test]
        fn whole_windows_read_back_too(count in 1..=MAX_RATE_COUNT, secs in 1_u64..=31 * 86_400) {
            let cap = Cap { counted: Counted::Messages, count, window: Duration::from_secs(secs) };
            prop_assert_eq!(rate(&string(&cap.to_string()), Counted::Messages), Ok(cap));
        }

        #[test]
        fn no_text_makes_a_parser_panic(text in ".*") {
            let _ = (duration_of(&text), size_of(&text), rate(&string(&text), Counted::Messages), network(&string(&text)));
        }
    }
}
