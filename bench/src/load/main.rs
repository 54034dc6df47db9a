//! Load for figures: streams of events, API calls, and a JMAP server that costs next to nothing.
//!
//! `bench/compare` and `bench/gate` run it; bench/README.md says what its figures mean. It speaks raw
//! HTTP/1.1 on one thread, so that it takes as little as possible of the machine it shares with what
//! is measured. Everything is on loopback. Results are lines of `name value` on standard output.

#![expect(clippy::disallowed_types, reason = "it measures real time, of other processes")]
#![expect(clippy::indexing_slicing, reason = "a tool for developers may panic on what it made")]
#![expect(clippy::print_stdout, reason = "the figures are what this program is for")]

mod batch;
mod flood;
mod http;
mod own;
mod post;
mod process;
mod reconnect;
mod start;
mod streams;
mod subscriber;
mod tls;
mod upstream;
mod web_push;
mod websocket;

use std::io;
use std::net::SocketAddr;

use clap::{Parser, Subcommand};

/// The proxy's, for what is measured in this process (`Subscriptions`).
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// One way of load each.
#[derive(Debug, Subcommand)]
enum Load {
    /// Holds streams of events and counts what they and the events on them cost.
    Fanout(streams::Fanout),
    /// Streams of events of which some never read.
    Stall(streams::Stall),
    /// Streams that come back with the id of their last event.
    Reconnect(reconnect::Reconnect),
    /// Changes in many accounts, each told to its own stream.
    Own(own::Own),
    /// API calls, one after another on each connection.
    Post(post::Post),
    /// API calls beside one that the proxy answers itself.
    Batch(batch::Batch),
    /// API calls beside a client that floods its WebSocket with them.
    Flood(flood::Flood),
    /// Starts a program and tells when it serves and what it holds when idle.
    Start(start::Start),
    /// Makes a store of PushSubscriptions.
    Subscriptions(web_push::Subscriptions),
    /// Is a push service, and changes what each of those subscriptions is told of.
    Push(web_push::Push),
    /// Is a JMAP server.
    Upstream {
        /// Where it listens.
        listen: SocketAddr,
    },
}

#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    load: Load,
}

fn main() -> io::Result<()> {
    let Arguments { load } = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async {
        match load {
            Load::Fanout(fanout) => fanout.run().await,
            Load::Stall(stall) => stall.run().await,
            Load::Reconnect(reconnect) => reconnect.run().await,
            Load::Own(own) => own.run().await,
            Load::Post(post) => post.run().await,
            Load::Batch(batch) => batch.run().await,
            Load::Flood(flood) => flood.run().await,
            Load::Start(start) => start.run().await,
            Load::Subscriptions(subscriptions) => subscriptions.run().await,
            Load::Push(push) => push.run().await,
            Load::Upstream { listen } => upstream::serve(listen).await,
        }
    })
}

/// Prints one result.
fn tell(name: &str, value: f64) {
    println!("{name} {value:.3}");
}
