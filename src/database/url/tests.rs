//! Addresses as people paste them. In: texts. Out: what is read from each, or why it is refused. No password is ever shown.

use tokio_postgres::config::Host;

use super::*;

fn address(text: &str) -> Address {
    read(text).unwrap_or_else(|problem| panic!("{text}: {problem}"))
}

#[test]
fn what_people_paste_is_taken_and_what_means_nothing_is_named() {
    let table: &[(&str, &[&str])] = &[
        ("postgres://u:p@db/x?pgbouncer=true&connection_limit=1", &["pgbouncer", "connection_limit"]),
        ("postgresql://u:p@db:5433/x?schema=public", &["schema"]),
        ("postgres://u:p@db/x?sslrootcert=/etc/ca.pem&sslmode=verify-full", &[]),
        ("postgres://u:p@db/x?sslmode=verify-full&sslrootcert=system", &[]),
        ("postgres://u@db/x?sslcert=/c.pem&sslkey=/k.pem&sslmode=verify-ca", &[]),
        ("postgres://u:p@db/x?sslmode=allow", &[]),
        ("postgres://u:p@db/x?sslmode=disable", &[]),
        ("postgres://u:p@db/x?sslmode=prefer&gssencmode=disable", &[]),
        ("postgres://u:p@db/x?gssencmode=prefer&channel_binding=require", &[]),
        ("postgres://u:p@db/x?target_session_attrs=primary&connect_timeout=5", &[]),
        (
            "postgres://u:p@a,b:6432/x?target_session_attrs=read-write&load_balance_hosts=random",
            &["load_balance_hosts"],
        ),
        ("postgres://u:p@db/x?application_name=line&keepalives=1&keepalives_count=3&tcp_user_timeout=10000", &[]),
        ("postgres://u:p@db/x?ssl=true&uselibpqcompat=true", &["uselibpqcompat"]),
        (
            "jdbc:postgresql://db:5432/x?user=u&password=p&currentSchema=mes&ApplicationName=y",
            &["currentSchema", "ApplicationName"],
        ),
        ("postgresql+asyncpg://u:p@db/x", &[]),
        ("POSTGRES://u:p@db/x?", &[]),
        ("  host=db user=u dbname=x password='it\\'s' sslmode = require  ", &[]),
        ("host=db user=u options='-c search_path=mes -c jit=off' client_encoding=utf8", &[]),
        ("host=db user=u client_encoding=LATIN1 krbsrvname=postgres", &["client_encoding", "krbsrvname"]),
    ];
    for (text, ignored) in table {
        assert_eq!(address(text).ignored, *ignored, "{text}");
    }
}

#[test]
fn what_cannot_be_honoured_is_refused_by_its_name() {
    let table = [
        ("postgres://u:p@db/x?gssencmode=require", "gssencmode=require"),
        ("postgres://u:p@db/x?sslcrl=/crl.pem", "sslcrl"),
        ("postgres://u:p@db/x?sslmode=no-verify", "sslmode=no-verify"),
        ("postgres://u:p@db/x?sslmode=hunter2", "sslmode"),
        ("postgres://u:p@db/x?target_session_attrs=standby", "target_session_attrs"),
        ("postgres://u:p@db/x?sslcert=/c.pem", "sslkey"),
        ("postgres://u:p@db/x?sslkey=/k.pem", "sslcert"),
        ("postgres://u:p@db/x?sslpassword=hunter2", "sslpassword"),
        ("postgres://u:p@db/x?ssl_min_protocol_version=TLSv1.3", "ssl_min_protocol_version"),
        ("postgres://u:p@db/x?requirepeer=postgres", "requirepeer"),
        ("postgres://u:p@db/x?passfile=/p", "passfile"),
        ("postgres://u:p@db/x?connect_timeout=soon", "connect_timeout"),
        ("postgres://u:p@db/x?sslmod=require", "`sslmod`"),
        ("service=plant", "service"),
        ("postgres://u:p@db:0/x", "port"),
        ("postgres://u:p@db:65536/x", "port"),
        ("postgres://u:p@a:1,b:2,c/x?port=1,2", "port"),
        ("host=a,b hostaddr=192.0.2.1 user=u", "hostaddr"),
        ("host=a hostaddr=db user=u", "hostaddr"),
        ("postgres:///x", "host"),
        ("user=u dbname=x", "host"),
        ("postgres://u@a,,b/x", "host"),
    ];
    for (text, named) in table {
        let problem = read(text).expect_err(text);
        assert!(problem.to_string().contains(named), "{text}: {problem}");
        assert!(problem != UrlProblem::NoAddress && !problem.to_string().contains("hunter2"), "{text}: {problem}");
    }
}

