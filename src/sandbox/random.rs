//! Texts that nobody guesses. They open nothing but this play, so the generator need not be one for secrets.

/// So many letters and digits.
pub(super) fn token(length: usize) -> String {
    std::iter::repeat_with(fastrand::alphanumeric).take(length).collect()
}

/// A GUID, as traces and applications have it.
pub(super) fn guid() -> String {
    let digits = format!("{:032x}", fastrand::u128(..));
    [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]].join("-")
}

/// Nine characters that a person can read off and type: no vowels, none that look like another.
pub(super) fn user_code() -> String {
    std::iter::repeat_with(|| fastrand::choice(LEGIBLE).copied().unwrap_or(b'X')).map(char::from).take(9).collect()
}

const LEGIBLE: &[u8] = b"BCDFGHJKLMNPQRSTVWXZ23456789";
