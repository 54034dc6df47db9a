//! Tests of the built program between real parts: Cyrus IMAP behind it, Redis and Dovecot beside it,
//! nginx and curl, client libraries and a browser before it, a push service where it sends to.
//!
//! `tests/run` starts the parts and says where they are. For one test by hand:
//!
//! ```text
//! mkdir /tmp/parts && export REAL_PARTS=/tmp/parts
//! tests/real/parts/redis up $REAL_PARTS/redis && . $REAL_PARTS/redis/env
//! tests/real/parts/cyrus up $REAL_PARTS/cyrus redis $REDIS_PORT
//! tests/real/parts/cyrus up $REAL_PARTS/telling-cyrus socket
//! tests/real/parts/dovecot fetch $REAL_PARTS/dovecot
//! tests/real/parts/clients up $REAL_PARTS/clients
//! tests/real/parts/push up $REAL_PARTS/push
//! cargo test --test real -- --test-threads 1 a_flag_set
//! ```
//!
//! One test at a time: some kill what the others use. Each ends by asking the server for the states
//! of every account a client can see and comparing them with what the client was told (hostile.md
//! A4: nothing lost, nothing stale, nothing foreign).

// `cfg(test)` tells clippy that helpers, too, are tests.
#[cfg(test)]
mod support;

#[cfg(test)]
mod autobahn;
#[cfg(test)]
mod changed;
#[cfg(test)]
mod clients;
#[cfg(test)]
mod delivered;
#[cfg(test)]
mod demo;
#[cfg(test)]
mod dovecot;
#[cfg(test)]
mod front;
#[cfg(test)]
mod outage;
#[cfg(test)]
mod premises;
#[cfg(test)]
mod push;
#[cfg(test)]
mod shared;
#[cfg(test)]
mod soak;
#[cfg(test)]
mod told;
#[cfg(test)]
mod websocket;
