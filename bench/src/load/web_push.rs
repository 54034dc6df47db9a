//! Web Push: a store of subscriptions, and a push service that they are delivered to (RFC 8030).

use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ::http::HeaderMap;
use ::http::header::AUTHORIZATION;
use jmap_push_proxy::auth::Credentials;
use jmap_push_proxy::auth::principal::Access;
use jmap_push_proxy::jmap::date::UtcDate;
use jmap_push_proxy::jmap::id::AccountId;
use jmap_push_proxy::push::binding::{Bind, Binding};
use jmap_push_proxy::push::store::{Settings, Store, VapidStep};
use jmap_push_proxy::push::subscription::{
    Change, EncodedKeys, Sealed, Secrets, Subscription, SubscriptionId, View,
};
use jmap_push_proxy::push::vapid::VapidKey;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_rustls::TlsAcceptor;

use crate::http::{Target, exchange, field, find, receive};
use crate::process::Server;
use crate::streams::count;
use crate::tell;
use crate::upstream::account_of;

/// Those of RFC 8291 §5.
const P256DH: &str =
    "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4";
const AUTH: &str = "BTBZMqHH6r4Tts7J_aSIgg";

/// How long push services of the real world take.
const ANSWERS_AFTER: Duration = Duration::from_millis(50);

/// Connections that changes are made on.
const CHANGING: usize = 32;

/// How long nobody is told anything any more before those who wait are given up.
const PATIENCE: Duration = Duration::from_secs(30);

/// Subscriptions in one transaction.
const TOGETHER: usize = 1000;

/// See [`crate::Load::Subscriptions`].
#[derive(Debug, clap::Args)]
pub(crate) struct Subscriptions {
    /// The store's file, to be made.
    store: PathBuf,
    /// Where they push to.
    receiver: SocketAddr,
    /// How many, each of a user of its own and verified.
    count: u32,
}

/// See [`crate::Load::Push`].
#[derive(Debug, clap::Args)]
pub(crate) struct Push {
    /// The API.
    #[arg(long)]
    url: Target,
    /// The body of a request that makes a change; in it `ACCOUNT` stands for the user's account.
    #[arg(long)]
    body: String,
    /// Where the push service listens.
    #[arg(long)]
    receiver: SocketAddr,
    /// Its certificate and private key, PEM.
    #[arg(long)]
    certificate: PathBuf,
    #[arg(long)]
    key: PathBuf,
    /// How many subscriptions the store has.
    #[arg(long)]
    subscriptions: usize,
    /// Memory of the same server with an empty store, in bytes.
    #[arg(long)]
    empty: Option<u64>,
    #[command(flatten)]
    server: Server,
}

fn credential(n: usize) -> String {
    format!("Bearer {n}")
}

impl Subscriptions {
    pub(crate) async fn run(self) -> io::Result<()> {
        let settings = Settings { path: self.store.clone(), key: None };
        let (store, _) = Store::open(&settings).map_err(io::Error::other)?;
        let vapid =
            VapidKey::generate().and_then(|key| key.to_pkcs8()).map_err(io::Error::other)?;
        store.vapid(VapidStep::Ensure(vapid), now()).await.map_err(io::Error::other)?;
        let all = (0..self.count).map(|n| self.subscription(&store, n));
        let all = all.collect::<io::Result<Vec<_>>>()?;
        for some in all.chunks(TOGETHER) {
            store.apply(some.to_vec()).await.map_err(io::Error::other)?;
        }
        store.close().await.map_err(io::Error::other)?;
        tell("disk_bytes_per_subscription", bytes(&self.store)? / f64::from(self.count));
        drop((store, all));
        let this = Server::of(std::process::id());
        let (before, began) = (this.memory()?.private, Instant::now());
        let (_store, found) = Store::open(&settings).map_err(io::Error::other)?;
        tell("opened_ms", milliseconds(began.elapsed()));
        let more = this.memory()?.private.saturating_sub(before);
        tell("opened_private_bytes_per_subscription", part(more, found.len()));
        Ok(())
    }

