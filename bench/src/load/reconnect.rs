//! Streams that come back, all at once, with the id of the last event they had (C3).

use std::io;
use std::rc::Rc;
use std::time::Duration;

use tokio::time::sleep;

use crate::http::{Target, exchange};
use crate::streams::{PATIENCE, SETTLE, Subject, Tally, count};
use crate::tell;

/// See [`crate::Load::Reconnect`].
#[derive(Debug, clap::Args)]
pub(crate) struct Reconnect {
    #[command(flatten)]
    subject: Subject,
    /// How many streams.
    #[arg(long)]
    streams: usize,
    /// Says how many requests upstream has answered.
    #[arg(long)]
    count: Target,
}

impl Reconnect {
    /// One event is missed by all of them.
    pub(crate) async fn run(self) -> io::Result<()> {
        let Self { mut subject, streams, count: upstream } = self;
        let tally = Rc::new(Tally::new()?);
        let mut open = subject.open(&tally, streams, 0).await?;
        let mut witness = subject.stream(0, None, None).await?;
        subject.events(&tally, streams, 1).await?;
        let mut told = Vec::new();
        let id = loop {
            witness.receive(&mut told).await?;
            let text = String::from_utf8_lossy(&told);
            let id = text.split_once("\nid:").and_then(|(_, rest)| rest.split_once('\n'));
            if let Some((id, _)) = id {
                break id.trim().to_owned();
            }
        };
        drop(witness);
        open.shutdown().await;
        sleep(SETTLE).await;
        let mut buffer = Vec::new();
        let request = subject.trigger.request("POST", &subject.headers, &subject.body);
        let mut connection = subject.trigger.connect(0, None).await?;
        exchange(&mut connection, request.as_bytes(), &mut buffer).await?;
        let asked = requests(&upstream).await?;
        let tally = Rc::new(Tally::new()?);
        subject.headers.push(format!("Last-Event-ID: {id}"));
        tally.make();
        let _open = subject.open(&tally, streams, 0).await?;
        tell("connected_ms", tally.made.get().elapsed().as_secs_f64() * 1000.0);
        while tally.reached.get() < streams {
            if tally.made.get().elapsed() > PATIENCE {
                let reached = tally.reached.get();
                return Err(io::Error::other(format!("{reached} of {streams} reached")));
            }
            sleep(Duration::from_millis(1)).await;
        }
        tell("all_told_ms", tally.made.get().elapsed().as_secs_f64() * 1000.0);
        tell("upstream_requests", count(requests(&upstream).await? - asked));
        Ok(())
    }
}

/// How many requests upstream has answered.
async fn requests(count: &Target) -> io::Result<u64> {
    let mut buffer = Vec::new();
    let mut connection = count.connect(0, None).await?;
    exchange(&mut connection, count.request("GET", &[], "").as_bytes(), &mut buffer).await?;
    let text = String::from_utf8_lossy(&buffer);
    let body = text.rsplit("\r\n").next().unwrap_or_default();
    body.parse().map_err(io::Error::other)
}
