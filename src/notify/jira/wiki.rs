//! Jira's wiki markup: what alerts say is shown as it was said, whatever is in it.
//!
//! Version 2 of the REST API takes it on Cloud and on Data Center. Source: Atlassian, "Text
//! formatting notation". Only what would act as markup is escaped, so that texts stay readable to
//! whoever reads them by the API.

/// Marks of a phrase (`*bold*`): only as long as one closes what another opens.
const MARKS: [char; 6] = ['*', '_', '-', '+', '^', '~'];

/// What becomes a picture when it stands in parentheses.
const PICTURES: [&str; 18] = [
    "y", "n", "i", "/", "x", "!", "+", "-", "?", "on", "off", "*", "*r", "*g", "*b", "*y", "flag",
    "flagoff",
];

/// What a backslash keeps from acting, and so what a backslash of the text must not stand before.
const ESCAPABLE: [char; 15] =
    ['\\', '*', '_', '-', '+', '^', '~', '{', '[', '|', '!', '?', '(', '#', ']'];

/// The text as a paragraph, or several.
pub(super) fn escape(text: &str) -> String {
    let lines: Vec<String> = clean(text).lines().map(|line| escape_line(line.trim_end())).collect();
    lines.join("\n")
}

/// The text as a cell of a table: one line, never empty.
pub(super) fn cell(text: &str) -> String {
    let line = line(text);
    if line.is_empty() { " ".to_owned() } else { escape_line(&line) }
}

