//! The shape of the source, read as text: who may import whom, where each driver is named, and how long a file may grow. In: `src`. Out:
//! every line that breaks a rule. Text matching is not the compiler: it sees names in comments too, and a re-export escapes it.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::path::Path;

const LONGEST: usize = 400;

/// Each module and the modules that it may import. A new module is entered here first.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    // Values know only values.
    ("event", &[]),
    ("clock", &[]),
    ("secret", &[]),
    ("ranges", &[]),
    ("quantity", &[]),
    ("nearest", &[]),
    ("retry", &["quantity"]),
    ("settings", &["retry"]),
    ("signature", &[]),
    ("topic", &["event", "nearest"]),
    ("payload", &["event"]),
    // Capture.
    ("tls", &[]),
    ("database", &["secret", "tls"]),
    ("migrate", &[]),
    ("capture", &["nearest"]),
    // Delivery. Nothing here knows the edges, and only the gateway knows how the stages meet.
    ("log", &["database", "event", "ranges"]),
    ("router", &["event"]),
    (
        "destination",
        &["event", "nearest", "payload", "quantity", "retry", "router", "secret", "settings", "signature", "topic"],
    ),
    ("feed", &["destination", "event", "log", "ranges", "router"]),
    ("ledger", &["destination", "event", "router"]),
    (
        "lane",
        &[
            "clock",
            "destination",
            "event",
            "feed",
            "ledger",
            "log",
            "payload",
            "ranges",
            "retry",
            "router",
            "secret",
            "settings",
            "signature",
            "tls",
            "topic",
        ],
    ),
    (
        "gateway",
        &[
            "clock",
            "database",
            "destination",
            "feed",
            "lane",
            "ledger",
            "log",
            "payload",
            "router",
            "settings",
            "capture",
            "topic",
        ],
    ),
    // Edges.
    ("config", &["database", "nearest", "quantity", "retry", "secret", "settings", "topic"]),
    ("telemetry", &[]),
    (
        "cli",
        &[
            "bench",
            "chaos",
            "config",
            "database",
            "demo",
            "destination",
            "event",
            "gateway",
            "lane",
            "ledger",
            "log",
            "migrate",
            "nearest",
            "payload",
            "quantity",
            "ranges",
            "router",
            "capture",
            "telemetry",
            "tls",
            "topic",
        ],
    ),
    // Proof: the rig knows nothing of Andon, so that it can bear witness.
    ("rig", &[]),
    ("bench", &["migrate", "rig", "signature", "capture", "tls"]),
    ("chaos", &["migrate", "quantity", "rig"]),
    ("demo", &["nearest", "quantity", "rig", "capture"]),
];

/// Each driver, and the only places that name it (a file, or a folder with everything in it).
const ONLY_IN: &[(&str, &[&str])] = &[
    ("clap", &["bench", "chaos.rs", "cli", "demo.rs", "main.rs", "telemetry.rs"]),
    ("deunicode", &["topic/naming.rs"]),
    ("hmac", &["rig", "signature.rs"]),
    ("hyper", &["bench", "lane/webhook", "rig"]),
    ("hyper_rustls", &["lane/webhook/connection.rs"]),
    ("reqwest", &["bench/bare.rs"]),
    ("rumqttc_v4", &["lane/mqtt/v4.rs"]),
    ("rumqttc_v5", &["bench", "lane/mqtt/v5.rs", "rig/subscriber.rs"]),
    ("rustls", &["database.rs", "lane/mqtt/protocol.rs", "lane/webhook/connection.rs", "tls.rs"]),
    ("sd_notify", &["gateway"]),
    ("tokio_postgres_rustls", &["database.rs"]),
    ("toml", &["config", "capture"]),
    ("tracing_subscriber", &["telemetry.rs"]),
];

#[test]
fn the_source_keeps_its_shape() {
    let mut broken = Vec::new();
    for (name, text) in sources() {
        let module = name.split(['/', '.']).next().unwrap();
        let mut breaks = |rule: String| broken.push(format!("src/{name}: {rule}"));
        if !text.starts_with("//! ") {
            breaks("does not open with `//! `: what flows in, what flows out, what it never does".to_owned());
        }
        if text.lines().count() > LONGEST {
            breaks(format!("is longer than {LONGEST} lines; split it by concept"));
        }
        if name.ends_with("mod.rs") {
            breaks("write `foo.rs` beside `foo/`, not `foo/mod.rs`".to_owned());
        }
        if text.contains("use crate::{") {
            breaks("groups imports of the crate; write one `use` for each".to_owned());
        }
        let allowed = MAY_IMPORT.iter().find(|(known, _)| *known == module).map(|(_, allowed)| *allowed);
        match allowed {
            None if matches!(module, "lib" | "main") => {}
            None => breaks(format!("module `{module}` is not in MAY_IMPORT; enter it with what it may import")),
            Some(allowed) => {
                // Tests may bring in who comes later, to try both together.
                let code = if name.ends_with("/tests.rs") { "" } else { text.split("#[cfg(test)]").next().unwrap() };
                for other in imports(code).filter(|other| other != module && !allowed.contains(&other.as_str())) {
                    breaks(format!("`{module}` may not import `{other}`"));
                }
            }
        }
        for (driver, homes) in ONLY_IN.iter().filter(|(driver, _)| names(&text, driver)) {
            let at_home = homes.iter().any(|home| {
                name.strip_prefix(home).is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '.']))
            });
            if !at_home {
                breaks(format!("names `{driver}`, whose home is {}", homes.join(", ")));
            }
        }
    }

    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn each_table_has_one_file_that_writes_it() {
    // A folder that stands for one writer: what is written of a lane's row is more than fits into a file.
    const WRITERS: &[&str] = &["lane/store"];
    let mut writers: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (name, text) in
        sources().filter(|(name, _)| !["bench", "chaos", "demo", "rig"].iter().any(|proof| name.starts_with(proof)))
    {
        let code = text.split("#[cfg(test)]").next().unwrap();
        for verb in ["insert into andon.", "update andon.", "delete from andon.", "truncate andon."] {
            for rest in code.split(verb).skip(1) {
                let table = rest.split(|c: char| !c.is_ascii_lowercase() && c != '_').next().unwrap();
                let folder = WRITERS.iter().find(|folder| Path::new(&name).starts_with(folder));
                let writer = folder.map_or(name.as_str(), |folder| folder);
                writers.entry(table.to_owned()).or_default().insert(writer.to_owned());
            }
        }
    }

    let shared: Vec<_> = writers.iter().filter(|(_, files)| files.len() > 1).collect();
    assert!(shared.is_empty(), "{shared:#?}");
}

fn sources() -> impl Iterator<Item = (String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut folders = vec![root.clone()];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.extension() {
                None => folders.push(path),
                Some(extension) if extension == "rs" => files.push(path),
                Some(_) => {}
            }
        }
    }
    assert!(files.len() > 10, "the sources are not where this test looks for them");
    files.into_iter().map(move |path| {
        let name = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
        (name, std::fs::read_to_string(path).unwrap())
    })
}

fn imports(text: &str) -> impl Iterator<Item = String> {
    text.split("crate::").skip(1).map(|rest| rest.chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect())
}

/// Whether a path begins with the driver's name.
fn names(text: &str, driver: &str) -> bool {
    let is_word = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    text.match_indices(&format!("{driver}::")).any(|(at, _)| !text[..at].ends_with(is_word))
}
