//! How a change becomes known: observed, hinted or probed (architecture D7).

/// A user, opaque: given by `auth`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PrincipalId(pub u64);
