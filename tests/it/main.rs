//! Tests of the whole from outside: one binary, a module for each part.

// `cfg(test)` tells clippy that helpers, too, are tests.
#[cfg(test)]
mod admin;
#[cfg(test)]
mod auth;
#[cfg(test)]
mod batch;
#[cfg(test)]
mod cli;
#[cfg(test)]
mod config;
#[cfg(test)]
mod demo;
#[cfg(test)]
mod detection;
#[cfg(test)]
mod downstream;
#[cfg(test)]
mod event_source;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod http2;
#[cfg(test)]
mod life;
#[cfg(test)]
mod notify;
#[cfg(test)]
mod push;
#[cfg(test)]
mod redis;
#[cfg(test)]
mod relay;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod subscriptions;
#[cfg(test)]
mod support;
#[cfg(test)]
mod tickets;
#[cfg(test)]
mod tidy;
#[cfg(test)]
mod transparency;
#[cfg(test)]
mod upstream;
#[cfg(test)]
mod websocket;
