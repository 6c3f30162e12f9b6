//! `andon grants`. In: a role, and what it is to do. Out: the SQL that gives the role the rights for it and takes away the others, for the
//! database administrator to read and run. It connects to nothing.

pub(super) mod rights;
mod sql;

use anyhow::anyhow;
use clap::Args;
use clap::ValueEnum;

use crate::capture::plan::capture_role::CAPTURE_ROLE;
use crate::cli::failure::Failure;
use crate::cli::screen;

#[derive(Debug, Args)]
pub(super) struct Grants {
    /// Role that is to have the rights; the SQL makes it if it does not exist
    #[arg(long)]
    role: String,

    /// What the role is to do
    #[arg(long = "for", value_enum, default_value = "run", value_name = "PURPOSE")]
    purpose: Purpose,

    /// Tenant whose events the role may emit, with `--for emit`; `*` is all tenants, and '' those without one
    #[arg(long, value_name = "TENANT", required_if_eq("purpose", "emit"))]
    tenant: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Purpose {
    /// `andon run`, `check`, `deliveries` and `replay`
    Run,
    /// Applications that raise events of their own with `andon.emit`; other rights stay as they are
    Emit,
    /// Owners of tables who attach: what they attach then runs as `andon_capture`, a role that nobody can log in as
    Capture,
    /// Dashboards, which see no secret and no payload
    Read,
}

/// PostgreSQL cuts longer names.
const LONGEST_NAME: usize = 63;

impl Grants {
    pub(super) fn run(&self) -> Result<(), Failure> {
        let role = self.role.as_str();
        if role.is_empty() || role.len() > LONGEST_NAME || role.contains('\0') || ["public", "none"].contains(&role) {
            let problem = anyhow!(
                "--role: `{}` is no name of a role; name one that is to have these rights and no others",
                role.escape_debug()
            );
            return Err(Failure::Usage(problem));
        }
        let foreign = match role {
            CAPTURE_ROLE => Some("owns the capture functions, and nobody can log in as it"),
            _ if role.starts_with("pg_") => {
                Some("is a role of PostgreSQL's own, and all of its members would get these rights")
            }
            _ => None,
        };
        if let Some(problem) = foreign {
            return Err(Failure::Usage(anyhow!("--role: `{role}` {problem}; name a role of your own")));
        }
        if let Some(tenant) =
            self.tenant.iter().find(|tenant| tenant.trim() != tenant.as_str() || tenant.contains('\0'))
        {
            let tenant = tenant.escape_debug();
            return Err(Failure::Usage(anyhow!(
                "--tenant: `{tenant}` has a blank at an end, or a NUL, and no destination has such a tenant; write the tenant_id of the destinations, byte for byte"
            )));
        }
        if !self.tenant.is_empty() && self.purpose != Purpose::Emit {
            return Err(Failure::Usage(anyhow!("--tenant: only an application has tenants; add --for emit")));
        }
        let sql = match self.purpose {
            Purpose::Run => sql::of(role, &rights::RUN, RUN),
            Purpose::Emit => sql::emit(role, &self.tenant),
            Purpose::Capture => sql::capture(role),
            Purpose::Read => sql::of(role, &rights::READ, READ),
        };
        screen::verbatim(sql);
        Ok(())
    }
}

const RUN: &str = "\
-- What `andon run`, `check`, `deliveries` and `replay` need in this database, and nothing more.";
const READ: &str = "\
-- What a dashboard needs in this database: no secrets, no reasons, no payloads.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sql_is_what_a_dba_can_read() {
        insta::assert_snapshot!("grants_for_run", sql::of("andon_run", &rights::RUN, RUN));
        insta::assert_snapshot!("grants_for_emit", sql::emit("erp_app", &["acme".to_owned(), "it's".to_owned()]));
        insta::assert_snapshot!("grants_for_capture", sql::capture("plant_owner"));
        insta::assert_snapshot!("grants_for_read", sql::of("Board \"1\"", &rights::READ, READ));
    }

    #[test]
    fn everybody_is_no_role() {
        for role in ["", "public", "none", "a\0b"] {
            let refused = Grants { role: role.to_owned(), purpose: Purpose::Run, tenant: vec![] }.run();
            assert!(matches!(refused, Err(Failure::Usage(_))), "{role}");
        }
    }

    #[test]
    fn roles_and_tenants_that_cannot_be_meant_are_refused_with_the_reason() {
        let said = |role: &str, purpose: Purpose, tenant: &[&str]| {
            let tenant = tenant.iter().map(|it| (*it).to_owned()).collect();
            let Err(Failure::Usage(error)) = (Grants { role: role.to_owned(), purpose, tenant }).run() else {
                return String::new();
            };
            error.to_string()
        };

        assert!(said("pg_monitor", Purpose::Run, &[]).contains("is a role of PostgreSQL's own"));
        for purpose in [Purpose::Run, Purpose::Capture, Purpose::Read] {
            assert!(said("andon_capture", purpose, &[]).contains("owns the capture functions"), "{purpose:?}");
        }
        for tenant in [" acme", "acme ", "acme\u{a0}", "\n"] {
            assert!(said("erp", Purpose::Emit, &["acme", tenant]).contains("has a blank at an end"), "{tenant:?}");
        }
        assert_eq!(said("erp", Purpose::Emit, &["", "*", "a b"]), "");
    }
}
