//! A server that sends back what it is sent, as Autobahn wants it, made of the product's WebSocket
//! protocol.

use std::io;
use std::net::SocketAddr;

use aws_lc_rs::digest;
use base64::prelude::{BASE64_STANDARD, Engine as _};
use http::HeaderValue;
use jmap_push_proxy::websocket::wire::{self, CloseCode, Decoder, Deflate, Incoming, Limits};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;

/// Autobahn's largest message is 16 MiB, and its most fragmented one 4 MiB in frames of 64 bytes.
const LIMITS: Limits = Limits { message: 16 << 20, fragments: 1 << 16 };

/// Starts it; it ends with the process.
pub(super) fn serve() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.set_nonblocking(true).expect("a socket");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(|| {
        let runtime = Builder::new_current_thread().enable_io().build().expect("a runtime");
        runtime.block_on(accept(listener));
    });
    address
}

async fn accept(listener: std::net::TcpListener) {
    let listener = TcpListener::from_std(listener).expect("a listener");
    let tasks = tokio::task::LocalSet::new();
    tasks
        .run_until(async {
            loop {
                let (stream, _) = listener.accept().await.expect("a connection");
                // Autobahn ends connections as it likes.
                tokio::task::spawn_local(async { drop(converse(stream).await) });
            }
        })
        .await;
}

async fn converse(stream: TcpStream) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    let deflate = shake_hands(&mut stream).await?;
    let mut decoder = Decoder::new(deflate);
    loop {
        let read = stream.fill_buf().await?;
        if read.is_empty() {
            return Ok(());
        }
        let (mut left, mut answers, mut ended) = (read, Vec::new(), false);
        while !ended {
            let (answer, last) = match decoder.next(&mut left, &LIMITS) {
                Ok(None) => break,
                Ok(Some(Incoming::Text(text))) => (wire::text_deflated(&text, deflate), false),
                Ok(Some(Incoming::Binary(bytes))) => {
                    (wire::binary_deflated(&bytes, deflate), false)
                }
                Ok(Some(Incoming::Ping(payload))) => (wire::pong(&payload), false),
                Ok(Some(Incoming::Pong)) => continue,
                Ok(Some(Incoming::Close(code))) => {
                    (wire::close(code.unwrap_or(CloseCode::Normal), ""), true)
                }
                Err(fault) => (wire::close(fault.code, fault.reason), true),
            };
            answers.push(answer);
            ended = last;
        }
        let used = read.len();
        stream.consume(used);
        for answer in answers {
            stream.write_all(&answer).await?;
        }
        if ended {
            return hang_up(stream).await;
        }
    }
}

/// Closes the connection so that all that was written arrives: without reading what the client has
/// still to say it would be reset.
async fn hang_up(mut stream: BufReader<TcpStream>) -> io::Result<()> {
    stream.shutdown().await?;
    let mut rest = vec![0; 1 << 16];
    while stream.read(&mut rest).await? > 0 {}
    Ok(())
}

/// Answers the handshake (RFC 6455 §4.2).
async fn shake_hands(stream: &mut BufReader<TcpStream>) -> io::Result<Option<Deflate>> {
    let (mut key, mut offers) = (String::new(), Vec::new());
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await?;
        let Some((name, value)) = line.split_once(':') else {
            if line.trim().is_empty() {
                break;
            }
            continue;
        };
        match name.to_ascii_lowercase().as_str() {
            "sec-websocket-key" => value.trim().clone_into(&mut key),
            "sec-websocket-extensions" => {
                offers.push(HeaderValue::from_str(value.trim()).expect("a value"));
            }
            _ => {}
        }
    }
    let guid = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    let accept =
        digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, format!("{key}{guid}").as_bytes());
    let mut head = format!(
        "HTTP/1.1 101 Switching Protocols\r\nServer: echo\r\nUpgrade: websocket\r\n\
         Connection: Upgrade\r\nSec-WebSocket-Accept: {}\r\n",
        BASE64_STANDARD.encode(accept)
    );
    let agreed = wire::negotiate(&offers);
    if let Some((_, answer)) = &agreed {
        let answer = answer.to_str().expect("ASCII");
        head.push_str(&format!("Sec-WebSocket-Extensions: {answer}\r\n"));
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes()).await?;
    Ok(agreed.map(|(deflate, _)| deflate))
}
