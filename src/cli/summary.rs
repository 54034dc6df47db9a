//! The start-up summary: on about ten lines, what runs, what it leads to, and what is not as good as
//! it could be, each with its remedy (operators.md B4).
//!
//! Pure: it is made of the settings and of what was [`Seen`], and becomes text or one log event.

use std::fmt::{self, Display, Write as _};

use crate::config::{Config, Listen, UpstreamPush};
use crate::telemetry::health::{Part, Trouble};

/// What the process found out while it started.
#[derive(Debug, Clone)]
pub struct Seen {
    /// What the listeners are bound to; ports are real where the settings say 0.
    pub listeners: Listeners,
    /// What upstream offers.
    pub session: Offer,
    /// The limit of open descriptors, in force.
    pub descriptors: u64,
    /// Streams that may live at once, by that limit and the settings.
    pub streams: usize,
    /// What does not work right now.
    pub troubles: Vec<(Part, Trouble)>,
}

/// Bound addresses.
#[derive(Debug, Clone, Default)]
pub struct Listeners {
    /// For clients.
    pub downstream: Vec<Listen>,
    /// Metrics and control, unless off.
    pub admin: Option<Listen>,
    /// `/livez` and its kin, unless off.
    pub probes: Option<Listen>,
    /// Notifications by HTTP, unless off.
    pub notify: Option<Listen>,
}

/// What is known of upstream's Session (§2) at the start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Offer {
    /// It was not waited for, or does not answer; the troubles say why.
    Unknown,
    /// It answers, and tells its Session only to its users.
    Private,
    /// It showed its Session.
    Session {
        /// How many capabilities it names.
        capabilities: usize,
        /// Whether it has an `EventSource` of its own.
        event_source: bool,
        /// Whether it has a WebSocket (RFC 8887) of its own.
        web_socket: bool,
    },
}

/// The summary. Its `Display` is for a person; [`Self::log`] for machines.
#[derive(Debug, Clone)]
pub struct Summary {
    version: &'static str,
    listen: Vec<String>,
    admin: Option<String>,
    probes: Option<String>,
    upstream: Vec<String>,
    session: Offer,
    adds: Vec<String>,
    sources: Vec<String>,
    limits: Limits,
    shortcomings: Vec<Shortcoming>,
}

#[derive(Debug, Clone)]
struct Limits {
    streams: usize,
    streams_per_user: usize,
    descriptors: u64,
}

/// Something that works less well than it could.
#[derive(Debug, Clone)]
struct Shortcoming {
    what: String,
    remedy: &'static str,
}

impl Summary {
    /// Draws it up.
    #[must_use]
    pub fn new(config: &Config, seen: &Seen) -> Self {
        let scheme = if config.downstream.tls.is_some() { "https" } else { "http" };
        Self {
            version: env!("CARGO_PKG_VERSION"),
            listen: seen.listeners.downstream.iter().map(|at| url(scheme, at)).collect(),
            admin: seen.listeners.admin.as_ref().map(|at| url("http", at)),
            probes: seen.listeners.probes.as_ref().map(|at| url("http", at)),
            upstream: config.upstream.addresses.iter().map(ToString::to_string).collect(),
            session: seen.session.clone(),
            adds: adds(config),
            sources: sources(config, seen.listeners.notify.as_ref()),
            limits: Limits {
                streams: seen.streams,
                streams_per_user: config.limits.streams_per_user,
                descriptors: seen.descriptors,
            },
            shortcomings: shortcomings(config, seen),
        }
    }

    /// The summary as one event of the log.
    pub fn log(&self) {
        tracing::info!(
            version = self.version,
            listen = self.listen.join(" "),
            admin = or_off(self.admin.as_ref()),
            probes = or_off(self.probes.as_ref()),
            upstream = self.upstream.join(" "),
            session = %self.session,
            adds = self.adds.join(", "),
            sources = self.sources.join(", "),
            streams = self.limits.streams,
            streams_per_user = self.limits.streams_per_user,
            descriptors = self.limits.descriptors,
            "started"
        );
        for shortcoming in &self.shortcomings {
            tracing::warn!(reason = shortcoming.what, remedy = shortcoming.remedy, "degraded");
        }
    }
}

