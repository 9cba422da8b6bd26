//! Many matches at once: which of them hold for something, found without a look at each.

use std::collections::HashMap;

use super::{
    matcher::{Field, Fields, Match, Matcher},
    service::ServicePolicy,
};

/// Matches by number. A list of matchers is filed under the values of the one field that tells
/// most about it; one list that holds is enough.
#[derive(Clone, Debug, Default)]
pub(super) struct MatchIndex {
    /// By one field, and the values of it that a list accepts.
    by_value: Vec<(Field, ByValue)>,
    /// Lists without such a field, by the field of their first matcher: it is looked up once.
    others: Vec<(Field, Vec<Entry>)>,
    /// Matches that hold for everything.
    always: Vec<usize>,
}

type ByValue = HashMap<Box<str>, Vec<Entry>>;

/// A list, by the number of its match and its place in it.
#[derive(Clone, Copy, Debug)]
struct Entry {
    number: usize,
    list: usize,
}

impl MatchIndex {
    /// A match with its number; a number may have several.
    pub(super) fn add(&mut self, number: usize, matches: &Match) {
        if matches.lists().is_empty() {
            self.always.push(number);
        }
        for (list, matchers) in matches.lists().iter().enumerate() {
            self.add_list(Entry { number, list }, matchers);
        }
    }

    fn add_list(&mut self, entry: Entry, matchers: &[Matcher]) {
        let selective = |(field, values): &(&Field, &[Box<str>])| {
            // Few values of a field that has many tell most.
            let is_closed = matches!(field, Field::Severity | Field::Action | Field::Service);
            (is_closed, values.len())
        };
        let known = matchers.iter().filter_map(Matcher::values).min_by_key(selective);
        if let Some((field, values)) = known {
            let by_value = of_field(&mut self.by_value, field);
            for value in values {
                by_value.entry(value.clone()).or_default().push(entry);
            }
        } else if let Some(first) = matchers.first() {
            of_field(&mut self.others, first.field()).push(entry);
        } else {
            self.always.push(entry.number);
        }
    }

    /// The numbers of the matches that hold, sorted. `of_number` gives back what was added.
    pub(super) fn find<'m>(
        &self,
        of_number: impl Fn(usize) -> &'m Match,
        fields: &impl Fields,
    ) -> Vec<usize> {
        let matchers = |entry: &Entry| {
            let lists = of_number(entry.number).lists();
            lists.get(entry.list).map_or(&[][..], Vec::as_slice)
        };
        let mut found = self.always.clone();
        for (field, by_value) in &self.by_value {
            let entries = by_value.get(&*fields.field(field));
            for entry in entries.into_iter().flatten() {
                if matchers(entry).iter().all(|matcher| matcher.holds(fields)) {
                    found.push(entry.number);
                }
            }
        }
        for (field, entries) in &self.others {
            let value = fields.field(field);
            for entry in entries {
                let Some((first, rest)) = matchers(entry).split_first() else { continue };
                if first.takes(&value) && rest.iter().all(|matcher| matcher.holds(fields)) {
                    found.push(entry.number);
                }
            }
        }
        found.sort_unstable();
        found.dedup();
        found
    }
}

/// What is kept for a field, new if there is nothing yet.
fn of_field<'m, T: Default>(map: &'m mut Vec<(Field, T)>, field: &Field) -> &'m mut T {
    let at = map.iter().position(|(other, _)| other == field).unwrap_or_else(|| {
        map.push((field.clone(), T::default()));
        map.len() - 1
    });
    &mut map[at].1
}

/// The rules of a service by what they match; a rule's number is its place in the policy.
#[derive(Debug, Default)]
pub(super) struct RuleIndex {
    sources: MatchIndex,
    targets: MatchIndex,
    grouping: MatchIndex,
}

impl RuleIndex {
    pub(super) fn new(policy: &ServicePolicy) -> Self {
        let mut index = Self::default();
        for (number, rule) in policy.inhibition.iter().enumerate() {
            index.sources.add(number, &rule.source);
            index.targets.add(number, &rule.target);
        }
        for (number, rule) in policy.grouping.iter().enumerate() {
            index.grouping.add(number, &rule.matches);
        }
        index
    }

    /// The inhibition rules of which a side matches, in their order.
    pub(super) fn inhibition(&self, policy: &ServicePolicy, fields: &impl Fields) -> Vec<usize> {
        let mut found = self.sources.find(|at| &policy.inhibition[at].source, fields);
        found.extend(self.targets.find(|at| &policy.inhibition[at].target, fields));
        found.sort_unstable();
        found.dedup();
        found
    }

    /// The first grouping rule that matches.
    pub(super) fn grouping(&self, policy: &ServicePolicy, fields: &impl Fields) -> Option<usize> {
        self.grouping.find(|at| &policy.grouping[at].matches, fields).first().copied()
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use proptest::prelude::*;

    use super::*;

    struct Values([&'static str; 3]);

    impl Fields for Values {
        fn field(&self, field: &Field) -> Cow<'_, str> {
            match field {
                Field::Class => self.0[0].into(),
                Field::Severity => self.0[1].into(),
                _ => self.0[2].into(),
            }
        }
    }

    fn matches() -> impl Strategy<Value = Match> {
        let field = prop::sample::select(vec!["class", "severity", "group"]);
        let operator = prop::sample::select(vec!["=", "!=", "=~", "!~"]);
        let value = prop::sample::select(vec!["a", "b", "a|b", "a.*", ".*", ""]);
        let matcher = (field, operator, value).prop_map(|(f, o, v)| format!("{f}{o}\"{v}\""));
        let list = prop::collection::vec(matcher, 0..3);
        prop::collection::vec(list, 0..3)
            .prop_map(|lists| Match::from_json(&serde_json::json!(lists)).unwrap())
    }

    proptest! {
        #[test]
        fn what_is_found_is_what_holds(
            all in prop::collection::vec(matches(), 0..12),
            values in prop::array::uniform3(prop::sample::select(vec!["a", "b", "ab", ""])),
        ) {
            let mut index = MatchIndex::default();
            for (number, matches) in all.iter().enumerate() {
                index.add(number, matches);
            }
            let fields = Values(values);

            let found = index.find(|number| &all[number], &fields);

            let held: Vec<usize> =
                (0..all.len()).filter(|number| all[*number].holds(&fields)).collect();
            prop_assert_eq!(found, held);
        }
    }
}
