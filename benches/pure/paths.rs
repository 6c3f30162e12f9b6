//! The pure hot paths, which are the work that each event needs between the log and the network. In: an event of the usual shape. Out: the
//! path's result, which is dropped. The test of allocations and the bench walk the same list. No path does I/O.

use std::cell::RefCell;
use std::hint::black_box;

use andon::event::Entity;
use andon::event::Event;
use andon::event::Field;
use andon::event::Json;
use andon::event::TenantId;
use andon::payload;
use andon::payload::Format;
use andon::router::EventPattern;
use andon::router::Route;
use andon::router::Router;
use andon::signature;
use andon::signature::WebhookSecret;
use andon::topic::Equipment;
use andon::topic::Levels;
use andon::topic::Naming;
use andon::topic::Pattern;
use andon::topic::Topic;
use bytes::BytesMut;
use serde_json::value::RawValue;
use tokio_postgres::types::FromSql as _;
use tokio_postgres::types::ToSql as _;
use tokio_postgres::types::Type;
use uuid::Uuid;

/// One piece of work that is done for each event.
pub(crate) struct Path {
    pub(crate) name: &'static str,
    /// How often the path may ask for memory.
    pub(crate) allocations: u64,
    pub(crate) run: fn(&Stage, &Event),
}

/// The values that a gateway prepares before the first event comes.
pub(crate) struct Stage {
    router: RefCell<Router<String>>,
    pattern: Pattern,
    by_data: Pattern,
    nowhere: Equipment,
    equipment: Equipment,
    levels: Levels,
    secret: WebhookSecret,
    rotating: WebhookSecret,
    /// The context and the data of an event, as PostgreSQL sends them.
    wires: [BytesMut; 2],
}

pub(crate) const PATHS: &[Path] = &[
    Path {
        name: "log: JSON of a row",
        allocations: 2,
        run: |stage, _| {
            for wire in &stage.wires {
                black_box(Json::from_sql(&Type::JSONB, wire).expect("it is what a database sends"));
            }
        },
    },
    Path {
        name: "router: 10 of 20 lanes",
        allocations: 0,
        run: |stage, event| {
            black_box(stage.router.borrow_mut().places(event));
        },
    },
    Path {
        name: "event: a field of the context",
        allocations: 0,
        run: |_, event| {
            black_box(event.context.members(&["cell"]).map(|field| field.and_then(Field::text)));
        },
    },
    Path {
        name: "event: a field of the data",
        allocations: 0,
        run: |_, event| {
            black_box(event.data.at("order.no").and_then(Field::text));
        },
    },
    Path {
        name: "topic: ascii",
        allocations: 1,
        run: |stage, event| {
            black_box(topic(&stage.pattern, stage, event, Naming::Ascii, &stage.nowhere));
        },
    },
    Path {
        name: "topic: ascii, equipment map",
        allocations: 1,
        run: |stage, event| {
            black_box(topic(&stage.pattern, stage, event, Naming::Ascii, &stage.equipment));
        },
    },
    Path {
        name: "topic: ascii, path into the data",
        allocations: 1,
        run: |stage, event| {
            black_box(topic(&stage.by_data, stage, event, Naming::Ascii, &stage.nowhere));
        },
    },
    Path {
        name: "topic: verbatim",
        allocations: 1,
        run: |stage, event| {
            black_box(topic(&stage.pattern, stage, event, Naming::Verbatim, &stage.nowhere));
        },
    },
    Path {
        name: "topic: eryxon",
        allocations: 1,
        run: |stage, event| {
            black_box(topic(&stage.pattern, stage, event, Naming::Eryxon, &stage.nowhere));
        },
    },
    Path {
        name: "payload: andon",
        allocations: 1,
        run: |_, event| {
            black_box(payload::mqtt(event, Format::Andon));
        },
    },
    Path {
        name: "payload: eryxon",
        allocations: 1,
        run: |_, event| {
            black_box(payload::webhook(event, Format::Eryxon));
        },
    },
    Path {
        name: "signature: one key",
        allocations: 1,
        run: |stage, event| {
            black_box(signature::sign(&stage.secret, ID, SECONDS, event.data.get().as_bytes()));
        },
    },
    Path {
        name: "signature: two keys",
        allocations: 1,
        run: |stage, event| {
            black_box(signature::sign(&stage.rotating, ID, SECONDS, event.data.get().as_bytes()));
        },
    },
    Path {
        name: "signature: eryxon",
        allocations: 1,
        run: |stage, event| {
            black_box(signature::eryxon(&stage.secret, event.data.get().as_bytes()));
        },
    },
    Path {
        name: "publisher: event to topic and payload",
        allocations: 2,
        run: |stage, event| {
            black_box(topic(&stage.pattern, stage, event, Naming::Ascii, &stage.nowhere));
            black_box(payload::mqtt(event, Format::Andon));
        },
    },
    Path {
        name: "webhook: event to body and signature",
        allocations: 2,
        run: |stage, event| {
            let body = payload::webhook(event, Format::Andon);
            black_box(signature::sign(&stage.secret, ID, SECONDS, &body));
            black_box(body);
        },
    },
];

