//! Asks upstream again while streams live on its answer (architecture D9; W2, §7.1).
//!
//! Every `auth.revalidate` with jitter; when a JWT says it expires; and at once when something about
//! a user's Session has changed. A refusal ends that credential's streams, another list of accounts
//! changes what they see. Upstream being down is neither, for `auth.grace`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use tokio::sync::Notify;

use super::authority::{Authority, Refusal};
use super::credentials::CredentialKey;
use super::principal::Principal;
use crate::clock::{Moment, jittered};
use crate::state::fact::PrincipalId;

/// The least time between two questions about one credential, whatever happens.
const LEAST_PAUSE: Duration = Duration::from_secs(2);

/// Questions under way at one time.
const AT_ONCE: usize = 16;

/// How often the list of live credentials is looked through.
const ROUND: Duration = Duration::from_secs(1);

/// What became of a credential that streams live on.
#[derive(Debug)]
pub enum Finding {
    /// Still good; its accounts are these now.
    Accepted(Arc<Principal>),
    /// Upstream refuses it, or could not be asked for too long.
    Refused,
}

/// Users whose Session is known to have changed. Bounded by the users that are live.
#[derive(Debug, Default)]
pub struct Suspects {
    users: Mutex<Vec<PrincipalId>>,
    ready: Notify,
}

impl Suspects {
    /// Something about this user's Session has changed.
    pub fn add(&self, user: PrincipalId) {
        let mut users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        if !users.contains(&user) {
            users.push(user);
            self.ready.notify_one();
        }
    }

    fn take(&self) -> Vec<PrincipalId> {
        std::mem::take(&mut *self.users.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// When one live credential is asked about next.
#[derive(Debug, Clone, Copy)]
struct Watch {
    due: Moment,
    asked: Moment,
    /// The last moment upstream vouched for it.
    good: Moment,
}

/// Runs until dropped. `live` lists the credentials with live streams; `tell` is told each finding.
pub async fn run(
    authority: Arc<Authority>,
    live: impl Fn() -> Vec<(CredentialKey, Arc<Principal>)>,
    tell: impl Fn(CredentialKey, Finding),
) {
    let mut watched: HashMap<CredentialKey, Watch> = HashMap::new();
    loop {
        tokio::select! {
            () = tokio::time::sleep(ROUND) => {}
            () = authority.suspects().ready.notified() => {}
        }
        let now = Moment::now();
        let suspects = authority.suspects().take();
        let live = live();
        let keys: std::collections::HashSet<_> = live.iter().map(|(key, _)| *key).collect();
        watched.retain(|key, _| keys.contains(key));
        let mut due = Vec::new();
        for (key, principal) in live {
            let fresh = Watch { due: next(&authority, &principal, now), asked: now, good: now };
            let known = watched.contains_key(&key);
            let watch = watched.entry(key).or_insert(fresh);
            if known && suspects.contains(&principal.id) {
                watch.due = watch.asked.after(LEAST_PAUSE);
            } else if suspects.contains(&principal.id) {
                watch.due = now;
            }
            if watch.due <= now {
                due.push((key, principal));
            }
        }
        for batch in due.chunks(AT_ONCE) {
            let asked: Vec<_> = batch
                .iter()
                .map(|(key, known)| (*key, authority.ask(*key, Arc::clone(&known.credentials))))
                .collect();
            for (key, answer) in asked {
                let answer = answer.await;
                let Some(watch) = watched.get_mut(&key) else { continue };
                let now = Moment::now();
                watch.asked = now;
                match answer {
                    Ok(principal) => {
                        watch.good = now;
                        watch.due = next(&authority, &principal, now);
                        tell(key, Finding::Accepted(principal));
                    }
                    Err(refusal) => {
                        let grace = authority.settings().grace;
                        if refusal.is_upstreams() || now.since(watch.good) > grace {
                            tell(key, Finding::Refused);
                        }
                        watch.due = now.after(jittered(Duration::from_secs(10), 0.5));
                        log(&refusal);
                    }
                }
            }
        }
    }
}

fn log(refusal: &Refusal) {
    if refusal.is_upstreams() {
        tracing::debug!("a credential with live streams is refused now: its streams end");
    }
}

/// When to ask again: after the configured time, or right after a token says it expires.
fn next(authority: &Authority, principal: &Principal, now: Moment) -> Moment {
    let regular = now.after(jittered(authority.settings().revalidate, 0.2));
    let Some(expires) = principal.credentials.expires() else { return regular };
    #[expect(clippy::disallowed_methods, reason = "a JWT's exp is wall-clock time")]
    let wall = std::time::SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let left = Duration::from_secs(expires).saturating_sub(wall) + Duration::from_secs(1);
    regular.min(now.after(left.max(LEAST_PAUSE)))
}
