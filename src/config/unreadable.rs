//! Says why a file that the configuration names cannot be read. In: the file, and the error. Out: the reason, with the user who would have to be
//! able to read it: the one of a service is seldom the one who made the file.

use std::io::Error;
use std::io::ErrorKind;
use std::path::Path;

pub(super) fn text(path: &Path, error: &Error) -> String {
    let cannot = format!("cannot read `{}`: {error}", path.display());
    if error.kind() != ErrorKind::PermissionDenied {
        return cannot;
    }
    let user = nix::unistd::geteuid();
    format!(
        "{cannot}; the user that this runs as (uid {user}) must be able to read it, in a service of systemd by LoadCredential= (README.md, \"Under systemd\")"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_denied_names_the_user_who_must_be_able_to_read_it() {
        let of = |kind: ErrorKind| text(Path::new("/etc/andon/keys/2026"), &Error::from(kind));
        let user = nix::unistd::geteuid();

        assert_eq!(of(ErrorKind::NotFound), "cannot read `/etc/andon/keys/2026`: entity not found");
        let denied = of(ErrorKind::PermissionDenied);
        assert!(denied.contains(&format!("(uid {user}) must be able to read it")), "{denied}");
    }
}
