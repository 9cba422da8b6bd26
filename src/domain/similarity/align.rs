//! Alignment: how far two sequences of tokens are from each other, and which tokens agree.
//!
//! An edit distance whose costs say what a difference means: between two plain words it is
//! another problem, between a word and a number perhaps, between two values not at all.

use super::mask::{Class, TOKENS_MAX, Token};

/// Score of what is equal, in ten-thousandths.
pub(super) const SCORE_MAX: u32 = 10_000;

/// What an alignment compares of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unit {
    pub(super) class: Class,
    pub(super) hash: u64,
    /// May be missing: it was, in a text of the template.
    pub(super) is_optional: bool,
}

impl From<&Token> for Unit {
    fn from(token: &Token) -> Self {
        Self::new(token.class, token.hash, false)
    }
}

impl Unit {
    pub(super) fn new(class: Class, hash: u64, is_optional: bool) -> Self {
        Self { class, hash, is_optional }
    }

    fn equals(&self, other: &Self) -> bool {
        self.hash == other.hash
            && (self.class == other.class || (self.is_word() && other.is_word()))
    }

    fn is_word(&self) -> bool {
        matches!(self.class, Class::Word | Class::Soft | Class::Letter)
    }
}

/// How much a token counts.
pub(super) fn weight(class: Class) -> u32 {
    match class {
        Class::Word => 20,
        Class::Soft => 12,
        Class::Letter => 10,
        Class::Variable | Class::Wildcard => 4,
        Class::Field => 1,
    }
}

/// What a text or template counts as a whole; a part that may be missing does not count.
fn weight_of(units: &[Unit]) -> u32 {
    units.iter().filter(|unit| !unit.is_optional).map(|unit| weight(unit.class)).sum()
}

/// A hash of all units, equal for those that [`are_equal`].
pub(super) fn hash_of(units: &[Unit]) -> u64 {
    units.iter().fold(units.len() as u64, |hash, unit| {
        let unit = match unit.class {
            Class::Variable => 1,
            Class::Wildcard => 2,
            Class::Field => 3,
            Class::Soft | Class::Letter | Class::Word => unit.hash,
        };
        (hash.rotate_left(5) ^ unit).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    })
}

pub(super) fn are_equal(a: &[Unit], b: &[Unit]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.equals(b))
}

/// The words of a text or template, each once.
pub(super) fn words_of(units: &[Unit]) -> impl Iterator<Item = u64> {
    units.iter().enumerate().filter_map(|(at, unit)| {
        let is_first = !units[..at].iter().any(|before| before.hash == unit.hash);
        (unit.is_word() && is_first).then_some(unit.hash)
    })
}

/// The least that it costs if `shared` words of `a` are in `b` too, quicker to know than the cost:
/// each plain word that is not shared stands for something else.
pub(super) fn least_cost(a: &Summary, b: &Summary, shared: usize) -> u32 {
    let one_side = |of: &Summary, other: &Summary| {
        let unshared = u32::try_from(of.plain_words.saturating_sub(shared)).unwrap_or(u32::MAX);
        unshared.saturating_mul(if other.has_wildcard { 3 } else { 10 })
    };
    one_side(a, b).max(one_side(b, a))
}

/// What is known of a text or template before it is aligned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Summary {
    pub(super) weight: u32,
    /// How many different plain words it must have.
    plain_words: usize,
    has_wildcard: bool,
}

impl Summary {
    pub(super) fn of(units: &[Unit]) -> Self {
        let is_plain = |unit: &&Unit| unit.class == Class::Word && !unit.is_optional;
        let is_first = |at: usize, unit: &Unit| {
            !units[..at].iter().filter(is_plain).any(|before| before.hash == unit.hash)
        };
        let plain = units.iter().enumerate().filter(|(_, unit)| is_plain(unit));
        Self {
            weight: weight_of(units),
            plain_words: plain.filter(|(at, unit)| is_first(*at, unit)).count(),
            has_wildcard: units.iter().any(|unit| unit.class == Class::Wildcard),
        }
    }
}

fn share_a_word(a: &[Unit], b: &[Unit]) -> bool {
    words_of(a).any(|word| b.iter().any(|unit| unit.is_word() && unit.hash == word))
}

/// What it costs that one stands in the place of the other, against the weights above.
///
/// Two plain words cost twice their weight, so that one of them in fewer than fourteen makes
/// another problem at the default threshold; what looks like a value costs a fraction of it.
/// Symmetric; zero only for equal ones.
fn replace_cost(a: &Unit, b: &Unit) -> u32 {
    use Class::{Field, Letter, Soft, Variable, Wildcard, Word};
    if a.equals(b) {
        return 0;
    }
    match (a.class, b.class) {
        (Field, _) | (_, Field) => IMPOSSIBLE,
        (Wildcard, Soft | Variable | Wildcard) | (Soft | Variable, Wildcard) => 1,
        (Wildcard, _) | (_, Wildcard) | (Variable, Soft | Variable) | (Soft, Variable) => 3,
        (Soft, Soft) => 4,
        (Soft, Word) | (Word, Soft) => 10,
        (Letter | Variable, _) | (_, Letter | Variable) => 20,
        (Word, Word) => 40,
    }
}

/// What it costs that only one of both has it.
fn gap_cost(unit: &Unit) -> u32 {
    if unit.is_optional {
        return 1;
    }
    match unit.class {
        Class::Word => 45,
        Class::Soft => 8,
        Class::Letter => 10,
        Class::Variable | Class::Wildcard => 12,
        Class::Field => IMPOSSIBLE,
    }
}