/// The text in one line, with single blanks.
pub(super) fn line(text: &str) -> String {
    clean(text).split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The text as it is, in letters of equal width.
pub(super) fn verbatim(text: &str) -> String {
    let text = clean(text).replace("{noformat", "{ noformat");
    format!("{{noformat}}\n{}\n{{noformat}}", text.trim_end())
}

/// A link, if it leads somewhere on the web; else its text.
pub(super) fn link(text: &str, href: &str) -> String {
    let text = line(text);
    if !["http://", "https://", "mailto:"].iter().any(|scheme| href.starts_with(scheme)) {
        return cell(&text);
    }
    let mut target = String::new();
    for letter in clean(href).chars() {
        match letter {
            '|' | '[' | ']' | '{' | '}' | '!' | '"' | '\\' | ' ' | '\n' | '\t' => {
                target.push_str(&format!("%{:02X}", u32::from(letter)));
            }
            letter => target.push(letter),
        }
    }
    match text.as_str() {
        "" => format!("[{target}]"),
        text => format!("[{}|{target}]", escape_line(text).replace(']', "\\]")),
    }
}

/// The text up to so many UTF-16 units, which is what Jira counts, with `…` where it was cut.
pub(super) fn cut(text: &str, units: usize) -> String {
    if length(text) <= units {
        return text.to_owned();
    }
    let mut left = units.saturating_sub(1);
    let fits = |letter: &char| {
        let fits = letter.len_utf16() <= left;
        left = left.saturating_sub(letter.len_utf16());
        fits
    };
    let mut cut: String = text.chars().take_while(fits).collect();
    cut.push('…');
    cut
}

/// In UTF-16 units.
pub(super) fn length(text: &str) -> usize {
    text.chars().map(char::len_utf16).sum()
}

/// Without what no page shows, and some databases refuse.
fn clean(text: &str) -> String {
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    text.chars().filter(|letter| matches!(letter, '\n' | '\t') || !letter.is_control()).collect()
}

fn escape_line(line: &str) -> String {
    let letters: Vec<char> = line.chars().collect();
    let closers = MARKS.map(|mark| last_closer(&letters, mark));
    let twice = |pair: [char; 2]| letters.windows(2).filter(|two| *two == pair).count() > 1;
    let cited = twice(['?', '?']);
    let mut out = String::with_capacity(line.len() + 8);
    let mut at = 0;
    while at < letters.len() {
        let length = address(&letters[at..]);
        if length > 0 && !at.checked_sub(1).is_some_and(|at| letters[at].is_alphanumeric()) {
            out.extend(&letters[at..at + length]);
            at += length;
            continue;
        }
        let letter = letters[at];
        let (before, next) = (at.checked_sub(1).map(|at| letters[at]), letters.get(at + 1));
        let acts = match letter {
            '{' | '[' | '|' => true,
            '-' if before == Some('-') || next == Some(&'-') => true,
            '!' => {
                next.is_some_and(|next| !next.is_whitespace()) && letters[at + 1..].contains(&'!')
            }
            '?' => cited && (before == Some('?') || next == Some(&'?')),
            '(' => is_picture(&letters[at + 1..]),
            '#' => before.is_none() && next.is_none_or(|next| matches!(next, ' ' | '#' | '*')),
            mark => {
                let closer = MARKS.iter().position(|known| *known == mark);
                let closer = closer.and_then(|known| closers[known]);
                !before.is_some_and(char::is_alphanumeric)
                    && next.is_some_and(|next| !next.is_whitespace())
                    && closer.is_some_and(|closer| closer > at + 1)
            }
        };
        if acts {
            out.push('\\');
        }
        if letter == '\\' && next.is_some_and(|next| ESCAPABLE.contains(next)) {
            out.push_str("&#92;");
        } else {
            out.push(letter);
        }
        at += 1;
    }
    out
}

/// How many letters at the beginning are an address: Jira makes a link of it as it is.
fn address(letters: &[char]) -> usize {
    let begins = |scheme: &str| {
        letters.len() > scheme.len() && scheme.chars().zip(letters).all(|(a, b)| a == *b)
    };
    if !begins("https://") && !begins("http://") {
        return 0;
    }
    let ends = |letter: &char| {
        letter.is_whitespace() || !letter.is_ascii() || "<>\"|{}[]^\\`".contains(*letter)
    };
    letters.iter().position(ends).unwrap_or(letters.len())
}

/// Where the line has the last `mark` that could close a phrase.
fn last_closer(letters: &[char], mark: char) -> Option<usize> {
    let closes = |at: usize| {
        letters[at] == mark
            && at > 0
            && !letters[at - 1].is_whitespace()
            && letters.get(at + 1).is_none_or(|next| !next.is_alphanumeric())
    };
    (0..letters.len()).rev().find(|at| closes(*at))
}

fn is_picture(after: &[char]) -> bool {
    let inner: String = after.iter().take(8).take_while(|letter| **letter != ')').collect();
    PICTURES.contains(&inner.as_str()) && after.get(inner.chars().count()) == Some(&')')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_texts_stay_as_they_are() {
        for text in [
            "磁盘使用率为 100.00% (share)",
            "a - b, x_y_z, 5 * 3, -5 °C, C:\\new, ~80 %, 1+1, what?? a!",
            ">等级：critical    \n>实例：share".replace("    \n", "\n").as_str(),
            "- one\n* two",
            "see https://example.com/a_b_/c*d*?x=-1-&y=~2~ now",
        ] {
            assert_eq!(escape(text), text);
        }
    }

    #[test]
    fn what_would_be_markup_is_shown_as_it_was_written() {
        for (text, escaped) in [
            ("[CRITICAL] {code}", "\\[CRITICAL] \\{code}"),
            ("*bold* and _it_", "\\*bold* and \\_it_"),
            ("rm --force -rf-", "rm \\-\\-force \\-rf-"),
            ("a|b", "a\\|b"),
            ("!x.png! hm!", "\\!x.png! hm!"),
            ("f(x) (ok) (/)", "f\\(x) (ok) \\(/)"),
            ("??who?? me", "\\?\\?who\\?\\? me"),
            ("# comment", "\\# comment"),
            ("\\\\server\\[a]", "&#92;\\server&#92;\\[a]"),
            ("a\r\nb\u{0}\u{1b}[1m", "a\nb\\[1m"),
        ] {
            assert_eq!(escape(text), escaped, "{text}");
        }
    }

    #[test]
    fn a_cell_is_one_line_that_ends_no_table() {
        assert_eq!(cell("a | b\n||c"), "a \\| b \\|\\|c");
        assert_eq!(cell("\n"), " ");
    }

    #[test]
    fn a_link_cannot_be_broken_out_of() {
        assert_eq!(
            link("a]b|c", "https://x/?a=[1]|2 3"),
            "[a\\]b\\|c|https://x/?a=%5B1%5D%7C2%203]"
        );
        assert_eq!(link("a", "javascript:alert(1)"), "a");
        assert_eq!(link("", "https://x/"), "[https://x/]");
    }

    #[test]
    fn verbatim_text_ends_where_it_ends() {
        assert_eq!(verbatim("a {noformat} *b*\n"), "{noformat}\na { noformat} *b*\n{noformat}");
    }

    #[test]
    fn texts_are_cut_by_the_units_that_jira_counts() {
        assert_eq!(cut("磁盘", 2), "磁盘");
        assert_eq!(cut("磁盘满", 2), "磁…");
        assert_eq!(cut("😀😀😀", 4), "😀…");
        assert_eq!(length("a😀"), 3);
    }
}
