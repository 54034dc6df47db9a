//! Client libraries at work: programs of `tests/clients` that listen by one, and print what it told
//! them in the form of an event source, or of lines of JSON.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use serde_json::Value;

use super::event_source::EventSource;
use super::parts::Clients;

/// A running program. Dropping it ends it.
pub(crate) struct Listener(Child);

impl Listener {
    /// The crate jmap-client, by `event-source` or `websocket`.
    pub(crate) fn jmap_client(how: &str, clients: &Clients, address: &str, user: &str) -> Self {
        let mut command = Command::new(&clients.jmap_client);
        command.args([how, &format!("http://{address}"), user, &password(user)]);
        Self::spawn(command)
    }

    /// The Python package websockets, which compresses.
    pub(crate) fn websockets(clients: &Clients, address: &str, user: &str) -> Self {
        let mut command = Command::new(&clients.python);
        command.arg(program("websockets_listener.py"));
        command.args([&format!("http://{address}"), user, &password(user)]);
        // Instead of several seconds.
        for delay in ["INITIAL", "MIN"] {
            command.env(format!("WEBSOCKETS_BACKOFF_{delay}_DELAY"), "0.1");
        }
        Self::spawn(command)
    }

    /// The Python package jmapc, which speaks https only.
    pub(crate) fn jmapc(clients: &Clients, address: &str, user: &str) -> Self {
        let program = program("jmapc_listener.py");
        let words = [program.as_os_str(), address.as_ref(), user.as_ref()];
        let mut command = Command::new(&clients.python);
        command.args(words).arg(password(user));
        command.env("REQUESTS_CA_BUNDLE", clients.home.join("cert.pem"));
        Self::spawn(command)
    }

    /// Chromium, listening in one of the ways of `browser_listener.py`, in a page of the proxy's origin or of one that this
    /// program serves at `page` (host:port).
    pub(crate) fn browser(how: &str, address: &str, user: &str, page: Option<&str>) -> Self {
        let mut command = Command::new("python3");
        command.arg(program("browser_listener.py"));
        command.args([how, &format!("http://{address}"), user, &password(user)]).args(page);
        Self::spawn(command)
    }

    /// What the library is told.
    pub(crate) fn events(&mut self) -> EventSource {
        EventSource::reading(self.0.stdout.take().expect("the program's output, taken once"))
    }

    /// What goes wrong is told on standard error, which a failing test shows.
    fn spawn(mut command: Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        Self(command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}")))
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        end(&mut self.0);
    }
}

/// A web app in a page of Chromium that this program serves, told by Web Push. Dropping it ends it.
pub(crate) struct WebApp {
    child: Child,
    told: BufReader<ChildStdout>,
}

impl WebApp {
    /// Subscribes through the proxy at `address` with `url`, from a page at `page` (host:port).
    pub(crate) fn subscribe(address: &str, user: &str, page: &str, url: &str) -> Self {
        let mut command = Command::new("python3");
        command.arg(program("web_push_page.py"));
        command.args([&format!("http://{address}"), user, &password(user), page, url]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("python3");
        let told = BufReader::new(child.stdout.take().expect("its output"));
        Self { child, told }
    }

    /// Gives it what came to its push service; tells what it read.
    pub(crate) fn read(&mut self, sealed: &str) -> Value {
        let input = self.child.stdin.as_mut().expect("its input");
        writeln!(input, "{sealed}").expect("it reads");
        self.told()
    }

    /// The next that it tells.
    pub(crate) fn told(&mut self) -> Value {
        let mut line = String::new();
        self.told.read_line(&mut line).expect("its output");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
    }
}

impl Drop for WebApp {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

/// By SIGTERM, after which it tidies up: a browser has children and a profile.
fn end(child: &mut Child) {
    // Each fails only when it has ended already.
    let _ = Command::new("kill").arg(child.id().to_string()).status();
    let _ = child.wait();
}

pub(crate) fn program(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/python").join(name)
}

fn password(user: &str) -> String {
    format!("pw-{user}")
}
