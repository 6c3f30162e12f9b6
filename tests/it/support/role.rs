//! The role of the daemons. In: a database that Andon has migrated. Out: the rights that `andon grants` prints, and the URL with that role. The
//! tests themselves own the database, and no daemon of theirs does.

use std::process::Command;
use std::sync::OnceLock;

use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

/// The role that every daemon of the tests has.
pub(crate) const ROLE: &str = "andon_run";

/// Returns what `andon grants` prints for these arguments, without the lines that only psql understands.
pub(crate) fn printed(arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_andon"));
    let output = command.env_clear().current_dir(std::env::temp_dir()).arg("grants").args(arguments).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.starts_with("\\set ON_ERROR_STOP on\n"), "psql has to stop at the first error: {text}");
    text.split_once('\n').unwrap().1.to_owned()
}

/// Gives the role of the daemons exactly the rights that `andon grants` prints.
pub(crate) async fn grant(client: &Client) {
    static GRANTS: OnceLock<String> = OnceLock::new();
    let grants = GRANTS.get_or_init(|| printed(&["--role", ROLE]));
    while let Err(error) = client.batch_execute(grants).await {
        client.batch_execute("rollback").await.unwrap();
        // Roles belong to the whole server, and another test may make the same one at the same moment.
        let is_race = [&SqlState::UNIQUE_VIOLATION, &SqlState::DUPLICATE_OBJECT].contains(&error.code().unwrap());
        assert!(is_race, "{error:?}\n{grants}");
    }
}

/// Returns the URL of the database with the role of the daemons, unless a test has named another one.
pub(crate) fn as_daemon(url: &str) -> String {
    url.replace("//postgres@", &format!("//{ROLE}@"))
}
