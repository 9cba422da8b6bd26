//! Secrets of receivers: settings say where they are, this finds them, and keeps them out of what
//! is shown.

use std::{fs::File, io::Read as _, path::Path};

use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Map, Value};

/// Longest secret, in bytes.
const SECRET_MAX: u64 = 64 * 1024;

/// Shortest secret that is masked, in bytes.
const SECRET_MIN: usize = 4;

/// What stands in the place of a secret.
pub const MASK: &str = "…";

/// Where secrets are looked for: the environment of the process, and files.
#[derive(Clone, Copy, Debug)]
pub struct Secrets {
    environment: fn(&str) -> Option<String>,
}

impl Secrets {
    /// `environment` looks up a variable.
    pub fn new(environment: fn(&str) -> Option<String>) -> Self {
        Self { environment }
    }

    /// The secret `name`, where `settings` say `name_env` or `name_file`; `None` if they say neither.
    /// It is read anew each time, so a rotated one is taken at once. `Err`: what is missing.
    pub fn find(
        &self,
        settings: &Map<String, Value>,
        name: &str,
    ) -> Result<Option<SecretString>, String> {
        let text = |end: &str| settings.get(&format!("{name}{end}")).and_then(Value::as_str);
        if let Some(variable) = text("_env") {
            let value = (self.environment)(variable).filter(|value| !value.is_empty());
            return value.map(|value| Some(value.into())).ok_or_else(|| {
                format!(
                    "the secret {name} is gone: the environment variable {variable} is not set; \
                     start the gateway with it"
                )
            });
        }
        let Some(path) = text("_file") else { return Ok(None) };
        read(Path::new(path)).map(Some).map_err(|error| {
            format!("the secret {name} is gone: the file {path} cannot be read: {error}")
        })
    }

    /// As [`Secrets::find`], for one that there has to be.
    pub fn required(
        &self,
        settings: &Map<String, Value>,
        name: &str,
    ) -> Result<SecretString, String> {
        self.find(settings, name)?
            .ok_or_else(|| format!("the secret {name} is missing: set {name}_env or {name}_file"))
    }
}

/// The text of a small file, without the line break at its end.
fn read(path: &Path) -> Result<SecretString, String> {
    // Anything else might never end, or never begin.
    if !path.metadata().map_err(|error| error.to_string())?.is_file() {
        return Err("it is no file".to_owned());
    }
    let mut text = String::new();
    let file = File::open(path).map_err(|error| error.to_string())?;
    file.take(SECRET_MAX).read_to_string(&mut text).map_err(|error| error.to_string())?;
    let text = text.trim_end_matches(['\r', '\n']);
    if text.is_empty() { Err("it is empty".to_owned()) } else { Ok(text.into()) }
}

/// The text with each of the secrets masked, as it is or as URLs, JSON or HTML write it.
pub fn mask(text: &str, secrets: &[&SecretString]) -> String {
    // One that is shorter than that would tear holes into everything.
    let secrets = secrets.iter().map(|secret| secret.expose_secret());
    let secrets: Vec<&str> = secrets.filter(|secret| secret.len() >= SECRET_MIN).collect();
    let mut masked = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(letter) = rest.chars().next() {
        if let Some(behind) = secrets.iter().filter_map(|secret| behind(rest, secret)).min() {
            masked.push_str(MASK);
            rest = &rest[rest.len() - behind..];
        } else {
            masked.push(letter);
            rest = &rest[letter.len_utf8()..];
        }
    }
    masked
}

/// How many bytes there are behind `secret`, if the text begins with it.
fn behind(text: &str, secret: &str) -> Option<usize> {
    let raw = text.strip_prefix(secret).map(str::len);
    let written = secret.chars().try_fold(text, strip).map(str::len);
    raw.into_iter().chain(written).min()
}

