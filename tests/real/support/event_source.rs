//! An EventSource client as the HTML standard describes it, over a plain socket or any other reader.
//!
//! It does not reconnect: in these tests the end of a stream is a finding.

use std::io::{self, BufRead, BufReader, Read};
use std::net::{Shutdown, TcpStream};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;

use serde_json::Value;

use super::{Instant, PATIENCE, http};

/// One dispatched event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Event {
    /// `event:`; `message` where none was given.
    pub(crate) name: String,
    /// The `data:` lines.
    pub(crate) data: String,
    /// The last `id:` seen.
    pub(crate) id: String,
}

impl Event {
    /// The states in a StateChange (RFC 8620 §7.1), as (account, type, state).
    pub(crate) fn states(&self) -> Vec<(String, String, String)> {
        if self.name != "state" {
            return Vec::new();
        }
        let change: Value = serde_json::from_str(&self.data).expect("a StateChange in JSON");
        assert_eq!(change["@type"], "StateChange", "{}", self.data);
        let changed = change["changed"].as_object().expect("`changed` is an object");
        let mut states = Vec::new();
        for (account, types) in changed {
            for (data_type, state) in types.as_object().expect("types of an account") {
                let state = state.as_str().expect("a state is a string");
                states.push((account.clone(), data_type.clone(), state.to_owned()));
            }
        }
        states
    }
}

/// An open stream. Dropping it closes the connection.
pub(crate) struct EventSource {
    opened: Receiver<()>,
    events: Receiver<Event>,
    connection: Option<TcpStream>,
}

impl EventSource {
    /// Opens the stream at `target` with these credentials; after the event `last_id`, if any.
    pub(crate) fn open(
        address: &str,
        target: &str,
        authorization: &str,
        last_id: Option<&str>,
    ) -> io::Result<Self> {
        let mut headers = vec![("Authorization", authorization), ("Accept", "text/event-stream")];
        headers.extend(last_id.map(|id| ("Last-Event-ID", id)));
        let response = http::send(address, "GET", target, &headers, "")?;
        if response.status != 200 {
            let status = response.status;
            return Err(io::Error::other(format!("{status}: {}", response.text()?)));
        }
        let kind = response.header("content-type").unwrap_or_default();
        assert!(kind.starts_with("text/event-stream"), "content type {kind:?}");
        let connection = response.body.connection()?;
        // Between events there may be any silence.
        connection.set_read_timeout(None)?;
        let mut source = Self::reading(response.body);
        source.connection = Some(connection);
        Ok(source)
    }

    /// A stream that comes from elsewhere, such as curl.
    pub(crate) fn reading(stream: impl Read + Send + 'static) -> Self {
        // When full: the reading thread waits, and the socket behind it.
        let (sender, events) = mpsc::sync_channel(1024);
        let (open, opened) = mpsc::sync_channel(1);
        thread::spawn(move || {
            let mut lines = BufReader::new(stream);
            let mut id = String::new();
            // Nobody may be waiting for it.
            let _ = lines.fill_buf().is_ok_and(|first| !first.is_empty() && open.send(()).is_ok());
            while let Ok(Some(event)) = read_event(&mut lines, &mut id) {
                if sender.send(event).is_err() {
                    break;
                }
            }
        });
        Self { opened, events, connection: None }
    }

    /// Waits for the first byte of the body: from then on nothing may be missed.
    pub(crate) fn wait_until_open(&self) {
        self.opened.recv_timeout(PATIENCE).expect("the first byte of an event stream");
    }

    /// Closes the connection.
    pub(crate) fn close(&self) {
        if let Some(connection) = &self.connection {
            // It may have ended already.
            let _ = connection.shutdown(Shutdown::Both);
        }
    }

    /// The next event.
    ///
    /// # Errors
    ///
    /// `Timeout` when none comes before the deadline, `Disconnected` when the stream has ended.
    pub(crate) fn next(&self, deadline: Instant) -> Result<Event, RecvTimeoutError> {
        self.events.recv_timeout(deadline.saturating_duration_since(Instant::now()))
    }
}

impl Drop for EventSource {
    fn drop(&mut self) {
        self.close();
    }
}

/// Reads fields up to the blank line that dispatches an event; one without data is none.
fn read_event(lines: &mut impl BufRead, id: &mut String) -> io::Result<Option<Event>> {
    let mut name = String::from("message");
    let mut data: Vec<String> = Vec::new();
    let mut line = String::new();
    loop {
        line.clear();
        if lines.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let text = line.trim_end_matches(['\r', '\n']);
        if text.is_empty() {
            if !data.is_empty() {
                return Ok(Some(Event { name, data: data.join("\n"), id: id.clone() }));
            }
            name = String::from("message");
            continue;
        }
        let (field, value) = text.split_once(':').unwrap_or((text, ""));
        let value = value.strip_prefix(' ').unwrap_or(value).to_owned();
        match field {
            "event" => name = value,
            "data" => data.push(value),
            "id" => *id = value,
            _ => {}
        }
    }
}
