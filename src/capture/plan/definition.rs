//! Compares the text of generated SQL with what PostgreSQL says about an object. In: statements of both. Out: forms of them that are equal
//! if they mean the same. It knows nothing of how the statements are generated.

use std::collections::BTreeSet;

/// Returns the definition of a trigger without what PostgreSQL writes differently: capitals, quotes, blanks, and `or replace`.
pub(super) fn trigger(sql: &str) -> String {
    let plain: String = sql.chars().filter(|letter| !matches!(letter, '"' | ';')).collect();
    let words: Vec<String> = plain.split_whitespace().map(str::to_lowercase).collect();
    words.join(" ").replacen("create or replace trigger", "create trigger", 1)
}

/// Returns the settings that the head of a function pins, in the form of [`setting`].
pub(super) fn settings(create_function: &str) -> BTreeSet<String> {
    head(create_function).split(" set ").skip(1).map(setting).collect()
}

/// Returns whether the function runs with the rights of its owner.
pub(super) fn is_definer(create_function: &str) -> bool {
    head(create_function).contains("security definer")
}

/// Returns a setting such as `search_path = pg_catalog, pg_temp` without what PostgreSQL writes differently.
pub(super) fn setting(text: &str) -> String {
    let plain: String =
        text.chars().filter(|letter| !letter.is_whitespace() && !matches!(letter, '"' | '\'')).collect();
    plain.to_lowercase()
}

/// Returns what stands before the body of a function.
fn head(create_function: &str) -> String {
    let head = create_function.split(" as $").next().unwrap_or_default();
    let words: Vec<&str> = head.split_whitespace().collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trigger_is_the_same_however_it_is_written() {
        let generated = "create or replace trigger \"!andon_mes_update\" after update on public.\"Jobs\"\n    \
            referencing old table as old_rows new table as new_rows for each statement execute function andon.capture_mes_jobs();\n";
        let installed = "CREATE TRIGGER \"!andon_mes_update\" AFTER UPDATE ON public.\"Jobs\" REFERENCING OLD TABLE AS old_rows \
            NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION andon.capture_mes_jobs()";

        assert_eq!(trigger(generated), trigger(installed));
        assert_ne!(trigger(generated), trigger(&installed.replace("STATEMENT", "ROW")));
    }

    #[test]
    fn the_settings_and_the_rights_of_a_function_stand_in_its_head() {
        let sql = "create or replace function andon.f() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp set timezone = 'UTC'
    set jit = off as $andon$ begin set x = 1; end $andon$;";

        let catalogue = ["search_path=pg_catalog, pg_temp", "TimeZone=UTC", "jit=off"].map(setting);
        assert_eq!(settings(sql), BTreeSet::from(catalogue));
        assert!(
            is_definer(sql)
                && !is_definer("create function f() returns trigger language plpgsql as $$ security definer $$")
        );
    }
}
