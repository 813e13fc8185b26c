//! What to send now and when to look again. Knows counts and times, never an address or a byte of mail.

pub mod attempt;