impl Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "jmap-push-proxy {}", self.version)?;
        line(f, "listen", &self.listen.join("  "))?;
        let (admin, probes) = (or_off(self.admin.as_ref()), or_off(self.probes.as_ref()));
        line(f, "side doors", &format!("admin {admin}  probes {probes}"))?;
        line(f, "upstream", &self.upstream.join("  "))?;
        line(f, "", &self.session)?;
        line(f, "adds", &self.adds.join(", "))?;
        line(f, "sources", &self.sources.join(", "))?;
        line(f, "limits", &self.limits)?;
        for shortcoming in &self.shortcomings {
            line(f, "degraded", &shortcoming.what)?;
            line(f, "", &format_args!("-> {}", shortcoming.remedy))?;
        }
        Ok(())
    }
}

impl Display for Offer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("Session not seen yet"),
            Self::Private => f.write_str("answers; Session seen once a user comes"),
            Self::Session { capabilities, event_source, web_socket } => {
                let has = |it: bool| if it { "its own" } else { "no" };
                let (event_source, web_socket) = (has(*event_source), has(*web_socket));
                let plural = if *capabilities == 1 { "y" } else { "ies" };
                write!(
                    f,
                    "Session: {capabilities} capabilit{plural}, {event_source} EventSource, {web_socket} WebSocket"
                )
            }
        }
    }
}

impl Display for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} streams", thousands(self.streams))?;
        if self.streams_per_user > 0 {
            write!(f, ", {} for each user", thousands(self.streams_per_user))?;
        }
        let descriptors = usize::try_from(self.descriptors).unwrap_or(usize::MAX);
        write!(f, " (descriptor limit {})", thousands(descriptors))
    }
}

/// One line, its label in the left column.
fn line(f: &mut fmt::Formatter<'_>, label: &str, text: &dyn Display) -> fmt::Result {
    writeln!(f, "  {label:<11} {text}")
}

fn or_off(address: Option<&String>) -> &str {
    address.map_or("off", String::as_str)
}

fn url(scheme: &str, at: &Listen) -> String {
    match at {
        Listen::Tcp(address) => format!("{scheme}://{address}"),
        Listen::Unix(_) => at.to_string(),
    }
}

/// Where changes are learnt of.
fn adds(config: &Config) -> Vec<String> {
    if config.upstream.push == UpstreamPush::Passthrough {
        return vec!["nothing, upstream's own push is led through".to_owned()];
    }
    vec![
        format!("EventSource {}", config.event_source.path),
        format!("WebSocket {}", config.websocket.path),
    ]
}

fn sources(config: &Config, notify: Option<&Listen>) -> Vec<String> {
    let mut sources = vec!["requests through the proxy".to_owned()];
    if !config.probe.interval.is_zero() {
        sources.push(format!("a probe every {:?}", config.probe.interval));
    }
    if config.upstream.push == UpstreamPush::Relay {
        sources.push("upstream's own push".to_owned());
    }
    if config.redis.url.is_some() {
        let ways = [("channel", &config.redis.channel), ("stream", &config.redis.stream)];
        let ways = ways.iter().filter(|(_, name)| !name.is_empty());
        sources.extend(ways.map(|(way, name)| format!("Redis {way} {name}")));
    }
    if let Some(socket) = &config.notify.cyrus {
        sources.push(format!("Cyrus at {}", socket.display()));
    }
    sources.extend(notify.map(|at| format!("{}/notify", url("http", at))));
    sources
}

