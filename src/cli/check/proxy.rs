//! The part of the check that looks for the proxy of the configuration. In: its address, if there is one. Out: whether it can be reached, and what
//! goes through it. It asks the proxy for nothing, so it cannot tell whether the proxy lets Andon through: brokers, which are connected to, tell that.

use tokio::time::Instant;
use tokio::time::timeout_at;

use crate::cli::check::report::CheckReport;
use crate::config::Config;

pub(super) async fn check(config: &Config, deadline: Instant, report: &mut CheckReport) {
    let Some(proxy) = config.egress.proxy() else { return };
    let dialer = config.egress.dialer();
    match timeout_at(deadline, dialer.reach_proxy()).await {
        Ok(Ok(())) => report.ok(
            "egress",
            format!("webhooks, servers of tokens and brokers are reached through the proxy {proxy}, which is there"),
        ),
        Ok(Err(error)) => report.fault("egress", format!("{error}; no event can leave until then")),
        Err(_) => report
            .fault("egress", format!("the proxy {proxy} of [egress] did not answer in time; give more with --timeout")),
    }
}
