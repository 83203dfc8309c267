//! The load engine against a small server on 127.0.0.1 that answers, stalls, breaks off and lies.

#![expect(clippy::print_stderr, reason = "a skipped test says so")]

mod answers;
mod elsewhere;
mod outcome;
mod plans;
mod schedule;
mod server;
mod users;
