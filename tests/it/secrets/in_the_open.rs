//! Secrets that others may see: on the network, in files, in the list of processes. In: rows, files and arguments that show them. Out: whether
//! the check or the program says so, what it says to do, and whether it shows none itself. Nothing is connected to: no name here resolves.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::json;

use crate::command::file;
use crate::command::run_andon;
use crate::command::run_andon_with;
use crate::support::line::Line;

#[tokio::test(flavor = "multi_thread")]
async fn credentials_that_cross_a_network_in_the_open_are_a_warning_and_on_this_host_they_are_not() {
    let line = Line::new().await;
    for (name, url) in [
        ("open", "http://me:swordfish@erp.invalid/"),
        ("sealed", "https://me:swordfish@erp.invalid/"),
        ("none", "http://erp.invalid/"),
        ("here", "http://me:swordfish@127.0.0.1:9/"),
    ] {
        line.webhook(url, json!({})).await;
        line.run(&format!("update andon.webhooks set name = '{name}' where name is null")).await;
    }
    for (name, url, columns) in [
        ("headers", "http://erp.invalid/", r#"headers = '{"X-Api-Key": "swordfish"}'"#),
        ("basic", "http://erp.invalid/", "username = 'me', password = 'swordfish'"),
        ("bearer", "http://erp.invalid/", "token = 'swordfish'"),
        ("granted", "http://erp.invalid/", "oauth_token_url = 'https://login.invalid/'"),
        ("asking", "https://erp.invalid/", "oauth_token_url = 'http://login.invalid/swordfish'"),
        ("closed", "https://erp.invalid/", "oauth_token_url = 'https://login.invalid/'"),
        ("near", "http://127.0.0.1:9/", "oauth_token_url = 'http://127.0.0.1:9/'"),
    ] {
        line.webhook(url, json!({})).await;
        line.run(&format!("update andon.webhooks set name = '{name}', {columns} where name is null")).await;
    }
    line.run(
        "update andon.webhooks set oauth_client_id = 'me', oauth_client_secret = 'swordfish' where oauth_token_url is not null",
    )
    .await;
    for (name, broker, is_tls) in
        [("bare", "broker.invalid", false), ("safe", "broker.invalid", true), ("local", "127.0.0.1", false)]
    {
        line.run(&format!(
            "insert into andon.mqtt_publishers (tenant_id, name, broker_url, port, events, username, password, use_tls)
                values ('acme', '{name}', '{broker}', 9, '{{*}}', 'andon', 'hunter2', {is_tls})"
        ))
        .await;
    }

    let check = run_andon(&line.url, &["check"]);

    let named: Vec<&str> = check.out.lines().filter(|line| line.contains("in the open; use ")).collect();
    assert_eq!(named.len(), 7, "{}", check.out);
    assert!(
        named.iter().any(|line| line.starts_with("warning webhook         open: ") && line.contains("use https://")),
        "{named:?}"
    );
    assert!(
        named.iter().any(|line| line.contains("bare at broker.invalid:9: ") && line.contains("use mqtts://")),
        "{named:?}"
    );
    for expected in [
        "headers: the endpoint gets its headers in",
        "basic: the endpoint gets its user and password in",
        "bearer: the endpoint gets its token in",
        "granted: the endpoint gets its tokens of OAuth in",
        "asking: oauth_token_url gets its client secret in",
    ] {
        let expected = format!("warning webhook         {expected} the open; use https://");
        assert!(named.iter().any(|line| line.starts_with(&expected)), "{expected} is not in {named:?}");
    }
    assert!(!check.out.contains("hunter2") && !check.out.contains("swordfish"), "{}", check.out);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_url_file_that_others_may_write_is_refused_and_one_that_they_may_read_is_a_warning() {
    let line = Line::new().await;
    let path = file("url", &line.url);
    let with = |mode, command: &str| {
        std::fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        run_andon_with("", &[command], &[("ANDON_DATABASE_URL_FILE", path.as_str())])
    };

    let (private, group, readable) = (with(0o600, "check"), with(0o640, "check"), with(0o644, "check"));
    let (writable, refused) = (with(0o602, "check"), with(0o666, "run"));

    std::fs::remove_file(&path).unwrap();
    assert!(!private.out.contains("url_file") && !group.out.contains("url_file"), "{private:?} {group:?}");
    let warning = format!(
        "warning configuration   database.url_file: `{path}` may be read by every user of this host; run `chmod 600` on it"
    );
    assert!(readable.status == 0 && readable.out.contains(&warning), "{readable:?}");
    for run in [writable.out, refused.err] {
        assert!(
            run.contains(&format!(
                "`{path}` may be written by others, who could send Andon elsewhere; run `chmod 600` on it"
            )),
            "{run}"
        );
    }
    assert_eq!((writable.status, refused.status), (1, 2));
}

#[test]
fn a_password_among_the_arguments_is_told_and_not_shown() {
    let warned = run_andon("", &["migrate", "--database", "postgres://andon:hunter2@127.0.0.1:1/mes"]);
    let plain = run_andon("", &["migrate", "--database", "postgres://andon@127.0.0.1:1/mes"]);

    assert!(warned.err.contains("--database holds a password, which every user of this host can read"), "{warned:?}");
    assert!(warned.err.contains("use DATABASE_URL or database.url_file"), "{warned:?}");
    assert!(!warned.err.contains("hunter2") && !plain.err.contains("--database holds"), "{warned:?} {plain:?}");
}
