//! A user with an open event stream, and the book it keeps of what it was told.

use std::collections::BTreeSet;
use std::sync::mpsc::RecvTimeoutError;

use super::event_source::{Event, EventSource};
use super::jmap::{Caller, States};
use super::{Cyrus, Instant, PATIENCE};

/// A user who listens at the proxy and can ask the server itself.
pub(crate) struct Client {
    /// Where the stream comes from.
    proxy: Caller,
    /// Path and query of the stream.
    target: String,
    server: Caller,
    stream: EventSource,
    /// What this client knows: what the server said before the stream was opened, then what the
    /// stream said.
    known: States,
    /// Every account the stream named.
    named: BTreeSet<String>,
    /// Every event, for a failure's message.
    log: Vec<Event>,
}

impl Client {
    /// Listens through the URL of the Session, for all types, until closed.
    pub(crate) fn listen(cyrus: &Cyrus, address: &str, user: &str) -> Self {
        Self::listen_to(cyrus, address, user, "*")
    }

    /// The same for these types.
    pub(crate) fn listen_to(cyrus: &Cyrus, address: &str, user: &str, types: &str) -> Self {
        let proxy = Caller::new(address, user);
        let target = event_source_target(&proxy, types);
        let open = || {
            let stream = open(&proxy, &target, None);
            stream.wait_until_open();
            stream
        };
        Self::on_stream(cyrus, &proxy, &target, open)
    }

    /// A client whose stream comes in another way; `open` returns when nothing can be missed on it.
    pub(crate) fn on_stream(
        cyrus: &Cyrus,
        proxy: &Caller,
        target: &str,
        open: impl FnOnce() -> EventSource,
    ) -> Self {
        let server = cyrus.caller(&proxy.account);
        // In this order: a change in between is told, or told again.
        let known = server.states();
        let stream = open();
        Self {
            proxy: proxy.clone(),
            target: target.to_owned(),
            server,
            stream,
            known,
            named: BTreeSet::new(),
            log: Vec::new(),
        }
    }

    /// Loses its connection, lets things happen, and connects again as browsers do, naming the last
    /// event it got.
    pub(crate) fn away(&mut self, meanwhile: impl FnOnce()) {
        self.stream.close();
        meanwhile();
        let last_id = self.log.last().map(|event| event.id.as_str());
        self.stream = open(&self.proxy, &self.target, last_id);
    }

    /// Waits until it was told that `data_type` of `account` is in this state.
    pub(crate) fn learns(&mut self, account: &str, data_type: &str, state: &str) {
        let key = (account.to_owned(), data_type.to_owned());
        let deadline = Instant::now() + PATIENCE;
        while self.known.get(&key).is_none_or(|known| known != state) {
            self.take(deadline, &format!("{data_type} of {account} to be {state}"));
        }
    }

    /// Waits until it knows what the server knows, in every account it may see, and checks that it
    /// was told of no other.
    pub(crate) fn agrees_with_server(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let truth = self.server.states();
            let user = &self.server.account;
            for account in &self.named {
                let visible = truth.keys().any(|(known, _)| known == account);
                assert!(visible, "{user} was told of {account}: {:#?}", self.log);
            }
            let differs = truth.iter().find(|(key, state)| self.known.get(*key) != Some(*state));
            let Some(((account, data_type), state)) = differs else { return };
            let what = format!("{data_type} of {account} to be {state}, as the server says");
            self.take(deadline, &what);
        }
    }

    /// Whether any event named this account.
    pub(crate) fn was_told_of(&self, account: &str) -> bool {
        self.named.contains(account)
    }

    /// Writes down the next event.
    fn take(&mut self, deadline: Instant, awaited: &str) {
        let user = &self.server.account;
        match self.stream.next(deadline) {
            Ok(event) => {
                for (account, data_type, state) in event.states() {
                    self.named.insert(account.clone());
                    self.known.insert((account, data_type), state);
                }
                self.log.push(event);
            }
            Err(RecvTimeoutError::Timeout) => {
                panic!("{user} waits for {awaited}; so far {:#?}", self.log)
            }
            Err(RecvTimeoutError::Disconnected) => {
                panic!("{user}'s stream ended, waiting for {awaited}; so far {:#?}", self.log)
            }
        }
    }
}

fn open(proxy: &Caller, target: &str, last_id: Option<&str>) -> EventSource {
    let stream = EventSource::open(&proxy.address, target, &proxy.authorization, last_id);
    stream.unwrap_or_else(|error| panic!("{}'s event source: {error}", proxy.account))
}

/// Path and query of the event source, by the Session's own template (RFC 8620 §7.3).
pub(crate) fn event_source_target(caller: &Caller, types: &str) -> String {
    let session = caller.session();
    let template = session["eventSourceUrl"].as_str().expect("an eventSourceUrl");
    let origin = format!("http://{}", caller.address);
    let target = template.strip_prefix(&origin);
    let target = target.unwrap_or_else(|| panic!("{template} is not an URL of {origin}"));
    target.replace("{types}", types).replace("{closeafter}", "no").replace("{ping}", "0")
}
