//! The programs that carry the events: Andon, or a program for node. In: which program, and its settings. Out: a running process, and its
//! processor time. Dropping it ends it in order.

use std::ffi::OsString;

use anyhow::Context as _;
use anyhow::Result;
use nix::sys::signal::Signal;
use serde_json::json;

use crate::andon::Andon;
use crate::bench::sink::SECRET;
use crate::bench::usage;
use crate::packages::Packages;
use rig::Daemon;
use rig::process::Server;
use rig::process::ServerOptions;

const SETTINGS: &str = include_str!("../../../peers/node_red_settings.js");
const LISTEN: &str = include_str!("../../../peers/node_red_listen.js");
const WORKER: &str = include_str!("../../../peers/graphile_worker.js");

/// A program to start.
#[derive(Debug, Clone)]
pub(super) enum Program {
    /// `andon run`, with its defaults.
    Andon(Andon),
    /// One flow: a function node that listens, and an `mqtt out` node.
    NodeRed {
        /// The broker's port.
        broker: u16,
    },
    /// A worker with one task, which posts.
    GraphileWorker {
        /// Where the task posts.
        url: String,
        /// Jobs at a time.
        concurrency: usize,
    },
}

/// A running consumer.
pub(super) enum Consumer {
    Andon(Daemon),
    Node(Server),
}

impl Program {
    /// Starts it. It may not take events yet.
    pub(super) async fn start(&self, packages: &Packages, database: &str) -> Result<Consumer> {
        let mut server = match self {
            Program::Andon(andon) => return Ok(Consumer::Andon(andon.start(database).await?)),
            Program::NodeRed { broker } => node_red(packages, database, *broker)?,
            Program::GraphileWorker { url, concurrency } => graphile_worker(packages, database, url, *concurrency)?,
        };
        server.start()?;
        Ok(Consumer::Node(server))
    }
}

impl Consumer {
    /// Returns its processor time so far, in seconds.
    pub(super) fn worked(&self) -> Result<f64> {
        match self {
            Consumer::Andon(daemon) => usage::processor(daemon.running()?),
            Consumer::Node(server) => {
                usage::processor(server.pid().with_context(|| format!("it ended:\n{}", server.log_tail()))?)
            }
        }
    }

    /// Returns the end of its log, for messages.
    pub(super) fn log_tail(&self) -> String {
        match self {
            Consumer::Andon(daemon) => daemon.log_tail(),
            Consumer::Node(server) => server.log_tail(),
        }
    }
}

fn node_red(packages: &Packages, database: &str, broker: u16) -> Result<Server> {
    let server = Server::prepare(|directory| {
        let program = packages.modules.join("node-red/red.js");
        let arguments = [program.into(), "--userDir".into(), directory.into()];
        Ok(plan("node-red", packages, arguments, &[("DATABASE_URL", database)]))
    })?;
    server.write("settings.js", SETTINGS)?;
    let flow = json!([
        {"id": "reports", "type": "tab", "label": "reports"},
        {"id": "broker", "type": "mqtt-broker", "broker": "127.0.0.1", "port": broker.to_string(), "clientid": "",
            "autoConnect": true, "usetls": false, "protocolVersion": "4", "keepalive": "60", "cleansession": true},
        {"id": "listen", "type": "function", "z": "reports", "initialize": LISTEN, "func": "return msg;", "outputs": 1, "libs": [],
            "wires": [["publish"]]},
        {"id": "publish", "type": "mqtt out", "z": "reports", "broker": "broker", "qos": "1", "retain": "false", "topic": "", "wires": []},
    ]);
    server.write("flows.json", flow.to_string())?;
    Ok(server)
}

fn graphile_worker(packages: &Packages, database: &str, url: &str, concurrency: usize) -> Result<Server> {
    let concurrency = concurrency.to_string();
    let environment = [
        ("DATABASE_URL", database),
        ("TARGET", url),
        ("SECRET", SECRET),
        ("CONCURRENCY", concurrency.as_str()),
        // Without this it writes a line for each job.
        ("NO_LOG_SUCCESS", "1"),
    ];
    let server = Server::prepare(|directory| {
        Ok(plan("graphile-worker", packages, [directory.join("worker.js").into()], &environment))
    })?;
    server.write("worker.js", WORKER)?;
    Ok(server)
}

fn plan<const N: usize>(
    name: &'static str,
    packages: &Packages,
    arguments: [OsString; N],
    environment: &[(&str, &str)],
) -> ServerOptions {
    let mut command = vec![OsString::from(&packages.node)];
    command.extend(arguments);
    let mut variables: Vec<(OsString, OsString)> =
        environment.iter().map(|(name, value)| (OsString::from(name), OsString::from(value))).collect();
    // The script is in a directory of its own, away from the packages.
    variables.push(("NODE_PATH".into(), packages.modules.clone().into()));
    variables.push(("NODE_ENV".into(), "production".into()));
    ServerOptions { name, command, environment: variables, user: None, end: Signal::SIGTERM }
}
