//! What a trigger looks like to matchers and rules.

use std::{borrow::Cow, cell::OnceCell};

use serde_json::Value;

use super::{
    event::{Action, Content},
    matcher::{Field, Fields, details_in},
};

/// A trigger's fields by name. Made once for all rules: the details are parsed at most once, and
/// not at all if no rule looks at them.
#[derive(Debug)]
pub struct TriggerFields<'a> {
    pub content: &'a Content,
    /// `""` if the event came without one.
    pub dedup_key: &'a str,
    pub integration: &'a str,
    pub service: &'a str,
    pub details: &'a ParsedDetails,
}

/// The custom details of one event, parsed when first looked at.
#[derive(Debug, Default)]
pub struct ParsedDetails(OnceCell<Value>);

impl ParsedDetails {
    fn of(&self, content: &Content) -> &Value {
        self.0.get_or_init(|| {
            let text = content.custom_details.as_deref();
            text.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
        })
    }
}

impl Fields for TriggerFields<'_> {
    fn field(&self, field: &Field) -> Cow<'_, str> {
        let content = self.content;
        let text = match field {
            Field::Summary => &content.summary,
            Field::Source => content.source.as_deref().unwrap_or(self.integration),
            Field::Severity => content.severity.as_str(),
            Field::Component => content.component.as_deref().unwrap_or(""),
            Field::Group => content.group.as_deref().unwrap_or(""),
            Field::Class => content.class.as_deref().unwrap_or(""),
            Field::Client => content.client.as_deref().unwrap_or(""),
            Field::DedupKey => self.dedup_key,
            Field::Integration => self.integration,
            Field::Service => self.service,
            Field::Action => Action::Trigger.as_str(),
            Field::Label(name) => content.labels.get(name).map_or("", String::as_str),
            Field::Details(path) => {
                return details_in(self.details.of(content), path).unwrap_or_default();
            }
        };
        text.into()
    }
}
