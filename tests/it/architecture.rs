//! The rules for the shape of the source: which module may import which, which files may name a driver, and how long a file may grow. In:
//! the sources of the three crates. Out: every line that breaks a rule. The sources are read as text, so the test also sees names in
//! comments, and does not see through a re-export.

mod circles;
mod imports;

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::path::Path;

const LONGEST: usize = 400;

/// Lists each module of a crate with the modules that it may import. Enter a new module here first.
type MayImport = &'static [(&'static str, &'static [&'static str])];

/// Lists the crates of the workspace, each with the folder of its sources and the imports that its modules may have.
const CRATES: &[(&str, MayImport)] = &[("src", PRODUCT), ("rig/src", RIG), ("lab/src", LAB)];

const PRODUCT: MayImport = &[
    // Values import only other values.
    ("event", &[]),
    ("clock", &[]),
    ("secret", &[]),
    ("sealing", &["secret"]),
    ("pem", &["secret"]),
    ("ranges", &[]),
    ("quantity", &[]),
    ("nearest", &[]),
    ("percent", &[]),
    ("legible", &[]),
    ("retry", &["quantity"]),
    ("settings", &["retry"]),
    ("signature", &[]),
    ("topic", &["event", "nearest"]),
    ("payload", &["event"]),
    // Capture.
    ("tls", &["pem"]),
    ("database", &["pem", "secret", "tls"]),
    ("migrate", &["database"]),
    // A notification is read as JSON, digit by digit, as an event of the log is.
    ("capture", &["database", "event", "nearest"]),
    // The way out. It decides and connects, and knows nothing of who asks.
    ("egress", &["percent", "secret"]),
    // Delivery. No module here imports an edge, and only the gateway connects the stages.
    ("log", &["database", "event", "ranges"]),
    ("router", &["event"]),
    (
        "destination",
        &[
            "egress",
            "event",
            "legible",
            "nearest",
            "payload",
            "pem",
            "percent",
            "quantity",
            "retry",
            "router",
            "sealing",
            "secret",
            "settings",
            "signature",
            "topic",
        ],
    ),
    ("secrets", &["sealing", "secret"]),
    ("feed", &["destination", "event", "log", "ranges", "router"]),
    ("ledger", &["database", "destination", "event", "router"]),
    (
        "lane",
        &[
            "clock",
            "destination",
            "egress",
            "event",
            "feed",
            "ledger",
            "legible",
            "log",
            "payload",
            "percent",
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
            "event",
            "feed",
            "lane",
            "ledger",
            "legible",
            "log",
            "payload",
            "ranges",
            "router",
            "secret",
            "settings",
            "signature",
            "capture",
            "topic",
        ],
    ),
    // Edges.
    ("config", &["database", "egress", "nearest", "quantity", "retry", "sealing", "secret", "settings", "topic"]),
    ("telemetry", &["legible"]),
    (
        "cli",
        &[
            "config",
            "database",
            "destination",
            "event",
            "gateway",
            "lane",
            "ledger",
            "legible",
            "log",
            "migrate",
            "nearest",
            "payload",
            "quantity",
            "ranges",
            "router",
            "sealing",
            "secret",
            "secrets",
            "signature",
            "capture",
            "telemetry",
            "tls",
            "topic",
        ],
    ),
];

const RIG: MayImport = &[
    ("connect_proxy", &["record"]),
    ("daemon", &["process"]),
    ("mosquitto", &["process"]),
    ("oracle", &[]),
    ("packet", &[]),
    ("pgbouncer", &["process"]),
    ("postgres", &["process"]),
    ("process", &[]),
    ("proxy", &[]),
    ("receiver", &["record", "signature"]),
    ("record", &[]),
    ("reference", &["postgres", "receiver"]),
    ("scripted_broker", &["packet", "record"]),
    ("scripted_endpoint", &["record"]),
    ("signature", &[]),
    ("subscriber", &["packet", "process", "record"]),
    ("tap", &["packet", "record"]),
    ("tls_front", &["record"]),
];

const LAB: MayImport = &[
    ("andon", &[]),
    ("duration", &[]),
    ("packages", &[]),
    ("stage", &["andon"]),
    ("witness", &[]),
    ("bench", &["andon", "packages", "stage", "witness"]),
    ("chaos", &["andon", "duration", "stage", "witness"]),
    ("compat", &["andon", "packages", "stage"]),
    ("demo", &["andon", "duration", "stage", "witness"]),
];

