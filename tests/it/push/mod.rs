//! Pushes to receivers on loopback, where 127.0.0.0/16 stands for the internet and the rest of 127/8 for
//! what must not be reached (RFC 8620 §8.6; hostile.md X6-X8, X11).

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderValue;
use jmap_push_proxy::push::target::Policy;
use jmap_push_proxy::push::target::connect::Resolver;
use jmap_push_proxy::push::target::outcome::Outcome;
use jmap_push_proxy::push::target::post::{Limits, Message, Sender, Topic, Urgency};
use jmap_push_proxy::push::target::url::Target;

use self::receiver::Receiver;
use crate::support::certificate::Ca;
use crate::support::wait::within;

mod document;
mod hostile;
mod limits;
mod names;
pub(crate) mod receiver;
mod sending;

/// Certificates are for this name and those below it.
const NAME: &str = "push.example";

/// A sender, and the names it knows.
struct Pusher {
    sender: Sender,
    policy: Policy,
    names: Names,
}

/// The answers a name gets, one after another; the last of them again and again.
#[derive(Clone, Default)]
struct Names(Arc<Mutex<HashMap<String, Vec<Vec<IpAddr>>>>>);

impl Names {
    fn answer(&self, name: &str) -> Vec<IpAddr> {
        let mut names = self.0.lock().unwrap();
        match names.get_mut(name) {
            None => Vec::new(),
            Some(answers) if answers.len() > 1 => answers.remove(0),
            Some(answers) => answers[0].clone(),
        }
    }
}

const LIMITS: Limits =
    Limits { timeout: Duration::from_secs(10), connections: 8, connections_per_host: 8 };

impl Pusher {
    /// Sends to this receiver's port, wherever that is.
    fn to(receiver: &Receiver, ca: &Ca) -> Self {
        Self::with(receiver.address.port(), ca, LIMITS)
    }

    fn with(port: u16, ca: &Ca, limits: Limits) -> Self {
        let names = Names::default();
        let policy = Policy {
            ports: vec![port],
            allow_networks: vec!["127.0.0.0/16".parse().unwrap()],
            ..Policy::default()
        };
        let table = names.clone();
        let resolver = Resolver::Table(Arc::new(move |name| table.answer(name)));
        let sender = Sender::new(policy.clone(), resolver, Some(ca.file()), limits).unwrap();
        let pusher = Self { sender, policy, names };
        pusher.resolve(NAME, &[&["127.0.0.1"]]);
        pusher
    }

    /// What a name is answered from now on.
    fn resolve(&self, name: &str, answers: &[&[&str]]) {
        let parsed = |answer: &&[&str]| answer.iter().map(|ip| ip.parse().unwrap()).collect();
        let answers = answers.iter().map(parsed).collect();
        self.names.0.lock().unwrap().insert(name.to_owned(), answers);
    }

    fn target(&self, name: &str) -> Target {
        let url = format!("https://{name}:{}/up/secret?x=1", self.policy.ports[0]);
        Target::parse(&url, &self.policy).unwrap()
    }

    async fn push(&self, name: &str) -> Outcome {
        within("push", self.sender.post(&self.target(name), message())).await
    }
}

fn message() -> Message {
    Message {
        ttl: 86_400,
        urgency: Urgency::High,
        topic: Some(Topic([0xff; 24])),
        content_type: HeaderValue::from_static("application/json"),
        is_encrypted: true,
        authorization: Some(HeaderValue::from_static("vapid t=secret, k=key")),
        body: Bytes::from_static(b"\x00sealed\xff"),
    }
}
