//! The integration tests, one binary: each module says what it shows.

#![expect(clippy::disallowed_methods, reason = "tests time real processes by the clock on the wall")]

mod access;
mod account_test;
mod alarms;
mod architecture;
mod clients;
mod clients_web;
mod clock;
mod commands;
mod container;
mod crash;
mod dialogues;
mod doctor;
mod environment;
mod history;
mod installed;
mod listeners;
mod listeners_tls;
mod load;
mod local_mail;
mod memory;
mod oauth;
mod outage;
mod pacing;
mod pacing_wire;
mod postfix;
mod queue_backup;
mod queue_broken_disk;
mod queue_contract;
mod queue_damage;
mod queue_room;
mod queue_sqlite;
mod quickstart;
mod receive;
mod reports;
mod sendmail;
mod service_manager;
mod session_scripts;
mod session_socket;
mod setup;
mod support;
mod traps;
mod uncertain;
