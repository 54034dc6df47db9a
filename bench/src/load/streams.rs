//! Streams of events: what each costs while it is idle, and what an event to all of them costs.
//!
//! A stream is a [`Subscriber`] here, an event stream or a WebSocket, with a task of its own.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::http::{Target, exchange};
use crate::process::{Memory, Server};
use crate::subscriber::{Subscriber, Way};
use crate::tell;

/// Connections that are being opened at a time.
const OPENING: usize = 64;

/// How long a server may settle before it is looked at.
pub(crate) const SETTLE: Duration = Duration::from_secs(3);

/// How long a server may take to give memory back (M6).
const RETURN: Duration = Duration::from_secs(30);

/// The longest wait for an event.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// The smallest receive buffer that the kernel grants (socket(7)).
pub(crate) const LEAST_BUFFER: u32 = 2304;

/// Whom streams are opened at, and what makes an event for all of them.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Subject {
    /// Where streams are opened.
    #[arg(long)]
    url: Target,
    /// Header lines of every request.
    #[arg(long = "header")]
    pub(crate) headers: Vec<String>,
    /// Where a request makes an event for all streams.
    #[arg(long)]
    pub(crate) trigger: Target,
    /// The body of that request; a POST.
    #[arg(long, default_value = "")]
    pub(crate) body: String,
    #[command(flatten)]
    way: Way,
    #[command(flatten)]
    server: Server,
}

/// See [`crate::Load::Fanout`].
#[derive(Debug, clap::Args)]
pub(crate) struct Fanout {
    #[command(flatten)]
    subject: Subject,
    /// How many streams.
    #[arg(long)]
    streams: usize,
    /// Distinct users that the streams belong to, each with a bearer token of a kilobyte; zero for
    /// one user, whom the headers name.
    #[arg(long, default_value_t = 0)]
    users: usize,
    /// How many events.
    #[arg(long, default_value_t = 10)]
    events: usize,
    /// For how many seconds to look at what idle streams cost in processor time.
    #[arg(long, default_value_t = 0)]
    watch: u64,
    /// Whether to close all streams at the end and look at the server 30 s later.
    #[arg(long)]
    disconnect: bool,
}

/// See [`crate::Load::Stall`].
#[derive(Debug, clap::Args)]
pub(crate) struct Stall {
    #[command(flatten)]
    subject: Subject,
    /// How many streams read.
    #[arg(long, default_value_t = 100)]
    readers: usize,
    /// How many never do.
    #[arg(long, default_value_t = 1)]
    stalled: usize,
    /// How many events, with and without those that stall.
    #[arg(long, default_value_t = 500)]
    events: usize,
}

/// What arrives at all streams.
#[derive(Debug)]
pub(crate) struct Tally {
    /// Counts the events that were made.
    round: Cell<u32>,
    pub(crate) made: Cell<Instant>,
    /// Streams that this round's event has reached.
    pub(crate) reached: Cell<usize>,
    /// Microseconds until the latest of these.
    last: Cell<u64>,
    /// Events on all streams in all rounds.
    deliveries: Cell<u64>,
    /// Streams that ended.
    lost: Cell<usize>,
    /// Microseconds from making an event to having it.
    delays: RefCell<Histogram<u64>>,
}

impl Fanout {
    pub(crate) async fn run(self) -> io::Result<()> {
        let Self { subject, streams, users, events, watch, disconnect } = self;
        let before = subject.server.memory()?;
        let tally = Rc::new(Tally::new()?);
        let opened = Instant::now();
        let mut open = subject.open(&tally, streams, users).await?;
        tell("connects_per_second", count(streams) / opened.elapsed().as_secs_f64());
        sleep(SETTLE).await;
        per_stream("idle", subject.server.memory()?, before, streams);
        if watch > 0 {
            let (spent, began) = (subject.server.processor()?, Instant::now());
            sleep(Duration::from_secs(watch)).await;
            let spent = subject.server.processor()? - spent;
            tell(
                "idle_percent_of_a_core",
                100.0 * spent.as_secs_f64() / began.elapsed().as_secs_f64(),
            );
        }
        if events > 0 {
            let spent = subject.server.processor()?;
            let already = tally.deliveries.get();
            let last = subject.events(&tally, streams, events).await?;
            let spent = subject.server.processor()? - spent;
            let deliveries = tally.deliveries.get() - already;
            tell("last_ms", last);
            tell("deliveries_per_event", count(deliveries) / count(events) / count(streams));
            tell("processor_us_per_delivery", micros(spent) / count(deliveries));
            sleep(SETTLE).await;
            per_stream("events", subject.server.memory()?, before, streams);
        }
        tell("lost", count(tally.lost.get()));
        if disconnect {
            open.shutdown().await;
            sleep(RETURN).await;
            let left = subject.server.memory()?;
            tell("before_private_bytes", count(before.private));
            tell("left_private_bytes", difference(left.private, before.private));
        }
        Ok(())
    }
}

impl Stall {
    pub(crate) async fn run(self) -> io::Result<()> {
        let Self { subject, readers, stalled, events } = self;
        let tally = Rc::new(Tally::new()?);
        let _readers = subject.open(&tally, readers, 0).await?;
        sleep(SETTLE).await;
        // Everything that is made once is made now.
        subject.events(&tally, readers, events).await?;
        tally.delays.borrow_mut().reset();
        let before = subject.server.memory()?;
        subject.events(&tally, readers, events).await?;
        let alone = tally.quantile(0.99);
        tally.delays.borrow_mut().reset();
        let mut asleep = Vec::new();
        for n in 0..stalled {
            asleep.push(subject.stream(n, None, Some(LEAST_BUFFER)).await?);
        }
        subject.events(&tally, readers, events).await?;
        let together = tally.quantile(0.99);
        let after = subject.server.memory()?;
        tell("p99_us_alone", alone);
        tell("p99_us_with_stalled", together);
        tell("p99_ratio", together / alone);
        per_stream("stalled", after, before, stalled);
        Ok(())
    }
}

