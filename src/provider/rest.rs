//! How long a reply says to wait: "try again in 60 seconds", "retry after 5 minutes".

use std::time::Duration;

/// The time that the text, in small letters, says to wait; at least a second and at most an hour, whatever it says.
pub(super) fn said(text: &str) -> Option<Duration> {
    let behind = ASKS.iter().filter_map(|asks| text.split_once(asks)).map(|(_, behind)| behind);
    behind.filter_map(span).next()
}

/// The first number with a unit of time among the next words.
fn span(text: &str) -> Option<Duration> {
    let mut words = text.split_whitespace().take(WORDS).peekable();
    while let Some(word) = words.next() {
        let word = word.trim_matches(|c: char| !c.is_ascii_alphanumeric());
        let unit_at = word.find(|c: char| !c.is_ascii_digit()).unwrap_or(word.len());
        let (digits, unit) = word.split_at(unit_at);
        let Ok(number) = digits.parse::<u64>() else { continue };
        let unit = if unit.is_empty() { words.peek().copied().unwrap_or_default() } else { unit };
        if let Some(seconds) = seconds(unit.trim_matches(|c: char| !c.is_ascii_alphanumeric())) {
            return Some(Duration::from_secs(number.saturating_mul(seconds)).clamp(LEAST, MOST));
        }
    }
    None
}

fn seconds(unit: &str) -> Option<u64> {
    match unit {
        "s" | "sec" | "secs" | "second" | "seconds" => Some(1),
        "m" | "min" | "mins" | "minute" | "minutes" => Some(60),
        "h" | "hr" | "hrs" | "hour" | "hours" => Some(3600),
        _ => None,
    }
}

/// The words before a time to wait.
const ASKS: [&str; 4] = ["try again", "retry", "wait", "come back"];
/// So many words behind them may hold it: "later, please, in about 5 minutes".
const WORDS: usize = 8;
const LEAST: Duration = Duration::from_secs(1);
const MOST: Duration = Duration::from_secs(3600);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_to_wait_is_read_and_bounded() {
        for (text, secs) in [
            ("4.7.0 please try again in 60 seconds.", Some(60)),
            ("too fast, retry after 5 minutes", Some(300)),
            ("retry-after: 30s", Some(30)),
            ("wait (2 min) and come back", Some(120)),
            ("try again later, in about 1 hour", Some(3600)),
            ("try again in 90 hours", Some(3600)),
            ("try again in 99999999999999999999 seconds", None),
            ("try again in 18446744073709551615 hours", Some(3600)),
            ("try again in 0 seconds", Some(1)),
            ("more than 30 messages in 60 seconds", None),
            ("server busy. please try again later from [192.0.2.1]. (as780)", None),
            ("try again in 5 eons", None),
            ("", None),
        ] {
            assert_eq!(said(text), secs.map(Duration::from_secs), "{text}");
        }
    }
}
