//! Folders of a test's own, in the system's place for what need not last.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

/// Makes a new folder. Whoever asks for it removes it.
pub(crate) fn scratch() -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = format!("jmap-push-test-{}-{number}", std::process::id());
    let dir = std::env::temp_dir().join(name);
    std::fs::create_dir_all(&dir).unwrap();
    dir
}
