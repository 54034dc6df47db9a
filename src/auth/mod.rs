//! Who may see what. Upstream is the only authority (architecture D9): a credential is good while
//! upstream answers a Session to it, and sees the accounts of that Session, nothing else.
//!
//! | file | |
//! |---|---|
//! | [`credentials`] | what a client authenticates by, as an opaque secret and as a key for maps |
//! | [`principal`] | whom upstream takes it for, and which accounts that is |
//! | [`authority`] | asks upstream, remembers the answer for a while, once for all who ask |
//! | [`attempts`] | who guesses |
//! | [`comings`] | about whom something has changed, for who wants to know |
//! | `question` | one that is being asked |
//! | `refusals` | what upstream said no by, for a moment |
//! | [`revalidate`] | asks again while streams live on the answer |
//! | [`browser`] | what browsers authenticate by where they can set no `Authorization` |
//! | [`tickets`] | credentials sealed for a URL |

pub mod attempts;
pub mod authority;
pub mod browser;
pub mod comings;
pub mod credentials;
pub mod principal;
mod question;
mod refusals;
pub mod revalidate;
pub mod tickets;

pub use authority::Authority;
pub use credentials::{CredentialKey, Credentials};
pub use principal::{Absentee, Principal};
pub use refusals::Refusal;
pub use tickets::Tickets;
