//! The fields of one event, by name, and the JSON that Guance puts into strings.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
};

use crate::domain::enrich::{LABEL_NAME_MAX_CHARS, LABEL_VALUE_MAX_CHARS, LABELS_MAX};
use crate::wire::json::{self, Field, Unreadable};

/// What the details call these fields; all others keep their names.
const RENAMED: [(&str, &str); 3] =
    [("df_message", "description"), ("Result", "result"), ("date", "date")];
const WORKSPACE: [&str; 2] = ["df_workspace_uuid", "workspace_uuid"];
const DIMENSIONS: &str = "df_dimension_tags";
const LABEL: &str = "df_label";

/// Whether a field of this name holds a key, in whatever form: no part of the event.
pub(super) fn is_key(name: &str) -> bool {
    matches!(name, "routing_key" | "service_key")
}

/// The fields of an event in the order sent. Of duplicate names the last value counts.
#[derive(Debug, Default)]
pub(super) struct Fields<'a> {
    entries: Vec<(String, Field<'a>)>,
    places: HashMap<String, usize>,
}

impl<'a> Fields<'a> {
    pub(super) fn read(text: &'a str) -> Result<Self, Unreadable> {
        let mut fields = Self::default();
        json::for_each_entry(text, |name, value| {
            if let Some(place) = fields.places.get(name) {
                fields.entries[*place].1 = value;
            } else {
                fields.places.insert(name.to_owned(), fields.entries.len());
                fields.entries.push((name.to_owned(), value));
            }
        })?;
        Ok(fields)
    }

    fn get(&self, name: &str) -> Field<'a> {
        self.places.get(name).map(|place| self.entries[*place].1).unwrap_or_default()
    }

    /// The field as text whatever it is; `None` if it is blank.
    pub(super) fn text(&self, name: &str) -> Option<Cow<'a, str>> {
        self.get(name).lenient_text()
    }

    pub(super) fn owned(&self, name: &str) -> Option<String> {
        self.get(name).owned_text()
    }

    /// The first of these that is not blank.
    pub(super) fn first<const N: usize>(&self, names: [&str; N]) -> Option<Cow<'a, str>> {
        names.into_iter().find_map(|name| self.text(name))
    }

    /// The workspace's id.
    pub(super) fn workspace(&self) -> Option<Cow<'a, str>> {
        self.first(WORKSPACE)
    }

    /// All fields as one JSON object, every value as it was sent. A field whose name is taken by
    /// one that is renamed gets underscores behind it: what rules say of `details.description` is
    /// about the same field in every event.
    pub(super) fn details(&self) -> Box<str> {
        let mut members: Vec<(Cow<'_, str>, &str)> = Vec::with_capacity(self.entries.len());
        for (from, name) in RENAMED {
            members.extend(self.get(from).raw().map(|value| (name.into(), value)));
        }
        let taken = members.len();
        for (name, value) in &self.entries {
            if is_key(name) || RENAMED.iter().any(|(from, _)| from == name) {
                continue;
            }
            let mut shown = Cow::Borrowed(name.as_str());
            if members[..taken].iter().any(|(taken, _)| taken == name) {
                while self.places.contains_key(&*shown) {
                    shown += "_";
                }
            }
            members.extend(value.raw().map(|value| (shown, value)));
        }
        let mut object = String::from("{");
        for (name, value) in members {
            if object.len() > 1 {
                object.push(',');
            }
            object.push_str(&serde_json::Value::from(&*name).to_string());
            object.push(':');
            object.push_str(value);
        }
        object.push('}');
        object.into()
    }
}

/// What becomes labels.
#[derive(Debug)]
pub(super) struct Labels {
    /// In the order sent; `Err` has the text of what is no JSON object.
    dimensions: Result<Vec<(String, String)>, String>,
    label: Option<String>,
    workspace: Option<String>,
}

impl Labels {
    pub(super) fn read(fields: &Fields<'_>) -> Self {
        Self {
            dimensions: dimensions(fields.get(DIMENSIONS)),
            label: label(fields.get(LABEL)),
            workspace: fields.workspace().map(Cow::into_owned),
        }
    }

    pub(super) fn dimensions(&self) -> &Result<Vec<(String, String)>, String> {
        &self.dimensions
    }

    pub(super) fn dimension(&self, wanted: &str) -> Option<&str> {
        let mut dimensions = self.dimensions.iter().flatten().rev();
        dimensions.find(|(name, _)| name == wanted).map(|(_, value)| value.as_str())
    }

    pub(super) fn first_dimension(&self) -> Option<&str> {
        self.dimensions.iter().flatten().next().map(|(_, value)| value.as_str())
    }

    /// As an alert has them: so many, so long. What has too long a name is left to the details.
    pub(super) fn into_map(self) -> BTreeMap<String, String> {
        let cut = |value: String| match value.char_indices().nth(LABEL_VALUE_MAX_CHARS) {
            Some((end, _)) => value[..end].to_owned(),
            None => value,
        };
        let own = [("workspace", self.workspace), (LABEL, self.label)];
        let mut labels: BTreeMap<String, String> = own
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), cut(value?))))
            .collect();
        let own = labels.len();
        let dimensions = self.dimensions.unwrap_or_else(|text| vec![(DIMENSIONS.to_owned(), text)]);
        let mut tags: BTreeMap<String, String> = BTreeMap::new();
        for (name, value) in dimensions {
            let has_room = tags.len() + own < LABELS_MAX || tags.contains_key(&name);
            if has_room && name.chars().count() <= LABEL_NAME_MAX_CHARS {
                tags.insert(name, cut(value));
            }
        }
        for (name, value) in tags {
            labels.entry(name).or_insert(value);
        }
        labels
    }
}

fn dimensions(field: Field<'_>) -> Result<Vec<(String, String)>, String> {
    let Some(text) = field.lenient_text() else { return Ok(Vec::new()) };
    let mut dimensions = Vec::new();
    let read = json::check(text.as_bytes()).and_then(|text| {
        json::for_each_entry(text, |name, value| {
            dimensions.extend(value.owned_text().map(|value| (name.to_owned(), value)));
        })
    });
    if read.is_ok() { Ok(dimensions) } else { Err(text.into_owned()) }
}

/// The labels of a monitor, joined: `a,b`.
fn label(field: Field<'_>) -> Option<String> {
    let text = field.lenient_text()?;
    let mut labels = Vec::new();
    let read = json::check(text.as_bytes())
        .and_then(|text| json::for_each_element(text, |label| labels.extend(label.owned_text())));
    match read {
        Ok(()) if labels.is_empty() => None,
        Ok(()) => Some(labels.join(",")),
        Err(Unreadable) => Some(text.into_owned()),
    }
}
