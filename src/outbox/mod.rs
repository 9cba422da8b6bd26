//! The outbox: sends what is owed, in order, until it is through.
//!
//! A reconciler without any input but the store: what is due? A nudge only shortens the wait. No
//! transaction is open while it talks to the network. Read [`Dispatcher::run`] first; what is pure
//! (when to try again, whether a receiver is down, how fast it may go) stands beside it.

mod breaker;
mod dispatcher;
mod line;
mod pace;
mod receivers;
mod retry;
mod sample;
mod send;
#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::Notify;

pub use self::{
    dispatcher::{Dispatcher, Parts},
    receivers::{Notifiers, Receivers},
};
use crate::domain::time::Timestamp;

/// What others may know of the outbox, and ask of it.
#[derive(Clone, Debug, Default)]
pub struct Outlook {
    down: Arc<Mutex<HashMap<String, Timestamp>>>,
    tried: Arc<Mutex<Vec<i64>>>,
    nudge: Arc<Notify>,
}

impl Outlook {
    /// Receivers that cannot be reached, by name, and since when.
    pub fn down(&self) -> HashMap<String, Timestamp> {
        self.down.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_down(&self, receiver: &str, since: Option<Timestamp>) {
        let mut down = self.down.lock().unwrap_or_else(PoisonError::into_inner);
        match since {
            Some(since) => down.insert(receiver.to_owned(), since),
            None => down.remove(receiver),
        };
    }

    /// Somebody wants a receiver, by the number of its row, to be tried at once, also if it is
    /// thought to be down.
    pub fn try_now(&self, receiver: i64) {
        self.tried.lock().unwrap_or_else(PoisonError::into_inner).push(receiver);
        self.nudge.notify_one();
    }

    fn take_tried(&self) -> Vec<i64> {
        std::mem::take(&mut *self.tried.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
