//! What setup starts from: nothing, or a configuration that lacks no more than its account.

use std::fs;
use std::path::Path;

use super::super::Failure;
use super::files::Existing;
use super::start;
use crate::config::secret::quoted;

/// The part of the configuration that is there before anything is asked. It stays as it is, line by line.
#[derive(Debug)]
pub(super) struct Base {
    text: String,
    tables: toml::Table,
}

impl Base {
    /// No more than a line on where it comes from.
    pub(super) fn nothing() -> Self {
        let text = "# Written by `mailsluice setup`. `mailsluice check` tells what is wrong with it; config/reference.toml in the\n\
                    # source has every key.\n";
        Self { text: text.into(), tables: toml::Table::new() }
    }

    /// What there is at `config`, where that lacks an account; what the package brings, where its units are here.
    ///
    /// # Errors
    /// Where the configuration has an account, or cannot be read, and must not be written over.
    pub(super) fn of(config: &Path, force: Existing) -> Result<Self, Failure> {
        let (force, shown) = (force == Existing::Replace, config.display());
        if force || !config.exists() {
            return Ok(if start::are_units_for(config) { Self::packaged() } else { Self::nothing() });
        }
        let text = fs::read_to_string(config).map_err(|error| {
            Failure::Said(format!("{shown} is there already and cannot be read ({error}): run this as root"))
        })?;
        let tables: Option<toml::Table> = text.parse().ok();
        match tables.filter(|tables| !tables.contains_key("account")) {
            Some(tables) => Ok(Self { text, tables }),
            None => Err(Failure::Said(format!(
                "{shown} is there already: `mailsluice --config {0} doctor` looks at it; with --force a new one takes its \
                 place, and it stays as {0}.bak",
                quoted(config)
            ))),
        }
    }

    fn packaged() -> Self {
        let text = include_str!("../../../config/packaged.toml");
        // It is read whole where it has been completed.
        Self { text: text.into(), tables: text.parse().unwrap_or_default() }
    }

    /// Whether this key stands at its top.
    pub(super) fn has(&self, key: &str) -> bool {
        self.tables.contains_key(key)
    }

    /// Its text, ready to be gone on with.
    pub(super) fn begun(&self) -> String {
        let mut text = self.text.clone();
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        text.push('\n');
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lacks_an_account_is_gone_on_with_and_the_rest_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.toml");
        assert!(!Base::of(&path, Existing::Keep).unwrap().has("listener"));
        fs::write(&path, "# mine\n[queue] # here\nmax_age = \"2d\"").unwrap();
        let base = Base::of(&path, Existing::Keep).unwrap();
        assert!(base.has("queue") && !base.has("listener"));
        assert_eq!(base.begun(), "# mine\n[queue] # here\nmax_age = \"2d\"\n\n");
        for refused in ["[[account]]\nname = \"a\"", "account = 1", "[queue"] {
            fs::write(&path, refused).unwrap();
            let said = Base::of(&path, Existing::Keep).unwrap_err().text();
            assert!(said.contains("is there already") && said.contains("--force"), "{said}");
            assert!(!Base::of(&path, Existing::Replace).unwrap().has("queue"), "what is written over does not count");
        }
    }

    #[test]
    fn the_packaged_configuration_is_complete_but_for_the_account() {
        let base = Base::packaged();
        assert!(base.has("listener") && !base.has("account"));
        let path = Path::new("/etc/mailsluice/config.toml");
        let around = crate::config::Surroundings::of(path);
        let errors = crate::config::Config::parse(&base.text, "config.toml", &around).unwrap_err();
        assert_eq!(
            errors.to_string(),
            "config.toml:1: account: found nothing, wanted at least one [[account]], which `mailsluice setup` adds"
        );
        assert!(base.text.contains(&format!("\"unix:{}\"", crate::config::SUBMISSION_SOCKET)));
    }
}
