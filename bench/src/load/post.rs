//! API calls: rate, latency and the processor time that each costs the server.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::time::Instant;

use hdrhistogram::Histogram;
use tokio::task::JoinSet;

use crate::http::{Target, exchange};
use crate::process::Server;
use crate::tell;

/// See [`crate::Load::Post`].
#[derive(Debug, clap::Args)]
pub(crate) struct Post {
    /// Where calls go.
    #[arg(long)]
    url: Target,
    /// Header lines of every request.
    #[arg(long = "header")]
    headers: Vec<String>,
    /// How many connections.
    #[arg(long, default_value_t = 32)]
    connections: usize,
    /// How many requests, all connections together.
    #[arg(long, default_value_t = 20_000)]
    requests: usize,
    #[command(flatten)]
    server: Server,
}

impl Post {
    pub(crate) async fn run(self) -> io::Result<()> {
        let request = self.url.request("POST", &self.headers, &body()).into_bytes();
        let request: Rc<[u8]> = request.into();
        // Everything that is made once is made now.
        self.calls(&request, self.requests / 10).await?;
        let (spent, began) = (self.server.processor()?, Instant::now());
        let delays = self.calls(&request, self.requests).await?;
        let (spent, took) = (self.server.processor()? - spent, began.elapsed());
        #[expect(clippy::cast_precision_loss, reason = "nobody waits for 2^53 requests")]
        let (requests, p50, p99) = (
            self.requests as f64,
            delays.value_at_quantile(0.5) as f64 / 1000.0,
            delays.value_at_quantile(0.99) as f64 / 1000.0,
        );
        tell("requests_per_second", requests / took.as_secs_f64());
        tell("processor_us_per_request", spent.as_secs_f64() * 1e6 / requests);
        tell("p50_us", p50);
        tell("p99_us", p99);
        Ok(())
    }

    /// Nanoseconds that each of `requests` calls took.
    async fn calls(&self, request: &Rc<[u8]>, requests: usize) -> io::Result<Histogram<u64>> {
        // To ten seconds.
        let delays = Histogram::new_with_max(10_000_000_000, 3).map_err(io::Error::other)?;
        let (left, delays) = (Rc::new(Cell::new(requests)), Rc::new(RefCell::new(delays)));
        let mut connections = JoinSet::new();
        for n in 0..self.connections {
            let mut stream = self.url.connect(n, None).await?;
            let (request, left, delays) =
                (Rc::clone(request), Rc::clone(&left), Rc::clone(&delays));
            connections.spawn_local(async move {
                let mut buffer = Vec::with_capacity(8 * 1024);
                while left.get() > 0 {
                    left.set(left.get() - 1);
                    let sent = Instant::now();
                    exchange(&mut stream, &request, &mut buffer).await?;
                    let delay = u64::try_from(sent.elapsed().as_nanos()).unwrap_or(u64::MAX);
                    delays.borrow_mut().saturating_record(delay);
                }
                io::Result::Ok(())
            });
        }
        while let Some(ended) = connections.join_next().await {
            ended.map_err(io::Error::other)??;
        }
        let delays = delays.borrow().clone();
        Ok(delays)
    }
}

/// An API request of 4 KB: a client that asks for e-mails by their ids.
fn body() -> String {
    let ids: Vec<_> = (0..240).map(|n| format!(r#""M{n:012x}""#)).collect();
    format!(
        r#"{{"using":["urn:ietf:params:jmap:core","urn:ietf:params:jmap:mail"],"methodCalls":[["Email/get",{{"accountId":"bench","ids":[{}]}},"0"]]}}"#,
        ids.join(",")
    )
}
