//! placeholder until merged
use std::sync::Arc;
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Masked(String);
impl Masked {
    pub fn of(text: &str) -> Self { Self(text.chars().filter(|c| !c.is_ascii_digit()).collect()) }
    pub fn of_fields<'a>(fields: impl Iterator<Item = &'a str>) -> Self { Self::of(&fields.collect::<Vec<_>>().join("\n")) }
}
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template { pub id: i64, text: String }
impl Template {
    pub fn to_stored(&self) -> String { self.text.clone() }
    pub fn from_stored(id: i64, text: &str) -> Option<Self> { Some(Self { id, text: text.to_owned() }) }
    pub fn shown(&self) -> String { self.text.clone() }
}
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Templates { rows: Vec<Arc<Template>>, changed: Vec<Arc<Template>> }
#[derive(Clone, Debug)]
pub struct Matched { pub template: i64, pub score: u32, pub is_new: bool, pub tokens: String }
#[derive(Clone, Debug, Default)]
pub struct TemplateChanges { pub changed: Vec<Template>, pub removed: Vec<i64> }
impl TemplateChanges { pub fn is_empty(&self) -> bool { self.changed.is_empty() && self.removed.is_empty() } }
impl Templates {
    pub fn from_stored(rows: Vec<Template>) -> Self { Self { rows: rows.into_iter().map(Arc::new).collect(), changed: vec![] } }
    pub fn find(&self, text: &Masked, _threshold: u32) -> Option<Matched> {
        self.rows.iter().find(|t| t.text == text.0).map(|t| Matched { template: t.id, score: 10_000, is_new: false, tokens: t.text.clone() })
    }
    pub fn learn(&mut self, text: &Masked, threshold: u32) -> Matched {
        if let Some(found) = self.find(text, threshold) { return found; }
        let id = self.rows.iter().map(|t| t.id).max().unwrap_or(0) + 1;
        let t = Arc::new(Template { id, text: text.0.clone() });
        self.rows.push(Arc::clone(&t)); self.changed.push(t);
        Matched { template: id, score: 10_000, is_new: true, tokens: text.0.clone() }
    }
    pub fn take_changes(&mut self) -> TemplateChanges {
        TemplateChanges { changed: std::mem::take(&mut self.changed).iter().map(|t| (**t).clone()).collect(), removed: vec![] }
    }
}
pub fn similarity(a: &Masked, b: &Masked) -> u32 { if a == b { 10_000 } else { 0 } }
