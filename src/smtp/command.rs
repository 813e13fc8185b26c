//! Command lines of a client (RFC 5321 §4.1.1).