/// What is behind `letter`, if the text begins with a way to write it.
fn strip(text: &str, letter: char) -> Option<&str> {
    let mut utf8 = [0; 4];
    let escaped = match text.as_bytes().first()? {
        b'%' => letter.encode_utf8(&mut utf8).bytes().try_fold(text, |text, byte| {
            let (digits, rest) = text.strip_prefix('%')?.split_at_checked(2)?;
            (u8::from_str_radix(digits, 16) == Ok(byte)).then_some(rest)
        }),
        b'+' if letter == ' ' => text.strip_prefix('+'),
        b'\\' if matches!(text.as_bytes().get(1), Some(b'"' | b'\\' | b'/')) => {
            text[1..].strip_prefix(letter)
        }
        b'\\' => letter.encode_utf16(&mut [0; 2]).iter().try_fold(text, |text, unit| {
            let (digits, rest) = text.strip_prefix("\\u")?.split_at_checked(4)?;
            (u16::from_str_radix(digits, 16) == Ok(*unit)).then_some(rest)
        }),
        b'&' => {
            let names = [('&', "&amp;"), ('"', "&quot;"), ('<', "&lt;"), ('>', "&gt;")];
            let name = names.iter().find(|(known, _)| *known == letter);
            name.and_then(|(_, name)| text.strip_prefix(name))
        }
        _ => None,
    };
    escaped.or_else(|| text.strip_prefix(letter))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn environment(name: &str) -> Option<String> {
        (name == "PD_KEY").then(|| "from the environment".to_owned())
    }

    fn find(settings: &Value) -> Result<Option<String>, String> {
        let secrets = Secrets::new(environment);
        let found = secrets.find(settings.as_object().unwrap(), "routing_key")?;
        Ok(found.map(|secret| secret.expose_secret().to_owned()))
    }

    #[test]
    fn a_secret_is_found_where_the_settings_say() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        std::fs::write(&path, "from a file\n").unwrap();

        assert_eq!(
            find(&json!({"routing_key_env": "PD_KEY"})),
            Ok(Some("from the environment".to_owned()))
        );
        assert_eq!(find(&json!({"routing_key_file": path})), Ok(Some("from a file".to_owned())));
        assert_eq!(find(&json!({})), Ok(None));
    }

    #[test]
    fn a_secret_that_is_gone_says_which_and_where_it_should_be() {
        let gone = find(&json!({"routing_key_env": "OLD_KEY"})).unwrap_err();
        assert!(gone.contains("routing_key") && gone.contains("OLD_KEY"), "{gone}");

        let directory = tempfile::tempdir().unwrap();
        let gone = find(&json!({"routing_key_file": directory.path()})).unwrap_err();
        assert!(gone.contains("it is no file"), "{gone}");
    }

    #[test]
    fn no_secret_is_left_in_what_is_shown() {
        let secret = SecretString::from("s3cret".to_owned());

        assert_eq!(mask("a s3cret, twice: s3cret", &[&secret]), "a …, twice: …");
    }

    #[test]
    fn a_secret_is_masked_however_it_is_written() {
        let secret = SecretString::from("a \"&/%ü".to_owned());

        for written in [
            "a \"&/%ü",
            "a \\\"&\\/%\\u00FC",
            "a\\u0020\\u0022\\u0026\\u002f\\u0025ü",
            "a%20%22%26%2F%25%C3%BC",
            "a+%22%26/%25%c3%bc",
            "a &quot;&amp;/%ü",
        ] {
            assert_eq!(mask(&format!("<{written}>"), &[&secret]), "<…>", "{written}");
        }
        assert_eq!(mask("a%20 \\u00 % & %2", &[&secret]), "a%20 \\u00 % & %2");
    }

    #[test]
    fn of_two_secrets_in_one_place_the_longer_is_masked() {
        let (short, long) = (SecretString::from("s3cret"), SecretString::from("s3cret-too"));

        assert_eq!(mask("s3cret-too", &[&short, &long]), "…");
    }
}
