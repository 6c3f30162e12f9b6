//! Logging to standard error. In: a format and a filter. Out: lines for people, or JSON objects for machines. It cannot tell what a line
//! contains, so the code that logs must leave out secrets and payloads; what a terminal would obey is left out here, and so are libraries
//! that log what brokers and endpoints say.

use std::io;
use std::io::IsTerminal as _;
use std::io::Write;
use std::io::stderr;

use thiserror::Error;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::legible;

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
    // Where nobody reads the log any more, as behind `andon run 2>&1 | head`, the library would print that to standard error too, and panic.
    let builder = tracing_subscriber::fmt().log_internal_errors(false).with_env_filter(filter);
    let builder = builder.with_writer(move || LogWriter { out: stderr(), format });
    let is_own_words = filter_fn(|metadata| !quotes_peers(metadata.target()));
    match format {
        LogFormat::Text => {
            builder.with_ansi(stderr().is_terminal()).with_target(false).finish().with(is_own_words).init();
        }
        LogFormat::Json => {
            builder.json().flatten_event(true).with_current_span(false).finish().with(is_own_words).init();
        }
    }
    Ok(())
}

/// The library of MQTT logs whole packets as errors, and that of HTTP/2 the words with which a connection is ended. Brokers and endpoints may
/// repeat a secret in them, and Andon tells what they say without it.
fn quotes_peers(target: &str) -> bool {
    target.split("::").next().is_some_and(|library| library.starts_with("rumqttc") || library == "h2")
}

/// Writes the lines of a log without what a terminal would obey, but for the colours of the lines themselves.
struct LogWriter<W> {
    out: W,
    format: LogFormat,
}

impl<W: Write> Write for LogWriter<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(line);
        let shown = match self.format {
            LogFormat::Json => legible::json(&text),
            LogFormat::Text => text.split('\u{1b}').enumerate().map(|(place, part)| coloured(place, part)).collect(),
        };
        self.out.write_all(shown.as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Returns a part of a line that stood behind an escape, unless it is the first. The escape stays if it begins a colour.
fn coloured(place: usize, part: &str) -> String {
    let numbers = part.strip_prefix('[').and_then(|rest| rest.split_once('m')).map(|(numbers, _)| numbers);
    let is_colour = numbers.is_some_and(|numbers| numbers.chars().all(|c| c.is_ascii_digit() || c == ';'));
    let escape = if place > 0 && is_colour { "\u{1b}" } else { "" };
    format!("{escape}{}", legible::text(part.to_owned()))
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
    fn libraries_that_quote_peers_are_silent() {
        assert!(["rumqttc", "rumqttc::state", "rumqttc_v5", "h2::proto::connection"].into_iter().all(quotes_peers));
        assert!(!["andon::lane::mqtt", "rustls", "andon::rumqttc"].into_iter().any(quotes_peers));
    }

    #[test]
    fn a_line_keeps_its_colours_and_nothing_else_that_a_terminal_obeys() {
        let written = |format, line: &str| {
            let mut writer = LogWriter { out: Vec::new(), format };
            writer.write_all(line.as_bytes()).unwrap();
            String::from_utf8(writer.out).unwrap()
        };

        let line = "\u{1b}[31mERROR\u{1b}[0m reason=x\u{1b}[2J\u{1b}]0;title\u{7}\u{9b}1m\u{202e}y\n";
        assert_eq!(written(LogFormat::Text, line), "\u{1b}[31mERROR\u{1b}[0m reason=x[2J]0;title1my\n");
        assert_eq!(written(LogFormat::Json, "{\"a\":\"\u{202e}\u{9b}\"}\n"), "{\"a\":\"\\u202e\\u009b\"}\n");
    }

    #[test]
    fn a_filter_that_cannot_be_read_is_named() {
        assert!(chosen(&[("RUST_LOG", "andon=loud")]).unwrap_err().starts_with("RUST_LOG is not a filter"));
    }
}
