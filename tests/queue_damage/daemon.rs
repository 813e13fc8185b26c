//! The same with the daemon and the commands: what they say, and their exit codes.