/// Lists each driver with the only files that may name it. A folder stands for all files in it.
const ONLY_IN: &[(&str, &[&str])] = &[
    // The rig and the lab share no code with the gateway that they judge.
    ("andon", &["src"]),
    ("chacha20poly1305", &["src/sealing/key.rs"]),
    (
        "clap",
        &[
            "lab/src/bench",
            "lab/src/chaos.rs",
            "lab/src/compat.rs",
            "lab/src/demo.rs",
            "lab/src/main.rs",
            "src/cli",
            "src/main.rs",
            "src/telemetry.rs",
        ],
    ),
    ("deunicode", &["src/topic/naming.rs"]),
    ("hmac", &["rig/src/signature.rs", "src/sealing/key.rs", "src/signature"]),
    ("hyper", &["lab/src/bench", "rig/src", "src/lane/webhook"]),
    ("reqwest", &["lab/src/bench/bare.rs"]),
    ("ring", &["src/signature"]),
    ("rumqttc_v4", &["src/lane/mqtt/v4.rs"]),
    ("rumqttc_v5", &["lab/src/bench", "rig/src/subscriber.rs", "src/lane/mqtt/v5.rs"]),
    (
        "rustls",
        &[
            "src/database/dial.rs",
            "src/database/encryption.rs",
            "src/lane/mqtt/protocol.rs",
            "src/lane/webhook/connector.rs",
            "src/lane/webhook/transport.rs",
            "src/tls.rs",
        ],
    ),
    ("sd_notify", &["src/gateway"]),
    // Whatever connects to a destination goes through the judge of addresses.
    ("socket2", &["src/egress/connect.rs"]),
    ("tokio_rustls", &["rig/src/tls_front.rs", "src/lane/mqtt/socket.rs", "src/lane/webhook/transport.rs"]),
    ("tokio_postgres_rustls", &["src/database/encryption.rs"]),
    ("toml", &["rig/src/reference/system.rs", "src/config", "src/capture"]),
    ("tracing_subscriber", &["lab/src/main.rs", "src/telemetry.rs"]),
];

#[test]
fn the_source_keeps_its_shape() {
    let mut broken = Vec::new();
    let all = CRATES.iter().flat_map(|(folder, may_import)| sources(folder).map(move |source| (source, *may_import)));
    for ((folder, name, text), may_import) in all {
        let module = name.split(['/', '.']).next().unwrap();
        let path = format!("{folder}/{name}");
        let mut breaks = |rule: String| broken.push(format!("{path}: {rule}"));
        if !text.starts_with("//! ") {
            breaks(
                "does not begin with `//! `; describe what comes in, what goes out, and what never happens".to_owned(),
            );
        }
        if text.lines().count() > LONGEST {
            breaks(format!("is longer than {LONGEST} lines; split it by concept"));
        }
        if name.ends_with("mod.rs") {
            breaks("is a `foo/mod.rs`; write `foo.rs` next to `foo/`".to_owned());
        }
        if text.contains("use crate::{") {
            breaks("groups imports of the crate; write one `use` for each".to_owned());
        }
        let allowed = may_import.iter().find(|(known, _)| *known == module).map(|(_, allowed)| *allowed);
        match allowed {
            None if matches!(module, "lib" | "main") => {}
            None => {
                breaks(format!(
                    "module `{module}` is not in the table of its crate; enter it with its allowed imports"
                ));
            }
            Some(allowed) => {
                // A test may import a later module, to try both together.
                let code = if name.ends_with("/tests.rs") { "" } else { text.split("#[cfg(test)]").next().unwrap() };
                for other in imports(code).filter(|other| other != module && !allowed.contains(&other.as_str())) {
                    breaks(format!("`{module}` may not import `{other}`"));
                }
            }
        }
        for (driver, homes) in ONLY_IN.iter().filter(|(driver, _)| names(&text, driver)) {
            let at_home = homes.iter().any(|home| {
                path.strip_prefix(home).is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '.']))
            });
            if !at_home {
                breaks(format!("names `{driver}`, which only {} may name", homes.join(", ")));
            }
        }
    }

    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn only_the_screen_prints() {
    // The macros of the standard library panic where nobody reads any more.
    let code = |text: &str| text.split("#[cfg(test)]").next().unwrap().to_owned();
    let prints = |text: &str| ["print!(", "println!("].iter().any(|name| code(text).contains(name));
    let printing: Vec<String> = sources("src").filter(|(_, _, text)| prints(text)).map(|(_, name, _)| name).collect();

    assert!(printing.is_empty(), "print through src/cli/screen.rs in {}", printing.join(", "));
}

#[test]
fn each_table_has_one_file_that_writes_it() {
    // These folders count as one writer each, because the statements that write a lane's row do not fit into one file.
    const WRITERS: &[&str] = &["lane/store"];
    let mut writers: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (_, name, text) in sources("src") {
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

/// Returns each source below a folder, as the folder, the file's name in it, and its text.
fn sources(folder: &'static str) -> impl Iterator<Item = (&'static str, String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
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
        (folder, name, std::fs::read_to_string(path).unwrap())
    })
}

fn imports(text: &str) -> impl Iterator<Item = String> {
    text.split("crate::").skip(1).map(|rest| rest.chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect())
}

/// Says whether a path in the text begins with the driver's name.
fn names(text: &str, driver: &str) -> bool {
    let is_word = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    text.match_indices(&format!("{driver}::")).any(|(at, _)| !text[..at].ends_with(is_word))
}
