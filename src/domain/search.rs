//! How text becomes search tokens: one function for indexing, for queries and for both databases.

/// Longest token kept, in characters; longer ones are cut, in text and query alike.
const TOKEN_MAX_CHARS: usize = 64;

/// The tokens of a text: lower case, split at what is not alphanumeric. A run of Chinese, Japanese
/// or Korean characters, which has no spaces, becomes its overlapping pairs
/// and its last character.
pub fn tokens(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut word = String::new();
    let mut run: Vec<char> = Vec::new();
    for c in text.chars().flat_map(char::to_lowercase) {
        if is_cjk(c) {
            flush_word(&mut word, &mut found);
            run.push(c);
        } else {
            flush_run(&mut run, &mut found);
            if c.is_alphanumeric() {
                word.push(c);
            } else {
                flush_word(&mut word, &mut found);
            }
        }
    }
    flush_word(&mut word, &mut found);
    flush_run(&mut run, &mut found);
    found
}

/// What a query asks for: words that must all occur as the beginning of a token. Empty if the
/// query has no token, which then finds nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    words: Vec<String>,
}

impl Query {
    pub fn parse(text: &str) -> Self {
        let mut words = tokens(text);
        words.sort();
        words.dedup();
        words.truncate(32);
        Self { words }
    }

    pub fn words(&self) -> &[String] {
        &self.words
    }

    /// Whether each word begins one of the tokens of the texts.
    pub fn found_in<'a>(&self, texts: impl IntoIterator<Item = &'a str>) -> bool {
        let mut missing: Vec<&str> = self.words.iter().map(String::as_str).collect();
        for text in texts {
            if missing.is_empty() {
                break;
            }
            for token in tokens(text) {
                missing.retain(|word| !token.starts_with(word));
            }
        }
        !self.words.is_empty() && missing.is_empty()
    }
}

fn flush_word(word: &mut String, found: &mut Vec<String>) {
    if !word.is_empty() {
        found.push(word.chars().take(TOKEN_MAX_CHARS).collect());
        word.clear();
    }
}

fn flush_run(run: &mut Vec<char>, found: &mut Vec<String>) {
    found.extend(run.windows(2).map(|pair| pair.iter().collect::<String>()));
    // The last one alone, so that a query for a single character finds it too.
    found.extend(run.last().map(char::to_string));
    run.clear();
}

fn is_cjk(c: char) -> bool {
    matches!(u32::from(c),
        0x2e80..=0x2fdf | 0x3040..=0x30ff | 0x3400..=0x4dbf | 0x4e00..=0x9fff
        | 0xac00..=0xd7af | 0xf900..=0xfaff | 0x2_0000..=0x3_ffff)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_split_at_what_is_not_alphanumeric() {
        assert_eq!(
            tokens("DISK at 99% on srv-01/mysql"),
            ["disk", "at", "99", "on", "srv", "01", "mysql"]
        );
    }

    #[test]
    fn chinese_becomes_pairs() {
        assert_eq!(
            tokens("磁盘使用率high高"),
            ["磁盘", "盘使", "使用", "用率", "率", "high", "高"]
        );
    }

    #[test]
    fn all_words_must_begin_a_token_in_any_of_the_texts() {
        let query = Query::parse("Dis 使用");

        assert!(query.found_in(["the disk", "磁盘使用率"]));
        assert!(!query.found_in(["a redisk", "磁盘使用率"]));
        assert!(!Query::parse("!?").found_in(["anything"]));
    }
}
