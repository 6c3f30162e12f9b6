//! What the network between Andon and PostgreSQL gets to see. In: real servers with and without TLS, and peers that only say that they are one. Out:
//! whether connections are encrypted and verified as the address says, and whether a password ever goes to somebody else.

use std::sync::Arc;
use std::sync::Mutex;

use andon::database;
use andon::database::Database;
use andon::secret::Secret;
use rig::Postgres;
use rig::TlsFront;
use rig::tls_front::Speaks;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::net::TcpStream;

use super::addresses::write_files;
use crate::command::run_andon;
use crate::support::authority::Authority;
use crate::support::plant::connect;

/// A request for the password in the clear: the letter of authentication, the length 8, and the number 3.
const CLEARTEXT: [u8; 9] = [b'R', 0, 0, 0, 8, 0, 0, 0, 3];

/// Somebody on the way who says that PostgreSQL has no TLS and asks for the password, and keeps what is said.
struct Eavesdropper {
    port: u16,
    heard: Arc<Mutex<Vec<u8>>>,
}

impl Eavesdropper {
    async fn start() -> Eavesdropper {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let (port, heard) = (listener.local_addr().unwrap().port(), Arc::default());
        let hears = Arc::clone(&heard);
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(listen(socket, Arc::clone(&hears)));
            }
        });
        Eavesdropper { port, heard }
    }

    fn take(&self) -> Vec<u8> {
        std::mem::take(&mut self.heard.lock().unwrap())
    }
}

async fn listen(mut socket: TcpStream, heard: Arc<Mutex<Vec<u8>>>) -> std::io::Result<()> {
    let mut bytes = [0; 4096];
    loop {
        let count = socket.read(&mut bytes).await?;
        let said = &bytes[..count];
        heard.lock().unwrap().extend_from_slice(said);
        match said {
            [] => return Ok(()),
            // The eight bytes of the request for TLS.
            [0, 0, 0, 8, ..] => socket.write_all(b"N").await?,
            _ => socket.write_all(&CLEARTEXT).await?,
        }
    }
}

