//! A data message as its frames arrive (RFC 6455 §5.4, §5.6). Frames and their headers are
//! [`decode`](super::decode)'s.

use super::decode::{Fault, Incoming, Limits};
use super::deflate::inflate;
use super::mask::unmask;

/// What the opcode of a message's first frame says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Text,
    Binary,
}

/// A data message that has not wholly arrived.
#[derive(Debug)]
pub(super) struct Message {
    kind: Kind,
    compressed: bool,
    payload: Payload,
    /// Bytes of `payload` that are whole characters; the rest may be the start of one.
    checked: usize,
    fragments: usize,
}

impl Message {
    /// A message whose first frame has not been admitted yet. `compressed`: that frame has RSV1.
    pub(super) fn new(kind: Kind, compressed: bool) -> Self {
        Self { kind, compressed, payload: Payload::default(), checked: 0, fragments: 0 }
    }

    /// Counts a frame whose header announces `length` bytes.
    ///
    /// # Errors
    /// The message is larger, or in more parts, than the limits allow (hostile.md B8, B9).
    pub(super) fn admit(&mut self, length: u64, limits: &Limits) -> Result<(), Fault> {
        self.fragments += 1;
        if self.fragments > limits.fragments {
            return Err(Fault::size("message in too many fragments"));
        }
        let left = limits.message.saturating_sub(self.payload.0.len());
        if usize::try_from(length).is_ok_and(|length| length <= left) {
            Ok(())
        } else {
            Err(Fault::TOO_BIG)
        }
    }

    /// Takes the next bytes of a frame. `to_come`: bytes that may still follow them.
    ///
    /// # Errors
    /// A text that is not UTF-8 fails as soon as that can be seen (RFC 6455 §8.1).
    pub(super) fn append(
        &mut self,
        masked: &[u8],
        mask: &mut [u8; 4],
        to_come: usize,
    ) -> Result<(), Fault> {
        self.payload.append(masked, mask, to_come);
        if self.kind == Kind::Binary || self.compressed {
            return Ok(());
        }
        match str::from_utf8(self.payload.0.get(self.checked..).unwrap_or_default()) {
            Ok(fresh) => self.checked += fresh.len(),
            Err(error) if error.error_len().is_none() => self.checked += error.valid_up_to(),
            Err(_) => return Err(Fault::NOT_UTF8),
        }
        Ok(())
    }

    /// What has wholly arrived.
    ///
    /// # Errors
    /// A text ends within a character; or compressed data is corrupt, inflates to more than the limit,
    /// or to a text that is not UTF-8.
    pub(super) fn finish(self, limits: &Limits) -> Result<Incoming, Fault> {
        let Self { kind, compressed, payload: Payload(mut payload), mut checked, .. } = self;
        if compressed {
            payload = inflate(&payload, limits.message)?;
            checked = if str::from_utf8(&payload).is_ok() { payload.len() } else { 0 };
        }
        match kind {
            Kind::Text if checked < payload.len() => Err(Fault::NOT_UTF8),
            Kind::Text => Ok(Incoming::Text(payload.into())),
            Kind::Binary => Ok(Incoming::Binary(payload.into())),
        }
    }

    /// Bytes on the heap.
    pub(super) fn held(&self) -> usize {
        self.payload.held()
    }

    /// Bytes that have arrived, as they were sent.
    pub(super) fn len(&self) -> usize {
        self.payload.0.len()
    }
}

/// Unmasked bytes. Takes memory as they arrive, never for what is only announced.
#[derive(Debug, Default)]
pub(super) struct Payload(pub(super) Vec<u8>);

impl Payload {
    /// Takes and unmasks the next bytes. Grows to twice what is there at most, and never to more than
    /// there can be: `to_come` bytes after these.
    pub(super) fn append(&mut self, masked: &[u8], mask: &mut [u8; 4], to_come: usize) {
        let start = self.0.len();
        if self.0.capacity() - start < masked.len() {
            let doubled = start.saturating_sub(masked.len()).min(to_come);
            self.0.reserve_exact(masked.len() + doubled);
        }
        self.0.extend_from_slice(masked);
        unmask(self.0.get_mut(start..).unwrap_or_default(), mask);
    }

    /// Bytes on the heap.
    pub(super) fn held(&self) -> usize {
        self.0.capacity()
    }
}
