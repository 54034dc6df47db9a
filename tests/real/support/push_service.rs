//! A push service and the device behind it (`tests/push-service`): what a subscriber who is not connected
//! gets to see, by libraries that others wrote.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;

use serde_json::{Value, json};

use super::proxy::free_address;
use super::{Instant, PATIENCE, parts};

/// A running service. Dropping it ends it.
pub(crate) struct PushService {
    child: Child,
    home: PathBuf,
    /// host:port.
    pub(crate) address: String,
    /// `keys` of a PushSubscription (RFC 8620 §7.2) for the device behind it.
    pub(crate) keys: Value,
    lines: Receiver<Value>,
    /// What came before it was asked for.
    came: VecDeque<Value>,
}

impl PushService {
    /// Starts one.
    pub(crate) fn start() -> Self {
        let (home, python) = parts::push();
        let address = free_address().replace("127.0.0.1", "127.0.0.2");
        let program = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/push-service/push_service.py");
        let mut command = Command::new(python);
        command.args([program, &address]).arg(&home);
        // It ends with its standard input: with this process, however that ends.
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("a push service");
        let output = BufReader::new(child.stdout.take().expect("its output"));
        // When full: the reading thread waits, and the service behind it.
        let (sender, lines) = mpsc::sync_channel(1024);
        thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                let line = serde_json::from_str(&line).expect("a line of JSON");
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        let keys = lines.recv_timeout(PATIENCE).expect("the device's keys");
        Self { child, home, address, keys, lines, came: VecDeque::new() }
    }

    /// The URL of this path, whose first segment says how messages are answered.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("https://{}{path}", self.address)
    }

    /// Its certificate.
    pub(crate) fn certificate(&self) -> String {
        self.home.join("cert.pem").to_string_lossy().into_owned()
    }

    /// The next message that comes to this path.
    ///
    /// # Panics
    ///
    /// When none comes, or one comes anywhere that is not as the RFCs have it.
    pub(crate) fn next(&mut self, path: &str) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(at) = self.came.iter().position(|message| message["path"] == path) {
                return self.came.remove(at).expect("it was there");
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let message = self.lines.recv_timeout(left);
            let message = message.unwrap_or_else(|_| panic!("nothing came to {path}"));
            self.note(message);
        }
    }

    /// What has come to this path and was not taken yet.
    pub(crate) fn rest(&mut self, path: &str) -> Vec<Value> {
        while let Ok(message) = self.lines.try_recv() {
            self.note(message);
        }
        let (rest, others) = self.came.drain(..).partition(|message| message["path"] == path);
        self.came = others;
        Vec::from_iter::<VecDeque<Value>>(rest)
    }

    fn note(&mut self, message: Value) {
        assert_eq!(message["fault"], json!(null), "{message}");
        self.came.push_back(message);
    }
}

impl Drop for PushService {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A folder for a store, gone when dropped.
pub(crate) struct StoreFolder(PathBuf);

impl StoreFolder {
    pub(crate) fn new() -> Self {
        let port = free_address().rsplit(':').next().map(str::to_owned).unwrap_or_default();
        let name = format!("real-store-{}-{port}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).expect("a new folder");
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for StoreFolder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
