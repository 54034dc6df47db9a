//! The program under test: the built binary with flags and environment, as an operator starts it.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};

use super::push_service::{PushService, StoreFolder};
use super::{Cyrus, Redis, eventually, http, jmap};

/// A running proxy. Dropping it kills it; [`Proxy::stop`] ends it as an orchestrator does.
pub(crate) struct Proxy {
    command: Command,
    child: Child,
    log: PathBuf,
    /// host:port where clients connect.
    pub(crate) address: String,
    /// host:port of the metrics.
    admin: String,
    probes: String,
}

/// How a proxy is to be started.
pub(crate) struct Settings {
    command: Command,
}

impl Settings {
    /// Adds an environment setting, such as `PROBE__INTERVAL`.
    pub(crate) fn set(mut self, key: &str, value: &str) -> Self {
        self.command.env(format!("JMAP_PUSH_PROXY__{key}"), value);
        self
    }

    /// Listens to this Redis, and counts as ready only while it does.
    pub(crate) fn redis(mut self, redis: &Redis) -> Self {
        self.command.args(["--redis", &redis.url]);
        self.set("ADMIN__READY_REQUIRES", "push")
    }

    /// Hears what this Cyrus tells, and counts as ready only while it does.
    pub(crate) fn hearing(self, cyrus: &Cyrus) -> Self {
        self.set("NOTIFY__CYRUS__SOCKET", &cyrus.notify_socket())
            .set("ADMIN__READY_REQUIRES", "push")
    }

    /// Takes notifications by HTTP at this address, from who brings this token.
    pub(crate) fn told_by_http(self, address: &str, token: &str) -> Self {
        self.set("NOTIFY__HTTP__LISTEN", address).set("NOTIFY__HTTP__TOKEN", token)
    }

    /// May push to this service, and keeps who subscribed in this folder.
    pub(crate) fn pushing_to(self, service: &PushService, store: &StoreFolder) -> Self {
        let (_, port) = service.address.rsplit_once(':').expect("host:port");
        self.set("PUSH__STORE", &store.path().join("store").to_string_lossy())
            .set("PUSH__CA_FILE", &service.certificate())
            .set("PUSH__ALLOW_NETWORKS", "127.0.0.2/32")
            .set("PUSH__PORTS", port)
            .set("PUSH__VAPID_SUBJECT", "mailto:postmaster@mail.example")
            .set("PUSH__THROTTLE", "0")
            .set("PUSH__ATTEMPT_INTERVAL", "1s")
    }

    /// Speaks TLS, with the certificate in this folder.
    pub(crate) fn tls(self, home: &Path) -> Self {
        let file = |name: &str| home.join(name).to_string_lossy().into_owned();
        self.set("DOWNSTREAM__TLS__CERT_FILE", &file("cert.pem"))
            .set("DOWNSTREAM__TLS__KEY_FILE", &file("key.pem"))
    }

    /// Starts it; returns when it is ready.
    pub(crate) fn start(self) -> Proxy {
        let [address, admin, probes] = [(); 3].map(|()| free_address());
        let port = address.rsplit(':').next().unwrap_or_default();
        let log = std::env::temp_dir().join(format!("real-proxy-{}-{port}", std::process::id()));
        let file = File::create(&log).expect("a file for the log");
        let mut command = self.command;
        command
            .args(["--listen", &address, "--probes", &probes, "--admin", &admin])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(file);
        let child = command.spawn().expect("the built program");
        let mut proxy = Proxy { command, child, log, address, admin, probes };
        proxy.wait_until_ready();
        proxy
    }
}

impl Proxy {
    /// In front of this Cyrus. Without other sources of change: probes are an hour apart and no
    /// Redis is configured; events are not held back to be merged.
    pub(crate) fn before(cyrus: &Cyrus) -> Settings {
        let mut command = Command::new(env!("CARGO_BIN_EXE_jmap-push-proxy"));
        command.arg("--upstream").arg(format!("http://{}", cyrus.jmap));
        Settings { command }
            .set("PROBE__INTERVAL", "1h")
            .set("EVENT_SOURCE__THROTTLE", "0")
            .set("WEBSOCKET__THROTTLE", "0")
            .set("PUSH__STORE", "memory")
            .set("DRAIN__PRE_STOP", "0")
            .set("DRAIN__WINDOW", "1s")
            .set("LOG__LEVEL", "debug")
    }