#[test]
fn no_message_shows_a_piece_of_a_password() {
    let table = [
        "",
        "plant",
        "mysql://root:hunter2@db/x",
        "postgres://u@db/x?hunter2=1",
        "postgres://u:a@hunter2@db/x",
        "postgres://u:a/b@hunter2@db/x",
        "postgres://u:a@b?hunter=1@db/x",
        "postgres://u:hunter2",
        "postgres://u:p@[hunter2/x",
        "host=db password='hunter2",
        "host=db pass word=hunter2",
        "host=db hunter2",
    ];
    for text in table {
        let text_of = |problem: UrlProblem| problem.to_string();
        let shown = read(text).map_or_else(text_of, |address| format!("{:?}", address.hosts));
        assert!(!shown.contains("hunter"), "{text}: {shown}");
    }
}

#[test]
fn the_parts_of_an_address_are_decoded() {
    let hosts =
        address("postgres://u%40x:p%2Fss%25@[2001:db8::1]:5433,%2Frun%2Fpg,db/m%65s?options=-c%20jit%3Doff").hosts;

    let [six, socket, name] = hosts.as_slice() else { panic!("{hosts:?}") };
    assert_eq!(six.get_hosts(), [Host::Tcp("2001:db8::1".to_owned())]);
    assert_eq!((six.get_user(), six.get_password(), six.get_dbname()), (Some("u@x"), Some(&b"p/ss%"[..]), Some("mes")));
    assert_eq!(six.get_options(), Some("-c jit=off"));
    assert_eq!(socket.get_hosts(), [Host::Unix("/run/pg".into())]);
    assert_eq!((six.get_ports(), socket.get_ports(), name.get_ports()), (&[5433][..], &[5432][..], &[5432][..]));
}

#[test]
fn a_password_may_hold_what_no_host_can() {
    let table = [
        ("postgres://u:a/b:c@db/x", "a/b:c"),
        ("postgres://u:50%off@db/x", "50%off"),
        ("postgres://u:a#b?c@db/x", "a#b?c"),
        ("postgres://u:a:b@db/x?application_name=y@z", "a:b"),
        (r"host=db user=u password='a \'b\' \\'", r"a 'b' \"),
        (r"host=db user=u password=a\ b dbname=x", "a b"),
    ];
    for (text, password) in table {
        assert_eq!(address(text).hosts[0].get_password(), Some(password.as_bytes()), "{text}");
    }
}

#[test]
fn an_at_sign_in_a_parameter_is_no_end_of_a_password() {
    let read = address("postgres://db/x?application_name=a@b");

    assert_eq!((read.hosts[0].get_user(), read.hosts[0].get_application_name()), (None, Some("a@b")));
}

#[test]
fn a_host_in_a_parameter_replaces_that_of_the_url() {
    let hosts = address("postgres://u@localhost/x?host=/cloudsql/plant").hosts;

    assert_eq!(hosts.len(), 1);
    assert_eq!(hosts[0].get_hosts(), [Host::Unix("/cloudsql/plant".into())]);
}

#[test]
fn times_are_read_as_libpq_reads_them() {
    let host = &address("host=db connect_timeout=5 tcp_user_timeout=7000 keepalives_idle=0").hosts[0];

    assert_eq!(host.get_connect_timeout(), Some(&Duration::from_secs(5)));
    assert_eq!(host.get_tcp_user_timeout(), Some(&Duration::from_secs(7)));
    assert_eq!(host.get_keepalives_idle(), PATIENCE);
}

#[test]
fn each_sslmode_of_libpq_has_a_meaning() {
    let modes = ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"];
    let read = modes.map(|mode| address(&format!("host=db sslmode={mode}")).tls);

    use TlsMode::{Allow, Disable, Prefer, Require};
    assert_eq!(read, [Disable, Allow, Prefer, Require, Require, Require]);
}
