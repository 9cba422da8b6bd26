//! What the value of a matcher says about a text, in the form that is cheapest to judge.

use regex::{Regex, RegexBuilder};
use regex_syntax::{
    ParserBuilder,
    hir::{Class, Hir, HirKind, Look},
};

/// Largest compiled regular expression, in bytes; bounds what one matcher can cost in memory.
pub(super) const REGEX_SIZE_LIMIT: usize = 256 * 1024;

/// A set of texts.
#[derive(Clone, Debug)]
pub(super) enum Pattern {
    /// These, sorted.
    OneOf(Box<[Box<str>]>),
    StartsWith(Box<str>),
    EndsWith(Box<str>),
    Contains(Box<str>),
    Regex {
        regex: Regex,
        /// As it was given; `regex` may be a shorter way to say it.
        source: Box<str>,
    },
}

impl Pattern {
    /// This text only.
    pub(super) fn exactly(text: &str) -> Self {
        Self::OneOf(Box::new([text.into()]))
    }

    /// The texts that a regular expression matches from end to end. The dot stands for a line
    /// break too, so that `.*` is everything. `Err` says what is wrong with it.
    pub(super) fn of_regex(source: &str) -> Result<Self, String> {
        let plain = |text: &str| {
            !text.contains(['\\', '.', '+', '*', '?', '^', '$'])
                && !text.contains(['(', ')', '[', ']', '{', '}'])
        };
        if plain(source) {
            let mut texts: Vec<Box<str>> = source.split('|').map(Into::into).collect();
            texts.sort_unstable();
            texts.dedup();
            return Ok(Self::OneOf(texts.into()));
        }
        let (open_start, rest) =
            source.strip_prefix(".*").map_or((false, source), |rest| (true, rest));
        let (open_end, inner) = rest.strip_suffix(".*").map_or((false, rest), |rest| (true, rest));
        if plain(inner) && !inner.contains('|') {
            match (open_start, open_end) {
                (true, true) => return Ok(Self::Contains(inner.into())),
                (true, false) => return Ok(Self::EndsWith(inner.into())),
                (false, true) => return Ok(Self::StartsWith(inner.into())),
                (false, false) => {}
            }
        }
        // On its own first: `a)(b` would be whole again between the anchors.
        let regex = RegexBuilder::new(&anchored(source, &parse(source)?))
            .dot_matches_new_line(true)
            .size_limit(REGEX_SIZE_LIMIT)
            .build()
            .map_err(|error| last_line(&error.to_string()))?;
        Ok(Self::Regex { regex, source: source.into() })
    }

    pub(super) fn holds(&self, text: &str) -> bool {
        match self {
            Self::OneOf(texts) => match &**texts {
                [only] => **only == *text,
                texts => texts.binary_search_by(|it| (**it).cmp(text)).is_ok(),
            },
            Self::StartsWith(prefix) => text.starts_with(&**prefix),
            Self::EndsWith(suffix) => text.ends_with(&**suffix),
            Self::Contains(inner) => text.contains(&**inner),
            Self::Regex { regex, .. } => regex.is_match(text),
        }
    }

    /// The length from which on every text is in the set; `None` if there is no such.
    pub(super) fn everything_from(&self) -> Option<u32> {
        match self {
            Self::OneOf(_) => None,
            Self::StartsWith(inner) | Self::EndsWith(inner) | Self::Contains(inner) => {
                inner.is_empty().then_some(0)
            }
            Self::Regex { source, .. } => everything_from(&parse(source).ok()?),
        }
    }

    /// Whether no text is in the set.
    pub(super) fn is_nothing(&self) -> bool {
        match self {
            Self::Regex { source, .. } => {
                parse(source).is_ok_and(|hir| hir.properties().minimum_len().is_none())
            }
            Self::OneOf(_) | Self::StartsWith(_) | Self::EndsWith(_) | Self::Contains(_) => false,
        }
    }
}

fn parse(source: &str) -> Result<Hir, String> {
    let parsed = ParserBuilder::new().dot_matches_new_line(true).build().parse(source);
    parsed.map_err(|error| last_line(&error.to_string()))
}

/// An expression that finds what `source` matches from end to end. `.*` at an end is left out and
/// so is the anchor there: to search for the rest is several times faster.
fn anchored(source: &str, hir: &Hir) -> String {
    let (first, last) = match hir.kind() {
        HirKind::Concat(parts) => (parts.first(), parts.last()),
        _ => (None, None),
    };
    // Flags would hold for less when a part is cut off, and what is cut off could belong to
    // something else: `\\.*`, `.*?`.
    let has_flags = source.split("(?").skip(1).any(|group| !group.starts_with([':', 'P', '<']));
    let is_open = |part: Option<&Hir>| !has_flags && part.and_then(least_repeated) == Some(0);
    let can_be = |rest: &&str| parse(rest).is_ok();
    let after = source.strip_prefix(".*").filter(|_| is_open(first)).filter(can_be);
    let (start, rest) = after.map_or(("^", source), |rest| ("", rest));
    let before = rest.strip_suffix(".*").filter(|_| is_open(last)).filter(can_be);
    let (end, inner) = before.map_or(("$", rest), |rest| ("", rest));
    format!("{start}(?:{inner}){end}")
}

/// How often at least, if `hir` is any character so often or more.
fn least_repeated(hir: &Hir) -> Option<u32> {
    let HirKind::Repetition(repeated) = hir.kind() else { return None };
    let HirKind::Class(Class::Unicode(class)) = repeated.sub.kind() else { return None };
    let is_any = class.iter().map(|r| (r.start(), r.end())).eq([('\0', char::MAX)]);
    (is_any && repeated.max.is_none()).then_some(repeated.min)
}

