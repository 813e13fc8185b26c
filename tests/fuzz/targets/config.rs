//! Configurations: whatever stands in one, it is taken or refused with its lines named, and no secret that it names is read
//! where secrets are out of reach.

#![no_main]

use std::path::PathBuf;

use libfuzzer_sys::fuzz_target;
use mailsluice::config::{Config, Surroundings};

fuzz_target!(|text: &str| {
    let around = Surroundings {
        folder: PathBuf::from("/nowhere"),
        hostname: "machine.example".into(),
        variable: |_| None,
        reads_secrets: false,
    };
    match Config::parse(text, "fuzz.toml", &around) {
        Ok(config) => {
            assert!(!config.listeners.is_empty() && !config.accounts.is_empty());
            drop(format!("{config:?}"));
        }
        Err(errors) => {
            let told = errors.to_string();
            assert!(!errors.problems.is_empty() && told.contains("fuzz.toml"), "{told}");
            let lines = text.lines().count() + 1;
            assert!(errors.problems.iter().all(|problem| problem.line <= lines), "{lines} lines: {told}");
        }
    }
});
