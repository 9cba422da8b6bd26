//! From inputs to what they change: loading and deciding by turns, in one transaction.

use std::{collections::HashMap, sync::Arc};

use super::{StoreError, Unit};
use crate::domain::{
    changes::{Changes, Input, Outcome},
    id::{Ids, RuleId, ServiceId},
    pipeline,
    routing::Directory,
    similarity::Templates,
};

/// Each round looks up what the one before came upon: a handful at most.
const ROUNDS_MAX: usize = 1000;

/// What similarity rules have learned, as committed.
pub type Learned = HashMap<(ServiceId, RuleId), Arc<Templates>>;

/// What came of a batch, before it is written.
#[derive(Debug)]
pub struct Decided {
    pub changes: Changes,
    pub outcomes: Vec<Outcome>,
    /// As they are once it is committed.
    pub ids: Ids,
}

/// Loads and processes until nothing is missing. Of what was learned, `known` need not be loaded.
pub async fn decide(
    unit: &mut dyn Unit,
    inputs: &[Input],
    directory: &Directory,
    ids: &Ids,
    known: &Learned,
) -> Result<Decided, StoreError> {
    let mut loaded = unit.load(&pipeline::load_keys(inputs)).await?;
    for _ in 0..ROUNDS_MAX {
        let mut ids = ids.clone();
        match pipeline::process(inputs, &loaded, directory, &mut ids) {
            Ok((changes, outcomes)) => return Ok(Decided { changes, outcomes, ids }),
            Err(mut missing) => {
                let cached = missing
                    .templates
                    .iter()
                    .filter_map(|rule| known.get(rule).map(|found| (*rule, Arc::clone(found))));
                loaded.templates.extend(cached);
                missing.templates.retain(|rule| !known.contains_key(rule));
                loaded.merge(unit.load(&missing).await?);
            }
        }
    }
    Err(StoreError::Unusable(format!("a batch asked for more {ROUNDS_MAX} times")))
}
