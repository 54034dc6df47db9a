//! What is under way on one connection: made when something comes, gone when it is done. Who does it is
//! [`super::connection`].

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;
use futures_util::stream::FuturesUnordered;

use super::connection::Answer;
use crate::api::memory::Place;
use crate::clock::Moment;

/// Requests and responses of one connection that are not over. When full: the client is not read from,
/// until it takes its responses (hostile.md S5).
const MOST_UNDER_WAY: usize = 32;

/// Bytes of responses that wait to be sent. When full: the same.
const MOST_WAITING: usize = 1 << 20;

/// Pings that wait for their answers.
const MOST_PONGS: usize = 32;

/// What is under way on a connection.
#[derive(Default)]
pub(super) struct Work {
    /// In the connection's own task: none changes threads for its answer, and all end with it.
    pub(super) calls: FuturesUnordered<Pin<Box<dyn Future<Output = Answer> + Send>>>,
    /// What is to be sent. When full: [`MOST_UNDER_WAY`].
    pub(super) frames: VecDeque<(Bytes, Option<Place>)>,
    /// What the frame that is being written occupies.
    pub(super) writing: Option<Place>,
    /// The last frame, once all others are out.
    pub(super) close: Option<Bytes>,
    /// What was read behind the last message that there was room for. When full: one read, since the
    /// client is not read from.
    pub(super) unheard: Vec<u8>,
    /// Answers to pings. When full ([`MOST_PONGS`]): the oldest ping goes unanswered, as RFC 6455
    /// §5.5.3 allows.
    pub(super) pongs: VecDeque<Bytes>,
    /// A message in the making: what it occupies, and when it began.
    pub(super) partial: Option<(Place, Moment)>,
}

impl Work {
    pub(super) fn under_way(&self) -> usize {
        self.calls.len() + self.frames.len()
    }

    /// Whether nothing more is to be begun.
    pub(super) fn is_full(&self) -> bool {
        let waiting = || self.frames.iter().map(|(frame, _)| frame.len()).sum::<usize>();
        self.under_way() >= MOST_UNDER_WAY || waiting() > MOST_WAITING
    }

    pub(super) fn next(&mut self) -> Option<Bytes> {
        let (frame, place) = self.frames.pop_front()?;
        self.writing = place;
        Some(frame)
    }

    pub(super) fn pong(&mut self, frame: Bytes) {
        if self.pongs.len() == MOST_PONGS {
            self.pongs.pop_front();
        }
        self.pongs.push_back(frame);
    }

    pub(super) fn is_over(&self) -> bool {
        self.under_way() == 0
            && self.writing.is_none()
            && self.close.is_none()
            && self.unheard.is_empty()
            && self.pongs.is_empty()
            && self.partial.is_none()
    }
}
