//! The role of the capture functions, which cannot log in: `andon_capture`. In: the plan of an attachment by a role that may use it. Out: the steps
//! that let it own the functions, for the length of the transaction, and read what they look up. What somebody slips into a table or a type
//! then runs as a role that nobody can be.

use crate::capture::plan::install_plan::InstallPlan;
use crate::capture::plan::owner_rights::MissingRight;

/// The role that `andon grants --for capture` makes.
pub(crate) const CAPTURE_ROLE: &str = "andon_capture";

/// The role that is to own the functions of whoever asks.
pub(super) const OWNER: &str = "select case when exists (
        select from pg_roles where rolname = 'andon_capture' and not rolcanlogin and not rolsuper and pg_has_role(current_user, oid, 'member')
    ) then 'andon_capture' else current_user::text end where $1 <> ''";

/// Adds the steps. What can only be granted in schema `andon` is left to its owner.
pub(super) fn plan(plan: &mut InstallPlan, lacking: &mut Vec<MissingRight>) {
    let is_new_owner = |(_, sql): &(String, String)| sql.starts_with("alter function ");
    if plan.functions.iter().any(is_new_owner) {
        // PostgreSQL lets a role own functions only where it may make some. It may for as long as this transaction lasts.
        let (begin, end) =
            ("grant create on schema andon to andon_capture;\n", "revoke create on schema andon from andon_capture;\n");
        plan.functions.insert(0, ("let andon_capture own functions".to_owned(), begin.to_owned()));
        plan.function("andon_capture makes none of its own", end);
    }
    lacking.retain(|right| {
        let is_of_the_plant = !right.of.starts_with("schema andon") && !right.of.contains(" andon.");
        if is_of_the_plant {
            plan.function(format!("let andon_capture read {}", right.of), format!("{};\n", right.grant));
        }
        !is_of_the_plant
    });
}
