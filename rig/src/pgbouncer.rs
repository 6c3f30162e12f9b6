//! A throw-away PgBouncer. In: the port of a PostgreSQL on 127.0.0.1, and a pool mode. Out: a pooler in front of all its databases. It never
//! reads the machine's own PgBouncer configuration.

use std::net::TcpStream;

use anyhow::Result;
use nix::sys::signal::Signal;

use crate::process;
use crate::process::Server;
use crate::process::ServerOptions;

const PACKAGE: &str = "pgbouncer";

/// A running pooler. Dropping it ends it.
pub struct PgBouncer {
    _server: Server,
    port: u16,
}

impl PgBouncer {
    /// Starts a pooler that lends its sessions by this mode (`session`, `transaction` or `statement`), with further lines of its
    /// configuration, and blocks until it takes connections.
    pub fn start(postgres: u16, mode: &str, lines: &[&str]) -> Result<PgBouncer> {
        let program = process::program("pgbouncer", PACKAGE)?;
        let port = process::free_port()?;
        let mut server = Server::prepare(|directory| {
            let command = vec![program.into(), directory.join("pgbouncer.ini").into()];
            let user = process::server_user()?;
            Ok(ServerOptions { name: "pgbouncer", command, environment: vec![], user, end: Signal::SIGINT })
        })?;
        let users = server.write("users.txt", "\"postgres\" \"\"\n\"andon_run\" \"\"\n")?;
        let own = lines.join("\n");
        let configuration = format!(
            "[databases]\n* = host=127.0.0.1 port={postgres}\n\
            [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n\
            auth_type = trust\nauth_file = {}\npool_mode = {mode}\n{own}\n",
            users.display()
        );
        server.write("pgbouncer.ini", configuration)?;
        server.start()?;
        server.wait_ready(|| TcpStream::connect(("127.0.0.1", port)).is_ok())?;
        Ok(PgBouncer { _server: server, port })
    }

    /// Returns the URL of a database through the pooler, by the URL of the same database at PostgreSQL.
    pub fn url(&self, direct: &str) -> String {
        let database = direct.rsplit('/').next().unwrap_or_default();
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }
}