fn shortcomings(config: &Config, seen: &Seen) -> Vec<Shortcoming> {
    let mut found: Vec<_> = seen
        .troubles
        .iter()
        .map(|(part, trouble)| Shortcoming {
            what: format!("{part}: {}", trouble.reason),
            remedy: trouble.remedy,
        })
        .collect();
    let interval = config.probe.interval;
    let is_told = config.redis.url.is_some()
        || config.notify.cyrus.is_some()
        || config.notify.http.listen.is_some();
    if !is_told && interval.is_zero() {
        found.push(Shortcoming {
            what: "mail delivered behind the proxy's back is never noticed".to_owned(),
            remedy: "set probe.interval, or have the mail server tell (docs/detection.md)",
        });
    } else if !is_told {
        found.push(Shortcoming {
            what: format!("mail delivered behind the proxy's back is noticed within {interval:?}"),
            remedy: "at once: have the mail server tell (docs/detection.md)",
        });
    }
    if seen.streams < config.limits.streams {
        let wanted = thousands(config.limits.streams);
        found.push(Shortcoming {
            what: format!("the descriptor limit does not allow limits.streams = {wanted}"),
            remedy: "raise it: ulimit -n, LimitNOFILE= of systemd, or the container's",
        });
    }
    found
}

/// `19900` as `19 900`.
fn thousands(number: usize) -> String {
    let digits = number.to_string();
    let mut spaced = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            spaced.push(' ');
        }
        // A String takes everything.
        let _ = write!(spaced, "{digit}");
    }
    spaced
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{SettingsFile, Sources};

    fn seen() -> Seen {
        let tcp = |text: &str| Listen::Tcp(text.parse().expect("an address"));
        Seen {
            listeners: Listeners {
                downstream: vec![tcp("0.0.0.0:8888")],
                admin: Some(tcp("127.0.0.1:8889")),
                probes: Some(tcp("0.0.0.0:8890")),
                notify: None,
            },
            session: Offer::Session { capabilities: 2, event_source: false, web_socket: false },
            descriptors: 20_000,
            streams: 19_900,
            troubles: Vec::new(),
        }
    }

    #[test]
    fn a_first_run_is_told_in_ten_lines() {
        let summary = Summary::new(&Config::default(), &seen());
        let expected = format!(
            "\
jmap-push-proxy {}
  listen      http://0.0.0.0:8888
  side doors  admin http://127.0.0.1:8889  probes http://0.0.0.0:8890
  upstream    http://127.0.0.1:8080
              Session: 2 capabilities, no EventSource, no WebSocket
  adds        EventSource /jmap/eventsource/, WebSocket /jmap/ws/
  sources     requests through the proxy, a probe every 30s
  limits      19 900 streams, 64 for each user (descriptor limit 20 000)
  degraded    mail delivered behind the proxy's back is noticed within 30s
              -> at once: have the mail server tell (docs/detection.md)
",
            env!("CARGO_PKG_VERSION")
        );
        assert_eq!(summary.to_string(), expected);
    }

    #[test]
    fn each_degraded_thing_comes_with_its_remedy() {
        let text = "
            downstream.listen = 'unix:/run/proxy.sock'
            upstream.url = ['https://a.example', 'unix:/run/jmap.sock']
            admin = { listen = 'off', probes = 'off' }
            redis.url = 'rediss://user:hunter2@redis.example'
            redis.stream = ''
            limits = { streams = 50000, streams_per_user = 0 }
        ";
        let file = SettingsFile { path: "my.toml".to_owned(), text: text.to_owned() };
        let config =
            Config::load(&Sources { file: Some(file), ..Sources::default() }).expect("right");
        let refused = Trouble { reason: "connection refused".to_owned(), remedy: "start it" };
        let seen = Seen {
            listeners: Listeners {
                downstream: config.downstream.listen.clone(),
                ..Listeners::default()
            },
            session: Offer::Unknown,
            troubles: vec![(Part::Redis, refused)],
            ..seen()
        };
        let expected = format!(
            "\
jmap-push-proxy {}
  listen      unix:/run/proxy.sock
  side doors  admin off  probes off
  upstream    https://a.example  unix:/run/jmap.sock
              Session not seen yet
  adds        EventSource /jmap/eventsource/, WebSocket /jmap/ws/
  sources     requests through the proxy, a probe every 30s, Redis channel jmap-push:changes
  limits      19 900 streams (descriptor limit 20 000)
  degraded    redis: connection refused
              -> start it
  degraded    the descriptor limit does not allow limits.streams = 50 000
              -> raise it: ulimit -n, LimitNOFILE= of systemd, or the container's
",
            env!("CARGO_PKG_VERSION")
        );
        assert_eq!(Summary::new(&config, &seen).to_string(), expected);
    }
}