/// Tries to connect, and returns the error.
async fn refusal(url: &str, authority: Option<&Authority>) -> String {
    let ca_file = authority.map(|authority| authority.file("ca.pem", &authority.pem));
    let settings = database::Settings { url: Secret::new(url.to_owned()), ca_file };
    let error = Database::new(&settings).unwrap().connect().await.err().unwrap();
    format!("{:#}", anyhow::Error::from(error))
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_on_the_way_gets_the_password_or_talks_andon_out_of_tls() {
    let (authority, eavesdropper) = (Authority::new(), Eavesdropper::start().await);
    let (certificate, key) = Authority::new().sign("localhost", 2099);
    let within = Speaks::Tls { certificate, key, clients: None, protocols: vec![] };
    let in_tls = TlsFront::start(eavesdropper.port, within).await.unwrap();
    let names_the_user = |heard: &[u8]| heard.windows(5).any(|word| word == b"andon");
    let trusting = Some(&authority);
    // The address, the certificates that it names, and whether the other end gets to know who connects.
    for (user, port, mode, authority, is_greeted) in [
        ("andon:hunter2", eavesdropper.port, "", None, false),
        ("andon:hunter2", eavesdropper.port, "?sslmode=prefer", None, false),
        ("andon:hunter2", eavesdropper.port, "?sslmode=allow", None, false),
        ("andon:hunter2", eavesdropper.port, "?sslmode=prefer", trusting, false),
        ("andon", eavesdropper.port, "?sslmode=prefer", trusting, false),
        ("andon", eavesdropper.port, "?sslmode=allow", trusting, false),
        ("andon:hunter2", eavesdropper.port, "?sslmode=require", None, false),
        ("andon:hunter2", eavesdropper.port, "?sslmode=disable", None, true),
        ("andon:hunter2", in_tls.port(), "", None, true),
        ("andon:hunter2", in_tls.port(), "?sslmode=allow", None, true),
        ("andon:hunter2", in_tls.port(), "?sslmode=prefer", trusting, false),
        ("andon:hunter2", in_tls.port(), "?sslmode=verify-full", None, false),
    ] {
        let reason = refusal(&format!("postgres://{user}@localhost:{port}/mes{mode}"), authority).await;

        let heard = eavesdropper.take();
        let case = format!("{user} {mode} to {port}: {reason}");
        assert!(!heard.windows(7).any(|word| word == b"hunter2"), "{case}");
        assert_eq!(names_the_user(&heard), is_greeted, "{case}");
        let advice = match (is_greeted, port == in_tls.port()) {
            (true, _) => "asks for the password in the clear",
            (false, true) => "; name the CA that signed it in database.ca_file",
            (false, false) => "has no TLS, without which Andon shows it no password",
        };
        assert!(reason.contains(advice) && !reason.contains("hunter2"), "{case}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_is_encrypted_and_verified_as_the_address_says() {
    let (authority, postgres) = (Authority::new(), Postgres::start().unwrap());
    let admin = connect(&postgres.url("postgres")).await;
    let (certificate, key) = authority.sign("localhost", 2099);
    let hba = "host all postgres all trust\nhostssl all scram all scram-sha-256\nhostssl all clear all password\n\
        host all open all trust\nhostnossl all bare all trust\n";
    write_files(&admin, &[("server.crt", &certificate), ("server.key", &key), ("pg_hba.conf", hba)]).await;
    for sql in [
        "create role scram login password 'hunter2'; create role clear login password 'hunter2'",
        "create role open login; create role bare login",
        "alter system set ssl = on",
    ] {
        admin.batch_execute(sql).await.unwrap();
    }
    postgres.restart_immediate().unwrap();
    let ca = format!("sslrootcert={}", authority.file("ca.pem", &authority.pem).display());
    let url =
        |user: &str, parameters: &str| format!("postgres://{user}@localhost:{}/postgres?{parameters}", postgres.port());

    // Whether the session is encrypted, or what refuses it.
    for (user, parameters, outcome) in [
        ("open", "", Ok(true)),
        ("open", "sslmode=allow", Ok(false)),
        ("open", "sslmode=disable", Ok(false)),
        ("open", &ca, Ok(true)),
        ("open", &format!("sslmode=allow&{ca}"), Ok(true)),
        ("open", "hostaddr=127.0.0.1", Ok(true)),
        // The server wants no TLS of this role, and there is nothing to lose.
        ("bare", "", Ok(false)),
        ("bare:hunter2", "", Err("pg_hba.conf")),
        ("bare:hunter2", "sslmode=disable", Ok(false)),
        ("scram:hunter2", "", Ok(true)),
        ("scram:hunter2", "sslmode=allow", Ok(true)),
        ("scram:hunter2", &ca, Ok(true)),
        ("clear:hunter2", &ca, Ok(true)),
        ("clear:hunter2", &format!("sslmode=verify-full&{ca}"), Ok(true)),
        ("clear:hunter2", "", Err("asks for the password in the clear")),
        ("clear:hunter2", "sslmode=require", Err("name the CA that signed it in database.ca_file")),
        ("open", "sslmode=require", Err("name the CA that signed it in database.ca_file")),
    ] {
        let database = Database::new(&database::Settings { url: Secret::new(url(user, parameters)), ca_file: None });
        let opened = match database.unwrap().connect().await {
            Ok(client) => {
                let sql = "select ssl from pg_stat_ssl where pid = pg_backend_pid()";
                Ok(client.query_one(sql, &[]).await.unwrap().get::<_, bool>(0))
            }
            Err(error) => Err(format!("{:#}", anyhow::Error::from(error))),
        };

        match (&opened, outcome) {
            (Err(error), Err(reason)) => assert!(error.contains(reason), "{user} {parameters}: {error}"),
            _ => assert_eq!(opened, outcome.map_err(str::to_owned), "{user} {parameters}"),
        }
    }
    let unverified = run_andon(&url("scram:hunter2", ""), &["check"]);
    let verified = run_andon(&url("scram:hunter2", &ca), &["check"]);
    assert!(unverified.out.contains("TLSv1.3, certificate not verified"), "{unverified:?}");
    assert!(verified.out.contains("TLSv1.3, certificate verified"), "{verified:?}");
}
