//! How many lines a client gets: some at once, then a few a minute.

use std::collections::HashMap;
use std::time::Duration;

use crate::ids::ClientName;

/// What each client has used up.
#[derive(Debug, Default)]
pub(super) struct Lines {
    by_client: HashMap<ClientName, Used>,
}

#[derive(Debug)]
struct Used {
    /// When all of its lines are free again, as time since the machine's start.
    free: Duration,
    /// What was not written since its last line.
    unwritten: u64,
}

/// What becomes of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// It is written.
    Written {
        /// So many before it were not.
        before: u64,
        /// Whether the next one, if it comes soon, is not.
        last: bool,
    },
    /// It is not.
    Unwritten,
}

impl Lines {
    /// Whether a line of this client is written now, at `now` since the machine's start.
    pub(super) fn admit(&mut self, client: &ClientName, now: Duration) -> Line {
        if self.by_client.len() >= MAX_CLIENTS && !self.by_client.contains_key(client) {
            self.by_client.retain(|_, used| used.free > now);
            if self.by_client.len() >= MAX_CLIENTS {
                self.by_client.clear();
            }
        }
        let used = self.by_client.entry(client.clone()).or_insert(Used { free: now, unwritten: 0 });
        let free = used.free.max(now) + EACH;
        if free > now + EACH * AT_ONCE {
            used.unwritten += 1;
            return Line::Unwritten;
        }
        used.free = free;
        let last = free + EACH > now + EACH * AT_ONCE;
        Line::Written { before: std::mem::take(&mut used.unwritten), last }
    }
}

/// Lines at once.
const AT_ONCE: u32 = 30;
/// How soon one of them is free again.
const EACH: Duration = Duration::from_secs(30);
/// Clients that are remembered before those that have been quiet are forgotten, or, where none has, all.
const MAX_CLIENTS: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn some_are_written_at_once_then_two_a_minute_and_none_is_forgotten() {
        let mut lines = Lines::default();
        let camera = ClientName::from("camera");
        let start = SECOND * 1000;
        let (mut written, mut told, mut lasts) = (0, 0, 0);
        for second in 0..86_400 {
            if let Line::Written { before, last } = lines.admit(&camera, start + SECOND * second) {
                written += 1;
                told += before;
                lasts += u32::from(last);
            }
        }
        assert!((2880..2880 + 2 * u64::from(AT_ONCE)).contains(&written), "{written}");
        assert!((86_400 - 30..=86_400).contains(&(written + told)), "{written} {told}");
        assert!(lasts > 2800, "{lasts}");
        let other = lines.admit(&"scanner".into(), start);
        assert_eq!(other, Line::Written { before: 0, last: false });
        let later = lines.admit(&camera, start + SECOND * 100_000);
        assert!(matches!(later, Line::Written { before: ..30, last: false }), "{later:?}");
    }

    #[test]
    fn any_number_of_clients_costs_bounded_memory() {
        let mut lines = Lines::default();
        for number in 0..3 * MAX_CLIENTS {
            lines.admit(&format!("{number}").as_str().into(), Duration::ZERO);
        }
        assert!(lines.by_client.len() <= MAX_CLIENTS);
    }
}
