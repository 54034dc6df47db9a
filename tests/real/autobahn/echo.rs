//! A server that sends back what it is sent, as Autobahn wants it: the product's own connections with
//! another subprotocol than JMAP. Only the handshake is its own, since Autobahn offers no subprotocol.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest;
use base64::prelude::{BASE64_STANDARD, Engine as _};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use jmap_push_proxy::api::memory::{self, Memory};
use jmap_push_proxy::auth::{CredentialKey, Credentials, Principal};
use jmap_push_proxy::config::Config;
use jmap_push_proxy::drain::Drain;
use jmap_push_proxy::http::socket::Socket;
use jmap_push_proxy::hub::{self, Hub, Subscriber, Wish};
use jmap_push_proxy::jmap::session::CoreLimits;
use jmap_push_proxy::state::fact::PrincipalId;
use jmap_push_proxy::state::types::TypeFilter;
use jmap_push_proxy::streams::{self, Conversation as _, Engine, Feed, Place, Plan};
use jmap_push_proxy::telemetry::metrics::Metrics;
use jmap_push_proxy::websocket::connection::{Answer, Application, Connection, Rules};
use jmap_push_proxy::websocket::encode;
use jmap_push_proxy::websocket::machine::{Heard, Output};
use jmap_push_proxy::websocket::wire::{self, Deflate, Limits};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
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
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(accept(listener));
    });
    address
}

async fn accept(listener: std::net::TcpListener) {
    let listener = TcpListener::from_std(listener).expect("a listener");
    let parts = Parts::new();
    let turning = Arc::clone(&parts.engine);
    let open = async {
        loop {
            let (stream, _) = listener.accept().await.expect("a connection");
            // As the product's listeners do.
            stream.set_nodelay(true).expect("a socket");
            let mut stream = BufReader::new(stream);
            // Autobahn ends connections as it likes.
            if let Ok(deflate) = shake_hands(&mut stream).await {
                parts.adopt(stream, deflate);
            }
        }
    };
    tokio::join!(turning.run(), open);
}

/// What all connections share: the product's own parts, without a mail server behind them.
struct Parts {
    hub: Arc<Hub>,
    engine: Arc<Engine>,
    plan: Arc<Plan>,
    limits: Arc<streams::Limits>,
    rules: Arc<Rules>,
    nobody: Arc<Principal>,
}

impl Parts {
    fn new() -> Self {
        let (config, drain, metrics) = (Config::default(), Drain::default(), Metrics::default());
        let scope = config.upstream.account_scope;
        let (idle, patience) = (Duration::ZERO, Duration::from_secs(60));
        let memory = Arc::new(Memory::new(config.limits.request_memory, patience));
        Self {
            hub: Hub::new(hub::Limits { per_user: 0, accounts: 1, scope, as_service: false }),
            plan: Arc::new(Plan {
                throttle: Duration::ZERO,
                keep_alive: config.websocket.ping,
                answer_within: config.websocket.pong_timeout,
                max_age: Duration::ZERO,
            }),
            limits: Arc::new(streams::Limits {
                write_timeout: config.websocket.write_timeout,
                send_buffer: config.websocket.send_buffer,
                slow_closed: metrics.slow_closed.clone(),
            }),
            rules: Arc::new(Rules { memory, idle, metrics: metrics.clone() }),
            nobody: Arc::new(Principal {
                id: PrincipalId(0),
                username: String::new(),
                accounts: BTreeMap::new(),
                api_path: "/".to_owned(),
                session_state: String::new(),
                limits: CoreLimits::default(),
                capabilities: Arc::default(),
                push: Arc::default(),
                credentials: Arc::new(Credentials::from_headers(&HeaderMap::new())),
            }),
            engine: Engine::new(config.event_source, usize::MAX, drain, metrics),
        }
    }

    /// Hands a connection that has been opened over to the product.
    fn adopt(&self, stream: BufReader<TcpStream>, deflate: Option<Deflate>) {
        let wish = Wish {
            filter: &TypeFilter::only([]),
            codec: encode::codec(deflate),
            last_event_id: None,
        };
        let subscriber = self.hub.subscribe(CredentialKey(0), &self.nobody, &wish).expect("room");
        let (engine, plan) = (Arc::clone(&self.engine), Arc::clone(&self.plan));
        let feed = Feed::new(subscriber, engine, plan, None, false);
        let mut connection = Connection::new(feed, deflate, Echo, Arc::clone(&self.rules));
        connection.receive(stream.buffer());
        let (socket, place) = (Socket::Tcp(stream.into_inner()), Place::Shared(Box::new(())));
        self.engine.adopt(socket, connection, Arc::clone(&self.limits), place);
    }
}

/// Sends back what it hears.
struct Echo;

impl Application for Echo {
    /// There are none.
    type Request = ();

    fn hear(message: Heard, deflate: Option<Deflate>) -> Output<()> {
        Output::Frame(match message {
            Heard::Text(text) => wire::text_deflated(&text, deflate),
            Heard::Binary(bytes) => wire::binary_deflated(&bytes, deflate),
        })
    }

    fn call(
        &self,
        (): (),
        _: memory::Place,
        _: Option<Deflate>,
        _: &Subscriber,
    ) -> impl Future<Output = Answer> + Send + 'static {
        std::future::pending()
    }

    fn limits(&self) -> Limits {
        LIMITS
    }

    fn size((): &()) -> usize {
        0
    }

    fn overloaded((): &(), _: Option<Deflate>) -> Bytes {
        Bytes::new()
    }
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
