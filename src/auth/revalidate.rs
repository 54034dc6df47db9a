//! Asks upstream again while streams live on its answer (architecture D9; W2, §7.1).
//!
//! Every `auth.revalidate` with jitter; when a JWT says it expires; and at once when something about
//! a user's Session has changed. A refusal ends that credential's streams, another list of accounts
//! changes what they see. Upstream being down is neither, for `auth.grace`.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::authority::{Answer, Authority};
use super::credentials::CredentialKey;
use super::principal::Principal;
use crate::clock::{self, Moment, jittered};
use crate::state::fact::PrincipalId;

/// The least time between two questions about one credential, whatever happens.
const LEAST_PAUSE: Duration = Duration::from_secs(2);

/// The least time between two questions about a token that upstream accepts although it says that it
/// has expired: servers allow for clocks that differ, and some do not look at `exp` at all.
const EXPIRED_PAUSE: Duration = Duration::from_secs(60);

/// Pause after a question that upstream could not answer.
const TROUBLE_PAUSE: Duration = Duration::from_secs(10);

/// Questions under way at one time, each as long as upstream takes; a slow one holds up nobody else.
const AT_ONCE: usize = 16;

/// How often the list of live credentials is looked through.
const ROUND: Duration = Duration::from_secs(1);

/// What became of a credential that streams live on.
#[derive(Debug)]
pub enum Finding {
    /// Still good; its accounts are these now.
    Accepted(Arc<Principal>),
    /// Upstream refuses it.
    Refused,
    /// Upstream could not be asked for too long.
    Lost,
}

/// Users whose Session is known to have changed. Bounded by the users that are live.
#[derive(Debug, Default)]
pub struct Suspects {
    users: Mutex<HashSet<PrincipalId>>,
    ready: Notify,
}

impl Suspects {
    /// Something about this user's Session has changed.
    pub fn add(&self, user: PrincipalId) {
        let mut users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        if users.insert(user) {
            self.ready.notify_one();
        }
    }

    fn take(&self) -> HashSet<PrincipalId> {
        std::mem::take(&mut *self.users.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// One live credential.
#[derive(Debug, Clone, Copy)]
struct Watch {
    /// When it is asked about next.
    due: Moment,
    /// When it was asked about last.
    asked: Moment,
    /// The last moment upstream vouched for it.
    good: Moment,
    /// Whether a question about it waits or is under way.
    is_asked: bool,
    /// Whether its Session has changed since that question was sent.
    is_outdated: bool,
}

/// All live credentials, and the questions about them.
struct Round {
    authority: Arc<Authority>,
    watched: HashMap<CredentialKey, Watch>,
    /// Due, in order. When full: holds each live credential at most once.
    waiting: VecDeque<(CredentialKey, Arc<Principal>)>,
    asking: JoinSet<(CredentialKey, Answer)>,
}

/// Runs until dropped. `live` lists the credentials with live streams; `tell` is told each finding.
pub async fn run(
    authority: Arc<Authority>,
    live: impl Fn() -> Vec<(CredentialKey, Arc<Principal>)>,
    tell: impl Fn(CredentialKey, Finding),
) {
    let mut round = Round {
        authority: Arc::clone(&authority),
        watched: HashMap::new(),
        waiting: VecDeque::new(),
        asking: JoinSet::new(),
    };
    let mut look = tokio::time::interval(ROUND);
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = look.tick() => round.look(live(), Moment::now()),
            () = authority.suspects().ready.notified() => round.look(live(), Moment::now()),
            Some(Ok((key, answer))) = round.asking.join_next() => {
                if let Some(finding) = round.judge(key, answer, Moment::now()) {
                    tell(key, finding);
                }
            }
        }
        round.ask(Moment::now());
    }
}

impl Round {
    /// Sees who is live, who has become suspect, and who is due.
    fn look(&mut self, live: Vec<(CredentialKey, Arc<Principal>)>, now: Moment) {
        let suspects = self.authority.suspects().take();
        let keys: HashSet<_> = live.iter().map(|(key, _)| *key).collect();
        self.watched.retain(|key, _| keys.contains(key));
        for (key, principal) in live {
            let is_suspect = suspects.contains(&principal.id);
            let watch = self.watched.entry(key).or_insert_with(|| Watch {
                due: if is_suspect { now } else { next(&self.authority, &principal, now) },
                asked: now,
                good: now,
                is_asked: false,
                is_outdated: false,
            });
            if is_suspect {
                watch.is_outdated = watch.is_asked;
                watch.due = watch.due.min(watch.asked.after(LEAST_PAUSE));
            }
            if watch.due <= now && !watch.is_asked {
                watch.is_asked = true;
                self.waiting.push_back((key, principal));
            }
        }
    }

