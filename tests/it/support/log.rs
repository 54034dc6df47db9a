//! What the code under test logs on this thread.

use std::io;
use std::sync::{Arc, Mutex};

use tracing::subscriber::DefaultGuard;

/// See the module; until it is dropped.
pub(crate) struct Log {
    octets: Octets,
    _guard: DefaultGuard,
}

#[derive(Clone, Default)]
struct Octets(Arc<Mutex<Vec<u8>>>);

impl io::Write for Octets {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(octets)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    pub(crate) fn new() -> Self {
        let octets = Octets::default();
        let writer = octets.clone();
        let lines = tracing_subscriber::fmt().with_ansi(false);
        let lines = lines.with_writer(move || writer.clone()).finish();
        Self { octets, _guard: tracing::subscriber::set_default(lines) }
    }

    /// So far.
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.octets.0.lock().unwrap().clone()).unwrap()
    }
}