const ID: &str = "0198c2f4000070008000000000000001_webhooks/1";
const SECONDS: i64 = 1_795_000_000;
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const SECRETS: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

fn topic(pattern: &Pattern, stage: &Stage, event: &Event, naming: Naming, equipment: &Equipment) -> Topic {
    let topic = pattern.expand(event, naming, None, equipment, &stage.levels);
    topic.expect("the event has all that the pattern needs")
}

impl Stage {
    pub(crate) fn new() -> Stage {
        let mut router = Router::default();
        for number in 0..20 {
            let events: &[&str] = if number % 2 == 0 { &["job.*", "operation.*"] } else { &["job.created"] };
            let route = Route {
                tenant: TenantId("acme".to_owned()),
                events: events.iter().map(|text| EventPattern::parse(text).expect("it is a pattern")).collect(),
                lane: format!("andon.webhooks/{number}"),
            };
            router.add(route, number);
        }
        let pattern = |text| Pattern::compile(text).expect("it is a pattern");
        let level = |text: &str| Some(text.to_owned());
        let levels = Levels { enterprise: level("Acme"), site: level("Chicago"), ..Levels::default() };
        let event = event(1);
        let wires = [event.context, event.data].map(|json| {
            let mut wire = BytesMut::new();
            json.to_sql(&Type::JSONB, &mut wire).expect("memory takes every text");
            wire
        });
        let secret = |text| WebhookSecret::parse(text).expect("it is a secret");
        Stage {
            router: RefCell::new(router),
            pattern: pattern("{enterprise}/{site}/{area}/{cell}/{event}"),
            by_data: pattern("{cell}/{data.order.no}/{event}"),
            nowhere: Equipment::default(),
            equipment: Equipment([("Laser 1".to_owned(), levels.clone())].into()),
            levels,
            secret: secret(SECRET),
            rotating: secret(SECRETS),
            wires,
        }
    }
}

/// Makes an event of the usual size: 500 bytes of data and some context, written as PostgreSQL writes them.
pub(crate) fn event(number: i64) -> Event {
    let context = format!(
        r#"{{"area": "Fabrication", "cell": "Laser 1", "operation": "Cutting", "job_number": "J-{number}", "part_number": "P/N 42-A"}}"#
    );
    let data = format!(
        r#"{{"order": {{"no": "A-{number}", "lines": [{{"part": "P/N 42-A", "quantity": 12}}]}}, "note": "{}", "seconds": 1834.25, "good": true}}"#,
        "x".repeat(380)
    );
    let json = |text| RawValue::from_string(text).expect("it is JSON");
    Event::new(
        number,
        Uuid::from_u128(0x0198_c2f4_0000_7000_8000_0000_0000_0001),
        TenantId("acme".to_owned()),
        "operation.completed".to_owned(),
        Entity { entity_type: "operation".to_owned(), id: number.to_string() },
        "2026-11-20T06:00:00.123987Z".parse().expect("it is a time"),
        json(context),
        json(data),
    )
}
