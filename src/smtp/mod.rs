//! The words of RFC 5321 as types. Decides what is well formed; knows no session, socket, clock or policy.

pub mod address;
pub mod command;
pub mod envelope;
pub mod path;
pub mod pattern;
pub mod reply;
pub mod status;

pub use address::Address;
pub use envelope::Envelope;
pub use path::ReversePath;
pub use pattern::AddressPattern;
pub use reply::Reply;
pub use status::EnhancedStatus;
