//! Holds the sockets of idle subscribers: the smallest, fastest way we know (architecture D3).
//!
//! A [`Feed`] says what one stream sends next: the newest state of what changed, a ping, a comment,
//! the end. It is polled by a lean task that owns a socket taken out of hyper ([`detach`]), or by
//! hyper itself as a body ([`body`], HTTP/2). Nothing queues: a slow reader is given one merged
//! event when it reads again. One timer [`wheel`] serves all.
//!
//! The rest of the program sees [`Engine`] only, so that its inside can change.

pub mod body;
pub mod detach;
mod engine;
mod feed;
mod wheel;

pub use detach::{Conversation, Limits, Place};
pub use engine::Engine;
pub use feed::{Feed, Plan};
