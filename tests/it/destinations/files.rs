//! Files that a row names. In: a pipe, a device without end, a directory and a file that is too large, and
//! paths that lead out of the one directory, each as a CA file. Out: whether they
//! are the trouble of the row that names them, and of nobody else.

use std::path::Path;

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use serde_json::json;

use super::line_with_a_neighbour;
use super::the_neighbour_gets;
use crate::command::file;
use crate::command::run_andon;
use crate::support::daemon::start_with;

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_none_or_has_no_end_is_the_trouble_of_the_row_that_names_it() {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("files-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let (pipe, large) = (directory.join("pipe"), directory.join("large.pem"));
    mkfifo(&pipe, Mode::S_IRWXU).unwrap();
    std::fs::write(&large, vec![b'-'; (1 << 20) + 1]).unwrap();
    let named = |path: &Path, what: &str| format!("`{}` is {what}", path.display());
    let (zero, within) = (directory.join("zero"), directory.join("within"));
    std::os::unix::fs::symlink("/dev/zero", &zero).unwrap();
    std::fs::create_dir(&within).unwrap();
    let odd = [
        ("pipe", named(&pipe, "not a regular file; name a PEM file")),
        ("zero", named(&zero, "not a regular file; name a PEM file")),
        ("within", named(&within, "not a regular file; name a PEM file")),
        ("large.pem", named(&large, "larger than 1 MiB; name a PEM file with fewer certificates")),
        ("/dev/zero", "`/dev/zero` is not the name of a file; put the file into certificates.directory".to_owned()),
        (
            "../large.pem",
            "`../large.pem` is not the name of a file; put the file into certificates.directory".to_owned(),
        ),
    ];
    let (line, receiver) = line_with_a_neighbour().await;
    let mut lanes = Vec::new();
    for (path, _) in &odd {
        lanes.push(line.webhook(&receiver.url("/hook"), json!({"ca_file": path})).await);
        let publisher = json!({"client_cert_file": path, "client_key_file": path});
        lanes.push(line.publisher(8883, publisher).await);
    }
    line.run("update andon.mqtt_publishers set use_tls = true").await;

    let variable = ("ANDON_CERTIFICATES_DIRECTORY".into(), directory.clone().into());
    let daemon = start_with(&line.url, vec![variable]).await;
    the_neighbour_gets(&line, &receiver, 1).await;
    let mut reasons = Vec::new();
    for lane in &lanes {
        reasons.push(line.state(lane, "misconfigured").await);
    }
    let configuration = file("files.toml", &format!("[certificates]\ndirectory = '{}'\n", directory.display()));
    let check = run_andon(&line.url, &["check", "--config", &configuration]);
    let status = daemon.stop().await.unwrap();

    std::fs::remove_dir_all(&directory).unwrap();
    assert_eq!(status, 0, "{}", daemon.log_tail());
    for (pair, (_, reason)) in reasons.chunks(2).zip(&odd) {
        assert!(pair.iter().all(|state| state.contains(reason.as_str())), "{reason}: {pair:?}");
        assert!(check.status == 1 && check.out.contains(reason.as_str()), "{reason}: {check:?}");
    }
}
