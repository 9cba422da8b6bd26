//! The templates of one grouping rule: found by the words they share with a text, learned online.
//!
//! A text's template is decided when it is seen and never changed later.

use std::collections::{BTreeSet, HashMap};

use super::{
    Matched, TEMPLATES_MAX,
    align::{self, SCORE_MAX, Summary, Unit},
    mask::Masked,
    template::Template,
};

/// What has to be written since the last time it was asked, by ascending id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TemplateChanges {
    pub changed: Vec<Template>,
    pub removed: Vec<i64>,
}

/// All templates of one grouping rule of a service, at most [`TEMPLATES_MAX`].
#[derive(Clone, Debug, Default)]
pub struct Templates {
    /// A place is given to another template only when its own has gone.
    places: Vec<Template>,
    /// By the hash of all units: the places of the templates that a text may equal.
    exact: HashMap<u64, Vec<usize>>,
    /// By the hash of a word: the places of the templates that have it.
    having: HashMap<u64, Vec<usize>>,
    /// When each was used last, and its place.
    by_use: BTreeSet<(i64, usize)>,
    /// Counts what was learned. A new template takes it as its id, and the template that was used
    /// last has it stored, which is never the one that goes: so no id is given twice.
    tick: i64,
    changed: BTreeSet<i64>,
    removed: BTreeSet<i64>,
}

impl TemplateChanges {
    pub fn is_empty(&self) -> bool {
        self.changed.is_empty() && self.removed.is_empty()
    }
}

/// Two that learned the same, in whatever order their rows were read.
impl PartialEq for Templates {
    fn eq(&self, other: &Self) -> bool {
        fn by_id(all: &Templates) -> std::collections::BTreeMap<i64, &Template> {
            all.iter().map(|template| (template.id, template)).collect()
        }
        by_id(self) == by_id(other)
    }
}

/// The place of the best template, and what it scores.
#[derive(Clone, Copy)]
struct Best {
    place: usize,
    score: u32,
}

impl Templates {
    /// Makes them from stored rows, in any order; past [`TEMPLATES_MAX`] the least recently used
    /// are left out.
    pub fn from_stored(mut rows: Vec<Template>) -> Self {
        rows.sort_by_key(|row| std::cmp::Reverse((row.used, row.id)));
        rows.truncate(TEMPLATES_MAX);
        let mut templates = Self::default();
        for template in rows {
            templates.tick = templates.tick.max(template.used).max(template.id);
            templates.places.push(template);
            templates.index(templates.places.len() - 1);
        }
        templates
    }

