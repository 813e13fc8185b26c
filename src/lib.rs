//! Mailsluice: a mail relay for machines that cannot log in.
//!
//! The map of the crate; imports point down only (ARCHITECTURE.md explains the floors, `tests/architecture.rs` holds them).
//!
//! | floor | modules | may use |
//! |---|---|---|
//! | 0 words | [`smtp`], [`ids`], [`time`] | std |
//! | 1 rules | [`session`], [`message`], [`route`], [`provider`], [`schedule`], [`alarm`] | floor 0; no tokio, clock, randomness, logging |
//! | 2 stores and settings | [`config`], [`queue`], [`observe`], [`users`], [`web`] | floors 0 and 1 |
//! | 3 the door into the queue, and logins | [`intake`], [`tokens`] | floors 0 to 2 |
//! | 4 drivers | [`receive`], [`deliver`], [`sandbox`], [`control`], [`notify`] | floors 0 to 3, not each other |
//! | 5 assembly | [`app`], [`doctor`], [`cli`] | everything |

pub mod ids;
pub mod smtp;
pub mod time;

pub mod alarm;
pub mod message;
pub mod provider;
pub mod route;
pub mod schedule;
pub mod session;

pub mod config;
pub mod observe;
pub mod queue;
pub mod users;
pub mod web;

pub mod intake;
pub mod tokens;

pub mod control;
pub mod deliver;
pub mod notify;
pub mod receive;
pub mod sandbox;

pub mod app;
pub mod cli;
pub mod doctor;
