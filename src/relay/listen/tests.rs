//! Subscriptions from their first byte to their end, at no cost of time.

use std::pin::Pin;
use std::task::{Context, Poll};

use http_body::Frame;
use tokio::sync::mpsc;

use super::*;
use crate::http::body::BodyError;

const SECOND: Duration = Duration::from_secs(1);

/// A body that comes as it is told to; it ends when nobody can tell it anything more.
struct Told(mpsc::Receiver<Result<Bytes, BodyError>>);

impl Body for Told {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.0.poll_recv(cx).map(|next| next.map(|bytes| bytes.map(Frame::data)))
    }
}

/// What was heard of a stream that `upstream` writes, how it ended, and after how long.
async fn heard<F>(
    pulse: &Mutex<Pulse>,
    upstream: impl FnOnce(mpsc::Sender<Result<Bytes, BodyError>>) -> F,
) -> (Vec<Heard>, Farewell, Duration)
where
    F: Future<Output = ()>,
{
    let (sender, receiver) = mpsc::channel(8);
    let (began, mut heard) = (Instant::now(), Vec::new());
    let listening = async {
        let farewell = listen(Told(receiver), pulse, |it| heard.push(it)).await;
        (farewell, began.elapsed())
    };
    let ((farewell, took), ()) = tokio::join!(listening, upstream(sender));
    (heard, farewell, took)
}

async fn say(to: &mpsc::Sender<Result<Bytes, BodyError>>, text: &'static str) {
    // Nobody may listen any more.
    let _ = to.send(Ok(Bytes::from_static(text.as_bytes()))).await;
}

const CHANGE: &str = "event: state\ndata: {\"changed\":{\"a\":{\"Email\":\"1\"}}}\n\n";

#[tokio::test(start_paused = true)]
async fn what_is_told_in_pieces_is_heard_once() {
    let (heard, farewell, _) = heard(&Mutex::default(), |to| async move {
        for piece in ["event: st", "ate\nid: 9\nda", "ta: {\"changed\":{\"a\":{", "}}}\r", "\n\r\n"]
        {
            say(&to, piece).await;
        }
        say(&to, "event: state\ndata: oh\n\nevent: other\ndata: oh\n\ndata: oh\n\nretry: 5000\n")
            .await;
    })
    .await;
    assert!(matches!(&heard[..], [Heard::Changes(_), Heard::Unreadable]), "{heard:?}");
    let (wait, last_id) = (Some(5 * SECOND), Some("9".into()));
    assert_eq!(farewell, Farewell { ended: Ended::Closed, wait, last_id });
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_breaks_has_said_what_it_said() {
    let (heard, farewell, _) = heard(&Mutex::default(), |to| async move {
        say(&to, CHANGE).await;
        let _ = to.send(Err(BodyError::Silent(SECOND))).await;
        to.closed().await;
    })
    .await;
    assert!(matches!(&heard[..], [Heard::Changes(_)]), "{heard:?}");
    assert_eq!(farewell, Ended::Broken.into());
}

#[tokio::test(start_paused = true)]
async fn silence_ends_it_after_two_pings_have_not_come() {
    let pulse = Mutex::default();
    let (_, farewell, took) = heard(&pulse, |to| async move {
        say(&to, "event: ping\ndata: {\"interval\":30}\n\n").await;
        tokio::time::sleep(30 * SECOND).await;
        say(&to, "event: ping\ndata: {\"interval\":30}\n\n").await;
        to.closed().await;
    })
    .await;
    assert_eq!((farewell, took), (Ended::Silent.into(), 105 * SECOND));
}

#[tokio::test(start_paused = true)]
async fn stalwarts_pings_are_those_of_others() {
    let pulse = Mutex::default();
    let (_, farewell, took) = heard(&pulse, |to| async move {
        say(&to, "event: ping\ndata: {\"interval\": 30000}\n\n").await;
        to.closed().await;
    })
    .await;
    assert_eq!((farewell, took), (Ended::Silent.into(), 75 * SECOND));
}

#[tokio::test(start_paused = true)]
async fn comments_in_the_place_of_pings_are_signs_of_life() {
    let (_, farewell, took) = heard(&Mutex::default(), |to| async move {
        for _ in 0..10 {
            tokio::time::sleep(60 * SECOND).await;
            say(&to, ":\n").await;
        }
        to.closed().await;
    })
    .await;
    assert_eq!((farewell, took), (Ended::Silent.into(), 750 * SECOND), "two and a half of its own");
}

#[tokio::test(start_paused = true)]
async fn an_upstream_without_pings_is_left_in_peace_after_two_connections() {
    let pulse = Mutex::default();
    let mut held = Vec::new();
    for _ in 0..4 {
        let (_, farewell, took) = heard(&pulse, |to| async move {
            say(&to, CHANGE).await;
            to.closed().await;
        })
        .await;
        assert_eq!(farewell.ended, Ended::Silent);
        held.push(took.as_secs());
    }
    assert_eq!(held, [75, 75, 600, 600]);
}
