//! Names and descriptions that people give to what they set up.

use super::service::NAME_MAX_CHARS;

/// Longest description or comment, in characters.
const DESCRIPTION_MAX_CHARS: usize = 2000;

/// Takes a name in any script, without blanks around it. Not what nobody can see, which would make
/// two names look alike, and nothing that reads as an id, which stands wherever a name does.
pub fn parse(text: &str) -> Result<String, String> {
    let name = text.trim();
    let chars = name.chars().count();
    if chars == 0 {
        return Err("is required".to_owned());
    }
    if chars > NAME_MAX_CHARS {
        return Err(format!("must have at most {NAME_MAX_CHARS} characters, has {chars}"));
    }
    if name.chars().any(is_unseen) {
        return Err("must not contain control or invisible characters".to_owned());
    }
    if uuid::Uuid::try_parse(name).is_ok() {
        return Err("must not look like an id".to_owned());
    }
    if matches!(name, "." | "..") {
        return Err("must be more than dots: it stands in paths".to_owned());
    }
    Ok(name.to_owned())
}

/// Whether a text may describe something: not too long, and no control characters but those that
/// lay text out.
pub fn check_description(text: &str) -> Result<(), String> {
    let chars = text.chars().count();
    if chars > DESCRIPTION_MAX_CHARS {
        return Err(format!("must have at most {DESCRIPTION_MAX_CHARS} characters, has {chars}"));
    }
    if text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t')) {
        return Err("must not contain control characters".to_owned());
    }
    Ok(())
}

/// Control characters, separators of lines, and the format characters that hide or turn text.
fn is_unseen(c: char) -> bool {
    c.is_control()
        || matches!(
            u32::from(c),
            0xad | 0x061c | 0x180e | 0x200b..=0x200f | 0x2028..=0x202e | 0x2060..=0x206f | 0xfeff
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_trimmed_and_in_any_script() {
        assert_eq!(parse("  支付 / payments-1  "), Ok("支付 / payments-1".to_owned()));
        assert_eq!(parse(&"磁".repeat(100)).map(|name| name.chars().count()), Ok(100));
    }

    #[test]
    fn a_name_that_is_empty_long_unseen_or_an_id_is_refused() {
        let long = "a".repeat(101);
        for wrong in [
            "",
            "  ",
            "a\u{0}",
            "a\nb",
            "a\u{202e}b",
            "\u{200b}",
            "..",
            long.as_str(),
            "0199f9a5-4d3b-7000-8000-000000000000",
        ] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