    fn subscription(&self, store: &Store, n: u32) -> io::Result<Change> {
        let mut id = [0; 12];
        id[..4].copy_from_slice(&n.to_be_bytes());
        let id = SubscriptionId(id);
        let credential = credential(n as usize);
        let account = account_of(&credential);
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, credential.parse().map_err(io::Error::other)?);
        let credentials = Credentials::from_headers(&headers);
        let owner = Binding::new(store.vault(), &credentials, &account, Bind::Credential);
        // As long as those of browsers.
        let url = format!("https://{}/wpush/v2/{n}/{:-<140}", self.receiver, "");
        let secrets = Secrets {
            url: url.into(),
            keys: Some(EncodedKeys { p256dh: P256DH.to_owned(), auth: AUTH.to_owned() }),
            verification_code: "da1f097b11ca17f06424e3".to_owned().into(),
        };
        let mail = ["urn:ietf:params:jmap:mail".to_owned()];
        let access = Access { is_personal: true, capabilities: Arc::from(mail) };
        let id_of_account = AccountId::parse(&account).ok_or(io::ErrorKind::InvalidData)?;
        Ok(Change::Create(Arc::new(Subscription {
            id,
            device_client_id: format!("device-{n:016x}").into(),
            sealed: Sealed::new(store.vault(), id, &secrets).map_err(io::Error::other)?,
            owner: owner.map_err(io::Error::other)?,
            username: account.into(),
            view: View {
                accounts: Arc::from([(id_of_account, access)]),
                api_path: "/jmap/".into(),
                host: None,
            },
            created: now(),
            expires: now().after(Duration::from_secs(7 * 86_400)),
            types: None,
            is_verified: true,
            verification_sent: Some(now()),
            wrong_codes: 0,
            vapid: 1,
            given: "".into(),
            disabled: None,
        })))
    }
}

fn now() -> UtcDate {
    UtcDate::at(jmap_push_proxy::clock::wall())
}

#[expect(clippy::cast_precision_loss, reason = "no store is that large")]
fn bytes(file: &PathBuf) -> io::Result<f64> {
    Ok(std::fs::metadata(file)?.len() as f64)
}

/// What the push service has seen.
#[derive(Default)]
struct Seen {
    /// By subscription.
    told: RefCell<Vec<u32>>,
    messages: Cell<usize>,
    encrypted: Cell<usize>,
    last: Cell<Option<Instant>>,
    open: Cell<usize>,
    most_open: Cell<usize>,
    connections: Cell<usize>,
}

impl Push {
    pub(crate) async fn run(self) -> io::Result<()> {
        let seen = Rc::new(Seen::default());
        *seen.told.borrow_mut() = vec![0; self.subscriptions];
        let listener = TcpListener::bind(self.receiver).await?;
        tokio::task::spawn_local(serve(listener, self.acceptor()?, Rc::clone(&seen)));
        if let Some(empty) = self.empty {
            let more = self.server.memory()?.private.saturating_sub(empty);
            tell("private_bytes_per_subscription", part(more, self.subscriptions));
        }
        let spent = self.server.processor()?;
        let began = Instant::now();
        let mut changing = JoinSet::new();
        let this = Rc::new(self);
        for connection in 0..CHANGING {
            changing.spawn_local(Rc::clone(&this).change(connection));
        }
        while let Some(ended) = changing.join_next().await {
            ended.map_err(io::Error::other)??;
        }
        tell("changed_ms", milliseconds(began.elapsed()));
        while seen.untold() > 0 && seen.last.get().unwrap_or(began).elapsed() < PATIENCE {
            sleep(Duration::from_millis(10)).await;
        }
        let last = seen.last.get().unwrap_or(began);
        tell("delivered_ms", milliseconds(last - began));
        tell("untold", count(seen.untold()));
        tell("messages", count(seen.messages.get()));
        tell("encrypted", count(seen.encrypted.get()));
        tell("most_sockets", count(seen.most_open.get()));
        tell("connections", count(seen.connections.get()));
        let spent = this.server.processor()? - spent;
        let each = spent.as_secs_f64() * 1e6 / count(this.subscriptions);
        tell("processor_us_per_change_and_message", each);
        Ok(())
    }

