//! Where upstream has its API and its Session, learnt from Sessions (RFC 8620 §2).

use std::sync::Arc;

use arc_swap::ArcSwap;

/// Paths of one kind remembered. Servers have one; some have one per user or tenant prefix. When
/// full: the oldest goes, and is learnt again with its next Session.
const MOST: usize = 64;

#[derive(Debug, Clone, Default)]
struct Known {
    api: Vec<String>,
    session: Vec<String>,
}

/// See the module. Read on every request, written when a new path turns up.
#[derive(Debug, Default)]
pub struct Paths(ArcSwap<Known>);

impl Paths {
    /// Takes note of where a Session was found and which API path it names.
    pub fn learn(&self, session: &str, api: &str) {
        self.learn_session(session);
        let api = without_query(api);
        if !self.is_api(api) {
            self.change(|known| remember(&mut known.api, api));
        }
    }

    /// Takes note of where the Session is, as a redirect says.
    pub fn learn_session(&self, session: &str) {
        let session = without_query(session);
        if !self.is_session(session) {
            self.change(|known| remember(&mut known.session, session));
        }
    }

    fn change(&self, change: impl FnOnce(&mut Known)) {
        let mut known = Known::clone(&self.0.load());
        change(&mut known);
        self.0.store(Arc::new(known));
    }

    /// Whether no Session has been seen yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.load().api.is_empty()
    }

    /// Whether API requests are posted to `path`.
    #[must_use]
    pub fn is_api(&self, path: &str) -> bool {
        self.0.load().api.iter().any(|known| known == path)
    }

    /// Whether `path` is that of a Session, trailing slash or not (Cyrus has it at both).
    #[must_use]
    pub fn is_session(&self, path: &str) -> bool {
        let bare = |path: &str| path.trim_end_matches('/').len();
        self.0.load().session.iter().any(|known| known.get(..bare(known)) == path.get(..bare(path)))
    }
}

fn remember(list: &mut Vec<String>, path: &str) {
    if list.len() >= MOST {
        list.remove(0);
    }
    list.push(path.to_owned());
}

fn without_query(url: &str) -> &str {
    url.split('?').next().unwrap_or(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_learnt_once_and_the_latest_are_kept() {
        let paths = Paths::default();
        assert!(paths.is_empty() && !paths.is_api("/jmap/"));
        paths.learn("/jmap", "/jmap/?x=1");
        assert!(paths.is_api("/jmap/") && !paths.is_api("/jmap"));
        assert!(paths.is_session("/jmap") && paths.is_session("/jmap/"));
        assert!(!paths.is_session("/"));
        for tenant in 0..=MOST {
            paths.learn("/session", &format!("/{tenant}/api"));
        }
        assert!(!paths.is_api("/jmap/") && paths.is_api(&format!("/{MOST}/api")));
    }
}
