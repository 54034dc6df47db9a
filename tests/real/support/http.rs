//! The least HTTP/1.1 client that can do these tests: one request a connection, the body read as it
//! comes. No redirects, no TLS.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;

use super::PATIENCE;

/// A response whose body is still to come.
pub(crate) struct Response {
    /// The status code.
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    /// The body, freed of its framing.
    pub(crate) body: Body,
}

impl Response {
    /// The first header of this name, in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The whole body.
    pub(crate) fn text(mut self) -> io::Result<String> {
        let mut text = String::new();
        self.body.read_to_string(&mut text)?;
        Ok(text)
    }
}

/// A body; reads as its content.
pub(crate) struct Body {
    connection: BufReader<TcpStream>,
    framing: Framing,
}

enum Framing {
    /// Bytes left, of the whole body or of one chunk.
    Length(u64),
    Chunks(u64),
    ToTheEnd,
}

impl Body {
    /// A second handle to the connection, by which another thread can end it.
    pub(crate) fn connection(&self) -> io::Result<TcpStream> {
        self.connection.get_ref().try_clone()
    }

    /// The size in front of the next chunk; its predecessor's line end is skipped.
    fn next_chunk(&mut self) -> io::Result<u64> {
        let mut line = read_line(&mut self.connection)?;
        if line.is_empty() {
            line = read_line(&mut self.connection)?;
        }
        u64::from_str_radix(line.split(';').next().unwrap_or_default().trim(), 16)
            .map_err(|_| io::Error::other(format!("chunk size {line:?}")))
    }
}

impl Read for Body {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = match self.framing {
            Framing::ToTheEnd => return self.connection.read(buffer),
            Framing::Length(left) => left,
            Framing::Chunks(0) => match self.next_chunk()? {
                0 => {
                    self.framing = Framing::Length(0);
                    0
                }
                size => size,
            },
            Framing::Chunks(left) => left,
        };
        if left == 0 {
            return Ok(0);
        }
        let most = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let count = self.connection.read(&mut buffer[..most])?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let left = left - count as u64;
        self.framing = match self.framing {
            Framing::Chunks(_) => Framing::Chunks(left),
            _ => Framing::Length(left),
        };
        Ok(count)
    }
}

/// Sends one request to `address` (host:port) and reads the head of its response.
pub(crate) fn send(
    address: &str,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> io::Result<Response> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut head = format!("{method} {target} HTTP/1.1\r\nHost: {address}\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    if !body.is_empty() {
        head.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    write!(stream, "{head}Connection: close\r\n\r\n{body}")?;
    read_response(BufReader::new(stream))
}

fn read_response(mut connection: BufReader<TcpStream>) -> io::Result<Response> {
    let line = read_line(&mut connection)?;
    let status = line.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.ok_or_else(|| io::Error::other(format!("status line {line:?}")))?;
    let mut headers = Vec::new();
    loop {
        let line = read_line(&mut connection)?;
        let Some((name, value)) = line.split_once(':') else { break };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let find = |name: &str| headers.iter().find(|(known, _)| known == name).map(|(_, value)| value);
    let framing = if find("transfer-encoding").is_some_and(|coding| coding == "chunked") {
        Framing::Chunks(0)
    } else {
        let length = find("content-length").and_then(|length| length.parse().ok());
        length.map_or(Framing::ToTheEnd, Framing::Length)
    };
    Ok(Response { status, headers, body: Body { connection, framing } })
}

/// One line without its end; an end of file before it is an error.
fn read_line(connection: &mut BufReader<TcpStream>) -> io::Result<String> {
    let mut line = String::new();
    if connection.read_line(&mut line)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}
