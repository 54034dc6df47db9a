//! Upstream: it holds what the fake of the other tests holds, and answers late, broken or not at all.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use http::StatusCode;
use jmap_push_proxy::jmap::id::{DataType, State};
use jmap_push_proxy::probe::{Lost, Reply};
use jmap_push_proxy::state::fact::Fact;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::terms::{Terms, pick};
use crate::support::upstream::{Mail, calls};

/// All users. Each has an account of their own; [`TEAM`] is given and taken.
pub(super) const USERS: [&str; 3] = ["alice", "bob", "carol"];

/// The account that is shared from the beginning, between the first two.
pub(super) const TEAM: &str = "team";

/// Types that may break upstream.
const BREAKING: [&str; 3] = ["VacationResponse", "Mailbox", "Identity"];

/// How upstream is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Weather {
    Fair,
    /// Cannot be reached.
    Down,
    /// Every answer is this.
    Status(u16),
    /// 429 with this many seconds.
    Limited(u64),
    /// This part of the answers is lost on the way.
    Flaky(f64),
    /// Answers take up to this long.
    Slow(Duration),
    /// Whoever asks for this type loses the connection.
    Crash(&'static str),
}

#[derive(Debug)]
struct Inner {
    mail: Mail,
    weather: Weather,
    rng: StdRng,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Server {
    inner: Mutex<Inner>,
    latency: Duration,
}

impl Server {
    pub(super) fn new(terms: &Terms, seed: u64) -> Arc<Self> {
        let mut mail = Mail::of(&USERS, terms.has_views);
        for user in &USERS[..2] {
            mail.share(user, TEAM);
        }
        // From now on: the first states of an account come one by one.
        mail.has_one_counter = terms.has_one_counter;
        let rng = StdRng::seed_from_u64(seed);
        let inner = Mutex::new(Inner { mail, weather: Weather::Fair, rng });
        Arc::new(Self { inner, latency: terms.latency })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }

    pub(super) fn mail<T>(&self, look: impl FnOnce(&mut Mail) -> T) -> T {
        look(&mut self.lock().mail)
    }

    pub(super) fn turns(&self, weather: Weather) {
        self.lock().weather = weather;
    }

    pub(super) fn weather(&self) -> Weather {
        self.lock().weather
    }

    /// Half of the way, there or back.
    pub(super) async fn travel(&self) {
        let time = {
            let mut inner = self.lock();
            let longest = match inner.weather {
                Weather::Slow(longest) => longest,
                _ => self.latency,
            };
            longest.mul_f64(inner.rng.random_range(0.0..=0.5))
        };
        sleep(time).await;
    }

    /// Whether an answer is lost on its way back.
    pub(super) fn loses(&self) -> bool {
        let mut inner = self.lock();
        match inner.weather {
            Weather::Flaky(part) => inner.rng.random_bool(part),
            _ => false,
        }
    }

    /// A user's Session, unless upstream cannot say now.
    pub(super) async fn session(&self, user: &str) -> Option<Value> {
        self.travel().await;
        let fails = matches!(self.weather(), Weather::Down | Weather::Status(_));
        let session = self.mail(|mail| mail.session(user));
        self.travel().await;
        (!fails && !self.loses()).then_some(session)
    }

    /// An API request of a user's, with method calls between which anything may happen.
    pub(super) async fn answer(&self, user: &str, body: &[u8]) -> Result<Reply, Lost> {
        let weather = self.weather();
        self.travel().await;
        let refusal = |status: u16, retry_after| {
            let status = StatusCode::from_u16(status).unwrap();
            Ok(Reply { status, retry_after, body: "{}".into(), is_as_user: true })
        };
        match weather {
            Weather::Down => return Err(Lost::Unreachable),
            Weather::Status(status) => return refusal(status, None),
            Weather::Limited(wait) => return refusal(429, Some(Duration::from_secs(wait))),
            _ => {}
        }
        let mut responses = Vec::new();
        let mut session_state = Value::Null;
        for call in calls(body).unwrap() {
            if matches!(weather, Weather::Crash(name) if call.0.starts_with(name)) {
                return Err(Lost::Closed);
            }
            let mut one = self.mail(|mail| mail.respond(user, std::slice::from_ref(&call)));
            if call.0 == "Email/set" && one["methodResponses"][0][0] == "Email/set" {
                // What Email moves its response does not tell of.
                let account = call.1["accountId"].as_str().unwrap();
                self.mail(|mail| {
                    for data_type in ["Mailbox", "Thread"] {
                        mail.change(account, data_type);
                    }
                });
            }
            responses.push(one["methodResponses"][0].take());
            session_state = one["sessionState"].take();
            let dawdles = self.lock().rng.random_bool(0.1);
            if dawdles {
                self.travel().await;
            }
        }
        self.travel().await;
        if self.loses() {
            let silent = self.lock().rng.random_bool(0.3);
            if silent {
                std::future::pending::<()>().await;
            }
            return Err(Lost::Closed);
        }
        let body = json!({ "methodResponses": responses, "sessionState": session_state });
        let body = body.to_string().into();
        Ok(Reply { status: StatusCode::OK, retry_after: None, body, is_as_user: true })
    }
}

/// What may befall upstream.
pub(super) fn bad_weather(rng: &mut StdRng) -> Weather {
    match rng.random_range(0..6) {
        0 => Weather::Down,
        1 => Weather::Status(*pick(rng, &[500, 502, 503])),
        2 => Weather::Limited(rng.random_range(1..10)),
        3 => Weather::Flaky(*pick(rng, &[0.2, 0.6, 1.0])),
        4 => Weather::Slow(Duration::from_secs(*pick(rng, &[5, 15, 40]))),
        _ => Weather::Crash(BREAKING[rng.random_range(0..BREAKING.len())]),
    }
}

/// What one method response says, as the tap reads it.
pub(super) fn fact(response: &Value) -> Option<Fact> {
    let (name, _) = response[0].as_str()?.split_once('/')?;
    let arguments = &response[1];
    let state = arguments["newState"].as_str().or(arguments["state"].as_str())?;
    Some(Fact {
        data_type: DataType::parse(name)?,
        state: State::parse(state)?,
        old_state: arguments["oldState"].as_str().and_then(State::parse),
        created: arguments["created"].as_array().is_some_and(|created| !created.is_empty()),
    })
}
