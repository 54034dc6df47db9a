//! Runs the demo: its server, and a proxy before it that is like any other.

use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use tokio::signal::unix::{SignalKind, signal};

use super::{Error, Running, start};
use crate::config::{Config, Listen, UpstreamAddress, UpstreamTarget};
use crate::demo::push_service::PushService;
use crate::demo::server::Server;
use crate::demo::{Front, open_browser};
use crate::drain::{Drain, Phase};
use crate::notify::Source;
use crate::notify::message::{Notice, Who};

/// Shows it all until a signal comes.
///
/// # Errors
/// When no port can be bound, or standard output is closed.
pub fn demo(listen: SocketAddr) -> Result<(), crate::demo::Error<Error>> {
    let failed = |error| crate::demo::Error::Proxy(Error::Runtime(error));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.map_err(failed)?.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
        let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
        let server = Drain::default();
        let mut running = None;
        let front = crate::demo::start(&server, &mut std::io::stdout(), async |upstream| {
            let (proxy, front) = before(upstream, listen, &server)?;
            running = Some(proxy);
            Ok(front)
        })
        .await?;
        open_browser(&front);
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        if let Some(running) = running {
            // Nobody else is to be let down gently.
            running.stop(std::future::ready(())).await;
        }
        server.enter(Phase::Ended);
        Ok(())
    })
}

/// Puts a proxy in front of the demo's server, with what the server says of its deliveries in the
/// place of a mail server's notifications.
fn before(server: Server, listen: SocketAddr, drain: &Drain) -> Result<(Running, Front), Error> {
    let mut config = Config::default();
    config.downstream.listen = vec![Listen::Tcp(listen)];
    config.upstream.addresses = vec![UpstreamAddress {
        tls: false,
        target: UpstreamTarget::Tcp(server.address.ip().to_string(), server.address.port()),
        authority: server.address.to_string(),
    }];
    (config.admin.listen, config.admin.probes) = (None, None);
    // A person who waits for an unannounced mail is not to wait half a minute.
    config.probe.interval = Duration::from_secs(4);
    // Nor is who presses twice within a second to read the throttle's time as the proxy's.
    config.event_source.throttle = Duration::ZERO;
    config.push.throttle = Duration::ZERO;
    // Subscriptions of a demo end with it, and leave nothing on the disk.
    config.push.store = None;
    let event_source_path = config.event_source.path.clone();
    let running = match &server.push_service {
        Some(push_service) => opened_to(push_service, config)?,
        None => start(config)?,
    };
    let (outbox, mut deliveries) = (running.notify(), server.deliveries);
    drain.spawn(async move {
        while let Some(delivery) = deliveries.recv().await {
            let who = Who::Accounts(vec![delivery.account_id]);
            let changed = delivery.changed;
            outbox.notice(Notice { who, changed, types: None, delivery: true }, Source::Demo);
        }
    });
    let bound = running.addresses.downstream.iter().find_map(|bound| match bound {
        Listen::Tcp(address) => Some(*address),
        Listen::Unix(_) => None,
    });
    Ok((running, Front { address: bound.unwrap_or(listen), event_source_path }))
}

/// Starts a proxy that may push to the demo's push service and believes its certificate, as an operator
/// would allow one in a network of their own; nothing else of this machine is opened by that.
fn opened_to(push_service: &PushService, mut config: Config) -> Result<Running, Error> {
    config.push.allow_networks.push(IpNet::from(push_service.address.ip()));
    config.push.ports.push(push_service.address.port());
    match written(&push_service.certificate) {
        Ok(path) => config.push.ca_file = Some(path),
        // All but the push service works without; who subscribes there sees that nothing comes.
        Err(error) => tracing::warn!(%error, "the demo's certificate cannot be written"),
    }
    let file = config.push.ca_file.clone();
    let started = start(config);
    // It has been read; if it cannot be removed it says no more than who the push service was.
    let _ = file.map(std::fs::remove_file);
    started
}

/// Writes a certificate to a file that nobody else could have put there.
fn written(certificate: &str) -> std::io::Result<PathBuf> {
    let name = format!("jmap-push-proxy-demo-{:032x}.pem", rand::random::<u128>());
    let path = std::env::temp_dir().join(name);
    let mut file =
        std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
    file.write_all(certificate.as_bytes())?;
    Ok(path)
}
