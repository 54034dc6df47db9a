//! The real parts. `tests/real/parts` has the commands that start and kill them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::{jmap, mail};

/// The Cyrus that `tests/run` started.
pub(crate) struct Cyrus {
    home: PathBuf,
    /// host:port of its JMAP.
    pub(crate) jmap: String,
    lmtp: String,
    imap: String,
}

impl Cyrus {
    /// The one that tells Redis of changes.
    pub(crate) fn shared() -> Self {
        Self::at("cyrus")
    }

    /// The one that sends its events to a socket, for a proxy to bind.
    pub(crate) fn telling() -> Self {
        Self::at("telling-cyrus")
    }

    fn at(part: &str) -> Self {
        let home = shared(part);
        let [jmap, lmtp, imap] =
            ["CYRUS_JMAP", "CYRUS_LMTP", "CYRUS_IMAP"].map(|name| setting(&home, name));
        Self { home, jmap, lmtp, imap }
    }

    /// A user who goes straight to it.
    pub(crate) fn caller(&self, user: &str) -> jmap::Caller {
        jmap::Caller::new(&self.jmap, user)
    }

    /// Where it sends its events.
    pub(crate) fn notify_socket(&self) -> String {
        setting(&self.home, "CYRUS_NOTIFY")
    }

    /// The header of a service that may ask for everyone, as `probe.headers` has it.
    pub(crate) fn service_header(&self) -> String {
        format!("Authorization: Bearer {{jwt:{}}}", setting(&self.home, "CYRUS_JWT_KEY"))
    }

    /// What a user does by IMAP, command by command.
    pub(crate) fn by_imap(&self, user: &str, commands: &[&str]) {
        mail::by_imap(&self.imap, user, commands);
    }

    /// Delivers `count` mails by LMTP in one session, each to one of `users`, in turn.
    pub(crate) fn deliver_many(&self, users: &[String], count: usize) {
        mail::deliver_many(&self.lmtp, users.iter().cycle().take(count));
    }

    /// Delivers a mail by LMTP.
    pub(crate) fn deliver(&self, user: &str) {
        mail::deliver(&self.lmtp, user);
    }

    /// Shares `owner`'s INBOX with `whom` for reading, until the guard is dropped.
    pub(crate) fn share(&self, owner: &'static str, whom: &'static str) -> Share<'_> {
        mail::grant(&self.imap, owner, whom, "lrs");
        Share { imap: &self.imap, owner, whom }
    }

    /// Kills it, until the guard is dropped.
    pub(crate) fn kill(&self) -> Outage {
        Outage::begin("cyrus", &self.home)
    }

    /// Gives a user another password, until the guard is dropped.
    pub(crate) fn change_password(&self, user: &'static str, password: &str) -> Changed<'_> {
        run("cyrus", "password", &self.home, &[user, password]);
        Changed { cyrus: self, user }
    }
}

/// A user with another password than usual.
pub(crate) struct Changed<'a> {
    cyrus: &'a Cyrus,
    user: &'static str,
}

impl Drop for Changed<'_> {
    fn drop(&mut self) {
        run("cyrus", "password", &self.cyrus.home, &[self.user, &format!("pw-{}", self.user)]);
    }
}

/// An INBOX that someone else may read.
pub(crate) struct Share<'a> {
    imap: &'a str,
    owner: &'static str,
    whom: &'static str,
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        mail::grant(self.imap, self.owner, self.whom, "");
    }
}

/// The Redis that `tests/run` started; Cyrus tells it of every change.
pub(crate) struct Redis {
    home: PathBuf,
    /// What `--redis` takes.
    pub(crate) url: String,
}

impl Redis {
    pub(crate) fn shared() -> Self {
        let home = shared("redis");
        let url = format!("redis://127.0.0.1:{}", setting(&home, "REDIS_PORT"));
        Self { home, url }
    }

    /// Kills it, until the guard is dropped.
    pub(crate) fn kill(&self) -> Outage {
        Outage::begin("redis", &self.home)
    }
}

/// The client libraries that `tests/run` installed, and a certificate for 127.0.0.1.
pub(crate) struct Clients {
    /// Has `cert.pem` and `key.pem`.
    pub(crate) home: PathBuf,
    /// A Python that has jmapc, kosoku and websockets.
    pub(crate) python: PathBuf,
    /// The program that listens by the crate jmap-client.
    pub(crate) jmap_client: PathBuf,
}

