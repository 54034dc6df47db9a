//! A user who listens by an event source or a WebSocket, and the book it keeps of what it was told.

use std::collections::BTreeSet;
use std::sync::mpsc::RecvTimeoutError;

use serde_json::{Value, json};

use super::event_source::{Event, EventSource};
use super::jmap::{Caller, States, TYPES, change_keyword, new_state, newest_email, results};
use super::web_socket::WebSocket;
use super::{Cyrus, Instant, PATIENCE};

/// A user who listens at the proxy and can ask the server itself.
pub(crate) struct Client {
    /// Where the stream comes from.
    proxy: Caller,
    way: Way,
    server: Caller,
    stream: Stream,
    /// What this client knows: what the server said before the stream was opened, then what the
    /// stream said.
    known: States,
    /// Every account the stream named.
    named: BTreeSet<String>,
    /// Every event, for a failure's message.
    log: Vec<Event>,
}

/// How a client listens.
enum Way {
    /// Path and query of the stream.
    EventSource(String),
    /// The types that are pushed, `null` for all.
    WebSocket(Value),
}

enum Stream {
    EventSource(EventSource),
    WebSocket(Box<WebSocket>),
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
            let stream = open_event_source(&proxy, &target, None);
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
        let way = Way::EventSource(target.to_owned());
        Self::new(cyrus, proxy, way, || Stream::EventSource(open()))
    }

    /// Listens through the WebSocket of the Session, for all types.
    pub(crate) fn connect(cyrus: &Cyrus, address: &str, user: &str) -> Self {
        Self::connect_for(cyrus, address, user, &Value::Null)
    }

    /// The same for these types.
    pub(crate) fn connect_for(cyrus: &Cyrus, address: &str, user: &str, types: &Value) -> Self {
        let proxy = Caller::new(address, user);
        let open = || open_web_socket(&proxy, types, None);
        Self::new(cyrus, &proxy, Way::WebSocket(types.clone()), open)
    }

    fn new(cyrus: &Cyrus, proxy: &Caller, way: Way, open: impl FnOnce() -> Stream) -> Self {
        let server = cyrus.caller(&proxy.account);
        // In this order: a change in between is told, or told again.
        let known = server.states();
        let stream = open();
        Self {
            proxy: proxy.clone(),
            way,
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
        match &self.stream {
            Stream::EventSource(stream) => stream.close(),
            Stream::WebSocket(stream) => stream.close(),
        }
        meanwhile();
        let last = self.log.iter().rfind(|event| !event.id.is_empty());
        let last_id = last.map(|event| event.id.as_str());
        self.stream = match &self.way {
            Way::EventSource(target) => {
                Stream::EventSource(open_event_source(&self.proxy, target, last_id))
            }
            Way::WebSocket(types) => open_web_socket(&self.proxy, types, last_id),
        };
    }

    /// Waits until it was told that `data_type` of `account` is in this state.
    pub(crate) fn learns(&mut self, account: &str, data_type: &str, state: &str) {
        let key = (account.to_owned(), data_type.to_owned());
        let deadline = Instant::now() + PATIENCE;
        while self.known.get(&key).is_none_or(|known| known != state) {
            self.take(deadline, &format!("{data_type} of {account} to be {state}"));
        }
    }

    /// Waits until it knows what the server knows of the types it listens to, in every account it may
    /// see, and checks that it was told of no other.
    pub(crate) fn agrees_with_server(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mut truth = self.server.states();
            let user = &self.server.account;
            for account in &self.named {
                let visible = truth.keys().any(|(known, _)| known == account);
                assert!(visible, "{user} was told of {account}: {:#?}", self.log);
            }
            truth.retain(|(_, data_type), _| self.way.tells_of(data_type));
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

    /// The state that it knows.
    pub(crate) fn knows(&self, account: &str, data_type: &str) -> String {
        self.known[&(account.to_owned(), data_type.to_owned())].clone()
    }

    /// Everything that it was told, in order, as (account, type, state).
    pub(crate) fn told(&self) -> Vec<(String, String, String)> {
        self.log.iter().flat_map(Event::states).collect()
    }

    /// The methods of one API request on its WebSocket; gives their responses.
    ///
    /// # Panics
    ///
    /// When the answer is no Response.
    pub(crate) fn call(&mut self, methods: &[(&str, Value)]) -> Vec<Value> {
        let answer = self.try_call(methods);
        assert_eq!(answer["@type"], "Response", "{answer}");
        results(&answer)
    }

    /// The same, whatever comes of it. What is pushed before the answer is written down.
    pub(crate) fn try_call(&mut self, methods: &[(&str, Value)]) -> Value {
        let id = format!("request {}", self.log.len());
        let mut request = self.proxy.request(methods);
        request["@type"] = json!("Request");
        // As clients do that name every capability of the Session: the server has never heard of it.
        let using = request["using"].as_array_mut().expect("a list");
        using.push(json!("urn:ietf:params:jmap:websocket"));
        request["id"] = json!(id);
        self.web_socket().say(&request);
        let deadline = Instant::now() + PATIENCE;
        loop {
            let event = self.take(deadline, "the answer to a request");
            if event.name == "state" {
                continue;
            }
            let answer: Value = serde_json::from_str(&event.data).expect("an answer in JSON");
            assert_eq!(answer["requestId"], id.as_str(), "{answer}");
            return answer;
        }
    }

    /// Sets or clears a keyword of the newest mail, through its WebSocket; gives the new state.
    pub(crate) fn flag(&mut self, keyword: &str, set: bool) -> String {
        let email = self.call(&[newest_email()])[0]["ids"][0].clone();
        let email = email.as_str().expect("a mail");
        new_state(&self.call(&[change_keyword(email, keyword, set)]))
    }

    /// Its WebSocket.
    pub(crate) fn web_socket(&mut self) -> &mut WebSocket {
        match &mut self.stream {
            Stream::WebSocket(stream) => stream,
            Stream::EventSource(_) => panic!("{} listens by an event source", self.proxy.account),
        }
    }

    /// Writes down the next event.
    fn take(&mut self, deadline: Instant, awaited: &str) -> Event {
        let user = &self.server.account;
        let next = match &mut self.stream {
            Stream::EventSource(stream) => stream.next(deadline),
            Stream::WebSocket(stream) => stream.next(deadline),
        };
        match next {
            Ok(event) => {
                for (account, data_type, state) in event.states() {
                    self.named.insert(account.clone());
                    self.known.insert((account, data_type), state);
                }
                self.log.push(event.clone());
                event
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

impl Way {
    /// Whether changes of this type, one of [`TYPES`], are told.
    fn tells_of(&self, data_type: &str) -> bool {
        debug_assert!(TYPES.contains(&data_type), "{data_type}");
        match self {
            Self::WebSocket(Value::Array(types)) => types.iter().any(|known| known == data_type),
            // Who listens by an event source listens to all of them.
            Self::WebSocket(_) | Self::EventSource(_) => true,
        }
    }
}

fn open_event_source(proxy: &Caller, target: &str, last_id: Option<&str>) -> EventSource {
    let stream = EventSource::open(&proxy.address, target, &proxy.authorization, last_id);
    stream.unwrap_or_else(|error| panic!("{}'s event source: {error}", proxy.account))
}

fn open_web_socket(proxy: &Caller, types: &Value, push_state: Option<&str>) -> Stream {
    let stream = WebSocket::open(proxy);
    let mut stream =
        stream.unwrap_or_else(|error| panic!("{}'s WebSocket: {error}", proxy.account));
    stream.enable_push(types, push_state);
    Stream::WebSocket(Box::new(stream))
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
