//! Says why a command failed, and gives a script the exit status: 2 when the user has to write something else, 1 for any other fault.

use std::process::ExitCode;

use anyhow::anyhow;
use tokio_postgres::error::SqlState;

use crate::cli::screen;

/// The reason why a command ended early.
#[derive(Debug)]
pub enum Failure {
    /// The arguments or the configuration are wrong, so that running the command once more would not help.
    Usage(anyhow::Error),
    /// Something went wrong while the command ran.
    Fault(anyhow::Error),
}

impl Failure {
    /// Adds whom to run the command as, if PostgreSQL has denied a right.
    pub(super) fn with_role(self, role: &str) -> Failure {
        match self {
            Failure::Fault(error) if is_denied(&error) => Failure::Fault(anyhow!("{error:#}; {role}")),
            failure => failure,
        }
    }

    /// Prints the reason to standard error, and returns the exit status.
    pub fn report(&self) -> ExitCode {
        let (error, status) = match self {
            Failure::Usage(error) => (error, 2),
            Failure::Fault(error) => (error, 1),
        };
        screen::complain(format_args!("{error:#}"));
        ExitCode::from(status)
    }
}

fn is_denied(error: &anyhow::Error) -> bool {
    let code = error.chain().find_map(|it| it.downcast_ref::<tokio_postgres::Error>()?.code());
    code == Some(&SqlState::INSUFFICIENT_PRIVILEGE)
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Failure {
        Failure::Fault(error)
    }
}
