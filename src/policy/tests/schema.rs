//! The schema says what the code takes.