    fn acceptor(&self) -> io::Result<TlsAcceptor> {
        let chain =
            vec![CertificateDer::from_pem_file(&self.certificate).map_err(io::Error::other)?];
        let key = PrivateKeyDer::from_pem_file(&self.key).map_err(io::Error::other)?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(io::Error::other)?;
        Ok(TlsAcceptor::from(Arc::new(config)))
    }

    /// Makes one change for each of this connection's share of the users.
    async fn change(self: Rc<Self>, connection: usize) -> io::Result<()> {
        let mut stream = self.url.connect(connection, None).await?;
        let mut buffer = Vec::new();
        for n in (connection..self.subscriptions).step_by(CHANGING) {
            let credential = credential(n);
            let body = self.body.replace("ACCOUNT", &account_of(&credential));
            let headers = [format!("Authorization: {credential}")];
            let request = self.url.request("POST", &headers, &body);
            exchange(&mut stream, request.as_bytes(), &mut buffer).await?;
        }
        Ok(())
    }
}

impl Seen {
    fn untold(&self) -> usize {
        self.told.borrow().iter().filter(|times| **times == 0).count()
    }

    fn take(&self, head: &str) {
        let mut told = self.told.borrow_mut();
        let number = head.split('/').nth(3).and_then(|number| number.parse::<usize>().ok());
        if let Some(times) = number.and_then(|n| told.get_mut(n)) {
            *times += 1;
            self.messages.set(self.messages.get() + 1);
            self.last.set(Some(Instant::now()));
        }
        if field(head, "content-encoding") == Some("aes128gcm") {
            self.encrypted.set(self.encrypted.get() + 1);
        }
    }
}

async fn serve(listener: TcpListener, acceptor: TlsAcceptor, seen: Rc<Seen>) -> io::Result<()> {
    loop {
        let (tcp, _) = listener.accept().await?;
        let (acceptor, seen) = (acceptor.clone(), Rc::clone(&seen));
        tokio::task::spawn_local(async move {
            seen.connections.set(seen.connections.get() + 1);
            seen.open.set(seen.open.get() + 1);
            seen.most_open.set(seen.most_open.get().max(seen.open.get()));
            // However it ends.
            let _ = connection(tcp, acceptor, &seen).await;
            seen.open.set(seen.open.get() - 1);
        });
    }
}

/// Takes messages one after another.
async fn connection(tcp: TcpStream, acceptor: TlsAcceptor, seen: &Seen) -> io::Result<()> {
    tcp.set_nodelay(true)?;
    let mut stream = acceptor.accept(tcp).await?;
    let mut buffer = Vec::with_capacity(8 * 1024);
    loop {
        let body = loop {
            if let Some(at) = find(&buffer, b"\r\n\r\n") {
                break at + 4;
            }
            receive(&mut stream, &mut buffer).await?;
        };
        let head = String::from_utf8_lossy(&buffer[..body]).to_lowercase();
        let length = field(&head, "content-length").and_then(|length| length.parse().ok());
        let end = body + length.unwrap_or(0);
        while buffer.len() < end {
            receive(&mut stream, &mut buffer).await?;
        }
        buffer.drain(..end);
        sleep(ANSWERS_AFTER).await;
        stream.write_all(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n").await?;
        stream.flush().await?;
        seen.take(&head);
    }
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

#[expect(clippy::cast_precision_loss, reason = "no machine has that much memory")]
fn part(bytes: u64, of: usize) -> f64 {
    bytes as f64 / count(of)
}
