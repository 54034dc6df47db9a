//! As much HTTP/1.1 as a load generator needs (RFC 9112). No redirects.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::str::FromStr;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

/// Connections come from 127.0.0.2 to 127.0.0.9: each has 28,000 ports.
const FIRST_SOURCE: u8 = 2;
const SOURCES: usize = 8;

/// Most bytes of a response's head.
const MOST_HEAD: usize = 16 * 1024;

/// An `http://` URL on a numeric address.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    /// Path and query.
    pub(crate) path: String,
}

impl FromStr for Target {
    type Err = String;

    fn from_str(url: &str) -> Result<Self, String> {
        let uri: ::http::Uri = url.parse().map_err(|_| format!("not a URL: {url}"))?;
        let authority = uri.authority().map(|authority| authority.as_str()).unwrap_or_default();
        let address = authority.parse().map_err(|_| format!("no numeric address: {url}"))?;
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        Ok(Self { address, path: path.to_owned() })
    }
}

impl Target {
    /// A request's bytes; `headers` are whole lines.
    pub(crate) fn request(&self, method: &str, headers: &[String], body: &str) -> String {
        let Self { address, path } = self;
        let mut request = format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\n");
        for header in headers {
            request.push_str(header);
            request.push_str("\r\n");
        }
        if !body.is_empty() {
            request.push_str(&format!(
                "Content-Type: application/json\r\nContent-Length: {}\r\n",
                body.len()
            ));
        }
        request.push_str("\r\n");
        request.push_str(body);
        request
    }

    /// Connection number `n`; they take turns in where they come from. `receive_buffer` in bytes is
    /// the kernel's choice unless given.
    pub(crate) async fn connect(
        &self,
        n: usize,
        receive_buffer: Option<u32>,
    ) -> io::Result<TcpStream> {
        let socket = TcpSocket::new_v4()?;
        if let Some(bytes) = receive_buffer {
            socket.set_recv_buffer_size(bytes)?;
        }
        let source = FIRST_SOURCE + u8::try_from(n % SOURCES).unwrap_or(0);
        socket.bind(SocketAddr::from((Ipv4Addr::new(127, 0, 0, source), 0)))?;
        let stream = socket.connect(self.address).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

/// Sends `request` and reads the response to its end; `buffer` is kept from call to call.
pub(crate) async fn exchange(
    stream: &mut TcpStream,
    request: &[u8],
    buffer: &mut Vec<u8>,
) -> io::Result<()> {
    stream.write_all(request).await?;
    buffer.clear();
    let body = loop {
        if let Some(at) = find(buffer, b"\r\n\r\n") {
            break at + 4;
        }
        receive(stream, buffer).await?;
    };
    let head = String::from_utf8_lossy(buffer.get(..body).unwrap_or_default()).to_lowercase();
    if !head.starts_with("http/1.1 2") {
        return Err(io::Error::other(format!("refused: {head}")));
    }
    let end = field(&head, "content-length").and_then(|length| length.parse::<usize>().ok());
    let is_chunked = field(&head, "transfer-encoding").is_some();
    loop {
        let is_whole = match end {
            Some(length) => buffer.len() >= body + length,
            None => is_chunked && buffer.ends_with(b"\r\n0\r\n\r\n"),
        };
        if is_whole {
            return Ok(());
        }
        match receive(stream, buffer).await {
            // Or else the end of the connection is the end of the body.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof && !is_chunked => {
                return Ok(());
            }
            received => received?,
        }
    }
}

/// Reads more of a message.
///
/// # Errors
/// Also when the peer ended the connection.
pub(crate) async fn receive(
    stream: &mut (impl AsyncRead + Unpin),
    buffer: &mut Vec<u8>,
) -> io::Result<()> {
    match stream.read_buf(buffer).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}

/// Sends a request without a body and reads the head of its response, which must begin with `status`.
/// What came along after the head is given.
pub(crate) async fn ask(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    request: &str,
    status: &str,
) -> io::Result<(String, Vec<u8>)> {
    stream.write_all(request.as_bytes()).await?;
    stream.flush().await?;
    let mut head = Vec::with_capacity(1024);
    while head.len() < MOST_HEAD {
        receive(stream, &mut head).await?;
        let Some(end) = find(&head, b"\r\n\r\n") else { continue };
        let rest = head.split_off(end + 4);
        let head = String::from_utf8_lossy(&head).into_owned();
        if head.strip_prefix("HTTP/1.1 ").is_some_and(|head| head.starts_with(status)) {
            return Ok((head, rest));
        }
        return Err(io::Error::other(format!("refused: {head}")));
    }
    Err(io::Error::other("a head without end"))
}

/// A header of a lower-case head.
pub(crate) fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.split("\r\n").find_map(|line| Some(line.strip_prefix(name)?.strip_prefix(':')?.trim()))
}

/// Where `needle` begins.
pub(crate) fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}
