//! Similarity: which texts tell of the same problem, without training and without a service.
//!
//! What varies is masked ([`Masked`]), then templates are learned online ([`Templates`]): a text
//! joins the template that it is nearest to, or makes a new one. Two texts that differ in a plain
//! word are two problems (`VM started`, `VM paused`), those that differ in numbers, addresses,
//! paths and names are one. It knows no alerts, incidents or time, and it stores nothing itself.

mod align;
mod mask;
mod template;
mod templates;
#[cfg(test)]
mod tests;
mod words;

pub use self::{
    mask::Masked,
    template::Template,
    templates::{TemplateChanges, Templates},
};

/// The score from which on a text belongs to a template, in ten-thousandths, unless a rule says
/// otherwise. Not the one that measures best on logs: see docs/adr/0015.
pub const THRESHOLD_DEFAULT: u32 = 8500;

/// Most templates of one grouping rule; the least recently used goes.
pub const TEMPLATES_MAX: usize = 1000;

/// The template that a text belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Matched {
    pub template: i64,
    /// How near they are, in ten-thousandths: 10,000 is equal but for what is masked.
    pub score: u32,
    /// Whether the template was made for this text.
    pub is_new: bool,
    /// The words that agreed, for the trace.
    pub tokens: String,
}

/// How alike two texts are, in ten-thousandths: 10,000 is equal but for what is masked, 0 has no
/// word in common.
pub fn similarity(a: &Masked, b: &Masked) -> u32 {
    align::score_of(&a.units(), &b.units())
}