    pub fn len(&self) -> usize {
        self.places.len()
    }

    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// All of them, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = &Template> {
        self.places.iter()
    }

    /// The template of a text if one scores at least `threshold`: the best, of equals the newest.
    /// Learns nothing.
    pub fn find(&self, text: &Masked, threshold: u32) -> Option<Matched> {
        let units = text.units();
        let best = self.best(&units, threshold)?;
        Some(self.matched(&units, best))
    }

    /// The template of a text, made if there is none, and what the text teaches about it.
    pub fn learn(&mut self, text: &Masked, threshold: u32) -> Matched {
        let units = text.units();
        let best = self.best(&units, threshold);
        self.tick = self.tick.saturating_add(1);
        let Some(best) = best else { return self.add(text, &units) };
        let matched = self.matched(&units, best);
        let (place, is_other) = (best.place, best.score < SCORE_MAX);
        self.by_use.remove(&(self.places[place].used, place));
        self.places[place].used = self.tick;
        self.places[place].count = self.places[place].count.saturating_add(1);
        self.by_use.insert((self.tick, place));
        if is_other {
            self.teach(place, text, &units, best.score);
        }
        self.changed.insert(matched.template);
        matched
    }

    /// Returns what changed since the last call.
    pub fn take_changes(&mut self) -> TemplateChanges {
        let changed = std::mem::take(&mut self.changed);
        let mut changed: Vec<_> =
            self.places.iter().filter(|place| changed.contains(&place.id)).cloned().collect();
        changed.sort_by_key(|template| template.id);
        let removed = std::mem::take(&mut self.removed).into_iter().collect();
        TemplateChanges { changed, removed }
    }

    fn add(&mut self, text: &Masked, units: &[Unit]) -> Matched {
        let template = Template::new(self.tick, text);
        let id = template.id;
        let place = match self.by_use.first() {
            Some(&(_, place)) if self.places.len() >= TEMPLATES_MAX => {
                self.unindex(place);
                let gone = std::mem::replace(&mut self.places[place], template).id;
                self.changed.remove(&gone);
                self.removed.insert(gone);
                place
            }
            _ => {
                self.places.push(template);
                self.places.len() - 1
            }
        };
        self.index(place);
        self.changed.insert(id);
        let tokens = self.places[place].agreed(units);
        Matched { template: id, score: SCORE_MAX, is_new: true, tokens }
    }

    /// Lets a template take in a text that scored `score`, unless it were farther from it then:
    /// what was learned is found again.
    fn teach(&mut self, place: usize, text: &Masked, units: &[Unit], score: u32) {
        let mut template = self.places[place].clone();
        template.absorb(text, units);
        let is_known = template.units() == self.places[place].units();
        if !is_known && align::score_of(template.units(), units) >= score {
            self.unindex(place);
            self.places[place] = template;
            self.index(place);
        }
    }

    fn matched(&self, units: &[Unit], best: Best) -> Matched {
        let template = &self.places[best.place];
        Matched {
            template: template.id,
            score: best.score,
            is_new: false,
            tokens: template.agreed(units),
        }
    }

    fn index(&mut self, place: usize) {
        let template = &self.places[place];
        self.by_use.insert((template.used, place));
        self.exact.entry(align::hash_of(template.units())).or_default().push(place);
        for word in align::words_of(template.units()) {
            self.having.entry(word).or_default().push(place);
        }
    }

    fn unindex(&mut self, place: usize) {
        let template = &self.places[place];
        self.by_use.remove(&(template.used, place));
        forget(&mut self.exact, align::hash_of(template.units()), place);
        for word in align::words_of(template.units()) {
            forget(&mut self.having, word, place);
        }
    }

    fn best(&self, units: &[Unit], threshold: u32) -> Option<Best> {
        let equal = self.exact.get(&align::hash_of(units)).into_iter().flatten().copied();
        let equal = equal.filter(|&place| align::are_equal(self.places[place].units(), units));
        if let Some(place) = equal.max_by_key(|&place| self.places[place].id) {
            return Some(Best { place, score: SCORE_MAX });
        }
        let summary = Summary::of(units);
        let mut best: Option<Best> = None;
        for (place, shared) in self.candidates(units) {
            let template = &self.places[place];
            let weight = summary.weight.max(template.summary().weight);
            let least = best.map_or(threshold.max(1), |best| best.score);
            let most_cost = align::most_cost(least, weight);
            if align::least_cost(template.summary(), &summary, shared) > most_cost {
                continue;
            }
            let Some(cost) = align::cost_within(template.units(), units, most_cost) else {
                continue;
            };
            let score = align::score(cost, weight);
            let is_better = best
                .is_none_or(|best| (score, template.id) > (best.score, self.places[best.place].id));
            if score >= least && is_better {
                best = Some(Best { place, score });
            }
        }
        best
    }

    /// The places of the templates that share words with a text, and how many words: those that
    /// share most come first.
    fn candidates(&self, units: &[Unit]) -> Vec<(usize, usize)> {
        let mut shared = vec![0_usize; self.places.len()];
        let mut found = Vec::new();
        for word in align::words_of(units) {
            for &place in self.having.get(&word).into_iter().flatten() {
                if shared[place] == 0 {
                    found.push(place);
                }
                shared[place] += 1;
            }
        }
        let mut found: Vec<_> = found.into_iter().map(|place| (place, shared[place])).collect();
        found.sort_unstable_by_key(|&(place, shared)| (std::cmp::Reverse(shared), place));
        found
    }
}

fn forget(index: &mut HashMap<u64, Vec<usize>>, key: u64, place: usize) {
    if let Some(places) = index.get_mut(&key) {
        places.retain(|other| *other != place);
        if places.is_empty() {
            index.remove(&key);
        }
    }
}
