//! What a destination's TLS trusts and shows. In: the settings of a row, and the directory that the configuration allows. Out: certificates and keys,
//! each as the text that stands in the row or as a file of that directory. A row is written by people who have no business with the files of
//! the host, so it never names a path.

use std::path::Component;
use std::path::Path;

use crate::destination::fields::Fields;
use crate::pem::Pem;
use crate::secret::Secret;

/// The certificates of a destination.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Certificates {
    /// The authorities to trust in addition to the system's.
    pub ca: Option<Pem>,
    /// The client's certificate and its key, for a server that asks for them.
    pub client: Option<(Pem, Pem)>,
}

impl Certificates {
    /// Returns whether files have to be read.
    pub fn name_files(&self) -> bool {
        let client = self.client.iter().flat_map(|(certificate, key)| [certificate, key]);
        self.ca.iter().chain(client).any(|pem| matches!(pem, Pem::File(_)))
    }

    /// Returns what a client of TLS needs.
    pub fn parts(&self) -> (Option<&Pem>, Option<(&Pem, &Pem)>) {
        (self.ca.as_ref(), self.client.as_ref().map(|(certificate, key)| (certificate, key)))
    }
}

/// Reads the settings. `ca_file` is trusted if the row names no authority of its own.
pub(super) fn read(fields: &mut Fields, directory: Option<&Path>, ca_file: Option<&Path>) -> Certificates {
    let ca = pem(fields, "ca", "ca_file", directory);
    let certificate = pem(fields, "client_cert", "client_cert_file", directory);
    let key = pem(fields, "client_key", "client_key_file", directory);
    if certificate.is_none() != key.is_none() && !fields.is_shut("settings.client_key") {
        fields.problem(
            "a client certificate and its key go together: set settings.client_cert_file and settings.client_key_file, \
            or settings.client_cert and settings.client_key"
                .to_owned(),
        );
    }
    Certificates { ca: ca.or_else(|| ca_file.map(|path| Pem::File(path.to_owned()))), client: certificate.zip(key) }
}

/// Reads a text in PEM, or the name of a file of it.
fn pem(fields: &mut Fields, text: &'static str, file: &'static str, directory: Option<&Path>) -> Option<Pem> {
    let (content, name) = (fields.text_setting(text), fields.text_setting(file));
    if content.is_some() && name.is_some() {
        fields.problem(format!("settings.{text} and settings.{file} are both set; remove one of them"));
    }
    if let Some(content) = content {
        // The text is not shown, as it may be that of a key.
        if !content.contains("-----BEGIN ") {
            fields.problem(format!("settings.{text} is not PEM, which begins with `-----BEGIN`"));
        }
        return Some(Pem::Text { setting: text, text: Secret::new(content) });
    }
    let name = name?;
    let problem = match directory {
        _ if !is_name(&name) => {
            "is not the name of a file; put the file into certificates.directory and write its name alone"
        }
        None => "names a file, but the configuration has no certificates.directory in which files may be named",
        Some(directory) => return Some(Pem::File(directory.join(name))),
    };
    let shown: String = name.chars().take(100).collect();
    fields.problem(format!("settings.{file}: `{shown}` {problem}"));
    None
}

/// A name that leads nowhere but into the directory.
fn is_name(text: &str) -> bool {
    let mut components = Path::new(text).components();
    let is_one =
        matches!(components.next(), Some(Component::Normal(name)) if name == text) && components.next().is_none();
    is_one && !text.starts_with('.') && !text.contains(['\\', '\0']) && !text.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use serde_json::json;

    use super::*;

    const PEM: &str = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";

    fn of(settings: &Value, directory: Option<&str>) -> (Certificates, String) {
        let row = json!({"settings": settings}).to_string();
        let mut fields = Fields::new(&row, None);
        let read = read(&mut fields, directory.map(Path::new), Some(Path::new("/etc/andon/default.pem")));
        (read, fields.problems().join("\n"))
    }

    #[test]
    fn a_row_names_files_of_the_directory_or_holds_the_text() {
        let named =
            json!({"ca_file": "plant-ca.pem", "client_cert_file": "andon..pem", "client_key_file": "Schlüssel 1.key"});
        let held = json!({"ca": PEM, "client_cert": PEM, "client_key": PEM});

        let (files, no_problem) = of(&named, Some("/certs"));
        let (texts, none_either) = of(&held, None);

        assert_eq!((no_problem.as_str(), none_either.as_str()), ("", ""));
        let file = |name: &str| Pem::File(Path::new("/certs").join(name));
        assert_eq!(files.ca, Some(file("plant-ca.pem")));
        assert_eq!(files.client, Some((file("andon..pem"), file("Schlüssel 1.key"))));
        assert!(matches!(texts.client, Some((Pem::Text { .. }, Pem::Text { .. }))) && !texts.name_files());
        assert_eq!(of(&json!({}), None).0.ca, Some(Pem::File("/etc/andon/default.pem".into())));
    }

    #[test]
    fn no_name_leads_out_of_the_directory() {
        for path in [
            "/etc/shadow",
            "../ca.pem",
            "..",
            ".",
            "",
            " ",
            "a/b.pem",
            "a/../b.pem",
            "./ca.pem",
            "ca.pem/",
            "ca.pem/.",
            "//ca.pem",
            ".hidden",
            "a\\b",
            "a\nb",
            "~/ca.pem/",
            "/dev/zero",
            "/proc/self/environ",
            "file:///etc/shadow",
            "\u{1b}[2J",
        ] {
            let (read, problems) = of(&json!({"ca_file": path}), Some("/certs"));

            let is_unset = path.trim().is_empty();
            assert_eq!(problems.contains("is not the name of a file"), !is_unset, "{path:?}: {problems}");
            assert_eq!(read.ca, Some(Pem::File("/etc/andon/default.pem".into())), "{path:?}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_and_no_key_is_shown() {
        let wrong = json!({"ca": PEM, "ca_file": "ca.pem", "client_key": "hunter2"});
        let large = json!({"ca": PEM.repeat(64 * 1024 / PEM.len())});

        assert_eq!(of(&large, None).1, "settings.ca is not a text of at most 16384 bytes");

        insta::assert_snapshot!(of(&wrong, None).1, @r"
        settings.ca and settings.ca_file are both set; remove one of them
        settings.client_key is not PEM, which begins with `-----BEGIN`
        a client certificate and its key go together: set settings.client_cert_file and settings.client_key_file, or settings.client_cert and settings.client_key
        ");
    }
}
