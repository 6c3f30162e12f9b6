//! Names that try to be SQL. In: tables, columns, look-ups, roles, tenants and levels with such names. Out: whether the SQL that Andon prints for a
//! DBA, run by psql as a superuser, does what it says and nothing else. What an injection would make is a role, which is then looked for.

use std::io::Write as _;
use std::process::Command;
use std::process::Stdio;

use rig::Postgres;

use crate::command::Run;
use crate::command::file;
use crate::command::run_andon;
use crate::support::line::Line;

/// Each ends what it might stand in: a name, a text, a dollar quote, a comment, a line, and whatever psql reads by itself.
const HOSTILE: &[&str] = &[
    "x\";create role pwned superuser;--",
    "x';create role pwned superuser;--",
    "x\\';create role pwned superuser;--",
    "x$andon$;create role pwned superuser;--",
    "x$andon1$;create role pwned;--$andon$",
    "x$$;create role pwned superuser;--",
    "x\r\ncreate role pwned superuser;--",
    "x\n\\! touch pwned\ncreate role pwned;",
    "x*/;create role pwned superuser;/*",
    ":x :'x' :\"x\" %s %I {} ${x} \\gexec",
    "x);create role pwned superuser;(",
    "current_user",
    "user",
    "Public",
];

/// Runs SQL as a DBA does, and returns what psql says of errors.
fn psql(url: &str, sql: &str, settings: &str) -> (bool, String) {
    let mut command = Command::new("psql");
    command.args(["-X", "-q", "-d", url]).env_clear().env("PGOPTIONS", settings).current_dir(std::env::temp_dir());
    if let Some(path) = std::env::var_os("PATH") {
        command.env("PATH", path);
    }
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(sql.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    (output.status.success(), String::from_utf8(output.stderr).unwrap())
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

async fn nothing_was_injected(line: &Line, name: &str, sql: &str) {
    let found = "select count(*) from pg_roles where starts_with(rolname, 'pwned')";
    let found: i64 = line.client.query_one(found, &[]).await.unwrap().get(0);
    assert_eq!(found, 0, "{name:?}: {sql}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sql_that_attaches_and_detaches_does_nothing_that_a_name_says() {
    let server = Postgres::start().unwrap();
    let mut accepted = 0;
    for name in HOSTILE {
        let line = Line::on(&server).await;
        let (hostile, kind) = (quoted(name), quoted(&format!("{}3", name.chars().take(50).collect::<String>())));
        line.run(&format!(
            "create type {kind} as enum ('a'); create table public.cells (id int primary key, {hostile} text);
            create table public.jobs ({hostile} int primary key, cell int, kind {kind});
            create table public.{hostile} (id int primary key, cell int, {hostile} text, kind {kind})"
        ))
        .await;
        // What the catalogue says may be anything; what a mapping says may be refused, but is never run.
        let plain = ("\"jobs\"".to_owned(), "'kind'".to_owned(), "'this.cell'".to_owned());
        let bold = (toml(name), format!("{}, 'kind'", toml(name)), toml(&format!("cell.{hostile}")));
        for ((table, columns, cell), is_plain) in [(plain, true), (bold, false)] {
            let path = file(
                "hostile.toml",
                &format!(
                    "[source]\nname = 'mes'\nsite = {0}\n[[capture]]\ntable = {table}\non = ['insert', 'update', 'delete']\n\
                     type = 'job.changed'\nentity_type = {0}\ncontext = {{ cell = {cell} }}\ncolumns = [{columns}]\n\
                     lookup = [{{ alias = 'cell', table = 'cells', on = 'cell.id = this.cell' }}]\n",
                    toml(name),
                ),
            );
            let attach = run_andon(&line.url, &["attach", "--source", &path, "--dry-run"]);
            // Generated SQL is laid out line by line, so that a name with the end of a line is refused.
            if attach.status != 0 && (!is_plain || name.contains('\n')) {
                continue;
            }
            assert_eq!(attach.status, 0, "{name:?}: {attach:?}");
            accepted += 1;
            let attached = psql(&line.url, &attach.out, "");
            nothing_was_injected(&line, name, &attach.out).await;
            assert!(attached.0, "{name:?}: {attached:?}: {}", attach.out);
            line.run("insert into public.jobs values (1, 1, 'a'); update public.jobs set cell = 2").await;
            line.run(&format!("insert into public.{hostile} values (1, 1, 'v', 'a')")).await;
            let captured: i64 = line.client.query_one("select count(*) from andon.events", &[]).await.unwrap().get(0);
            assert_eq!(captured, if is_plain { 2 } else { 3 }, "{name:?}");
            let detach = run_andon(&line.url, &["detach", "--source", "mes", "--dry-run"]);
            let detached = psql(&line.url, &detach.out, "");
            nothing_was_injected(&line, name, &detach.out).await;
            assert!(detach.status == 0 && detached.0, "{name:?}: {detached:?}: {}", detach.out);
            let left: i64 = line.client.query_one("select count(*) from andon.sources", &[]).await.unwrap().get(0);
            assert_eq!(left, 0, "{name:?}");
            line.run(&format!("delete from public.jobs; delete from public.{hostile}")).await;
        }
    }
    assert!(accepted > HOSTILE.len() + 2, "some names of a mapping are taken: {accepted}");
}

/// Returns text for a mapping. The escapes of JSON are those of TOML.
fn toml(text: &str) -> String {
    serde_json::to_string(text).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sql_that_grants_does_nothing_that_the_name_of_a_role_says() {
    let server = Postgres::start().unwrap();
    let line = Line::on(&server).await;
    for name in HOSTILE {
        for purpose in [&["--for", "run"][..], &["--for", "read"], &["--for", "emit", "--tenant", name]] {
            for settings in ["", "-c standard_conforming_strings=off"] {
                let grants = run_andon("", &[&["grants", "--role", name], purpose].concat());
                let granted = psql(&line.url, &grants.out, settings);
                nothing_was_injected(&line, name, &grants.out).await;
                assert!(granted.0, "{name:?} {purpose:?}: {granted:?}: {}", grants.out);
            }
        }
        let made = "select count(*) from pg_roles where rolname = $1 and not rolsuper";
        let made: i64 = line.client.query_one(made, &[name]).await.unwrap().get(0);
        assert_eq!(made, 1, "{name:?}");
        let may = "select count(*) from andon.emitters where role = $1::text::name and tenant = $1::text";
        let may: i64 = line.client.query_one(may, &[name]).await.unwrap().get(0);
        assert_eq!(may, 1, "{name:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_have_put_into_the_search_path_of_a_dba_has_no_part_in_it() {
    let server = Postgres::start().unwrap();
    let line = Line::on(&server).await;
    // PostgreSQL prefers these to its own, because their parameters fit without a conversion.
    line.run(
        "create function public.format(text, text) returns text language plpgsql as $$ begin create role pwned; return 'select'; end $$;
        create function public.format(text, regclass) returns text language plpgsql as $$ begin create role pwned; return 'select'; end $$;
        create function public.same(name, text) returns boolean language plpgsql as $$ begin create role pwned; return true; end $$;
        create operator public.= (leftarg = name, rightarg = text, function = public.same);
        alter default privileges in schema andon grant select on tables to public; create table jobs (id int primary key)",
    )
    .await;
    let mapping =
        "[source]\nname = 'mes'\n[[capture]]\ntable = 'jobs'\non = 'insert'\ntype = 'job.made'\nentity_type = 'job'\n";
    let path = file("search_path.toml", mapping);
    let printed = [
        run_andon("", &["grants", "--role", "andon_run"]),
        run_andon("", &["grants", "--role", "board", "--for", "read"]),
        run_andon("", &["grants", "--role", "app", "--for", "emit", "--tenant", "acme"]),
        run_andon(&line.url, &["attach", "--source", &path, "--dry-run"]),
    ];

    for Run { out, .. } in printed {
        let (done, said) = psql(&line.url, &out, "");
        assert!(done, "{said}: {out}");
        nothing_was_injected(&line, "search_path", &out).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn psql_stops_at_the_first_error_of_what_andon_prints() {
    let server = Postgres::start().unwrap();
    let line = Line::on(&server).await;
    let grants = run_andon("", &["grants", "--role", "board", "--for", "read"]);
    line.run("drop view andon.lane_status; create role board login").await;

    let (done, said) = psql(&line.url, &grants.out, "");

    assert!(!done && said.contains("lane_status"), "{said}");
    let may: bool =
        line.client.query_one("select has_schema_privilege('board', 'andon', 'usage')", &[]).await.unwrap().get(0);
    assert!(!may, "half of the rights are none");
}