    /// Sends as many questions as may be under way.
    fn ask(&mut self, now: Moment) {
        while self.asking.len() < AT_ONCE
            && let Some((key, principal)) = self.waiting.pop_front()
        {
            // Its last stream may have ended while it waited.
            let Some(watch) = self.watched.get_mut(&key) else { continue };
            (watch.asked, watch.is_outdated) = (now, false);
            let answer = self.authority.ask(key, Arc::clone(&principal.credentials));
            self.asking.spawn(async move { (key, answer.await) });
        }
    }

    /// What an answer means, and when to ask again.
    fn judge(&mut self, key: CredentialKey, answer: Answer, now: Moment) -> Option<Finding> {
        let watch = self.watched.get_mut(&key)?;
        watch.is_asked = false;
        let finding = match answer {
            Ok(principal) => {
                watch.good = now;
                watch.due = next(&self.authority, &principal, now);
                Some(Finding::Accepted(principal))
            }
            Err(refusal) => {
                if refusal.is_upstreams() {
                    tracing::debug!("a credential with live streams is refused now: they end");
                }
                watch.due = now.after(jittered(TROUBLE_PAUSE, 0.5));
                let is_over = now.since(watch.good) > self.authority.settings().grace;
                match refusal.is_upstreams() {
                    true => Some(Finding::Refused),
                    false => is_over.then_some(Finding::Lost),
                }
            }
        };
        if watch.is_outdated {
            watch.due = watch.due.min(watch.asked.after(LEAST_PAUSE));
        }
        finding
    }
}

/// When to ask again: after the configured time, or right after a token says it expires.
fn next(authority: &Authority, principal: &Principal, now: Moment) -> Moment {
    let regular = jittered(authority.settings().revalidate, 0.2);
    let expires = principal.credentials.expires().map(Duration::from_secs);
    now.after(pause(regular, expires, clock::wall()))
}

/// How long until the next question about a token that upstream accepts at `wall` and that says it
/// expires at `expires`, both since the epoch.
fn pause(regular: Duration, expires: Option<Duration>, wall: Duration) -> Duration {
    let Some(expires) = expires else { return regular };
    // The server may count whole seconds.
    let due = expires.saturating_add(Duration::from_secs(1));
    regular.min(match due.checked_sub(wall) {
        Some(left) => left.max(LEAST_PAUSE),
        None => EXPIRED_PAUSE,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTES: Duration = Duration::from_secs(300);

    fn seconds(expires: u64, wall: u64) -> u64 {
        let (expires, wall) = (Duration::from_secs(expires), Duration::from_secs(wall));
        pause(MINUTES, Some(expires), wall).as_secs()
    }

    #[test]
    fn a_token_is_asked_about_right_after_it_says_it_expires() {
        assert_eq!(pause(MINUTES, None, MINUTES), MINUTES);
        assert_eq!(seconds(2000, 1000), 300, "the regular time comes first");
        assert_eq!(seconds(1100, 1000), 101);
        assert_eq!(seconds(1000, 1000), 2, "the least pause");
    }

    #[test]
    fn a_token_that_is_accepted_after_it_expired_is_not_asked_about_all_the_time() {
        assert_eq!(seconds(1000, 1002), 60);
        assert_eq!(seconds(0, 1_000_000), 60);
        assert_eq!(seconds(u64::MAX, 1000), 300);
        let often = Duration::from_secs(5);
        assert_eq!(pause(often, Some(Duration::ZERO), MINUTES), often, "as the operator wants it");
    }
}
