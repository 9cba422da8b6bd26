//! The outbox against a store and receivers that a test drives.
