//! The line under faults, as a user sees it. In: the program, with the same seed each time, so that the change is judged and not the draw
//! (`make chaos` draws one). Out: whether its last line says that nothing was lost, out of order or made up. If not, the message shows what
//! the run says about the cause.

use std::time::Duration;

use serde_json::Value;
use tokio::process::Command;
use tokio::time::timeout;

use crate::lab;

/// Only a run that hangs meets this.
const LONG: Duration = Duration::from_secs(600);

async fn chaos(options: &[&str]) -> (Option<i32>, Value, String) {
    let run = Command::from(lab()).args(["chaos", "--json"]).args(options).kill_on_drop(true).output();
    let ran = timeout(LONG, run).await.expect("the run ends in time").unwrap();
    let (printed, noted) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    let report = serde_json::from_str(&printed).unwrap_or_else(|error| panic!("no report ({error}): {printed}{noted}"));
    (ran.status.code(), report, noted.into_owned())
}

#[tokio::test]
async fn half_a_minute_of_faults_loses_nothing_and_keeps_the_order() {
    let (code, report, noted) = chaos(&["--for", "30s", "--seed", "62"]).await;

    for figure in ["missing", "out_of_order", "phantom", "duplicates_unexplained"] {
        assert_eq!(report[figure], 0, "{report}\n{noted}");
    }
    assert!(report["duplicates"].as_u64() <= report["duplicates_allowed"].as_u64(), "{report}\n{noted}");
    assert!(report["committed"].as_u64().unwrap() > 50, "{report}\n{noted}");
    assert!(report["faults"].as_object().unwrap().len() > 2, "{report}\n{noted}");
    assert_eq!(code, Some(0), "{report}\n{noted}");
}
