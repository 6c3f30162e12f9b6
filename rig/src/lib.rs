//! Throw-away servers and witnesses for the tests and the lab. In: the programs of the distribution. Out: a real PostgreSQL, a real
//! mosquitto, a PgBouncer, TLS before any of them, a broker and an endpoint that follow a script, a webhook receiver, a subscriber, a proxy that breaks
//! connections, a proxy of HTTP, the daemon as a child process, and the oracle that judges what arrived. Everything listens on 127.0.0.1 only and vanishes
//! with its owner, however the owner ends. It imports nothing of Andon, so that it can bear witness.

pub mod connect_proxy;
pub mod daemon;
pub mod mosquitto;
pub mod oracle;
mod packet;
pub mod pgbouncer;
pub mod postgres;
pub mod process;
pub mod proxy;
pub mod receiver;
pub mod record;
pub mod reference;
pub mod scripted_broker;
pub mod scripted_endpoint;
pub mod signature;
pub mod subscriber;
pub mod tap;
pub mod tls_front;

pub use connect_proxy::ConnectProxy;
pub use daemon::Daemon;
pub use daemon::DaemonOptions;
pub use mosquitto::Mosquitto;
pub use mosquitto::MosquittoOptions;
pub use pgbouncer::PgBouncer;
pub use postgres::Postgres;
pub use proxy::Proxy;
pub use receiver::Receiver;
pub use scripted_broker::ScriptedBroker;
pub use scripted_endpoint::ScriptedEndpoint;
pub use subscriber::Subscriber;
pub use subscriber::SubscriberV4;
pub use tap::Tap;
pub use tls_front::TlsFront;
