//! What a call of `PushSubscription`, which the proxy answers itself, adds to a request.

use std::io;
use std::time::Instant;

use hdrhistogram::Histogram;
use tokio::net::TcpStream;

use crate::http::{Target, exchange};
use crate::post::emails;
use crate::streams::count;
use crate::tell;

/// See [`crate::Load::Batch`].
#[derive(Debug, clap::Args)]
pub(crate) struct Batch {
    /// The API.
    #[arg(long)]
    url: Target,
    /// Header lines of every request.
    #[arg(long = "header")]
    headers: Vec<String>,
    /// The method calls that are upstream's: an element of `methodCalls`, or several.
    #[arg(long, default_value_t = emails())]
    calls: String,
    /// How many requests of each kind.
    #[arg(long, default_value_t = 20_000)]
    requests: usize,
}

/// A call of ours.
const OWN: &str = r#"["PushSubscription/get",{},"own"]"#;

impl Batch {
    /// The kinds take turns, on one connection.
    pub(crate) async fn run(self) -> io::Result<()> {
        let upstreams = &self.calls;
        let kinds = [
            ("plain", upstreams.clone()),
            ("with_own", format!("{upstreams},{OWN}")),
            ("own_between", format!("{upstreams},{OWN},{upstreams}")),
        ];
        let requests = kinds.map(|(name, calls)| {
            let using = r#"["urn:ietf:params:jmap:core","urn:ietf:params:jmap:mail"]"#;
            let body = format!(r#"{{"using":{using},"methodCalls":[{calls}]}}"#);
            (name, self.url.request("POST", &self.headers, &body))
        });
        let mut stream = self.url.connect(0, None).await?;
        self.turns(&mut stream, &requests, self.requests / 10).await?;
        let delays = self.turns(&mut stream, &requests, self.requests).await?;
        let medians: Vec<f64> =
            delays.iter().map(|delays| count(delays.value_at_quantile(0.5)) / 1000.0).collect();
        for ((name, _), median) in requests.iter().zip(&medians) {
            tell(&format!("{name}_p50_us"), *median);
        }
        tell("with_own_ratio", medians[1] / medians[0]);
        // Upstream is asked twice for it, one after the other.
        tell("own_between_ratio", medians[2] / (2.0 * medians[0]));
        Ok(())
    }

    /// Nanoseconds that each took, by kind.
    async fn turns(
        &self,
        stream: &mut TcpStream,
        requests: &[(&str, String)],
        turns: usize,
    ) -> io::Result<Vec<Histogram<u64>>> {
        let new = || Histogram::new_with_max(10_000_000_000, 3).map_err(io::Error::other);
        let mut delays = requests.iter().map(|_| new()).collect::<io::Result<Vec<_>>>()?;
        let mut buffer = Vec::new();
        for _ in 0..turns {
            for ((_, request), delays) in requests.iter().zip(&mut delays) {
                let sent = Instant::now();
                exchange(stream, request.as_bytes(), &mut buffer).await?;
                let delay = u64::try_from(sent.elapsed().as_nanos()).unwrap_or(u64::MAX);
                delays.saturating_record(delay);
            }
        }
        Ok(delays)
    }
}
