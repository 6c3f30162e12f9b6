//! The files of the keys that seal secrets. In: their names and their directory. Out: the keys, or what is wrong with each file. A key that
//! others on the host can read seals nothing, so such a file is refused.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use crate::config::layers::Layers;
use crate::config::unreadable;
use crate::sealing::Key;
use crate::sealing::Keys;

/// Where systemd puts what `LoadCredential=` and `LoadCredentialEncrypted=` name.
const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";
/// What those who are neither the owner nor of the group may do with a file, and what the group may do but read.
const TOO_MUCH: u32 = 0o037;
/// The largest file that is read. A key has 45 bytes.
const LARGEST: u64 = 1024;

/// Reads `[secrets]`.
pub(super) fn read(layers: &mut Layers) -> Keys {
    let directory = layers.directory("secrets", "directory");
    let directory = directory.or_else(|| layers.variable(CREDENTIALS).map(Into::into));
    let missing = layers.has_problem("secrets", "directory");
    layers.parsed_list("secrets", "keys", Keys::default(), |names| match &directory {
        _ if names.is_empty() || missing => Ok(Keys::default()),
        None => Err("has names, but secrets.directory does not say where the files are; only a service of systemd that has credentials needs none, so that in a shell ANDON_SECRETS_DIRECTORY names it".to_owned()),
        Some(directory) => all(directory, names),
    })
}

fn all(directory: &Path, names: &[String]) -> Result<Keys, String> {
    let (mut keys, mut problems) = (Vec::new(), Vec::new());
    for name in names {
        match one(directory, name) {
            Ok(key) => keys.push((name.clone(), key)),
            Err(problem) => problems.push(problem),
        }
    }
    if problems.is_empty() { Ok(Keys::new(keys)) } else { Err(problems.join("; ")) }
}

fn one(directory: &Path, name: &str) -> Result<Key, String> {
    if name.is_empty() || name.starts_with('.') || name.contains('/') {
        return Err(format!("`{name}` is not the name of a file in secrets.directory"));
    }
    let path = directory.join(name);
    let shown = path.display();
    let unreadable = |error| unreadable::text(&path, &error);
    let metadata = path.metadata().map_err(unreadable)?;
    if !metadata.is_file() || metadata.len() > LARGEST {
        return Err(format!("`{shown}` is not a file with a key; make one with `andon secrets new-key FILE`"));
    }
    if metadata.mode() & TOO_MUCH != 0 {
        return Err(format!("`{shown}` is open to others on this host; run `chmod 600 {shown}`"));
    }
    let text = std::fs::read_to_string(&path).map_err(unreadable)?;
    Key::parse(&text).map_err(|problem| format!("`{shown}` {problem}"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_key_that_others_may_read_is_refused_and_one_of_the_group_is_not() {
        let directory = std::env::temp_dir().join(format!("andon-keys-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let key = Key::generate();
        let path = directory.join("plant");
        std::fs::write(&path, format!("{}\n", key.text())).unwrap();
        let at = |mode| {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            all(&directory, &["plant".to_owned()])
        };

        for mode in [0o600, 0o400, 0o440, 0o640] {
            assert_eq!(at(mode), Ok(Keys::new(vec![("plant".to_owned(), key.clone())])), "{mode:o}");
        }
        for mode in [0o644, 0o604, 0o602, 0o620, 0o660, 0o601] {
            assert!(at(mode).unwrap_err().contains("is open to others on this host; run `chmod 600 "), "{mode:o}");
        }
        std::fs::remove_dir_all(&directory).unwrap();
    }

    #[test]
    fn each_file_that_is_no_key_is_named_and_no_text_of_one_is_shown() {
        let directory = std::env::temp_dir().join(format!("andon-no-keys-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let path = directory.join("text");
        std::fs::write(&path, "hunter2").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        let names = ["text", "absent", "../text", "."].map(str::to_owned);

        let problems = all(&directory, &names).unwrap_err().replace(&directory.display().to_string(), "…");

        std::fs::remove_dir_all(&directory).unwrap();
        insta::assert_snapshot!(problems.replace("; `", "\n`").replace("; cannot", "\ncannot"), @r"
        `…/text` holds no key, which is 32 bytes in base64; make one with `andon secrets new-key FILE`
        cannot read `…/absent`: No such file or directory (os error 2)
        `../text` is not the name of a file in secrets.directory
        `.` is not the name of a file in secrets.directory
        ");
    }
}
