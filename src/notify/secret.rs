//! Secrets of receivers: settings say where they are, this finds them, and keeps them out of what
//! is shown.

use std::{fs::File, io::Read as _, path::Path};

use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Map, Value};

/// Longest secret, in bytes.
const SECRET_MAX: u64 = 64 * 1024;

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

/// The text with each of the secrets masked.
pub fn mask(text: &str, secrets: &[&SecretString]) -> String {
    let mut masked = text.to_owned();
    for secret in secrets.iter().map(|secret| secret.expose_secret()) {
        // One that is shorter than that would tear holes into everything.
        if secret.len() >= 4 {
            masked = masked.replace(secret, MASK);
        }
    }
    masked
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
}
