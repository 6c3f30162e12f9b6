//! Standard Webhooks, whole. In: requests as a real receiver got them. Out: whether the official libraries of npm and PyPI accept them, whether
//! a secret is rotated without a gap, what `andon webhooks verify` says, and what the sequence proves.

mod sequence;

use std::io::Write as _;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::process::Stdio;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rig::receiver::Received;
use rig::receiver::Receiver;
use rig::signature::Signature;
use serde_json::Value;
use serde_json::json;

use super::header;
use crate::command::Run;
use crate::command::file;
use crate::command::run_andon;
use crate::secrets::KeyFiles;
use crate::support::line::Line;
use crate::support::line::PATIENCE;
use crate::support::line::SECRET;

/// Where `./setup test` puts the libraries.
fn libraries() -> PathBuf {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("standardwebhooks");
    let is_there = directory.join("npm/node_modules/standardwebhooks").exists()
        && directory.join("python/standardwebhooks").exists();
    assert!(is_there, "the libraries of Standard Webhooks are not in {}: run `./setup test`", directory.display());
    directory
}

/// Runs a program that reads on standard input.
fn run(mut command: Command, input: &[u8]) -> Run {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Run { status: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
}

fn verdicts(mut command: Command, script: &str, requests: &Value) -> Vec<String> {
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/webhook/standard").join(script));
    let run = run(command, requests.to_string().as_bytes());
    serde_json::from_str(&run.out).unwrap_or_else(|error| panic!("{error}: {run:?}"))
}

fn case(secret: &str, request: &Received, body: &[u8]) -> Value {
    let headers: serde_json::Map<String, Value> =
        request.headers.iter().map(|(name, value)| (name.to_string(), json!(value.to_str().unwrap()))).collect();
    json!({"secret": secret, "headers": headers, "body": STANDARD.encode(body)})
}

/// Writes a request down as a receiver would.
fn as_received(request: &Received, body: &[u8]) -> Vec<u8> {
    let mut text = format!("POST {} HTTP/1.1\r\n", request.path).into_bytes();
    for (name, value) in &request.headers {
        text.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
    }
    text.extend(b"\r\n");
    text.extend(body);
    text
}

fn verify(secret: &str, request: &[u8]) -> Run {
    let path = file(&format!("secret-{}", std::thread::current().name().unwrap().replace(':', "-")), secret);
    let mut command = Command::new(env!("CARGO_BIN_EXE_andon"));
    command.env_clear().current_dir(std::env::temp_dir()).args(["webhooks", "verify", "--secret-file", &path]);
    let run = run(command, request);
    std::fs::remove_file(path).unwrap();
    run
}

async fn deliver(line: &Line, receiver: &Receiver, counter: u64, so_far: usize) -> std::sync::Arc<Received> {
    line.emit("acme", "e", counter).await;
    receiver.wait_accepted(PATIENCE, so_far).await.unwrap();
    receiver.accepted().remove(so_far - 1)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_official_libraries_and_the_command_accept_what_is_signed_and_refuse_what_was_changed() {
    let directory = libraries();
    let receiver = Receiver::start().await.unwrap();
    let mut line = Line::new().await;
    line.webhook(&receiver.url("/hook"), json!({})).await;
    line.run("update andon.webhooks set name = 'erp'").await;
    let public = run_andon(&line.url, &["webhooks", "rotate-secret", "erp", "--overlap", "1h", "--ed25519"]);
    let shown = run_andon(&line.url, &["webhooks", "public-key", "erp"]);
    line.start();
    let request = deliver(&line, &receiver, 1, 1).await;
    line.stop().await.unwrap();

    let public_key = public.out.trim();
    assert!(public.status == 0 && public_key.starts_with("whpk_"), "{public:?}");
    assert_eq!(public.out, shown.out);
    let changed = [request.body.as_ref(), b" "].concat();
    let of_other = SECRET.replace("MfKQ", "MfKR");
    let cases = json!([
        case(SECRET, &request, &request.body),
        case(SECRET, &request, &changed),
        case(&of_other, &request, &request.body)
    ]);
    let expected = ["valid", "No matching signature found", "No matching signature found"];
    let mut python = Command::new("python3");
    python.env("PYTHONPATH", directory.join("python"));
    assert_eq!(verdicts(python, "verify.py", &cases), expected);
    let node = || {
        let mut node = Command::new("node");
        node.env("NODE_PATH", directory.join("npm/node_modules"));
        node
    };
    assert_eq!(verdicts(node(), "verify.js", &cases), expected);
    let cases = json!([case(public_key, &request, &request.body), case(public_key, &request, &changed)]);
    assert_eq!(verdicts(node(), "verify.js", &cases), expected[..2]);

    let bytes = as_received(&request, &request.body);
    for secret in [SECRET, public_key, &format!("{SECRET}\n")] {
        let run = verify(secret, &bytes);
        assert_eq!((run.status, run.out.as_str()), (0, "valid\n"), "{run:?}");
    }
    let newline = verify(SECRET, &[bytes.as_slice(), b"\n"].concat());
    assert!(newline.status == 1 && newline.out.contains("has a newline at its end that was not sent"), "{newline:?}");
    let other = verify(&of_other, &bytes);
    assert!(other.status == 1 && other.out.starts_with("refuse it: no signature fits"), "{other:?}");
    let sequence = header(&request, "webhook-sequence");
    let moved = String::from_utf8(bytes).unwrap().replace(sequence, &format!("{sequence}0"));
    let moved = verify(SECRET, moved.as_bytes());
    assert!(moved.status == 1 && moved.out.contains("does not fit webhook-sequence"), "{moved:?}");
    let none = verify(" ", b"");
    assert!(none.status == 2 && none.err.contains("is empty; write the secret into it"), "{none:?}");
    let malformed = verify("whpk_AAAA", b"");
    assert!(
        malformed.status == 2 && malformed.err.contains("a public key of Ed25519, which is 32 bytes"),
        "{malformed:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_rotated_with_an_overlap_that_ends_by_itself() {
    let files = KeyFiles::new("rotation", &["plant"]);
    let receiver = Receiver::start().await.unwrap();
    let mut line = Line::new().await;
    line.webhook(&receiver.url("/hook"), json!({})).await;
    line.run("update andon.webhooks set name = 'erp'").await;
    line.defaults.keys = files.keys(&["plant"]);
    line.start();
    deliver(&line, &receiver, 1, 1).await;

    let rotate = ["webhooks", "rotate-secret", "erp", "--overlap", "10s"];
    let rotated = files.run(&line.url, "plant", &rotate);
    let again = files.run(&line.url, "plant", &rotate);
    let row =
        "select previous_secret_key || secret_key, extract(epoch from previous_secret_until)::int8 from andon.webhooks";
    let row = line.client.query_one(row, &[]).await.unwrap();
    let (stored, until): (String, i64) = (row.get(0), row.get(1));
    // The daemon has looked at the row when a destination that came later is served.
    let late = line.webhook("http://127.0.0.1:9/", json!({"paused": true})).await;
    line.state(&late, "paused").await;
    let both = deliver(&line, &receiver, 2, 2).await;
    let lives = "select string_agg(lane || epoch, ' ' order by lane) from andon.lanes";
    let before: String = line.client.query_one(lives, &[]).await.unwrap().get(0);
    line.until("select now() > previous_secret_until from andon.webhooks where name = 'erp'").await;
    let one = deliver(&line, &receiver, 3, 3).await;
    let after: String = line.client.query_one(lives, &[]).await.unwrap().get(0);
    line.stop().await.unwrap();

    let new = rotated.out.trim();
    assert!(
        rotated.status == 0 && new.starts_with("whsec_") && rotated.err.contains("the secret before signs too until"),
        "{rotated:?}"
    );
    assert!(again.status == 1 && again.out.is_empty() && again.err.contains("still signs until"), "{again:?}");
    assert_eq!(stored.matches("sealed:v1:").count(), 2, "{stored}");
    assert_eq!(before, after, "no lane restarts when the overlap ends");
    let valid =
        |secret: &str, request: &Received| Signature::of(secret, &request.headers, &request.body) == Signature::Valid;
    let at: i64 = header(&both, "webhook-timestamp").parse().unwrap();
    // A machine that takes ten seconds for a row has no overlap left.
    assert_eq!((valid(new, &both), valid(SECRET, &both)), (true, at < until));
    assert_eq!((valid(new, &one), valid(SECRET, &one)), (true, false));
    let count = |request: &Received, name: &str| header(request, name).split(' ').count();
    for name in ["webhook-signature", "webhook-sequence-signature"] {
        assert_eq!((count(&both, name), count(&one, name)), (if at < until { 2 } else { 1 }, 1), "{name}");
    }
}
