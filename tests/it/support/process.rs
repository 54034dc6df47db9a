//! The program as a process of its own, as an operator starts it: settings by flag and environment,
//! signals, exit status, side doors.

use std::net::SocketAddr;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use super::http::exchange;
use super::wait::{until, within};

/// A running proxy; killed when dropped.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    /// Where clients connect.
    pub(crate) address: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) probes: SocketAddr,
    /// Its log so far, by line.
    pub(crate) log: Arc<Mutex<Vec<String>>>,
}

/// The command with these words, and nothing of the environment.
pub(crate) fn command(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_jmap-push-proxy"));
    command.args(words).env_clear().stdin(Stdio::null()).kill_on_drop(true);
    command
}

impl Process {
    /// Starts it before this upstream, on free ports, with these settings (`DRAIN__WINDOW`, …), and
    /// waits until it serves.
    pub(crate) async fn start(upstream: SocketAddr, settings: &[(&str, &str)]) -> Self {
        let upstream = format!("http://{upstream}");
        let free = "127.0.0.1:0";
        let words = ["--upstream", &upstream, "--listen", free, "--admin", free, "--probes", free];
        let mut command = command(&words);
        for (key, value) in settings {
            command.env(format!("JMAP_PUSH_PROXY__{key}"), value);
        }
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let (mut earlier, mut started) = (Vec::new(), Value::Null);
        while started["message"] != "started" {
            let line = within("start", lines.next_line()).await.unwrap();
            let line = line.unwrap_or_else(|| panic!("no start: {earlier:#?}"));
            started = serde_json::from_str(&line).unwrap_or_default();
            earlier.push(line);
        }
        let address = |name: &str| {
            let url = started[name].as_str().unwrap_or_else(|| panic!("{name} in {started}"));
            url.trim_start_matches("http://").parse().unwrap()
        };
        let log = Arc::new(Mutex::new(earlier));
        let written = Arc::clone(&log);
        #[expect(clippy::disallowed_methods, reason = "ends with the process")]
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                written.lock().unwrap().push(line);
            }
        });
        let [address, admin, probes] = ["listen", "admin", "probes"].map(address);
        Self { child, address, admin, probes, log }
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = self.child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        kill_process(pid.expect("a process that runs"), signal).unwrap();
    }

    /// Waits for its end.
    pub(crate) async fn ended(mut self) -> ExitStatus {
        within("end of the process", self.child.wait()).await.unwrap()
    }

    /// What a side door says.
    pub(crate) async fn ask(&self, door: SocketAddr, path: &str) -> Response<Bytes> {
        let request = Request::builder().uri(path).body(Full::<Bytes>::default()).unwrap();
        exchange(door, request).await.unwrap()
    }

    /// Status and body of `/readyz`.
    pub(crate) async fn readiness(&self) -> (u16, Value) {
        let response = self.ask(self.probes, "/readyz").await;
        (response.status().as_u16(), serde_json::from_slice(response.body()).unwrap())
    }

    /// Waits until `/readyz` answers this status; gives its body.
    pub(crate) async fn ready(&self, status: u16) -> Value {
        let mut last = self.readiness().await;
        within(&format!("{status} of /readyz"), async {
            while last.0 != status {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
                last = self.readiness().await;
            }
        })
        .await;
        last.1
    }

    /// Waits until nobody is let in any more.
    pub(crate) async fn closed(&self) {
        until("refused connection", || match std::net::TcpStream::connect(self.address) {
            Ok(_) => Err(()),
            Err(_) => Ok(()),
        })
        .await;
    }
}