impl Clients {
    pub(crate) fn shared() -> Self {
        let home = shared("clients");
        let [python, jmap_client] =
            ["JMAPC_PYTHON", "JMAP_CLIENT"].map(|name| setting(&home, name).into());
        Self { home, python, jmap_client }
    }
}

/// What a push service runs on: a folder with `cert.pem` and `key.pem` for 127.0.0.2, and a Python that has
/// `http_ece` and py-vapid.
pub(crate) fn push() -> (PathBuf, PathBuf) {
    let home = shared("push");
    let python = setting(&home, "PUSH_PYTHON").into();
    (home, python)
}

/// The time in which a part is dead. Dropping it brings the part back.
pub(crate) struct Outage {
    part: &'static str,
    home: PathBuf,
}

impl Outage {
    fn begin(part: &'static str, home: &Path) -> Self {
        run(part, "kill", home, &[]);
        Self { part, home: home.to_owned() }
    }

    /// Brings the part back; returns when it listens.
    pub(crate) fn end(self) {}
}

impl Drop for Outage {
    fn drop(&mut self) {
        run(self.part, "start", &self.home, &[]);
    }
}

/// An nginx of this test alone, in front of the proxy.
pub(crate) struct Nginx {
    home: PathBuf,
    /// host:port.
    pub(crate) address: String,
}

impl Nginx {
    pub(crate) fn before(backend: &str) -> Self {
        let home = std::env::temp_dir().join(format!("real-nginx-{}", std::process::id()));
        run("nginx", "up", &home, &[backend]);
        let address = format!("127.0.0.1:{}", setting(&home, "NGINX_PORT"));
        Self { home, address }
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        run("nginx", "down", &self.home, &[]);
    }
}

/// A Dovecot of this test alone, which tells of its mailboxes by HTTP.
pub(crate) struct Dovecot {
    home: PathBuf,
    lmtp: String,
    imap: String,
}

impl Dovecot {
    /// By the script of deploy/dovecot.
    pub(crate) fn telling_by_lua(address: &str, token: &str) -> Self {
        Self::telling("lua", address, token)
    }

    /// By the driver `ox`.
    pub(crate) fn telling_by_ox(address: &str, token: &str) -> Self {
        Self::telling("ox", address, token)
    }

    fn telling(driver: &str, address: &str, token: &str) -> Self {
        let name = format!("real-dovecot-{driver}-{}", std::process::id());
        let home = std::env::temp_dir().join(name);
        let programs = shared("dovecot").join("root").to_string_lossy().into_owned();
        run("dovecot", "up", &home, &[&programs, driver, address, token]);
        let [lmtp, imap] = ["DOVECOT_LMTP", "DOVECOT_IMAP"].map(|name| setting(&home, name));
        Self { home, lmtp, imap }
    }

    /// Delivers a mail by LMTP.
    pub(crate) fn deliver(&self, user: &str) {
        mail::deliver(&self.lmtp, user);
    }

    /// What a user does by IMAP, command by command.
    pub(crate) fn by_imap(&self, user: &str, commands: &[&str]) {
        mail::by_imap(&self.imap, user, commands);
    }
}

impl Drop for Dovecot {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = fs::read_to_string(self.home.join("log")).unwrap_or_default();
            eprintln!("--- log of Dovecot\n{log}---");
        }
        run("dovecot", "down", &self.home, &[]);
    }
}

/// The folder of a part that `tests/run` started.
fn shared(part: &str) -> PathBuf {
    let parts = std::env::var_os("REAL_PARTS");
    let parts = parts.expect("REAL_PARTS names no folder of real parts: start tests/run");
    Path::new(&parts).join(part)
}

/// A line `NAME=value` of a part's env file.
fn setting(home: &Path, name: &str) -> String {
    let file = home.join("env");
    let text = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{file:?}: {error}"));
    let mut values = text.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    values.next().unwrap_or_else(|| panic!("{file:?} has no {name}")).to_owned()
}

/// `tests/real/parts/PART COMMAND HOME …`.
fn run(part: &str, command: &str, home: &Path, arguments: &[&str]) {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/real/parts").join(part);
    let status = Command::new(&program)
        .arg(command)
        .arg(home)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status();
    let status = status.unwrap_or_else(|error| panic!("{program:?}: {error}"));
    // A panic while another unwinds would hide it.
    if !std::thread::panicking() {
        assert!(status.success(), "{part} {command}: {status}");
    }
}
