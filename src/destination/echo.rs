//! What an endpoint says back. In: what Andon knows of an endpoint and never shows (the path of its address, credentials), and a text of
//! that endpoint. Out: the text without any of it, because many servers repeat what they were asked (`Cannot POST /hooks/token`).

use std::fmt;

/// The secrets of one endpoint. `Debug` hides them.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Echo {
    /// The longest come first, so that a secret which holds another one goes as a whole.
    secrets: Vec<String>,
}

impl Echo {
    /// Takes what is never to be shown.
    pub fn of(secrets: impl IntoIterator<Item = String>) -> Echo {
        let mut secrets: Vec<String> = secrets.into_iter().filter(|secret| !secret.is_empty()).collect();
        secrets.sort_by(|one, other| other.len().cmp(&one.len()).then_with(|| one.cmp(other)));
        secrets.dedup();
        Echo { secrets }
    }

    /// Adds another one.
    pub fn and(&self, secret: String) -> Echo {
        Echo::of(self.secrets.iter().cloned().chain([secret]))
    }

    /// Returns the text without the secrets.
    pub fn hide(&self, mut text: String) -> String {
        for secret in &self.secrets {
            if text.contains(secret.as_str()) {
                text = text.replace(secret.as_str(), "…");
            }
        }
        text
    }
}

impl fmt::Debug for Echo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Echo({} secrets)", self.secrets.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_repeated_is_hidden_and_the_rest_stays() {
        let echo = Echo::of(["t0ken".to_owned(), "/hooks/t0ken".to_owned(), String::new()]);

        assert_eq!(echo.hide("Cannot POST /hooks/t0ken: t0ken unknown".to_owned()), "Cannot POST …: … unknown");
        assert_eq!(echo.hide("all well".to_owned()), "all well");
        assert_eq!(format!("{echo:?}"), "Echo(2 secrets)");
    }
}
