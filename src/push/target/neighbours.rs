//! The policy as it stands now: what the names of the JMAP server and of Redis resolve to is not pushed to
//! (hostile.md X6), and that may change while we run. The names are few; they are looked up once a minute, and
//! only while something is sent. Judges nothing.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::{Mutex, Semaphore};

use super::Policy;
use super::connect::Resolver;
use crate::clock::Moment;

/// How long an answer is believed.
const FRESH: Duration = Duration::from_secs(60);

/// The same where a name was not answered: what it had before is believed so much longer.
const AGAIN: Duration = Duration::from_secs(5);

/// How long a push waits for answers.
const PATIENCE: Duration = Duration::from_secs(1);

/// Names that are looked up at once, apart from those that clients name: no client keeps us from knowing our
/// own. When full: a name goes without an answer this time.
const MOST_LOOKUPS: usize = 16;

/// See the module.
pub(super) struct Neighbourhood {
    configured: Arc<Policy>,
    lookups: Arc<Semaphore>,
    /// Held while names are looked up: whoever comes meanwhile wants the same answers.
    known: Mutex<Known>,
}

struct Known {
    /// What each of [`Policy::neighbours`] had when it last had any address.
    addresses: Vec<Vec<IpAddr>>,
    policy: Arc<Policy>,
    until: Moment,
}

impl Neighbourhood {
    pub(super) fn new(policy: Policy) -> Self {
        let addresses = vec![Vec::new(); policy.neighbours.len()];
        let configured = Arc::new(policy);
        let (policy, until) = (Arc::clone(&configured), Moment::default());
        let lookups = Arc::new(Semaphore::new(MOST_LOOKUPS));
        Self { configured, lookups, known: Mutex::new(Known { addresses, policy, until }) }
    }

    /// What is configured, with the neighbours' addresses among [`Policy::own_addresses`].
    pub(super) async fn policy(&self, resolver: &Resolver, now: Moment) -> Arc<Policy> {
        if self.configured.neighbours.is_empty() {
            return Arc::clone(&self.configured);
        }
        let mut known = self.known.lock().await;
        if now >= known.until {
            let is_whole = self.look_up(resolver, &mut known.addresses).await;
            let mut policy = Policy::clone(&self.configured);
            policy.own_addresses.extend(known.addresses.iter().flatten());
            known.policy = Arc::new(policy);
            known.until = now.after(if is_whole { FRESH } else { AGAIN });
        }
        Arc::clone(&known.policy)
    }

    /// Asks for the addresses of all names; whether all were answered. One that is not keeps what it had.
    async fn look_up(&self, resolver: &Resolver, known: &mut [Vec<IpAddr>]) -> bool {
        let ask = |name| tokio::time::timeout(PATIENCE, resolver.addresses(&self.lookups, name));
        let names = self.configured.neighbours.iter();
        let answers = join_all(names.map(|name| ask(name.as_str()))).await;
        let mut is_whole = true;
        for (known, answer) in known.iter_mut().zip(answers) {
            match answer {
                Ok(Ok(addresses)) => *known = addresses,
                Ok(Err(_)) | Err(_) => is_whole = false,
            }
        }
        is_whole
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex as Held;

    use super::*;

    /// A neighbourhood of one name, what it resolves to, and how often that was asked.
    struct World {
        neighbourhood: Neighbourhood,
        resolver: Resolver,
        answer: Arc<Held<(Vec<IpAddr>, usize)>>,
    }

    impl World {
        fn new() -> Self {
            let own_addresses = vec!["192.0.2.1".parse().unwrap()];
            let neighbours = vec!["redis.example".to_owned()];
            let policy = Policy { own_addresses, neighbours, ..Policy::default() };
            let answer = Arc::<Held<(Vec<IpAddr>, usize)>>::default();
            let asked = Arc::clone(&answer);
            let resolver = Resolver::Table(Arc::new(move |name| {
                assert_eq!(name, "redis.example");
                let mut asked = asked.lock().unwrap();
                asked.1 += 1;
                asked.0.clone()
            }));
            Self { neighbourhood: Neighbourhood::new(policy), resolver, answer }
        }

        /// What is barred `seconds` after the start, where the name resolves to `answer` then.
        async fn barred(&self, seconds: u64, answer: &[&str]) -> Vec<String> {
            self.answer.lock().unwrap().0 = answer.iter().map(|it| it.parse().unwrap()).collect();
            let now = Moment(seconds * 1_000_000);
            let policy = self.neighbourhood.policy(&self.resolver, now).await;
            policy.own_addresses.iter().map(ToString::to_string).collect()
        }

        fn asked(&self) -> usize {
            self.answer.lock().unwrap().1
        }
    }

    /// X6.
    #[tokio::test]
    async fn a_name_s_addresses_are_barred_and_looked_up_once_a_minute() {
        let world = World::new();
        assert_eq!(world.barred(1, &["10.0.0.1", "10.0.0.2"]).await.len(), 3);
        for second in [1, 30, 60] {
            assert_eq!(world.barred(second, &["10.0.0.3"]).await[1..], ["10.0.0.1", "10.0.0.2"]);
        }
        assert_eq!(world.asked(), 1);
        assert_eq!(world.barred(61, &["10.0.0.3"]).await, ["192.0.2.1", "10.0.0.3"]);
        assert_eq!(world.asked(), 2);
    }

    /// X6, X7.
    #[tokio::test]
    async fn a_name_that_is_not_answered_keeps_its_addresses_and_is_soon_asked_again() {
        let world = World::new();
        assert_eq!(world.barred(0, &[]).await, ["192.0.2.1"]);
        assert_eq!(world.barred(5, &["10.0.0.1"]).await, ["192.0.2.1", "10.0.0.1"]);
        assert_eq!(world.barred(65, &[]).await, ["192.0.2.1", "10.0.0.1"]);
        assert_eq!(world.barred(69, &["10.0.0.2"]).await, ["192.0.2.1", "10.0.0.1"]);
        assert_eq!(world.barred(70, &["10.0.0.2"]).await, ["192.0.2.1", "10.0.0.2"]);
    }
}
