//! A throw-away mosquitto. In: options. Out: a broker on a free port of 127.0.0.1 that can be stopped, killed and started again on the
//! same port, and keeps its stored sessions meanwhile. It never reads the machine's own mosquitto configuration.

use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use anyhow::Context;
use anyhow::Result;
use anyhow::bail;
use nix::sys::signal::Signal;

use crate::process;
use crate::process::Server;
use crate::process::ServerOptions;

const PACKAGE: &str = "mosquitto";

/// How the broker is set up. The default lets anyone in, forgets everything when it ends, and has no limits.
#[derive(Debug, Clone, Default)]
pub struct MosquittoOptions {
    /// Whether sessions and messages survive an orderly stop.
    pub persistence: bool,
    /// User names and passwords. If there are any, nobody else is let in.
    pub users: Vec<(String, String)>,
    /// The content of an access control file.
    pub acl: Option<String>,
    /// If set, the broker serves TLS and nothing else.
    pub tls: Option<MosquittoTls>,
    /// The largest packet. The broker announces it to MQTT 5 clients and disconnects older ones that exceed it.
    pub max_packet_size: Option<u32>,
    /// The largest payload. The broker acknowledges larger ones and drops them.
    pub message_size_limit: Option<u32>,
    /// Unacknowledged messages per client; 0 means no limit.
    pub max_inflight_messages: u32,
    /// Queued messages per client; 0 means no limit.
    pub max_queued_messages: u32,
    /// Whether Nagle's algorithm delays small packets. It is off by default, because it would be measured as our latency.
    pub fills_packets: bool,
    /// Further lines for the configuration file.
    pub lines: Vec<String>,
}

impl MosquittoOptions {
    /// Behaves towards a publisher like a mosquitto whose configuration nobody has touched.
    pub fn as_installed() -> MosquittoOptions {
        MosquittoOptions {
            max_inflight_messages: 20,
            max_queued_messages: 1000,
            fills_packets: true,
            ..MosquittoOptions::default()
        }
    }
}

/// Certificates, as PEM text.
#[derive(Debug, Clone)]
pub struct MosquittoTls {
    /// The authority that the broker trusts for client certificates.
    pub ca: String,
    /// The broker's own certificate.
    pub certificate: String,
    /// Its key.
    pub key: String,
    /// Whether a client must show a certificate.
    pub require_certificate: bool,
}

/// A running broker. Dropping it ends it. Its methods block until the broker has started or ended.
pub struct Mosquitto {
    server: Mutex<Server>,
    port: u16,
}

impl Mosquitto {
    /// Starts a broker and blocks until it accepts connections.
    pub fn start(options: &MosquittoOptions) -> Result<Mosquitto> {
        let program = process::program("mosquitto", PACKAGE)?;
        let port = process::free_port()?;
        let server = Server::prepare(|directory| {
            let configuration = directory.join("mosquitto.conf");
            let command = vec![program.into(), "-c".into(), configuration.into()];
            let user = process::server_user()?;
            Ok(ServerOptions { name: "mosquitto", command, environment: vec![], user, end: Signal::SIGTERM })
        })?;
        let configuration = configuration(&server, options, port)?;
        server.write("mosquitto.conf", configuration)?;
        let mosquitto = Mosquitto { server: Mutex::new(server), port };
        mosquitto.start_again()?;
        Ok(mosquitto)
    }

    /// Returns the port on 127.0.0.1, the same after every start.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns its process id while it runs.
    pub fn pid(&self) -> Option<i32> {
        self.server().pid()
    }

    /// Returns the broker's log.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.server().log_path()).unwrap_or_default()
    }

    /// Ends it in order (SIGTERM), so that it can save its sessions and messages.
    pub fn stop_term(&self) -> Result<()> {
        self.server().end(Signal::SIGTERM)
    }

    /// Kills it (SIGKILL). The messages that it acknowledged since its last save are lost, to subscribers too.
    pub fn kill(&self) -> Result<()> {
        self.server().end(Signal::SIGKILL)
    }

    /// Suspends it with its sockets open (SIGSTOP), until `resume`.
    pub fn pause(&self) -> Result<()> {
        self.server().signal(Signal::SIGSTOP)
    }

    /// Continues it after `pause`.
    pub fn resume(&self) -> Result<()> {
        self.server().signal(Signal::SIGCONT)
    }

    /// Starts it again on the same port, with the state it had saved.
    pub fn start_again(&self) -> Result<()> {
        let mut server = self.server();
        server.start()?;
        server.wait_ready(|| TcpStream::connect(("127.0.0.1", self.port)).is_ok())
    }

    fn server(&self) -> MutexGuard<'_, Server> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn configuration(server: &Server, options: &MosquittoOptions, port: u16) -> Result<String> {
    let mut lines = vec![
        format!("listener {port} 127.0.0.1"),
        format!("allow_anonymous {}", options.users.is_empty()),
        format!("max_inflight_messages {}", options.max_inflight_messages),
        format!("max_queued_messages {}", options.max_queued_messages),
        format!("persistence {}", options.persistence),
        format!("persistence_location {}/", server.directory().display()),
        format!("set_tcp_nodelay {}", !options.fills_packets),
        "log_dest stderr".to_owned(),
    ];
    if !options.users.is_empty() {
        lines.push(format!("password_file {}", password_file(server, &options.users)?.display()));
    }
    if let Some(acl) = &options.acl {
        lines.push(format!("acl_file {}", server.write("acl", acl)?.display()));
    }
    if let Some(tls) = &options.tls {
        lines.push(format!("cafile {}", server.write("ca.pem", &tls.ca)?.display()));
        lines.push(format!("certfile {}", server.write("certificate.pem", &tls.certificate)?.display()));
        lines.push(format!("keyfile {}", server.write("key.pem", &tls.key)?.display()));
        lines.push(format!("require_certificate {}", tls.require_certificate));
    }
    lines.extend(options.max_packet_size.map(|size| format!("max_packet_size {size}")));
    lines.extend(options.message_size_limit.map(|size| format!("message_size_limit {size}")));
    lines.extend(options.lines.iter().cloned());
    Ok(lines.join("\n") + "\n")
}

fn password_file(server: &Server, users: &[(String, String)]) -> Result<PathBuf> {
    let program = process::program("mosquitto_passwd", PACKAGE)?;
    let path = server.write("passwords", "")?;
    for (name, password) in users {
        let made = process::command_as(&program, process::server_user()?.as_ref())
            .arg("-b")
            .arg(&path)
            .args([name, password])
            .stdin(Stdio::null())
            .output()
            .context("cannot run mosquitto_passwd")?;
        if !made.status.success() {
            bail!("mosquitto_passwd failed for user `{name}`: {}", String::from_utf8_lossy(&made.stderr));
        }
    }
    Ok(path)
}
