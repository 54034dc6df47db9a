//! `healthcheck`: asks the probes listener of a running proxy, for exec probes in images that hold
//! nothing but the proxy (architecture D13).
//!
//! Plain blocking sockets and one HTTP/1.1 request: no runtime, no client library, so that it costs
//! nothing to run it every few seconds.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::{Environment, Exit, Settings, tell};
use crate::clock::Moment;
use crate::config::Listen;

/// How long all of it may take. Kubernetes' default `timeoutSeconds` is one; Docker's is 30.
const PATIENCE: Duration = Duration::from_secs(5);

/// Bytes of an answer that are read; reasons are short.
const ANSWER_MAX: u64 = 64 * 1024;

/// `healthcheck`.
#[derive(Args)]
pub struct Healthcheck {
    /// What to ask for.
    #[arg(value_enum, default_value_t = Endpoint::Readyz)]
    endpoint: Endpoint,
    /// Where the probes are, if not where the settings say. With it the settings are not read, so
    /// that a mistake made in them later does not count as bad health.
    #[arg(long, value_name = "ADDRESS")]
    probes: Option<String>,
    /// The file with the settings, as for run.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Endpoint {
    Livez,
    Readyz,
    Startupz,
}

/// Why there is no good answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The probes listener cannot be reached.
    #[error("cannot connect to the probes")]
    Connect(#[source] io::Error),
    /// The connection broke or nothing came in time.
    #[error("no answer from the probes")]
    Answer(#[source] io::Error),
    /// What came is not HTTP.
    #[error("the answer is not HTTP")]
    NotHttp,
    /// The proxy says that it is not well.
    #[error("status {status}: {reasons}")]
    Unhealthy {
        /// HTTP status.
        status: u16,
        /// The answer's body: JSON with reasons.
        reasons: String,
    },
}

impl Healthcheck {
    /// Asks, and tells the reason on standard error when the answer is not good.
    #[must_use]
    pub fn run(self, environment: Environment) -> Exit {
        let probes = match &self.probes {
            Some(address) => Listen::parse(address),
            None => {
                match (Settings { config: self.config, ..Settings::default() }).load(environment) {
                    Ok(config) => config.admin.probes,
                    Err(exit) => return exit,
                }
            }
        };
        let Some(probes) = probes else {
            tell("error: the probes have no address: see admin.probes, or give --probes");
            return Exit::Config;
        };
        let path = match self.endpoint {
            Endpoint::Livez => "/livez",
            Endpoint::Readyz => "/readyz",
            Endpoint::Startupz => "/startupz",
        };
        match ask(&probes, path) {
            Ok(()) => Exit::Done,
            Err(error) => {
                let cause = std::error::Error::source(&error);
                tell(&cause.map_or(error.to_string(), |cause| format!("{error}: {cause}")));
                Exit::Unhealthy
            }
        }
    }
}

/// Asks for `path` at the listener; any status of the 2xx class is good.
///
/// # Errors
///
/// See [`Error`].
pub fn ask(probes: &Listen, path: &str) -> Result<(), Error> {
    let deadline = Moment::now().after(PATIENCE);
    match probes {
        Listen::Tcp(address) => {
            let stream = TcpStream::connect_timeout(&reachable(*address), PATIENCE);
            let stream = stream.map_err(Error::Connect)?;
            talk(stream, |stream, left| stream.set_read_timeout(Some(left)), path, deadline)
        }
        Listen::Unix(socket) => {
            let stream = UnixStream::connect(socket).map_err(Error::Connect)?;
            talk(stream, |stream, left| stream.set_read_timeout(Some(left)), path, deadline)
        }
    }
}

/// A listener on every address is asked on loopback.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

fn talk<S: Read + Write>(
    mut stream: S,
    set_patience: impl Fn(&S, Duration) -> io::Result<()>,
    path: &str,
    deadline: Moment,
) -> Result<(), Error> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).map_err(Error::Answer)?;
    let mut answer = Vec::new();
    let mut chunk = [0; 4096];
    while (answer.len() as u64) < ANSWER_MAX {
        let left = deadline.since(Moment::now());
        if left.is_zero() {
            return Err(Error::Answer(io::ErrorKind::TimedOut.into()));
        }
        set_patience(&stream, left).map_err(Error::Answer)?;
        match stream.read(&mut chunk).map_err(Error::Answer)? {
            0 => break,
            count => answer.extend_from_slice(chunk.get(..count).unwrap_or_default()),
        }
    }
    judge(&String::from_utf8_lossy(&answer))
}

fn judge(answer: &str) -> Result<(), Error> {
    let status = answer
        .strip_prefix("HTTP/1.")
        .and_then(|rest| rest.split(' ').nth(1))
        .and_then(|status| status.get(..3)?.parse::<u16>().ok())
        .ok_or(Error::NotHttp)?;
    if (200..300).contains(&status) {
        return Ok(());
    }
    let reasons = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body).trim().to_owned();
    Err(Error::Unhealthy { status, reasons })
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    /// A listener that gives `answer` to the first who asks, and what it was asked.
    fn answering(answer: &'static str) -> (Listen, thread::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = Listen::Tcp(listener.local_addr().expect("its address"));
        let asked = thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a connection");
            let mut request = [0; 1024];
            let count = stream.read(&mut request).expect("a request");
            stream.write_all(answer.as_bytes()).expect("an answer");
            String::from_utf8_lossy(&request[..count]).into_owned()
        });
        (address, asked)
    }

    #[test]
    fn a_2xx_is_healthy() {
        let (address, asked) = answering("HTTP/1.1 200 OK\r\n\r\n{}");
        ask(&address, "/livez").expect("healthy");
        assert!(
            asked.join().expect("asked").starts_with("GET /livez HTTP/1.1\r\nHost: localhost\r\n")
        );
    }

    #[test]
    fn the_reasons_of_a_503_are_told() {
        let (address, _asked) =
            answering("HTTP/1.1 503 Service Unavailable\r\n\r\n{\"upstream\":\"away\"}\n");
        let error = ask(&address, "/readyz").expect_err("unhealthy");
        assert_eq!(error.to_string(), "status 503: {\"upstream\":\"away\"}");
    }

    #[test]
    fn something_else_on_the_port_is_not_healthy() {
        let (address, _asked) = answering("-ERR unknown command\r\n");
        assert!(matches!(ask(&address, "/livez"), Err(Error::NotHttp)));
    }

    #[test]
    fn a_closed_port_is_not_healthy() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = Listen::Tcp(listener.local_addr().expect("its address"));
        drop(listener);
        assert!(matches!(ask(&address, "/livez"), Err(Error::Connect(_))));
    }

    #[test]
    fn a_listener_on_all_addresses_is_asked_on_loopback() {
        let address = |text: &str| text.parse::<SocketAddr>().expect("an address");
        assert_eq!(reachable(address("0.0.0.0:8890")), address("127.0.0.1:8890"));
        assert_eq!(reachable(address("[::]:8890")), address("[::1]:8890"));
        assert_eq!(reachable(address("192.0.2.1:8890")), address("192.0.2.1:8890"));
    }
}