impl Subject {
    /// Opens streams and lets them run; they end when the set is dropped.
    pub(crate) async fn open(
        &self,
        tally: &Rc<Tally>,
        streams: usize,
        users: usize,
    ) -> io::Result<JoinSet<()>> {
        let mut running = JoinSet::new();
        let mut opening: JoinSet<io::Result<Subscriber>> = JoinSet::new();
        for n in 0..streams + OPENING {
            if n >= OPENING
                && let Some(stream) = opening.join_next().await
            {
                let stream = stream.map_err(io::Error::other)??;
                running.spawn_local(Rc::clone(tally).read(stream));
            }
            if n < streams {
                let user = (users > 0).then(|| n % users);
                let subject = self.clone();
                opening.spawn_local(async move { subject.stream(n, user, None).await });
            }
        }
        while let Some(stream) = opening.join_next().await {
            let stream = stream.map_err(io::Error::other)??;
            running.spawn_local(Rc::clone(tally).read(stream));
        }
        Ok(running)
    }

    /// Opens one stream.
    pub(crate) async fn stream(
        &self,
        n: usize,
        user: Option<usize>,
        buffer: Option<u32>,
    ) -> io::Result<Subscriber> {
        let mut headers = self.headers.clone();
        if let Some(user) = user {
            headers.retain(|header| !header.starts_with("Authorization:"));
            headers.push(format!("Authorization: Bearer {user:01000}"));
        }
        self.way.open(&self.url, &headers, n, buffer).await
    }

    /// Makes events, each when the one before has reached all; the median of how many milliseconds
    /// the last stream waited.
    pub(crate) async fn events(
        &self,
        tally: &Tally,
        streams: usize,
        events: usize,
    ) -> io::Result<f64> {
        let request = self.trigger.request("POST", &self.headers, &self.body);
        let mut buffer = Vec::new();
        let mut lasts = Vec::new();
        for _ in 0..events {
            // Pushpin ends a connection after one event.
            let mut connection = self.trigger.connect(0, None).await?;
            tally.make();
            exchange(&mut connection, request.as_bytes(), &mut buffer).await?;
            while tally.reached.get() + tally.lost.get() < streams {
                if tally.made.get().elapsed() > PATIENCE {
                    let reached = tally.reached.get();
                    return Err(io::Error::other(format!("{reached} of {streams} reached")));
                }
                sleep(Duration::from_millis(1)).await;
            }
            lasts.push(tally.last.get());
            if streams > 1000 {
                // Second thoughts of the server's belong to this event.
                sleep(Duration::from_millis(300)).await;
            }
        }
        lasts.sort_unstable();
        Ok(lasts.get(lasts.len() / 2).map_or(0.0, |last| count(*last) / 1000.0))
    }
}

impl Tally {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            round: Cell::new(0),
            made: Cell::new(Instant::now()),
            reached: Cell::new(0),
            last: Cell::new(0),
            deliveries: Cell::new(0),
            lost: Cell::new(0),
            delays: RefCell::new(histogram()?),
        })
    }

    pub(crate) fn make(&self) {
        self.round.set(self.round.get() + 1);
        self.reached.set(0);
        self.made.set(Instant::now());
    }

    /// Counts what arrives on one stream.
    async fn read(self: Rc<Self>, mut stream: Subscriber) {
        let mut round = 0;
        while let Ok(events) = stream.events().await {
            self.arrived(events, &mut round);
        }
        self.lost.set(self.lost.get() + 1);
    }

    fn arrived(&self, events: u64, round: &mut u32) {
        self.deliveries.set(self.deliveries.get() + events);
        if *round != self.round.get() {
            *round = self.round.get();
            self.reached.set(self.reached.get() + 1);
            let delay = self.made.get().elapsed().as_micros();
            let delay = u64::try_from(delay).unwrap_or(u64::MAX);
            self.last.set(delay);
            self.delays.borrow_mut().saturating_record(delay);
        }
    }

    fn quantile(&self, quantile: f64) -> f64 {
        count(self.delays.borrow().value_at_quantile(quantile))
    }
}

/// Of microseconds, to a minute.
fn histogram() -> io::Result<Histogram<u64>> {
    Histogram::new_with_max(60_000_000, 3).map_err(io::Error::other)
}

pub(crate) fn per_stream(name: &str, now: Memory, before: Memory, streams: usize) {
    let private = difference(now.private, before.private);
    let resident = difference(now.resident, before.resident);
    tell(&format!("{name}_private_bytes_per_stream"), private / count(streams));
    tell(&format!("{name}_resident_bytes_per_stream"), resident / count(streams));
}

pub(crate) fn difference(now: u64, before: u64) -> f64 {
    count(now) - count(before)
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// A count as something to divide; none here comes near 2^53.
#[expect(clippy::cast_precision_loss, reason = "none comes near 2^53")]
pub(crate) fn count(count: impl TryInto<u64>) -> f64 {
    count.try_into().unwrap_or(0) as f64
}
