//! What we know of mail providers: their hosts and caps, and what each of their refusals means in plain words.
//! Facts only; what follows from them is decided in [`crate::schedule`].

pub mod caps;
pub mod microsoft365;
pub mod presets;
pub mod refusal;

pub use caps::{Cap, Caps, Counted};
