//! The commands of docs/push.md, as they stand there: from the subscription to the first change.

use std::net::SocketAddr;

use jmap_push_proxy::config::{Config, PushMode};
use serde_json::Value;
use tokio::process::Command;
use tokio::sync::mpsc;

use super::receiver::Receiver;
use crate::support::certificate::Ca;
use crate::support::rig::Rig;
use crate::support::upstream::{API, account_of};
use crate::support::wait::within;

const PAGE: &str = include_str!("../../../docs/push.md");

/// One of this machine's addresses that nothing of ours listens at.
const ADDRESS: &str = "127.0.0.2";

/// A push service that takes everything, and the bodies that it takes.
async fn service(ca: &Ca) -> (Receiver, mpsc::Receiver<Value>) {
    let (taken, bodies) = mpsc::channel(64);
    let receiver = Receiver::tls_at("127.0.0.2:0", ADDRESS, ca, move |mut accepted| {
        let taken = taken.clone();
        async move {
            while let Some(request) = accepted.request().await {
                let (_, body) = request.split_once("\r\n\r\n").unwrap();
                taken.send(serde_json::from_str(body).unwrap()).await.unwrap();
                accepted.send("HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n").await;
            }
        }
    });
    (receiver.await, bodies)
}

/// What a command of the page answers.
async fn run(name: &str, proxy: SocketAddr, variables: &[(&str, &str)]) -> Value {
    let command = PAGE.split(&format!("<!-- run: {name} -->\n```sh\n")).nth(1).unwrap();
    let command = command.split("```").next().unwrap();
    let mut shell = Command::new("sh");
    shell.args(["-ec", command]).envs(variables.iter().copied());
    shell.env("TOKEN", "alice").env("API", format!("http://{proxy}{API}"));
    let output = shell.output().await.unwrap();
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test]
async fn the_commands_of_the_documentation_subscribe_and_verify() {
    let ca = Ca::new();
    let (receiver, mut bodies) = service(&ca).await;
    let rig = Rig::start(|config: &mut Config| {
        config.push.mode = PushMode::Own;
        config.push.allow_networks = vec!["127.0.0.2/32".parse().unwrap()];
        config.push.ports = vec![receiver.address.port()];
        config.push.ca_file = Some(ca.file().to_owned());
    })
    .await;
    let url = format!("https://{}/secret", receiver.address);
    let made = run("subscribe", rig.address, &[("PUSH_URL", &url)]).await;
    let id = made["methodResponses"][0][1]["created"]["phone"]["id"].as_str().unwrap();
    let verification = within("verification", bodies.recv()).await.unwrap();
    assert_eq!(verification["@type"], "PushVerification");
    assert_eq!(verification["pushSubscriptionId"], id);
    let code = verification["verificationCode"].as_str().unwrap();
    let verified = run("verify", rig.address, &[("ID", id), ("CODE", code)]).await;
    let updated = verified["methodResponses"][0][1]["updated"].as_object().unwrap();
    assert!(updated.contains_key(id), "{verified}");
    let state = rig.change("alice", "Email").await;
    loop {
        let told = within("change", bodies.recv()).await.unwrap();
        assert_eq!(told["@type"], "StateChange");
        if told["changed"][account_of("alice")]["Email"] == state.as_str() {
            break;
        }
    }
    rig.end().await;
}
