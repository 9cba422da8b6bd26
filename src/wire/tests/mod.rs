//! What holds the module as a whole: the fixtures of the contract, and laws over made-up input.

mod fixtures;
mod properties;
