//! The log: to standard error, for a person on a terminal and as one JSON object a line otherwise.
//!
//! Fields have these names and no others, so that a query written once finds all of it:
//!
//! | field | meaning |
//! |---|---|
//! | `route` | which part of the proxy answered: `session`, `api`, `event_source`, `tickets`, `forward` |
//! | `method`, `status` | of HTTP; `method` of JMAP (`Email/get`) where a probe is meant |
//! | `ms` | milliseconds until the response's head |
//! | `client` | address of the client, as far as trusted proxies tell it |
//! | `address` | which address of `upstream.url` |
//! | `data_type`, `capability` | of JMAP |
//! | `part`, `reason`, `remedy` | of [`super::health`]: what is degraded, why, what to do |
//! | `source` | who sent a notification |
//! | `error` | a failure and its causes, outermost first |
//!
//! Each request has one line, at level `debug`. Never in it: credentials, account ids, users, bodies.

use std::io;

use tracing::Subscriber;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

use crate::config::{Log, LogFormat};

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// `log.level` is no filter; [`crate::config`] lets none such through.
    #[error("log.level is not a filter")]
    Filter(#[source] tracing_subscriber::filter::ParseError),
    /// It was set up before.
    #[error("the log is set up already")]
    Twice(#[source] TryInitError),
}

/// How lines look, once it is known where they go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// For a person, perhaps in colours.
    Human {
        /// Whether the terminal may be sent colours.
        colours: bool,
    },
    /// One JSON object a line.
    Json,
}

impl Style {
    /// What a setting means on a terminal or elsewhere.
    #[must_use]
    pub fn new(format: LogFormat, terminal: bool, colours: bool) -> Self {
        match format {
            LogFormat::Auto if terminal => Self::Human { colours },
            LogFormat::Human => Self::Human { colours },
            LogFormat::Auto | LogFormat::Json => Self::Json,
        }
    }
}

/// Sets the log of the process up; gives the style chosen.
///
/// # Errors
///
/// When the level is no filter, or it is the second time.
pub fn init(log: &Log, terminal: bool, colours: bool) -> Result<Style, Error> {
    let style = Style::new(log.format, terminal, colours);
    subscriber(&log.level, style, io::stderr)?.try_init().map_err(Error::Twice)?;
    Ok(style)
}

/// What takes the events and writes lines to `writer`.
fn subscriber<W>(
    level: &str,
    style: Style,
    writer: W,
) -> Result<Box<dyn Subscriber + Send + Sync>, Error>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let filter = filter(level).map_err(Error::Filter)?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer);
    Ok(match style {
        Style::Human { colours } => {
            Box::new(lines.compact().with_ansi(colours).with_target(false).finish())
        }
        Style::Json => Box::new(lines.json().flatten_event(true).with_span_list(false).finish()),
    })
}

/// A bare level is meant for us: libraries stay at `warn`, for at `debug` they tell about every
/// frame, credentials included.
fn filter(level: &str) -> Result<EnvFilter, tracing_subscriber::filter::ParseError> {
    let ours = match level {
        "off" | "error" => level.to_owned(),
        "warn" | "info" | "debug" | "trace" => format!("warn,jmap_push_proxy={level}"),
        directives => directives.to_owned(),
    };
    ours.parse()
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// Lines written so far.
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("no test panics in here").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn written(level: &str, style: Style, tell: impl FnOnce()) -> String {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = subscriber(level, style, move || writer.clone()).expect("a filter");
        tracing::subscriber::with_default(subscriber, tell);
        let bytes = lines.0.lock().expect("no test panics in here").clone();
        String::from_utf8(bytes).expect("UTF-8")
    }

    #[test]
    fn json_lines_carry_fields_at_the_top() {
        let line =
            written("info", Style::Json, || tracing::info!(route = "api", status = 200, "done"));
        let line: serde_json::Value = serde_json::from_str(&line).expect("one object");
        assert_eq!(line["route"], "api");
        assert_eq!(line["status"], 200);
        assert_eq!(line["message"], "done");
        assert_eq!(line["level"], "INFO");
    }

    #[test]
    fn human_lines_are_not_json() {
        let line = written("info", Style::Human { colours: false }, || {
            tracing::warn!(part = "redis", "degraded")
        });
        assert!(line.ends_with("WARN degraded part=\"redis\"\n"), "{line:?}");
    }

    #[test]
    fn a_bare_level_leaves_libraries_at_warn() {
        let tell = || {
            tracing::debug!("ours");
            tracing::debug!(target: "h2::codec", "a frame");
            tracing::warn!(target: "h2::codec", "a broken frame");
        };
        let lines = written("debug", Style::Human { colours: false }, tell);
        assert!(lines.contains("ours") && lines.contains("a broken frame"), "{lines}");
        assert!(!lines.contains("a frame"), "{lines}");
        assert_eq!(written("off", Style::Human { colours: false }, tell), "");
    }

    #[test]
    fn auto_is_human_on_a_terminal_and_json_otherwise() {
        assert_eq!(Style::new(LogFormat::Auto, true, true), Style::Human { colours: true });
        assert_eq!(Style::new(LogFormat::Auto, false, false), Style::Json);
        assert_eq!(Style::new(LogFormat::Human, false, false), Style::Human { colours: false });
        assert_eq!(Style::new(LogFormat::Json, true, true), Style::Json);
    }
}
