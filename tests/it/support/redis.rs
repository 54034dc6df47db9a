//! A real redis-server of a test's own: a free port on loopback, a directory that goes with it.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::scratch::scratch;
use super::wait::until;

/// Set to `1` where no redis-server can be installed: tests that need it say so and pass.
const OFFLINE: &str = "JMAP_PUSH_PROXY_TEST_OFFLINE";

/// A running server; stopped and removed when dropped.
#[derive(Debug)]
pub(crate) struct Redis {
    port: u16,
    dir: PathBuf,
    args: Vec<String>,
    child: Option<Child>,
}

impl Redis {
    /// Starts a server that keeps every write, so that it may be killed. `None`, with a line that
    /// says so, where tests run offline and there is no redis-server.
    pub(crate) async fn start(args: &[&str]) -> Option<Self> {
        if !present() {
            return None;
        }
        let port = free_port();
        let mut redis = Self {
            port,
            dir: scratch(),
            args: args.iter().map(ToString::to_string).collect(),
            child: None,
        };
        redis.restart().await;
        Some(redis)
    }

    /// Starts a replica of `master` and waits until it has what `master` has.
    pub(crate) async fn replica(master: &Self) -> Self {
        let args = ["--replicaof", &format!("127.0.0.1 {}", master.port)];
        let replica = Self::start(&args).await.unwrap();
        until("replication", || match replica.cli(&["INFO", "replication"]) {
            info if info.contains("master_link_status:up") => Ok(()),
            info => Err(info),
        })
        .await;
        replica
    }

    /// Starts a Sentinel that watches `master` as `main`, alone and quick to judge, and waits until
    /// it knows the replica.
    pub(crate) async fn sentinel(master: &Self, replica: &Self) -> Self {
        let mut sentinel = Self {
            port: free_port(),
            dir: scratch(),
            args: vec!["--sentinel".into()],
            child: None,
        };
        let config = format!(
            "sentinel monitor main 127.0.0.1 {} 1\n\
             sentinel down-after-milliseconds main 300\n\
             sentinel failover-timeout main 3000\n",
            master.port
        );
        std::fs::write(sentinel.dir.join("sentinel.conf"), config).unwrap();
        sentinel.args.insert(0, sentinel.dir.join("sentinel.conf").display().to_string());
        sentinel.restart().await;
        let port = replica.port.to_string();
        until("replica known to the Sentinel", || {
            match sentinel.cli(&["SENTINEL", "REPLICAS", "main"]) {
                list if list.contains(&port) => Ok(()),
                list => Err(list),
            }
        })
        .await;
        sentinel
    }

    /// Starts the server again on the same port and directory, and waits until it answers.
    pub(crate) async fn restart(&mut self) {
        self.launch();
        until("answer of redis-server", || match self.try_cli(&["PING"]).as_str() {
            "PONG" => Ok(()),
            other => Err(format!("{other} {}", self.log())),
        })
        .await;
    }

    /// Starts the server again and does not wait.
    pub(crate) fn launch(&mut self) {
        let mut command = Command::new("redis-server");
        // A configuration file comes first.
        let (file, args) = match self.args.split_first() {
            Some((first, rest)) if !first.starts_with("--") => (Some(first), rest),
            _ => (None, &*self.args),
        };
        command.args(file).args(["--port", &self.port.to_string(), "--bind", "127.0.0.1"]);
        command.arg("--dir").arg(&self.dir).args(["--logfile", "log", "--save", ""]);
        if file.is_none() {
            command.args(["--appendonly", "yes", "--appendfsync", "always"]);
            command.args(["--enable-debug-command", "yes", "--repl-diskless-sync-delay", "0"]);
        }
        command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        self.child = Some(command.spawn().unwrap());
    }

    /// Ends the server at once (SIGKILL).
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Makes the next start take a few milliseconds for each key it loads.
    pub(crate) fn slow_to_load(&mut self) {
        self.args.extend(["--key-load-delay", "5000"].map(ToString::to_string));
    }

    /// Removes what the server wrote down. Only while it is down.
    pub(crate) fn forget(&self) {
        std::fs::remove_dir_all(&self.dir).unwrap();
        std::fs::create_dir(&self.dir).unwrap();
    }

    /// Runs a command by redis-cli; fails on an error reply.
    pub(crate) fn cli(&self, args: &[&str]) -> String {
        let reply = self.try_cli(args);
        assert!(!is_error(&reply), "{args:?}: {reply}");
        reply
    }

    /// Runs a command by redis-cli and gives what it prints, errors too.
    pub(crate) fn try_cli(&self, args: &[&str]) -> String {
        let output = self.client(args).output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        String::from_utf8_lossy(&text).trim().to_owned()
    }

    /// redis-cli, to be run by the caller.
    pub(crate) fn client(&self, args: &[&str]) -> Command {
        let mut command = Command::new("redis-cli");
        command.args(["-h", "127.0.0.1", "-p", &self.port.to_string()]).args(args);
        command
    }

    /// Where it listens.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// `redis://127.0.0.1:…`.
    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// The server's directory.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// A port on loopback that nothing listens at.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn present() -> bool {
    let found = Command::new("redis-server").arg("--version").output().is_ok();
    if !found {
        assert!(
            std::env::var(OFFLINE).is_ok_and(|value| value == "1"),
            "redis-server is not in PATH: install it (Debian: apt-get install redis-server), \
             or set {OFFLINE}=1 to pass over the tests that need it"
        );
        println!("skipped: no redis-server, and {OFFLINE}=1");
    }
    found
}

fn is_error(reply: &str) -> bool {
    ["ERR", "WRONGPASS", "NOAUTH", "NOPERM", "OOM", "READONLY", "Could not connect", "(error)"]
        .iter()
        .any(|start| reply.starts_with(start))
}
