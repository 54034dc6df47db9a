//! `demo`: a built-in JMAP server without push and the proxy before it, for the first minute.
//!
//! A person sees the event stream live on a page that comes through the proxy, delivers a mail by a
//! button, and sees its `StateChange` arrive; by Web Push as well, through a push service that is built in.
//! How the proxy is started is the caller's to say.

use std::fmt;
use std::io::Write;
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use crate::drain::Drain;
use server::Server;

pub mod push_service;
pub mod server;

/// The proxy as the demo sees it: where it stands and where its event source is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Front {
    /// Where clients connect.
    pub address: SocketAddr,
    /// Path of the event source, `event_source.path`.
    pub event_source_path: String,
}

/// Why there is no demo.
#[derive(Debug, thiserror::Error)]
pub enum Error<E: std::error::Error> {
    /// No port of 127.0.0.1 is to be had.
    #[error("start the demo server")]
    Server(#[source] std::io::Error),
    /// The proxy says why.
    #[error("start the proxy in front of the demo server")]
    Proxy(#[source] E),
    /// Standard output is closed.
    #[error("print where the demo is")]
    Print(#[source] std::io::Error),
}

/// Starts the server, has `start_proxy` put the proxy in front of it, and writes to `out` where to
/// look and what to type. Returns when all that stands; it falls with `drain`.
///
/// `start_proxy` gets the server's address, to be the proxy's upstream, and its deliveries, which
/// take the place of a mail server's notifications.
///
/// # Errors
/// See [`Error`].
pub async fn start<E: std::error::Error>(
    drain: &Drain,
    out: &mut impl Write,
    start_proxy: impl AsyncFnOnce(Server) -> Result<Front, E>,
) -> Result<Front, Error<E>> {
    let server = Server::start(drain).await.map_err(Error::Server)?;
    let upstream = server.address;
    let front = start_proxy(server).await.map_err(Error::Proxy)?;
    // In one piece: who reads it may stop at the line they look for.
    let guide = Guide { front: &front, upstream }.to_string();
    out.write_all(guide.as_bytes()).map_err(Error::Print)?;
    out.flush().map_err(Error::Print)?;
    Ok(front)
}

/// Shows the page in the person's browser, where there is a display. If that fails, the printed
/// address is still there, so nothing is said.
pub fn open_browser(front: &Front) {
    let has_display = ["DISPLAY", "WAYLAND_DISPLAY"]
        .iter()
        .any(|name| std::env::var_os(name).is_some_and(|display| !display.is_empty()));
    if !has_display {
        return;
    }
    let opened = Command::new("xdg-open")
        .arg(format!("http://{}/", front.address))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    if let Ok(mut browser) = opened {
        // A thread and not a task: the end of the process must not wait for a browser.
        std::thread::spawn(move || browser.wait());
    }
}

/// What is printed.
struct Guide<'a> {
    front: &'a Front,
    upstream: SocketAddr,
}

impl fmt::Display for Guide<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Front { address, event_source_path } = self.front;
        let upstream = self.upstream;
        write!(
            f,
            "\
A JMAP server without push listens on http://{upstream}, jmap-push-proxy in front of it.

  Look at it:     http://{address}/

Or by hand; the people are alice and bob, their password is demo:

  the Session     curl -sL -u alice:demo http://{address}/.well-known/jmap
  its events      curl -N -u alice:demo 'http://{address}{event_source_path}?types=*&closeafter=no&ping=30'
  a new mail      curl -u alice:demo -X POST http://{address}/demo/deliver
  a shared one    curl -u alice:demo http://{address}/demo/deliver -d '{{\"accountId\":\"team\"}}'
  unannounced     curl -u alice:demo http://{address}/demo/deliver -d '{{\"notify\":false}}'

Ctrl-C ends it.
"
        )
    }
}

#[cfg(test)]
mod tests;
