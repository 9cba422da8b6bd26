//! What the rules of a service have in common: an identity that survives edits.

use serde_json::Value;

use super::id::RuleId;

/// Most rules of one kind that a service has.
pub const RULES_MAX: usize = 200;

/// A rule with an id of its own.
pub trait Rule {
    fn id(&self) -> RuleId;
    fn set_id(&mut self, id: RuleId);
    /// The form of the policy file, without the id.
    fn text(&self) -> Value;
}

macro_rules! rule {
    ($($kind:ty)*) => {$(
        impl $crate::domain::rules::Rule for $kind {
            fn id(&self) -> $crate::domain::id::RuleId {
                self.id
            }

            fn set_id(&mut self, id: $crate::domain::id::RuleId) {
                self.id = id;
            }

            fn text(&self) -> serde_json::Value {
                self.to_json()
            }
        }
    )*};
}
pub(crate) use rule;

/// Gives the rules of an edited service their ids: unchanged text keeps its id, the rest is paired
/// by position, what is left is new. So an edit splits no open incident.
pub fn pair_ids<R: Rule>(old: &[R], new: &mut [R], mut fresh: impl FnMut() -> RuleId) {
    let mut free: Vec<Option<(RuleId, Value)>> =
        old.iter().map(|rule| Some((rule.id(), rule.text()))).collect();
    let mut paired = vec![false; new.len()];
    for (i, rule) in new.iter_mut().enumerate() {
        let text = rule.text();
        let same = free.iter_mut().find(|o| o.as_ref().is_some_and(|(_, old)| *old == text));
        if let Some((id, _)) = same.and_then(Option::take) {
            rule.set_id(id);
            paired[i] = true;
        }
    }
    for (i, rule) in new.iter_mut().enumerate() {
        if !paired[i] {
            let by_position = free.get_mut(i).and_then(Option::take);
            rule.set_id(by_position.map_or_else(&mut fresh, |(id, _)| id));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::time::Timestamp;

    #[derive(Debug)]
    struct Text {
        id: RuleId,
        text: &'static str,
    }

    impl Text {
        fn to_json(&self) -> Value {
            self.text.into()
        }
    }

    rule! { Text }

    fn rule_id(seq: i64) -> RuleId {
        RuleId::new(Timestamp::default(), seq, 0)
    }

    #[test]
    fn an_edit_keeps_the_ids_of_what_it_left_alone() {
        let make = |text: &'static str, id| Text { id: rule_id(id), text };
        let old = [make("group", 1), make("class", 2), make("source", 3)];
        let mut new =
            [make("source", 0), make("component", 0), make("class", 0), make("client", 0)];

        pair_ids(&old, &mut new, || rule_id(9));

        let ids: Vec<_> = new.iter().map(|rule| rule.id.seq()).collect();
        assert_eq!(ids, [3, 9, 2, 9]);
    }
}
