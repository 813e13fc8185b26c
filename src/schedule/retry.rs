//! When to try again what a provider put off.

use std::time::Duration;

/// The delay after the attempt with this number (the first is 1): 1, 5, 15 and 30 minutes, then an hour. `jitter` in 0
/// to 1 spreads it over the tenth below and above, so that a burst that was put off together does not return together.
pub fn delay(attempts: u32, jitter: f64) -> Duration {
    let minutes = match attempts {
        0 | 1 => 1,
        2 => 5,
        3 => 15,
        4 => 30,
        _ => 60,
    };
    Duration::from_secs(minutes * 60).mul_f64(0.9 + 0.2 * jitter.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_to_an_hour_and_stay_there() {
        let minutes = |attempts| delay(attempts, 0.5).as_secs() / 60;
        assert_eq!([1, 2, 3, 4, 5, 6, 1000].map(minutes), [1, 5, 15, 30, 60, 60, 60]);
        assert!(delay(1, 0.0) < delay(1, 1.0));
        assert_eq!(delay(1, 7.0), Duration::from_secs(66));
    }
}
