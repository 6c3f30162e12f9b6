//! The list of those that Andon is tried with. In: the name of one. Out: servers for a line: PostgreSQL, a broker, perhaps a pooler between.
//! Each candidate is one server of a kind beside the others as the distribution has them.

use anyhow::Result;
use rig::PgBouncer;
use rig::Postgres;

use crate::andon::Andon;
use crate::compat::broker::Broker;
use crate::compat::programs;
use crate::compat::programs::Programs;
use crate::compat::recipes::Make;
use crate::stage::Stage;
use crate::stage::blocking;
use crate::stage::connect;

/// One of the list.
#[derive(Debug, Clone, Copy)]
pub(super) struct Candidate {
    pub(super) name: &'static str,
    kind: Kind,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    /// PostgreSQL and mosquitto of the distribution.
    Installed,
    /// A PostgreSQL of npm, whose package has the name of the candidate.
    Postgres,
    Broker(Make),
    /// A PgBouncer in this mode.
    Pooler(&'static str),
}

/// The servers of a line. They end in the order of the fields.
pub(super) struct Servers {
    pub(super) pooler: Option<PgBouncer>,
    pub(super) broker: Broker,
    pub(super) stage: Stage,
    /// What the line stands beside, with its version.
    pub(super) title: String,
    /// Whether Andon has to refuse to work here, because a session is not its own.
    pub(super) is_to_be_refused: bool,
}

pub(super) const CANDIDATES: &[Candidate] = &[
    Candidate { name: "installed", kind: Kind::Installed },
    Candidate { name: "postgresql-14", kind: Kind::Postgres },
    Candidate { name: "postgresql-16", kind: Kind::Postgres },
    Candidate { name: "postgresql-17", kind: Kind::Postgres },
    Candidate { name: "postgresql-18", kind: Kind::Postgres },
    Candidate { name: "rabbitmq", kind: Kind::Broker(Make::RabbitMq) },
    Candidate { name: "nats", kind: Kind::Broker(Make::Nats) },
    Candidate { name: "ejabberd", kind: Kind::Broker(Make::Ejabberd) },
    Candidate { name: "aedes", kind: Kind::Broker(Make::Aedes) },
    Candidate { name: "amqtt", kind: Kind::Broker(Make::Amqtt) },
    Candidate { name: "pgbouncer-session", kind: Kind::Pooler("session") },
    Candidate { name: "pgbouncer-transaction", kind: Kind::Pooler("transaction") },
    Candidate { name: "pgbouncer-statement", kind: Kind::Pooler("statement") },
];

impl Candidate {
    /// Gets its programs and starts the servers.
    pub(super) async fn start(self, andon: &Andon, programs: &Programs) -> Result<Servers> {
        let stage = match self.kind {
            Kind::Postgres => {
                let (own, name) = (programs.clone(), self.name);
                let directory = blocking(move || own.postgres(name)).await?;
                Stage::start(andon, move || Postgres::start_from(&directory)).await?
            }
            _ => Stage::start(andon, Postgres::start).await?,
        };
        let make = if let Kind::Broker(make) = self.kind { make } else { Make::Mosquitto };
        let broker = Broker::start(make, programs).await?;
        let (mut pooler, mut is_to_be_refused) = (None, false);
        if let Kind::Pooler(mode) = self.kind {
            let port = stage.postgres.port();
            pooler = Some(blocking(move || PgBouncer::start(port, mode, &[])).await?);
            is_to_be_refused = mode != "session";
        }
        let title = match self.kind {
            Kind::Installed => format!("{}, {}", version(&stage).await?, broker.title),
            Kind::Postgres => version(&stage).await?,
            Kind::Broker(_) => broker.title.clone(),
            Kind::Pooler(mode) => format!("PgBouncer {}, {mode} mode", programs::version("pgbouncer")),
        };
        Ok(Servers { pooler, broker, stage, title, is_to_be_refused })
    }
}

async fn version(stage: &Stage) -> Result<String> {
    let client = connect(&stage.postgres.url("postgres")).await?;
    let version: String = client.query_one("show server_version", &[]).await?.get(0);
    Ok(format!("PostgreSQL {}", version.split(' ').next().unwrap_or_default()))
}
