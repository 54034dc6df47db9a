//! One connection that reads the stream, and the place in it that outlives the connection.
//!
//! The place is fixed at the first start to the stream's end; from then on every entry is read once,
//! across reconnects too, as long as it is still there. Whether entries were trimmed away unread is
//! seen by the last one read being gone: trimming takes the oldest first.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, RedisError, Value};

use super::fault::{Fault, Step};
use super::link::{Arrival, Listener, Names};

/// The field of an entry that holds the notification.
const FIELD: &[u8] = b"change";

/// Entries read at once; a notification is at most a megabyte, mostly far less.
const BATCH: usize = 32;

/// The place before the first entry that any stream can have.
const START: &str = "0-0";

/// The id of the last entry read; `None` before the first connection.
#[derive(Debug, Default)]
pub(super) struct Place(Option<String>);

/// A live reader. Dropping it closes the connection.
pub(super) struct Reader<'a> {
    connection: MultiplexedConnection,
    names: &'a Names,
    place: &'a mut Place,
}

/// One entry of the stream.
#[derive(Debug, PartialEq, Eq)]
struct Entry {
    id: String,
    change: Option<Vec<u8>>,
}

impl<'a> Reader<'a> {
    /// Connects and, if it is the first time, finds the stream's end.
    pub(super) async fn open(
        client: &Client,
        names: &'a Names,
        place: &'a mut Place,
    ) -> Result<Self, Fault> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(names.timeout))
            .set_response_timeout(Some(Self::blocking(names) + names.timeout));
        let connection = client
            .get_multiplexed_async_connection_with_config(&config)
            .await
            .map_err(|error| Fault::of(Step::Connect, &error, names.tls))?;
        let mut this = Self { connection, names, place };
        if this.place.0.is_none() {
            this.place.0 = Some(this.end().await?);
        }
        Ok(this)
    }

    /// Hands every new entry to the listener, until something is wrong.
    pub(super) async fn read<F: Listener>(mut self, listener: &F) -> Fault {
        loop {
            if let Err(fault) = self.batch(listener).await {
                return fault;
            }
        }
    }

    async fn batch<F: Listener>(&mut self, listener: &F) -> Result<(), Fault> {
        let place = self.place.0.clone().unwrap_or_else(|| START.into());
        // One round trip: nothing is trimmed between the look back and the read, unless the read
        // has to wait, and what ends the wait is handed over at once. (Only a transaction that both
        // adds entries and trims them away escapes this.)
        let (last, found): (Value, Value) = redis::pipe()
            .cmd("XRANGE")
            .arg(&*self.names.stream)
            .arg(&place)
            .arg(&place)
            .cmd("XREAD")
            .arg("COUNT")
            .arg(BATCH)
            .arg("BLOCK")
            .arg(u64::try_from(Self::blocking(self.names).as_millis()).unwrap_or(u64::MAX))
            .arg("STREAMS")
            .arg(&*self.names.stream)
            .arg(&place)
            .query_async(&mut self.connection)
            .await
            .map_err(|error| self.fault(Step::Read, &error))?;
        let trimmed = place != START && entries(last).is_empty();
        let found = of_stream(found);
        if let Some(newest) = found.last() {
            self.place.0 = Some(newest.id.clone());
        } else if trimmed {
            // The stream may have begun anew with lower ids (deleted, another master, a clock set
            // back): from its present end on. What came before that is what the gap stands for.
            self.place.0 = Some(self.end().await?);
        }
        if trimmed {
            listener(Arrival::Gap);
        }
        for Entry { id, change } in &found {
            let change = change.as_deref();
            listener(Arrival::Entry { stream: &self.names.stream, id, change });
        }
        Ok(())
    }

    /// The id of the newest entry.
    async fn end(&mut self) -> Result<String, Fault> {
        let newest: Value = redis::cmd("XREVRANGE")
            .arg(&*self.names.stream)
            .arg("+")
            .arg("-")
            .arg("COUNT")
            .arg(1)
            .query_async(&mut self.connection)
            .await
            .map_err(|error| self.fault(Step::Position, &error))?;
        Ok(entries(newest).pop().map_or_else(|| START.into(), |entry| entry.id))
    }

    /// How long one read waits at the server: short, so that a connection that died silently is
    /// missed soon.
    fn blocking(names: &Names) -> Duration {
        names.beat.max(Duration::from_millis(1))
    }

    fn fault(&self, step: Step, error: &RedisError) -> Fault {
        Fault::of(step, error, self.names.tls)
    }
}

/// The entries in a reply to `XREAD` of one stream: RESP3 gives a map of one key, or null.
fn of_stream(reply: Value) -> Vec<Entry> {
    match reply {
        Value::Map(streams) => {
            streams.into_iter().next().map_or_else(Vec::new, |(_, list)| entries(list))
        }
        _ => Vec::new(),
    }
}

/// The entries in a list of `[id, [field, value, …]]`. Read by hand: the crate's own reply type
/// fails as a whole over one entry whose field names are not UTF-8, and would do so for ever.
fn entries(list: Value) -> Vec<Entry> {
    let Value::Array(list) = list else { return Vec::new() };
    list.into_iter().filter_map(entry).collect()
}

fn entry(value: Value) -> Option<Entry> {
    let Value::Array(parts) = value else { return None };
    let mut parts = parts.into_iter();
    let id = match parts.next()? {
        Value::BulkString(id) => String::from_utf8(id).ok()?,
        _ => return None,
    };
    let change = match parts.next() {
        Some(Value::Array(fields)) => change(fields),
        _ => None,
    };
    Some(Entry { id, change })
}

fn change(fields: Vec<Value>) -> Option<Vec<u8>> {
    let mut fields = fields.into_iter();
    while let (Some(name), Some(value)) = (fields.next(), fields.next()) {
        if let (Value::BulkString(name), Value::BulkString(value)) = (name, value)
            && name == FIELD
        {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(text: &[u8]) -> Value {
        Value::BulkString(text.to_vec())
    }

    #[test]
    fn an_odd_entry_does_not_take_its_neighbours_with_it() {
        let reply = Value::Map(vec![(
            bulk(b"s"),
            Value::Array(vec![
                Value::Array(vec![bulk(b"1-0"), Value::Array(vec![bulk(b"\xff"), bulk(b"x")])]),
                Value::Array(vec![
                    bulk(b"2-0"),
                    Value::Array(vec![bulk(b"by"), bulk(b"me"), bulk(b"change"), bulk(b"{}")]),
                ]),
            ]),
        )]);
        assert_eq!(
            of_stream(reply),
            [
                Entry { id: "1-0".into(), change: None },
                Entry { id: "2-0".into(), change: Some(b"{}".to_vec()) },
            ]
        );
        assert_eq!(of_stream(Value::Nil), []);
    }
}