/// More than any weight of a text: the end of a field stands for nothing else.
const IMPOSSIBLE: u32 = 2000;

/// One step of an alignment, by positions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Equal(usize, usize),
    Replaced(usize, usize),
    /// Only the first has it.
    OnlyFirst(usize),
    OnlySecond(usize),
}

/// The cost of `a` against `b`, if it is at most `most`.
pub(super) fn cost_within(a: &[Unit], b: &[Unit], most: u32) -> Option<u32> {
    let (prefix, suffix) = common_ends(a, b);
    let (a, b) = (&a[prefix..a.len() - suffix], &b[prefix..b.len() - suffix]);
    if a.is_empty() || b.is_empty() {
        return Some(a.iter().chain(b).map(gap_cost).sum()).filter(|cost| *cost <= most);
    }
    let mut row = [0_u32; ROW];
    for (at, unit) in b.iter().enumerate() {
        row[at + 1] = row[at] + gap_cost(unit);
    }
    for first in a {
        let gap = gap_cost(first);
        let mut diagonal = row[0];
        row[0] += gap;
        for (at, second) in b.iter().enumerate() {
            let replaced = diagonal + replace_cost(first, second);
            let only_first = row[at + 1] + gap;
            let only_second = row[at] + gap_cost(second);
            diagonal = row[at + 1];
            row[at + 1] = replaced.min(only_first).min(only_second);
        }
        // Costs only grow from row to row.
        if row[..=b.len()].iter().all(|cost| *cost > most) {
            return None;
        }
    }
    Some(row[b.len()]).filter(|cost| *cost <= most)
}

/// The costs before and after each token; a template never has more of them than a text.
const ROW: usize = TOKENS_MAX + 1;

/// The steps of the cheapest alignment, replacing preferred to leaving out.
pub(super) fn steps(a: &[Unit], b: &[Unit]) -> Vec<Step> {
    let (prefix, suffix) = common_ends(a, b);
    let mut steps: Vec<Step> = (0..prefix).map(|at| Step::Equal(at, at)).collect();
    let (inner_a, inner_b) = (&a[prefix..a.len() - suffix], &b[prefix..b.len() - suffix]);
    // table[i][j]: cost of what is after i and j.
    let width = inner_b.len() + 1;
    let mut table = vec![0_u32; (inner_a.len() + 1) * width];
    for i in (0..=inner_a.len()).rev() {
        for j in (0..=inner_b.len()).rev() {
            let here = i * width + j;
            table[here] = match (inner_a.get(i), inner_b.get(j)) {
                (None, None) => 0,
                (Some(first), None) => table[here + width] + gap_cost(first),
                (None, Some(second)) => table[here + 1] + gap_cost(second),
                (Some(first), Some(second)) => (table[here + width + 1]
                    + replace_cost(first, second))
                .min(table[here + width] + gap_cost(first))
                .min(table[here + 1] + gap_cost(second)),
            };
        }
    }
    let (mut i, mut j) = (0, 0);
    while i < inner_a.len() || j < inner_b.len() {
        let here = i * width + j;
        let (first, second) = (inner_a.get(i), inner_b.get(j));
        if let (Some(first), Some(second)) = (first, second)
            && table[here] == table[here + width + 1] + replace_cost(first, second)
        {
            let both = (prefix + i, prefix + j);
            steps.push(if first.equals(second) {
                Step::Equal(both.0, both.1)
            } else {
                Step::Replaced(both.0, both.1)
            });
            (i, j) = (i + 1, j + 1);
        } else if first.is_some_and(|first| table[here] == table[here + width] + gap_cost(first)) {
            steps.push(Step::OnlyFirst(prefix + i));
            i += 1;
        } else {
            steps.push(Step::OnlySecond(prefix + j));
            j += 1;
        }
    }
    steps.extend((0..suffix).rev().map(|at| Step::Equal(a.len() - 1 - at, b.len() - 1 - at)));
    steps
}

/// How many units at the beginning and at the end are equal; they do not overlap, and they end in
/// words: which of two neighbours a variable stands for is left to the alignment.
fn common_ends(a: &[Unit], b: &[Unit]) -> (usize, usize) {
    let equal = |(a, b): &(&Unit, &Unit)| a.equals(b);
    let mut prefix = a.iter().zip(b).take_while(equal).count();
    if prefix == a.len().max(b.len()) {
        return (prefix, 0);
    }
    while prefix > 0 && !a[prefix - 1].is_word() {
        prefix -= 1;
    }
    let (a, b) = (&a[prefix..], &b[prefix..]);
    let mut suffix = a.iter().rev().zip(b.iter().rev()).take_while(equal).count();
    while suffix > 0 && !a[a.len() - suffix].is_word() {
        suffix -= 1;
    }
    (prefix, suffix)
}

/// The highest cost that still scores `least`.
pub(super) fn most_cost(least: u32, weight: u32) -> u32 {
    SCORE_MAX.saturating_sub(least) * weight / SCORE_MAX
}

/// How alike two sequences are; nothing in common but variables is nothing.
pub(super) fn score_of(a: &[Unit], b: &[Unit]) -> u32 {
    if are_equal(a, b) {
        return SCORE_MAX;
    }
    if !share_a_word(a, b) {
        return 0;
    }
    let cost = cost_within(a, b, u32::MAX).unwrap_or(u32::MAX);
    score(cost, weight_of(a).max(weight_of(b)))
}

/// A cost as a score, against the weight of the heavier one.
pub(super) fn score(cost: u32, weight: u32) -> u32 {
    let lost = cost.saturating_mul(SCORE_MAX).div_ceil(weight.max(1));
    SCORE_MAX.saturating_sub(lost)
}
