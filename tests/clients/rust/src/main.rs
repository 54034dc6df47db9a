//! Listens through the crate `jmap-client`, and prints each StateChange (RFC 8620 §7.1) that it is
//! told as an event of an event source.
//!
//! ```text
//! jmap-client-listener event-source|websocket ORIGIN USER PASSWORD
//! ```
//!
//! By WebSocket it first makes a call there, and prints what that led to as an event `response`. The
//! library ends a stream with its connection and leaves it to the program to connect again.

use std::time::Duration;

use futures_util::StreamExt as _;
use jmap_client::client::Client;
use jmap_client::client_ws::WebSocketMessage;
use jmap_client::event_source::PushNotification;
use jmap_client::{DataType, Error, PushObject, URI};

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let mut last_id = None;
    loop {
        let heard = match words[..] {
            ["event-source", origin, user, password] => {
                listen(origin, user, password, &mut last_id).await
            }
            ["websocket", origin, user, password] => converse(origin, user, password).await,
            _ => {
                eprintln!(
                    "usage: jmap-client-listener event-source|websocket ORIGIN USER PASSWORD"
                );
                std::process::exit(64);
            }
        };
        if let Err(error) = heard {
            eprintln!("{error}");
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// One event stream, from the Session to its end.
async fn listen(
    origin: &str,
    user: &str,
    password: &str,
    last_id: &mut Option<String>,
) -> Result<(), Error> {
    let client = Client::new().credentials((user, password)).connect(origin).await?;
    let all = None::<Vec<DataType>>;
    let mut stream = client.event_source(all, false, Some(30), last_id.as_deref()).await?;
    while let Some(notification) = stream.next().await {
        if let PushNotification::StateChange(changes) = notification? {
            *last_id = changes.id().map(str::to_owned).or_else(|| last_id.take());
            print_states(changes.into_inner(), last_id.as_deref().unwrap_or_default());
        }
    }
    Ok(())
}

/// One WebSocket, from the Session to its end. The library keeps `pushState` to itself: there is
/// nothing to come back with.
async fn converse(origin: &str, user: &str, password: &str) -> Result<(), Error> {
    let client = Client::new().credentials((user, password)).connect(origin).await?;
    let mut stream = client.connect_ws().await?;
    let mut request = client.build();
    // It would name capabilities that Cyrus lacks, and refuses.
    request.using = vec![URI::Core, URI::Mail];
    request.get_mailbox();
    let asked = request.send_ws().await?;
    while let Some(message) = stream.next().await {
        match message? {
            WebSocketMessage::Response(mut response) => {
                assert_eq!(response.request_id(), Some(asked.as_str()));
                let mailboxes =
                    response.pop_method_response().map(|last| last.unwrap_get_mailbox());
                let mailboxes = mailboxes.transpose()?.map(|mut got| got.take_list());
                let count = mailboxes.unwrap_or_default().len();
                print("response", &format!("{count} mailboxes"), "");
                client.enable_push_ws(None::<Vec<DataType>>, None::<&str>).await?;
            }
            WebSocketMessage::PushNotification(PushObject::StateChange { changed }) => {
                print_states(changed, "");
            }
            WebSocketMessage::PushNotification(_) => {}
        }
    }
    Ok(())
}

/// What the library understood, written as an event again.
fn print_states<T: IntoIterator<Item = (String, U)>, U: IntoIterator<Item = (DataType, String)>>(
    changed: T,
    id: &str,
) {
    let object = |members: Vec<String>| format!("{{{}}}", members.join(","));
    let accounts = changed.into_iter().map(|(account, types)| {
        let types = types.into_iter().map(|(ty, state)| format!("\"{ty}\":{state:?}")).collect();
        format!("{account:?}:{}", object(types))
    });
    let changed = object(accounts.collect());
    print("state", &format!("{{\"@type\":\"StateChange\",\"changed\":{changed}}}"), id);
}

fn print(event: &str, data: &str, id: &str) {
    println!("event: {event}\ndata: {data}\nid: {id}\n");
}
