//! Listens through the crate `jmap-client`, and prints each StateChange (RFC 8620 §7.1) that it is
//! told as an event of an event source.
//!
//! ```text
//! jmap-client-listener ORIGIN USER PASSWORD
//! ```
//!
//! The library ends a stream with its connection and leaves it to the program to connect again.

use std::time::Duration;

use futures_util::StreamExt as _;
use jmap_client::client::Client;
use jmap_client::event_source::{Changes, PushNotification};
use jmap_client::{DataType, Error};

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [origin, user, password] = words.as_slice() else {
        eprintln!("usage: jmap-client-listener ORIGIN USER PASSWORD");
        std::process::exit(64);
    };
    let mut last_id = None;
    loop {
        if let Err(error) = listen(origin, user, password, &mut last_id).await {
            eprintln!("{error}");
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// One connection, from the Session to its end.
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
            print_event(&changes, last_id.as_deref().unwrap_or_default());
        }
    }
    Ok(())
}

/// What the library understood, written as an event again.
fn print_event(changes: &Changes, id: &str) {
    let mut accounts = Vec::new();
    for account in changes.changed_accounts() {
        let mut types = Vec::new();
        for (data_type, state) in changes.changes(account).into_iter().flatten() {
            types.push(format!("{:?}:{state:?}", data_type.to_string()));
        }
        accounts.push(format!("{account:?}:{{{}}}", types.join(",")));
    }
    let changed = accounts.join(",");
    println!("event: state");
    println!("data: {{\"@type\":\"StateChange\",\"changed\":{{{changed}}}}}");
    println!("id: {id}\n");
}
