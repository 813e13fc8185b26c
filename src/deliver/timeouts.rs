//! How long each step of a delivery may take (RFC 5321 §4.5.3.2).

use std::time::Duration;

/// The time limit of each step. [`Timeouts::default`] has the values of RFC 5321 §4.5.3.2, and where it names none,
/// ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// Looking up the host's name: 30 s.
    pub resolve: Duration,
    /// A TCP connection to one address: 30 s.
    pub connect: Duration,
    /// The greeting: 5 min (§4.5.3.2.1).
    pub greeting: Duration,
    /// EHLO: 5 min.
    pub ehlo: Duration,
    /// STARTTLS, and again the TLS handshake: 2 min.
    pub tls: Duration,
    /// AUTH and each answer to a challenge: 2 min.
    pub auth: Duration,
    /// MAIL: 5 min (§4.5.3.2.2).
    pub mail: Duration,
    /// Each RCPT: 5 min (§4.5.3.2.3).
    pub rcpt: Duration,
    /// DATA up to 354: 2 min (§4.5.3.2.4).
    pub data: Duration,
    /// Each 64 KiB of content: 3 min (§4.5.3.2.5).
    pub block: Duration,
    /// From the final dot to its reply: 10 min (§4.5.3.2.6).
    pub final_reply: Duration,
    /// QUIT, RSET and the last words of a peer that hangs up, for which nothing else shall wait: 5 s.
    pub farewell: Duration,
}

/// Content goes out in blocks of this many octets, each with its own time limit.
pub(super) const BLOCK: usize = 64 * 1024;

/// A peer that takes content more slowly than this many octets a second, for longer than one block may take, is given
/// up.
pub(super) const SLOWEST: u64 = 2 * 1024;

/// At most so many addresses of a host are tried.
pub(super) const ADDRESSES: u32 = 8;

impl Timeouts {
    /// The limit of the whole content: one block's, and more by its size, so that a peer that takes a few octets in
    /// every block's time does not hold a connection for days.
    pub fn content(&self, octets: usize) -> Duration {
        self.block.saturating_add(Duration::from_secs(octets as u64 / SLOWEST))
    }

    /// Those of a trial, for which somebody waits: short, and long enough for every host that works.
    pub fn of_a_trial() -> Self {
        let half_a_minute = Duration::from_secs(30);
        Self {
            resolve: Duration::from_secs(15),
            connect: Duration::from_secs(10),
            greeting: half_a_minute,
            ehlo: half_a_minute,
            tls: half_a_minute,
            auth: half_a_minute,
            mail: half_a_minute,
            ..Self::default()
        }
    }

    /// Those of a connection that is only to show whether there is a way: the next one follows soon.
    pub fn of_a_knock() -> Self {
        let a_moment = Duration::from_secs(2);
        Self { resolve: a_moment, connect: a_moment, ..Self::default() }
    }

    /// What opening a session can take at most.
    pub fn opening(&self) -> Duration {
        let reached = self.resolve + self.connect * ADDRESSES + self.greeting;
        let hello = self.ehlo * 2; // before and after TLS
        let tls = self.tls * 2; // STARTTLS and the handshake
        let login = self.auth * 3; // AUTH LOGIN and the answers to two challenges
        reached + hello + tls + login
    }

    /// What a transaction can take at most.
    pub fn transaction(&self, recipients: usize, octets: usize) -> Duration {
        let recipients = u32::try_from(recipients).unwrap_or(u32::MAX);
        self.mail
            .saturating_add(self.rcpt.saturating_mul(recipients))
            .saturating_add(self.data)
            .saturating_add(self.content(octets))
            .saturating_add(self.final_reply)
            .saturating_add(self.farewell)
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
        Self {
            resolve: Duration::from_secs(30),
            connect: Duration::from_secs(30),
            greeting: minutes(5),
            ehlo: minutes(5),
            tls: minutes(2),
            auth: minutes(2),
            mail: minutes(5),
            rcpt: minutes(5),
            data: minutes(2),
            block: minutes(3),
            final_reply: minutes(10),
            farewell: Duration::from_secs(5),
        }
    }
}
