//! Scenarios as users write them, driven against a small shop on 127.0.0.1.

mod bodies;
mod conversations;
mod logs;
mod metrics;
mod runs;
mod shop;
