//! Brute force: whether any window, wherever it starts, holds more than a cap allows.

use std::time::Duration;

use mailsluice::provider::{Cap, Counted};
use mailsluice::time::Timestamp;

/// A transaction as the provider counted it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    /// When, by the provider's own clock.
    pub(super) at: Timestamp,
    /// With how many recipients.
    pub(super) recipients: u32,
}

/// The fullest window of this length, half-open: it begins with an entry, since one that does not holds no more than the
/// one that is moved on to its first entry.
pub(super) fn fullest(entries: &[Entry], counted: Counted, window: Duration) -> u32 {
    let weight = |entry: &Entry| match counted {
        Counted::Messages => 1,
        Counted::Recipients => entry.recipients,
    };
    let held = |start: Timestamp| {
        entries.iter().filter(|entry| entry.at >= start && entry.at < start.after(window)).map(weight).sum()
    };
    entries.iter().map(|entry| held(entry.at)).max().unwrap_or(0)
}

/// What is wrong with these entries under these caps, where something is.
pub(super) fn violation(entries: &[Entry], caps: &[Cap]) -> Option<String> {
    caps.iter().find_map(|cap| {
        let most = fullest(entries, cap.counted, cap.window);
        (most > cap.count).then(|| format!("a window of {cap} holds {most}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn burst(second: u64, count: u32, recipients: u32) -> Vec<Entry> {
        (0..count).map(|_| Entry { at: Timestamp::EPOCH.after(Duration::from_secs(second)), recipients }).collect()
    }

    fn cap(counted: Counted, count: u32) -> Cap {
        Cap { counted, count, window: Duration::from_secs(60) }
    }

    #[test]
    fn a_window_ends_before_its_end() {
        let sixty_apart = [burst(7, 30, 1), burst(67, 30, 1)].concat();
        assert_eq!(violation(&sixty_apart, &[cap(Counted::Messages, 30)]), None);
        let closer = [burst(7, 30, 1), burst(66, 30, 1)].concat();
        assert!(violation(&closer, &[cap(Counted::Messages, 30)]).is_some());
    }

    #[test]
    fn what_a_token_bucket_lets_through_is_seen() {
        // A full bucket of 30, and one token every two seconds after.
        let mut entries = burst(0, 30, 1);
        entries.extend((1..30).flat_map(|n| burst(2 * n, 1, 1)));
        assert_eq!(fullest(&entries, Counted::Messages, Duration::from_secs(60)), 59);
    }

    #[test]
    fn recipients_are_counted_where_the_cap_counts_them_and_order_does_not_matter() {
        let entries = [burst(50, 2, 10), burst(0, 1, 11)].concat();
        assert_eq!(fullest(&entries, Counted::Recipients, Duration::from_secs(60)), 31);
        assert!(violation(&entries, &[cap(Counted::Messages, 3), cap(Counted::Recipients, 30)]).is_some());
        assert_eq!(violation(&entries, &[cap(Counted::Messages, 3), cap(Counted::Recipients, 31)]), None);
    }
}
