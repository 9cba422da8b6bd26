//! The outbox against a store and receivers that a test drives.

mod bench;
mod by_hand;
mod guarantees;
mod histories;
mod laws;
mod receivers;
mod retries;
mod timelines;
