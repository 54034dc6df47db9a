//! Changes in many accounts at once, each told to the one stream of its own user (F3).

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::http::{Target, exchange};
use crate::process::Server;
use crate::subscriber::{Subscriber, Way};
use crate::tell;
use crate::upstream::account_of;

/// Connections that changes are made on.
const CHANGING: usize = 32;

/// Streams that are being opened at a time, at least.
const OPENING: usize = 64;

/// How long a server may settle before it is looked at, and the last changes take to arrive.
const SETTLE: Duration = Duration::from_secs(3);

/// See [`crate::Load::Own`]. In URLs and the body, `USER` stands for the number of a user and
/// `ACCOUNT` for their account.
#[derive(Debug, clap::Args)]
pub(crate) struct Own {
    /// Where streams are opened.
    #[arg(long)]
    url: String,
    /// Where a request makes a change.
    #[arg(long)]
    trigger: String,
    /// The body of that request; a POST.
    #[arg(long)]
    body: String,
    /// How many streams, each with a user of its own.
    #[arg(long)]
    streams: usize,
    /// Changes a second.
    #[arg(long, default_value_t = 5000)]
    rate: u32,
    /// For how long.
    #[arg(long, default_value_t = 10)]
    seconds: u32,
    #[command(flatten)]
    way: Way,
    #[command(flatten)]
    server: Server,
}

/// What users wait for.
struct Waiting {
    /// When the change was made that a user's stream has not told yet.
    since: RefCell<Vec<Option<Instant>>>,
    delays: RefCell<Histogram<u64>>,
    made: Cell<u64>,
    lost: Cell<u64>,
}

impl Own {
    pub(crate) async fn run(self) -> io::Result<()> {
        let delays = Histogram::new_with_max(60_000_000, 3).map_err(io::Error::other)?;
        let waiting = Rc::new(Waiting {
            since: RefCell::new(vec![None; self.streams]),
            delays: RefCell::new(delays),
            made: Cell::new(0),
            lost: Cell::new(0),
        });
        let this = Rc::new(self);
        let mut streams = JoinSet::new();
        for first in (0..this.streams).step_by(OPENING) {
            let mut opening = JoinSet::new();
            for n in first..(first + OPENING).min(this.streams) {
                let this = Rc::clone(&this);
                opening.spawn_local(async move { this.open(n).await.map(|stream| (n, stream)) });
            }
            while let Some(opened) = opening.join_next().await {
                let (n, stream) = opened.map_err(io::Error::other)??;
                streams.spawn_local(Rc::clone(&waiting).read(n, stream));
            }
        }
        // Probes of ten thousand accounts go out at the budget's pace.
        sleep(SETTLE).await;
        let spent = this.server.processor()?;
        let mut changing = JoinSet::new();
        for connection in 0..CHANGING {
            changing.spawn_local(Rc::clone(&this).change(connection, Rc::clone(&waiting)));
        }
        while let Some(ended) = changing.join_next().await {
            ended.map_err(io::Error::other)??;
        }
        sleep(SETTLE).await;
        let spent = this.server.processor()? - spent;
        let delays = waiting.delays.borrow();
        let open = waiting.since.borrow().iter().flatten().count();
        #[expect(clippy::cast_precision_loss, reason = "nobody waits for 2^53 changes")]
        {
            let made = waiting.made.get() as f64;
            tell("changes_per_second", made / f64::from(this.seconds));
            tell("processor_us_per_change", spent.as_secs_f64() * 1e6 / made);
            tell("p50_ms", delays.value_at_quantile(0.5) as f64 / 1000.0);
            tell("p99_ms", delays.value_at_quantile(0.99) as f64 / 1000.0);
            tell("untold", open as f64);
            tell("lost", waiting.lost.get() as f64);
        }
        Ok(())
    }

    fn of(&self, template: &str, n: usize) -> String {
        template.replace("USER", &n.to_string()).replace("ACCOUNT", &account_of(&credential(n)))
    }

    fn target(&self, template: &str, n: usize) -> io::Result<Target> {
        self.of(template, n).parse().map_err(io::Error::other)
    }

    async fn open(&self, n: usize) -> io::Result<Subscriber> {
        let headers = [format!("Authorization: {}", credential(n))];
        self.way.open(&self.target(&self.url, n)?, &headers, n, None).await
    }

    /// Makes changes on one connection at its share of the rate.
    async fn change(self: Rc<Self>, connection: usize, waiting: Rc<Waiting>) -> io::Result<()> {
        let mut stream = self.target(&self.trigger, connection)?.connect(connection, None).await?;
        let share = Duration::from_secs(1) * u32::try_from(CHANGING).unwrap_or(1) / self.rate;
        let mut ticks = interval(share);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let end = Instant::now() + Duration::from_secs(self.seconds.into());
        let (mut n, mut buffer) = (connection, Vec::new());
        while Instant::now() < end {
            ticks.tick().await;
            n = (n + CHANGING) % self.streams;
            let headers = [format!("Authorization: {}", credential(n))];
            let body = self.of(&self.body, n);
            let request = self.target(&self.trigger, n)?.request("POST", &headers, &body);
            waiting.since.borrow_mut()[n].get_or_insert_with(Instant::now);
            waiting.made.set(waiting.made.get() + 1);
            exchange(&mut stream, request.as_bytes(), &mut buffer).await?;
        }
        Ok(())
    }
}

impl Waiting {
    /// An event that comes on a stream while its user waits is what they wait for.
    async fn read(self: Rc<Self>, n: usize, mut stream: Subscriber) {
        while stream.events().await.is_ok() {
            if let Some(since) = self.since.borrow_mut()[n].take() {
                let delay = u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX);
                self.delays.borrow_mut().saturating_record(delay);
            }
        }
        self.lost.set(self.lost.get() + 1);
    }
}

fn credential(n: usize) -> String {
    format!("Bearer {n}")
}
