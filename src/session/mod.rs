//! Our side of an SMTP conversation with a client (RFC 5321), without I/O.
//!
//! Decides which command is legal when, what each one is answered, where content ends and what is handed over. Must not
//! touch a socket, a clock, the queue or a log: bytes and the time come in, [`Action`]s come out, and what only others
//! know is asked by value ([`Question`]) and answered by value ([`Answer`]). `receive` drives it.

mod auth;
mod content;
mod contract;
mod extensions;
mod foreign;
mod greeting;
mod lines;
mod output;
mod quirk;
mod replies;
mod reports;
mod state;
mod transaction;

pub use contract::{
    Action, Answer, AuthRule, Credentials, Event, Handover, LoneDot, Manners, Policy, Question, Refusal, Refused,
    STEP_LIMIT, Step, Stop, TRANSACTION_LIMIT, Tls,
};
pub use quirk::Quirk;
pub use state::Session;

pub use replies::{no_room, no_tls, not_admitted, shutting_down, too_many_connections};
