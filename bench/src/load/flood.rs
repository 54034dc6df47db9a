//! A client that sends requests on a WebSocket and never reads an answer: what others notice of it.

use std::cell::Cell;
use std::io;
use std::rc::Rc;

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::task::spawn_local;

use crate::http::Target;
use crate::post::{Post, message};
use crate::streams::{LEAST_BUFFER, count, difference};
use crate::tell;
use crate::websocket::handshake;

/// See [`crate::Load::Flood`].
#[derive(Debug, clap::Args)]
pub(crate) struct Flood {
    /// The others, who do not flood.
    #[command(flatten)]
    others: Post,
    /// Where the flood goes.
    #[arg(long)]
    flood: Target,
    /// Header lines of the flooding client's handshake.
    #[arg(long = "flood-header")]
    flood_headers: Vec<String>,
    /// How often the others call alone, and beside a flood.
    #[arg(long, default_value_t = 5)]
    turns: u32,
}

impl Flood {
    pub(crate) async fn run(self) -> io::Result<()> {
        let Self { others, turns, .. } = &self;
        // Everything that is made once is made now; the histograms take it up, too.
        let mut alone = others.calls(others.requests).await?;
        let mut beside = alone.clone();
        alone.reset();
        beside.reset();
        let before = others.server.memory()?;
        let (sent, mut most, mut refused) = (Rc::new(Cell::new(0)), before.private, 0);
        for _ in 0..*turns {
            alone += others.calls(others.requests).await?;
            let flood = spawn_local(flood(self.flooding().await?, Rc::clone(&sent)));
            beside += others.calls(others.requests).await?;
            most = most.max(others.server.memory()?.private);
            refused += u32::from(flood.is_finished());
            flood.abort();
        }
        let (alone, beside) = (alone.value_at_quantile(0.99), beside.value_at_quantile(0.99));
        tell("p99_us_alone", count(alone) / 1000.0);
        tell("p99_us_beside_flood", count(beside) / 1000.0);
        tell("p99_ratio", count(beside) / count(alone));
        tell("requests_per_flood", count(sent.get()) / f64::from(*turns));
        tell("floods_closed", f64::from(refused));
        tell("flood_private_bytes", difference(most, before.private));
        Ok(())
    }

    /// Opens the connection of a client that is going to flood it.
    async fn flooding(&self) -> io::Result<TcpStream> {
        let mut stream = self.flood.connect(0, Some(LEAST_BUFFER)).await?;
        handshake(&mut stream, &self.flood, &self.flood_headers, false).await?;
        Ok(stream)
    }
}

/// Floods until the connection is closed, and waits where nobody takes any more.
async fn flood(mut stream: TcpStream, sent: Rc<Cell<u64>>) -> io::Result<()> {
    let message = message()?;
    loop {
        stream.write_all(&message).await?;
        sent.set(sent.get() + 1);
    }
}
