//! How each broker is started. In: which one, its directory and its port. Out: a command, variables and files that make it serve MQTT on
//! 127.0.0.1, to anyone, with as much persistence as it has by default. It starts nothing but the companion that a broker needs.

use std::ffi::OsString;
use std::net::TcpStream;
use std::path::Path;
use std::path::PathBuf;

use anyhow::Context as _;
use anyhow::Result;
use nix::sys::signal::Signal;
use rig::process;
use rig::process::Server;
use rig::process::ServerOptions;

use crate::compat::programs;
use crate::compat::programs::Programs;

/// A broker that Andon is tried with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Make {
    Mosquitto,
    RabbitMq,
    Nats,
    Ejabberd,
    Aedes,
    Amqtt,
}

/// What has to be done to start one.
pub(super) struct Recipe {
    pub(super) options: ServerOptions,
    /// Files in its directory.
    pub(super) files: Vec<(&'static str, String)>,
    /// User and password for those that let nobody in without.
    pub(super) credentials: Option<(String, String)>,
    /// Name and version.
    pub(super) title: String,
}

/// A server that a broker needs beside it.
pub(super) struct Companion {
    pub(super) server: Server,
    pub(super) port: u16,
}

/// Where Debian puts the script that becomes RabbitMQ. The one in `PATH` changes the user first.
const RABBITMQ: &str = "/usr/lib/rabbitmq/bin/rabbitmq-server";
const AEDES: &str = include_str!("../../compat/aedes.js");

/// Returns how a broker is started.
pub(super) fn recipe(
    make: Make,
    programs: &Programs,
    directory: &Path,
    port: u16,
    companion: Option<u16>,
) -> Result<Recipe> {
    match make {
        Make::Mosquitto => mosquitto(directory, port),
        Make::RabbitMq => rabbitmq(directory, port, companion.unwrap_or_default()),
        Make::Nats => nats(directory, port),
        Make::Ejabberd => ejabberd(directory, port),
        Make::Aedes => aedes(programs, directory, port),
        Make::Amqtt => amqtt(programs, directory, port),
    }
}

/// Prepares what a broker needs beside it: RabbitMQ's node looks itself up in a port mapper, and would start one that outlives it.
pub(super) fn companion(make: Make) -> Result<Option<Companion>> {
    if make != Make::RabbitMq {
        return Ok(None);
    }
    let program = process::program("epmd", "erlang-base")?;
    let port = process::free_port()?;
    let server = Server::prepare(|_| {
        let command = words(&[program.into(), "-port".into(), port.to_string().into()]);
        Ok(options("epmd", command, &[("ERL_EPMD_ADDRESS", "127.0.0.1".into())]))
    })?;
    Ok(Some(Companion { server, port }))
}

impl Companion {
    pub(super) fn start(mut self) -> Result<Companion> {
        self.server.start()?;
        self.server.wait_ready(|| TcpStream::connect(("127.0.0.1", self.port)).is_ok())?;
        Ok(self)
    }
}

fn mosquitto(directory: &Path, port: u16) -> Result<Recipe> {
    let program = process::program("mosquitto", "mosquitto")?;
    let file = "mosquitto.conf";
    let command = words(&[program.into(), "-c".into(), directory.join(file).into()]);
    let here = directory.display();
    let lines =
        format!("listener {port} 127.0.0.1\nallow_anonymous true\npersistence true\npersistence_location {here}/\n");
    Ok(Recipe {
        // It would give root up for a user that cannot write to its directory.
        options: ServerOptions { user: process::server_user()?, ..options("mosquitto", command, &[]) },
        files: vec![(file, lines)],
        credentials: None,
        title: title("mosquitto", "mosquitto"),
    })
}

fn rabbitmq(directory: &Path, port: u16, mapper: u16) -> Result<Recipe> {
    let installed = process::program("rabbitmq-server", "rabbitmq-server")?;
    let program = if Path::new(RABBITMQ).exists() { PathBuf::from(RABBITMQ) } else { installed };
    let distribution = process::free_port()?;
    let lines = format!(
        "listeners.tcp = none\nmqtt.listeners.tcp.default = 127.0.0.1:{port}\nmqtt.allow_anonymous = true\n\
        mqtt.default_user = guest\nmqtt.default_pass = guest\n"
    );
    let at = |name: &str| directory.join(name).into_os_string();
    let environment = [
        ("HOME", directory.into()),
        ("ERL_EPMD_PORT", mapper.to_string().into()),
        ("RABBITMQ_NODENAME", "andon@localhost".into()),
        ("RABBITMQ_CONFIG_FILE", at("rabbitmq.conf")),
        ("RABBITMQ_CONF_ENV_FILE", "/dev/null".into()),
        ("RABBITMQ_ENABLED_PLUGINS_FILE", at("enabled_plugins")),
        ("RABBITMQ_MNESIA_BASE", at("mnesia")),
        ("RABBITMQ_LOG_BASE", at("logs")),
        ("RABBITMQ_LOGS", "-".into()),
        ("RABBITMQ_DIST_PORT", distribution.to_string().into()),
        // With this one the script becomes the server. Otherwise the server would survive a kill of the script.
        ("RABBITMQ_ALLOW_INPUT", "1".into()),
        (
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS",
            "-noinput -start_epmd false -kernel inet_dist_use_interface {127,0,0,1}".into(),
        ),
    ];
    Ok(Recipe {
        options: options("rabbitmq", words(&[program.into()]), &environment),
        files: vec![("rabbitmq.conf", lines), ("enabled_plugins", "[rabbitmq_mqtt].\n".to_owned())],
        credentials: None,
        title: title("RabbitMQ", "rabbitmq-server"),
    })
}

fn nats(directory: &Path, port: u16) -> Result<Recipe> {
    let program = process::program("nats-server", "nats-server")?;
    let file = "nats.conf";
    let lines = format!(
        "server_name: andon\nlisten: \"127.0.0.1:{}\"\njetstream {{ store_dir: \"{}\" }}\n\
        mqtt {{ host: \"127.0.0.1\", port: {port} }}\n",
        process::free_port()?,
        directory.join("jetstream").display()
    );
    let command = words(&[program.into(), "-c".into(), directory.join(file).into()]);
    Ok(Recipe {
        options: options("nats", command, &[]),
        files: vec![(file, lines)],
        credentials: None,
        title: title("nats-server", "nats-server"),
    })
}

fn ejabberd(directory: &Path, port: u16) -> Result<Recipe> {
    process::program("ejabberdctl", "ejabberd")?;
    let erl = process::program("erl", "erlang-base")?;
    let libraries = erlang_libraries().context("ejabberd is not where Debian puts it (/usr/lib/*/ejabberd-*)")?;
    let lines = format!(
        "hosts: [localhost]\nauth_method: anonymous\nanonymous_protocol: login_anon\nallow_multiple_connections: true\n\
        listen:\n  - port: {port}\n    ip: \"127.0.0.1\"\n    module: mod_mqtt\nmodules:\n  mod_mqtt: {{}}\n"
    );
    let at = |name: &str| directory.join(name).into_os_string();
    let environment = [
        ("HOME", directory.into()),
        ("ERL_LIBS", libraries.into()),
        ("EJABBERD_CONFIG_PATH", at("ejabberd.yml")),
        ("EJABBERD_LOG_PATH", at("ejabberd.log")),
    ];
    // Without a node name it needs no port mapper.
    let data = format!("\"{}\"", directory.join("mnesia").display());
    let arguments = ["-noinput", "-mnesia", "dir", &data, "-s", "ejabberd"];
    let command = std::iter::once(erl.into_os_string()).chain(arguments.iter().map(Into::into)).collect();
    Ok(Recipe {
        options: options("ejabberd", command, &environment),
        files: vec![("ejabberd.yml", lines)],
        // A user is an address there. This one is made up: anonymous users are let in by any password.
        credentials: Some(("andon@localhost".to_owned(), "andon".to_owned())),
        title: title("ejabberd", "ejabberd"),
    })
}

fn aedes(programs: &Programs, directory: &Path, port: u16) -> Result<Recipe> {
    let packages = programs.npm("aedes")?;
    let file = "aedes.js";
    let command = words(&[packages.node.clone().into(), directory.join(file).into(), port.to_string().into()]);
    Ok(Recipe {
        options: options("aedes", command, &[("NODE_PATH", packages.modules.clone().into())]),
        files: vec![(file, AEDES.to_owned())],
        credentials: None,
        title: packages.names().replace('@', " "),
    })
}

fn amqtt(programs: &Programs, directory: &Path, port: u16) -> Result<Recipe> {
    let python = programs.amqtt()?;
    let file = "amqtt.yaml";
    let lines = format!(
        "listeners:\n  default:\n    type: tcp\n    bind: 127.0.0.1:{port}\nplugins:\n  \
        amqtt.plugins.authentication.AnonymousAuthPlugin:\n    allow_anonymous: true\n"
    );
    let arguments = ["-m", "amqtt.scripts.broker_script", "-c"].map(OsString::from);
    let command = [vec![python.program.into()], arguments.to_vec(), vec![directory.join(file).into()]].concat();
    Ok(Recipe {
        options: options("amqtt", command, &[("PYTHONPATH", python.modules.into())]),
        files: vec![(file, lines)],
        credentials: None,
        title: python.title,
    })
}

/// Returns the directory of Debian's Erlang libraries, of which ejabberd is one.
fn erlang_libraries() -> Option<PathBuf> {
    let holds_ejabberd = |directory: &PathBuf| {
        let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
        entries.map(|entry| entry.file_name()).any(|name| name.to_string_lossy().starts_with("ejabberd-"))
    };
    std::fs::read_dir("/usr/lib").ok()?.flatten().map(|entry| entry.path()).find(holds_ejabberd)
}

fn options(name: &'static str, command: Vec<OsString>, environment: &[(&str, OsString)]) -> ServerOptions {
    let environment = environment.iter().map(|(name, value)| (name.into(), value.clone())).collect();
    ServerOptions { name, command, environment, user: None, end: Signal::SIGTERM }
}

fn words(words: &[OsString]) -> Vec<OsString> {
    words.to_vec()
}

fn title(name: &str, package: &str) -> String {
    format!("{name} {}", programs::version(package)).trim().to_owned()
}
