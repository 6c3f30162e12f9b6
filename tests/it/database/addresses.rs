//! The addresses that people paste, on real servers. In: parameters of libpq, of other drivers and of poolers, certificates, several hosts.
//! Out: whether each address leads to the database as it says, and what is printed where it cannot.

use rig::Postgres;
use tokio_postgres::Client;

use crate::command::run_andon;
use crate::support::authority::Authority;
use crate::support::line::Line;
use crate::support::plant::connect;

#[tokio::test]
async fn an_address_with_parameters_for_others_is_taken_and_what_is_ignored_is_named() {
    let line = Line::new().await;
    let table = [
        ("?pgbouncer=true&schema=public&connection_limit=5", Some("connection_limit")),
        ("?sslmode=allow&gssencmode=disable&target_session_attrs=primary", None),
        ("?sslmode=disable&channel_binding=prefer&connect_timeout=20", None),
        ("?options=-c%20work_mem%3D8MB&application_name=line%202", None),
    ];
    for (parameters, ignored) in table {
        let check = run_andon(&format!("{}{parameters}", line.url), &["check"]);

        assert!(check.out.contains("ok      database"), "{parameters}: {check:?}");
        let is_named = |name: &str| check.out.contains(&format!("warning database        {name} in the URL"));
        assert!(ignored.is_none_or(is_named), "{parameters}: {check:?}");
        assert_eq!(check.out.contains("is ignored"), ignored.is_some(), "{parameters}: {check:?}");
    }
    let keywords = line.url.replace("postgres://postgres@127.0.0.1:", "host='127.0.0.1' user=postgres port=");
    let keywords = run_andon(&keywords.replace("/rig", " dbname = rig"), &["check"]);
    assert!(keywords.out.contains("ok      database"), "{keywords:?}");
}

#[tokio::test]
async fn what_an_address_asks_in_vain_is_refused_by_name_as_bad_configuration() {
    for (parameter, advice) in [
        ("gssencmode=require", "sslmode=require"),
        ("sslcrl=%2Fetc%2Fcrl.pem", "sslcrl"),
        ("target_session_attrs=standby", "primary"),
        ("sslmod=require", "`sslmod`"),
    ] {
        let run = run_andon(&format!("postgres://andon:hunter2@127.0.0.1:1/mes?{parameter}"), &["run"]);

        assert_eq!(run.status, 2, "{run:?}");
        assert!(run.err.contains(advice) && !run.err.contains("hunter2"), "{run:?}");
        assert!(!run.err.contains("is not the address"), "{run:?}");
    }
}

#[tokio::test]
async fn a_server_that_asks_for_a_client_certificate_gets_that_of_the_address() {
    let (authority, postgres) = (Authority::new(), Postgres::start().unwrap());
    let admin = connect(&postgres.url("postgres")).await;
    let (certificate, key) = authority.sign("localhost", 2099);
    let hba = "hostssl all all all cert\n";
    write_files(
        &admin,
        &[("ca.crt", &authority.pem), ("server.crt", &certificate), ("server.key", &key), ("pg_hba.conf", hba)],
    )
    .await;
    admin.batch_execute("alter system set ssl = on").await.unwrap();
    admin.batch_execute("alter system set ssl_ca_file = 'ca.crt'").await.unwrap();
    postgres.restart_immediate().unwrap();
    let (certificate, key) = authority.sign("postgres", 2099);
    let ca = authority.file("ca.pem", &authority.pem).display().to_string();
    let identity = format!(
        "sslcert={}&sslkey={}",
        authority.file("client.pem", &certificate).display(),
        authority.file("client.key", &key).display()
    );
    let check = |parameters: &str| {
        let url = postgres.url("postgres").replace("127.0.0.1", "localhost");
        run_andon(&format!("{url}?{parameters}"), &["check"])
    };

    let shown = check(&format!("sslmode=verify-full&sslrootcert={ca}&{identity}"));
    // The server takes nothing that is not encrypted, so that this mode comes to the same.
    let allowed = check(&format!("sslmode=allow&sslrootcert={ca}&{identity}"));
    let anonymous = check(&format!("sslmode=verify-full&sslrootcert={ca}"));
    let unknown = check(&format!("sslmode=require&{identity}"));
    let preferred = check(&identity);

    assert!(shown.out.contains("ok      database"), "{shown:?}");
    assert!(allowed.out.contains("ok      database"), "{allowed:?}");
    assert!(anonymous.out.contains("client certificate"), "{anonymous:?}");
    // The reason is the certificate, and not that the server wants TLS.
    for refused in [unknown, preferred] {
        assert!(refused.out.contains("FAULT   database") && refused.out.contains("UnknownIssuer"), "{refused:?}");
    }
}

/// Writes files into the server's directory of data.
pub(super) async fn write_files(admin: &Client, files: &[(&str, &str)]) {
    for (name, text) in files {
        let write = format!(
            "copy (select unnest(string_to_array($${}$$, E'\\n'))) to program 'umask 077; cat > {name}'",
            text.trim()
        );
        admin.batch_execute(&write).await.unwrap();
    }
}

#[tokio::test]
async fn of_several_hosts_the_one_that_takes_writes_is_used() {
    let standby = Postgres::start().unwrap();
    super::fitness::turn_into_a_standby(&standby).await;
    let line = Line::new().await;
    let url = line.url.replace('@', &format!("@127.0.0.1:1,127.0.0.1:{},", standby.port()));

    let check = run_andon(&url, &["check"]);

    assert!(check.out.contains("ok      database") && check.out.contains("ok      schema"), "{check:?}");
}
