//! Logging to standard error. In: a format and a filter. Out: lines for people, or JSON objects for machines. It cannot tell what a line
//! contains, so the code that logs must leave out secrets and payloads.

use std::io::IsTerminal as _;
use std::io::stderr;

use thiserror::Error;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

/// The format of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum LogFormat {
    /// Lines for people.
    #[default]
    Text,
    /// One JSON object per line for machines.
    Json,
}

/// The filter that applies unless ANDON_LOG or RUST_LOG is set. It silences the libraries' connection messages, since Andon logs its own.
const DEFAULT_FILTER: &str = "info,tokio_postgres=warn,deadpool=error";

/// The log filter in an environment variable cannot be read.
#[derive(Debug, Error)]
#[error(
    "{variable} is not a filter; write a level such as `debug`, or one per module such as `info,andon::lane=debug`"
)]
pub struct BadFilter {
    variable: &'static str,
    source: ParseError,
}

/// Starts logging for the whole process. It may be called only once.
pub fn start(format: LogFormat) -> Result<(), BadFilter> {
    let filter = filter(|name| std::env::var(name).ok())?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(stderr);
    match format {
        LogFormat::Text => builder.with_ansi(stderr().is_terminal()).with_target(false).init(),
        LogFormat::Json => builder.json().flatten_event(true).with_current_span(false).init(),
    }
    Ok(())
}

fn filter(variable: impl Fn(&str) -> Option<String>) -> Result<EnvFilter, BadFilter> {
    let set =
        ["ANDON_LOG", "RUST_LOG"].iter().find_map(|name| Some((name, variable(name).filter(|text| !text.is_empty())?)));
    let (name, text) = set.unwrap_or((&"ANDON_LOG", DEFAULT_FILTER.to_owned()));
    EnvFilter::builder().parse(text).map_err(|source| BadFilter { variable: name, source })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(pairs: &[(&str, &str)]) -> Result<String, String> {
        let variable =
            |name: &str| pairs.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        filter(variable).map(|filter| filter.to_string()).map_err(|error| error.to_string())
    }

    #[test]
    fn our_own_variable_beats_the_general_one() {
        assert_eq!(chosen(&[("ANDON_LOG", "debug"), ("RUST_LOG", "trace")]), Ok("debug".to_owned()));
        assert_eq!(chosen(&[("ANDON_LOG", ""), ("RUST_LOG", "trace")]), Ok("trace".to_owned()));
        assert!(chosen(&[]).unwrap().contains("info"));
    }

    #[test]
    fn a_filter_that_cannot_be_read_is_named() {
        assert!(chosen(&[("RUST_LOG", "andon=loud")]).unwrap_err().starts_with("RUST_LOG is not a filter"));
    }
}
