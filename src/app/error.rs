//! What the composition root can fail at.

/// Why the proxy does not start, or has to end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An address is taken, or not ours.
    #[error(transparent)]
    Listen(#[from] crate::http::listener::Error),
    /// TLS towards clients.
    #[error("set up TLS for clients")]
    Certificate(#[from] crate::downstream::tls::Error),
    /// TLS towards upstream.
    #[error("set up TLS towards upstream")]
    Upstream(#[from] crate::upstream::TlsError),
    /// `redis.url` is nothing that can be connected to.
    #[error("read redis.url")]
    Redis(#[from] crate::redis::address::Error),
    /// `PushSubscription` cannot be served.
    #[error("set up PushSubscription")]
    Push(#[from] crate::push::Error),
    /// A part has panicked, and clients would be left stale without a word.
    #[error("a task of the proxy has panicked")]
    Panicked(#[source] tokio::task::JoinError),
    /// The operating system gives no threads or signals.
    #[error("start the runtime")]
    Runtime(#[from] std::io::Error),
}
