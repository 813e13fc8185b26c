//! The content of a message: its header block and the repairs that providers and RFC 5322 ask for. Pure functions of
//! bytes: no clock, no network, no queue. The body is never touched but where a function says so.

mod changes;
mod dkim;
mod encoded_word;
pub mod encoding;
pub mod fields;
pub mod header;
mod header_text;
pub mod letter;
mod lines;
mod mailbox;
mod mime;
pub mod outgoing;
mod patch;
pub mod repair;
pub mod report;
pub mod sender;
pub mod submission;
pub mod trace;
mod transfer;

pub use mailbox::addressees;
