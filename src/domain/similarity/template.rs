//! One template: the words that its texts have in common and the places where they differ.

use serde::{Deserialize, Serialize};

use super::{
    align::{self, Step, Summary, Unit},
    mask::{self, Class, Masked, TOKENS_MAX, WILDCARD},
};

/// What texts of one problem look like, with all that the matcher has to know of it after a
/// restart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    pub id: i64,
    /// How many texts it has had.
    pub count: u64,
    /// When it was used last, in texts learned by the rule.
    pub(super) used: i64,
    slots: Vec<Slot>,
    units: Vec<Unit>,
    summary: Summary,
}

/// One place of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Slot {
    /// What stands between it and the place before.
    before: String,
    /// Empty unless it is a word.
    word: String,
    class: Class,
    is_optional: bool,
}

/// A template as it is stored: short names, because there are many.
#[derive(Serialize, Deserialize)]
struct Stored {
    #[serde(rename = "u")]
    used: i64,
    #[serde(rename = "n")]
    count: u64,
    /// What stands before, the class and the word.
    #[serde(rename = "s")]
    slots: Vec<(String, String, String)>,
}

/// The mark of a place that may be missing, after its class.
const OPTIONAL: &str = "?";

impl Slot {
    fn class_code(&self) -> String {
        let code = match self.class {
            Class::Variable => "v",
            Class::Wildcard => "*",
            Class::Soft => "s",
            Class::Letter => "l",
            Class::Word => "w",
            Class::Field => "|",
        };
        format!("{code}{}", if self.is_optional { OPTIONAL } else { "" })
    }

    fn from_codes((before, code, word): (String, String, String)) -> Option<Self> {
        let (code, is_optional) = match code.strip_suffix(OPTIONAL) {
            Some(code) => (code, true),
            None => (code.as_str(), false),
        };
        let class = match code {
            "v" => Class::Variable,
            "*" => Class::Wildcard,
            "s" => Class::Soft,
            "l" => Class::Letter,
            "w" => Class::Word,
            "|" => Class::Field,
            _ => return None,
        };
        let slot = Self { before, word, class, is_optional };
        (slot.word.is_empty() != slot.is_word()).then_some(slot)
    }

    fn is_word(&self) -> bool {
        matches!(self.class, Class::Word | Class::Soft | Class::Letter)
    }

    fn unit(&self) -> Unit {
        Unit::new(self.class, mask::hash(self.word.as_bytes()), self.is_optional)
    }
}

impl Template {
    /// The template of a first text.
    pub(super) fn new(id: i64, text: &Masked) -> Self {
        let slots = (0..text.tokens.len()).map(|at| slot(text, at)).collect();
        Self::of_slots(id, id, 1, slots)
    }

    fn of_slots(id: i64, used: i64, count: u64, slots: Vec<Slot>) -> Self {
        let units: Vec<Unit> = slots.iter().map(Slot::unit).collect();
        let summary = Summary::of(&units);
        Self { id, count, used, slots, units, summary }
    }

    pub(super) fn units(&self) -> &[Unit] {
        &self.units
    }

    pub(super) fn summary(&self) -> &Summary {
        &self.summary
    }

    /// Takes in a text that was found to be one of its own: where they differ, texts may differ.
    pub(super) fn absorb(&mut self, text: &Masked, units: &[Unit]) {
        let steps = align::steps(&self.units, units);
        let missing = steps.iter().filter(|step| matches!(step, Step::OnlySecond(_))).count();
        let may_grow = self.slots.len() + missing <= TOKENS_MAX;
        let mut slots = Vec::with_capacity(self.slots.len() + missing);
        for step in steps {
            match step {
                Step::Equal(at, _) => slots.push(self.slots[at].clone()),
                Step::Replaced(at, _) => slots.push(Slot {
                    class: Class::Wildcard,
                    word: String::new(),
                    ..self.slots[at].clone()
                }),
                Step::OnlyFirst(at) => {
                    slots.push(Slot { is_optional: true, ..self.slots[at].clone() });
                }
                Step::OnlySecond(at) if may_grow => {
                    slots.push(Slot { is_optional: true, ..slot(text, at) });
                }
                Step::OnlySecond(_) => {}
            }
        }
        *self = Self::of_slots(self.id, self.used, self.count, slots);
    }

    /// The words that a text has in common with it.
    pub(super) fn agreed(&self, units: &[Unit]) -> String {
        let mut agreed = String::new();
        for step in align::steps(&self.units, units) {
            if let Step::Equal(at, _) = step
                && self.slots[at].is_word()
            {
                if !agreed.is_empty() {
                    agreed.push(' ');
                }
                agreed.push_str(&self.slots[at].word);
            }
        }
        agreed
    }

    /// The text to store it as.
    pub fn to_stored(&self) -> String {
        let slots = self.slots.iter();
        let slots = slots.map(|s| (s.before.clone(), s.class_code(), s.word.clone())).collect();
        let stored = Stored { used: self.used, count: self.count, slots };
        serde_json::to_string(&stored).unwrap_or_default()
    }

    /// Reads what [`Template::to_stored`] wrote; `None` if it is anything else.
    pub fn from_stored(id: i64, text: &str) -> Option<Self> {
        let stored: Stored = serde_json::from_str(text).ok()?;
        let slots = stored.slots.into_iter().map(Slot::from_codes).collect::<Option<Vec<_>>>()?;
        (slots.len() <= TOKENS_MAX).then(|| Self::of_slots(id, stored.used, stored.count, slots))
    }

    /// The template as people read it: `DISK at <*> on machine <*>`.
    pub fn shown(&self) -> String {
        let mut shown = String::new();
        for slot in &self.slots {
            shown.push_str(&slot.before);
            match slot.class {
                Class::Variable | Class::Wildcard => shown.push_str(WILDCARD),
                Class::Field | Class::Soft | Class::Letter | Class::Word => {
                    shown.push_str(&slot.word);
                }
            }
        }
        shown
    }
}

fn slot(text: &Masked, at: usize) -> Slot {
    let token = &text.tokens[at];
    let gap_start = if at == 0 { 0 } else { text.tokens[at - 1].end as usize };
    let slot = Slot {
        before: text.shown[gap_start..token.start as usize].to_owned(),
        word: text.text(token).to_owned(),
        class: token.class,
        is_optional: false,
    };
    if slot.is_word() { slot } else { Slot { word: String::new(), ..slot } }
}
