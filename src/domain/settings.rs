//! The smaller settings of a service: flapping, auto-pause, storms.

use serde_json::{Value, json};

use super::{
    event::closed_enum,
    read::{FieldError, Place},
    time::Span,
};

const DAY: Span = Span::from_secs(86_400);
/// Longest time that changes are remembered for.
const WITHIN_MAX: Span = DAY;
const MUTE_MAX: Span = Span::from_secs(7 * 86_400);
const PAUSE_MAX: Span = DAY;
/// Most thresholds of a storm.
const THRESHOLDS_MAX: usize = 10;

closed_enum! {
    /// What happens to a key that flaps.
    FlappingMode { Off = "off", Mark = "mark", Mute = "mute" }
}

/// When a key counts as flapping, and what follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flapping {
    /// Changes within `within` that make it flap.
    pub max_changes: u32,
    pub within: Span,
    /// How long notifications wait at most, from the last change.
    pub mute: Span,
    pub mode: FlappingMode,
}

impl Default for Flapping {
    fn default() -> Self {
        Self {
            max_changes: 4,
            within: Span::from_secs(60 * 60),
            mute: Span::from_secs(120 * 60),
            mode: FlappingMode::Mark,
        }
    }
}

closed_enum! {
    /// Whose notifications are held.
    PauseWhen { Transient = "transient", Always = "always", Off = "off" }
}

/// Notifications of a new alert wait, in case it ends by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AutoPause {
    /// `for` in JSON.
    pub span: Span,
    pub when: PauseWhen,
}

impl Flapping {
    /// Nothing is watched.
    pub const OFF: Self =
        Self { max_changes: 4, within: Span::ZERO, mute: Span::ZERO, mode: FlappingMode::Off };

    /// Reads `{"max_changes": 4, "within": "60m", "mute": "120m", "mode": "mark"}`; what is left
    /// out is as shown.
    pub fn from_json(value: &Value, path: &str, errors: &mut Vec<FieldError>) -> Option<Self> {
        const KEYS: [&str; 4] = ["max_changes", "within", "mute", "mode"];
        let second = Span::from_secs(1);
        let mut place = Place::new(path, errors);
        let before = place.mistakes();
        let mut read = Self::default();
        for (key, value) in place.object(value)? {
            let mut place = place.member(key);
            match key.as_str() {
                "max_changes" => place.take(&mut read.max_changes, |p| p.number(value, 2..=50)),
                "within" => place.take(&mut read.within, |p| p.span(value, second..=WITHIN_MAX)),
                "mute" => place.take(&mut read.mute, |p| p.span(value, second..=MUTE_MAX)),
                "mode" => place.take(&mut read.mode, |p| {
                    p.named(value, FlappingMode::ALL, FlappingMode::as_str)
                }),
                _ => place.unknown(&KEYS),
            }
        }
        (place.mistakes() == before).then_some(read)
    }

    pub fn to_json(&self) -> Value {
        let Self { max_changes, within, mute, mode } = self;
        json!({"max_changes": max_changes, "within": within, "mute": mute, "mode": mode})
    }
}

impl AutoPause {
    /// Nothing waits.
    pub const OFF: Self = Self { span: Span::ZERO, when: PauseWhen::Off };

    /// Reads `{"for": "2m", "when": "transient"}`.
    pub fn from_json(value: &Value, path: &str, errors: &mut Vec<FieldError>) -> Option<Self> {
        let mut place = Place::new(path, errors);
        let before = place.mistakes();
        let object = place.object(value)?;
        let (mut span, mut when) = (None, PauseWhen::Transient);
        for (key, value) in object {
            let mut place = place.member(key);
            match key.as_str() {
                "for" => span = place.span(value, Span::from_secs(1)..=PAUSE_MAX),
                "when" => {
                    place.take(&mut when, |p| p.named(value, PauseWhen::ALL, PauseWhen::as_str));
                }
                _ => place.unknown(&["for", "when"]),
            }
        }
        place.needs(object, "for", "is required: a duration such as \"2m\"");
        let span = span?;
        (place.mistakes() == before).then_some(Self { span, when })
    }

    pub fn to_json(&self) -> Value {
        json!({"for": self.span, "when": self.when})
    }
}

/// Reads the thresholds of a storm: `[50, 500]`.
pub(super) fn storm_from_json(
    value: &Value,
    path: &str,
    errors: &mut Vec<FieldError>,
) -> Option<Vec<u32>> {
    let mut place = Place::new(path, errors);
    let before = place.mistakes();
    let mut thresholds = Vec::new();
    for (i, item) in place.list(value, THRESHOLDS_MAX)?.iter().enumerate() {
        let mut place = place.item(i);
        let Some(threshold) = place.number(item, 2..=u32::MAX) else { continue };
        if thresholds.last().is_some_and(|last| *last >= threshold) {
            place.wrong("must be greater than the one before");
        }
        thresholds.push(threshold);
    }
    (place.mistakes() == before).then_some(thresholds)
}
