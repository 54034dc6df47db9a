//! A push service (RFC 8030) that keeps what it is sent, and answers as a test says.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::push::receiver::Receiver;
use crate::support::certificate::Ca;
use crate::support::ledger::Changed;
use crate::support::wait::until;

/// What it was sent.
#[derive(Debug, Clone)]
pub(super) struct Message {
    pub(super) path: String,
    pub(super) headers: BTreeMap<String, String>,
    pub(super) body: String,
    pub(super) at: Instant,
}

impl Message {
    fn read(request: &str) -> Self {
        let (head, body) = request.split_once("\r\n\r\n").unwrap();
        let mut lines = head.lines();
        let path = lines.next().unwrap().split(' ').nth(1).unwrap().to_owned();
        let headers = lines.filter_map(|line| line.split_once(": "));
        let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        Self { path, headers, body: body.to_owned(), at: Instant::now() }
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("{self:?}"))
    }

    /// What a `StateChange` tells.
    pub(super) fn changed(&self) -> Changed {
        let mut change = self.json();
        assert_eq!(change["@type"], "StateChange", "{self:?}");
        serde_json::from_value(change["changed"].take()).unwrap()
    }
}

#[derive(Default)]
struct Inner {
    messages: Vec<Message>,
    /// By path: the next answers; 201 after that.
    answers: BTreeMap<String, VecDeque<Answer>>,
}

struct Answer {
    text: String,
    /// Not before this has been said, or dropped.
    once: Option<oneshot::Receiver<()>>,
}

/// See the module.
pub(super) struct PushService {
    host: &'static str,
    receiver: Receiver,
    inner: Arc<Mutex<Inner>>,
}

impl PushService {
    /// One at this address.
    pub(super) async fn start(ca: &Ca, host: &'static str) -> Self {
        let inner = Arc::<Mutex<Inner>>::default();
        let shared = Arc::clone(&inner);
        let at = format!("{host}:0");
        let receiver = Receiver::tls_at(&at, host, ca, move |mut accepted| {
            let shared = Arc::clone(&shared);
            async move {
                while let Some(request) = accepted.request().await {
                    let message = Message::read(&request);
                    let answer = {
                        let mut inner = shared.lock().unwrap();
                        let answers = inner.answers.get_mut(&message.path);
                        let answer = answers.and_then(VecDeque::pop_front);
                        inner.messages.push(message);
                        answer
                    };
                    let answer = match answer {
                        Some(Answer { text, once }) => {
                            if let Some(once) = once {
                                let _ = once.await;
                            }
                            text
                        }
                        None => answer_of("201 Created", ""),
                    };
                    if !accepted.send(&answer).await {
                        return;
                    }
                }
            }
        });
        Self { host, receiver: receiver.await, inner }
    }

    pub(super) fn port(&self) -> u16 {
        self.receiver.address.port()
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("https://{}:{}/{path}", self.host, self.port())
    }

    /// The next message to a path is answered so, and those after it as said later.
    pub(super) fn answer(&self, path: &str, status: &str, headers: &str) {
        self.put(path, Answer { text: answer_of(status, headers), once: None });
    }

    /// The same, but the answer waits until it is let go.
    pub(super) fn hold(&self, path: &str, status: &str) -> oneshot::Sender<()> {
        let (go, once) = oneshot::channel();
        self.put(path, Answer { text: answer_of(status, ""), once: Some(once) });
        go
    }

    fn put(&self, path: &str, answer: Answer) {
        let mut inner = self.inner.lock().unwrap();
        inner.answers.entry(format!("/{path}")).or_default().push_back(answer);
    }

    /// All that was sent to a path.
    pub(super) fn messages(&self, path: &str) -> Vec<Message> {
        let path = format!("/{path}");
        let inner = self.inner.lock().unwrap();
        inner.messages.iter().filter(|message| message.path == path).cloned().collect()
    }

    /// The message of this number (from 0) to a path, once it is there.
    pub(super) async fn message(&self, path: &str, number: usize) -> Message {
        until("message", || {
            let messages = self.messages(path);
            messages.get(number).cloned().ok_or(messages)
        })
        .await
    }

    /// The code of the verification that is the first message to a path.
    pub(super) async fn code(&self, path: &str) -> String {
        let verification = self.message(path, 0).await.json();
        assert_eq!(verification["@type"], "PushVerification", "{verification}");
        verification["verificationCode"].as_str().unwrap().to_owned()
    }

    /// Waits until some message to a path tells this.
    pub(super) async fn told(&self, path: &str, account: &str, data_type: &str, state: &str) {
        let tells = |message: &Message| {
            let changed = message.json()["changed"][account][data_type] == state;
            changed && message.json()["@type"] == "StateChange"
        };
        until("that state", || {
            let messages = self.messages(path);
            if messages.iter().any(tells) { Ok(()) } else { Err(messages) }
        })
        .await;
    }
}

fn answer_of(status: &str, headers: &str) -> String {
    format!("HTTP/1.1 {status}\r\n{headers}content-length: 0\r\n\r\n")
}