    /// A user who goes through it.
    pub(crate) fn caller(&self, user: &str) -> jmap::Caller {
        jmap::Caller::new(&self.address, user)
    }

    /// Kills it, lets things happen, and starts it again where it was.
    pub(crate) fn killed(&mut self, meanwhile: impl FnOnce()) {
        self.child.kill().expect("a child");
        self.child.wait().expect("its end");
        meanwhile();
        self.start_again();
    }

    /// Ends it by SIGTERM, lets things happen, and starts it again where it was.
    pub(crate) fn restarted(&mut self, meanwhile: impl FnOnce()) {
        self.terminate();
        meanwhile();
        self.start_again();
    }

    fn start_again(&mut self) {
        self.child = self.command.spawn().expect("the built program");
        self.wait_until_ready();
    }

    /// The sum of a metric over its labels.
    pub(crate) fn metric(&self, name: &str) -> u64 {
        let page = http::send(&self.admin, "GET", "/metrics", &[], "").expect("metrics");
        let page = page.text().expect("text");
        let values = page.lines().filter_map(|line| {
            let (series, value) = line.rsplit_once(' ')?;
            (series.split('{').next() == Some(name)).then(|| value.parse::<u64>().ok())?
        });
        values.sum()
    }

    /// Waits until so many event streams are open.
    pub(crate) fn wait_for_streams(&self, count: u32) {
        let line = format!("jmap_push_streams {count}");
        eventually(&line, || {
            let response = http::send(&self.admin, "GET", "/metrics", &[], "");
            let metrics = response.and_then(http::Response::text).unwrap_or_default();
            let open = metrics.lines().find(|known| known.starts_with("jmap_push_streams "));
            if open == Some(&line) { Ok(()) } else { Err(open.map(str::to_owned)) }
        });
    }

    /// Waits until `/readyz` says yes.
    pub(crate) fn wait_until_ready(&mut self) {
        eventually("/readyz", || {
            if let Ok(Some(status)) = self.child.try_wait() {
                panic!("the proxy ended with {status}");
            }
            self.readiness().map(|_| ())
        });
    }

    /// Waits until `/readyz` says no.
    pub(crate) fn wait_until_not_ready(&self) {
        eventually("no from /readyz", || match self.readiness() {
            Ok(body) => Err(body),
            Err(body) => Ok(body),
        });
    }

    /// The body of `/readyz`: `Ok` when ready.
    fn readiness(&self) -> Result<String, String> {
        let response = http::send(&self.probes, "GET", "/readyz", &[], "");
        let response = response.map_err(|error| error.to_string())?;
        let ready = response.status == 200;
        let body = response.text().map_err(|error| error.to_string())?;
        if ready { Ok(body) } else { Err(body) }
    }

    /// Ends it by SIGTERM, as every test that went well does: streams and requests must not keep it
    /// beyond its drain window.
    pub(crate) fn stop(mut self) {
        self.terminate();
    }

    fn terminate(&mut self) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args(["-TERM", &pid]).status().expect("kill");
        assert!(sent.success(), "kill -TERM {pid}: {sent}");
        let status: ExitStatus = eventually("end after SIGTERM", || {
            self.child.try_wait().expect("a child").ok_or("still running")
        });
        assert_eq!(status.code(), Some(0), "exit status after SIGTERM");
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = fs::read_to_string(&self.log).unwrap_or_default();
            eprintln!("--- log of the proxy\n{log}---");
        }
        let _ = fs::remove_file(&self.log);
    }
}

/// A free port below the range from which the kernel takes ports of outgoing connections, so that
/// none of those can take it before the proxy does.
pub(crate) fn free_address() -> String {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = std::process::id() % 10_000;
    loop {
        let offset = (start + u32::from(NEXT.fetch_add(1, Ordering::Relaxed))) % 10_000;
        let address = format!("127.0.0.1:{}", 10_000 + offset);
        if TcpListener::bind(&address).is_ok() {
            return address;
        }
    }
}