/// The least number of characters from which on `hir` matches every text, if that can be seen:
/// `.*` 0, `.+` 1, `(x|.+)?` 0.
fn everything_from(hir: &Hir) -> Option<u32> {
    let least = match hir.kind() {
        HirKind::Empty | HirKind::Literal(_) | HirKind::Class(_) | HirKind::Look(_) => None,
        HirKind::Capture(inner) => everything_from(&inner.sub),
        HirKind::Alternation(all) => all.iter().filter_map(everything_from).min(),
        HirKind::Repetition(repeated) => {
            let of_sub = || everything_from(&repeated.sub);
            let once = repeated.min <= 1 && repeated.max != Some(0);
            least_repeated(hir).or_else(|| once.then(of_sub).flatten())
        }
        HirKind::Concat(parts) => {
            let is = |part: &&Hir, look| matches!(part.kind(), HirKind::Look(l) if *l == look);
            let starts = parts.iter().take_while(|part| is(part, Look::Start)).count();
            let ends = parts.iter().rev().take_while(|part| is(part, Look::End)).count();
            let inner = parts.get(starts..parts.len() - ends).unwrap_or_default();
            let mut least = None;
            for part in inner {
                let needed = part.properties().minimum_len() != Some(0)
                    || !part.properties().look_set().is_empty();
                match everything_from(part) {
                    Some(n) => least = Some(least.unwrap_or(0) + n),
                    None if needed => return None,
                    None => {}
                }
            }
            least
        }
    };
    let properties = hir.properties();
    let takes_nothing = properties.minimum_len() == Some(0) && properties.look_set().is_empty();
    match least {
        Some(1) if takes_nothing => Some(0),
        least => least,
    }
}

/// What an error of a regular expression says, without the picture above it.
pub(super) fn last_line(text: &str) -> String {
    text.lines().last().unwrap_or(text).trim_start_matches("error: ").to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pattern(source: &str) -> Pattern {
        Pattern::of_regex(source).unwrap()
    }

    #[test]
    fn what_needs_no_regular_expression_has_none() {
        assert!(matches!(pattern("critical|error"), Pattern::OneOf(_)));
        assert!(matches!(pattern("test-.*"), Pattern::StartsWith(_)));
        assert!(matches!(pattern(".*-test"), Pattern::EndsWith(_)));
        assert!(matches!(pattern(".*disk.*"), Pattern::Contains(_)));
        assert!(matches!(pattern("a.c|d"), Pattern::Regex { .. }));
        assert!(matches!(pattern("a|b.*"), Pattern::Regex { .. }));
    }

    #[test]
    fn what_accepts_everything_is_seen() {
        for source in [".*", "(.*)", "^.*$", ".*|x", "(?:.+)?", r"[\s\S]*", ".{0,}", "x?.*", ".*.*"]
        {
            assert_eq!(pattern(source).everything_from(), Some(0), "{source}");
        }
        for source in [".+", "(.+|x)", ".*.+", "^(.+)$"] {
            assert_eq!(pattern(source).everything_from(), Some(1), "{source}");
        }
        for source in ["x", "x.*", "[^x]*", ".", "(?-s).*", ".?", r"\b.*", "a|b", ""] {
            assert_eq!(pattern(source).everything_from(), None, "{source}");
        }
        assert!(pattern(r"[^\s\S]").is_nothing());
        assert!(!pattern("x?").is_nothing());
    }

    #[test]
    fn a_regular_expression_has_to_be_whole_and_small() {
        for source in ["(", "a)(b", "(?:a{1000}){1000}", "x{2,1}"] {
            assert!(Pattern::of_regex(source).is_err(), "{source}");
        }
    }

    fn expression() -> impl Strategy<Value = String> {
        let leaf = prop::sample::select(vec![
            ".*", ".+", ".", "a", "b", "ab", "[ab]", "[^a]", "\n", "^", "$", "", "(?i)B",
            "(?-s).*", r"\b", ".*?", "(.*)", "磁",
        ]);
        leaf.prop_map(str::to_owned).prop_recursive(3, 12, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 1..4).prop_map(|all| all.concat()),
                (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("{a}|{b}")),
                inner.prop_map(|a| format!("(?:{a})?")),
            ]
        })
    }

    proptest! {
        #[test]
        fn a_shorter_way_to_say_it_means_the_same(
            source in expression(), texts in prop::collection::vec("[abB \n磁]{0,5}", 8),
        ) {
            let regex = Regex::new(&format!("^(?s:{source})$")).unwrap();
            let pattern = pattern(&source);

            for text in texts {
                prop_assert_eq!(pattern.holds(&text), regex.is_match(&text), "{} {:?}", source, text);
            }
            if let Some(from) = pattern.everything_from() {
                for text in ["", "\n", "a\nB"].iter().filter(|text| text.len() >= from as usize) {
                    prop_assert!(pattern.holds(text), "{} {:?}", source, text);
                }
            }
        }

        #[test]
        fn the_cheap_forms_mean_what_the_regular_expression_says(
            start in prop::bool::ANY, end in prop::bool::ANY,
            inner in "[ab\n磁]{0,3}(\\|[ab]{0,2})?", text in "[ab\n磁]{0,5}",
        ) {
            let dots = |open: bool| if open { ".*" } else { "" };
            let source = format!("{}{inner}{}", dots(start), dots(end));
            let regex = Regex::new(&format!("^(?s:{source})$")).unwrap();

            prop_assert_eq!(pattern(&source).holds(&text), regex.is_match(&text), "{}", source);
        }
    }
}
