//! Which webhooks were taken already: each may be sent more than once.

use std::{
    collections::{HashSet, VecDeque},
    sync::{Mutex, PoisonError},
};

use crate::domain::{event::FieldHash, id::ReceiverId};

/// So many ids are remembered, until the next start. PagerDuty repeats within 20 minutes ("Webhooks
/// Behavior", "Retries"), and what is taken twice all the same mostly changes nothing.
const KEPT: usize = 10_000;

/// Ids of webhooks that were taken or are being taken.
#[derive(Debug, Default)]
pub struct Seen(Mutex<Ids>);

#[derive(Debug, Default)]
struct Ids {
    known: HashSet<i64>,
    oldest_first: VecDeque<i64>,
}

/// A webhook that is being taken. It may come again unless it is kept.
#[derive(Debug)]
pub struct Claim<'a> {
    seen: &'a Seen,
    ids: Vec<i64>,
}

impl Seen {
    /// Takes a webhook under all its ids, empty ones aside; `None` if one of them is known.
    pub fn claim(&self, receiver: ReceiverId, ids: &[&str]) -> Option<Claim<'_>> {
        let receiver = receiver.to_string();
        let hash = |id: &&str| {
            let mut hash = FieldHash::default();
            hash.field(Some(&receiver));
            hash.field(Some(id));
            hash.first_eight()
        };
        let ids: Vec<i64> = ids.iter().filter(|id| !id.is_empty()).map(hash).collect();
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if ids.iter().any(|id| seen.known.contains(id)) {
            return None;
        }
        for id in &ids {
            if seen.known.insert(*id) {
                seen.oldest_first.push_back(*id);
            }
        }
        while seen.oldest_first.len() > KEPT {
            if let Some(oldest) = seen.oldest_first.pop_front() {
                seen.known.remove(&oldest);
            }
        }
        Some(Claim { seen: self, ids })
    }
}

impl Claim<'_> {
    /// It was taken, so that it is ignored when it comes again.
    pub fn keep(mut self) {
        self.ids.clear();
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        if self.ids.is_empty() {
            return;
        }
        let mut seen = self.seen.0.lock().unwrap_or_else(PoisonError::into_inner);
        for id in &self.ids {
            seen.known.remove(id);
        }
        seen.oldest_first.retain(|id| !self.ids.contains(id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::time::Timestamp;

    fn receiver(seq: i64) -> ReceiverId {
        ReceiverId::new(Timestamp::default(), seq, 7)
    }

    #[test]
    fn a_webhook_is_taken_once_whichever_of_its_ids_comes_again() {
        let seen = Seen::default();
        seen.claim(receiver(1), &["a", "b"]).unwrap().keep();

        assert!(seen.claim(receiver(1), &["a", "c"]).is_none());
        assert!(seen.claim(receiver(1), &["", "b"]).is_none());
        assert!(seen.claim(receiver(1), &["c", ""]).is_some());
        assert!(seen.claim(receiver(2), &["a"]).is_some(), "another receiver's");
        for _ in 0..2 {
            assert!(seen.claim(receiver(1), &["", ""]).is_some(), "it has none");
        }
    }

    #[test]
    fn what_was_not_taken_to_the_end_may_come_again() {
        let seen = Seen::default();

        let first = seen.claim(receiver(1), &["a"]);

        assert!(seen.claim(receiver(1), &["a"]).is_none(), "while it is being taken");
        drop(first);
        seen.claim(receiver(1), &["a"]).unwrap().keep();
        assert!(seen.claim(receiver(1), &["a"]).is_none());
    }

    #[test]
    fn only_the_newest_are_remembered() {
        let seen = Seen::default();
        for id in 0..=KEPT {
            seen.claim(receiver(1), &[&id.to_string()]).unwrap().keep();
        }

        assert!(seen.claim(receiver(1), &["1"]).is_none());
        seen.claim(receiver(1), &["0"]).unwrap().keep();
        let ids = seen.0.lock().unwrap();
        assert_eq!((ids.known.len(), ids.oldest_first.len()), (KEPT, KEPT));
    }
}
