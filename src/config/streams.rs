//! What the settings of our streams must be.

use super::address;
use super::check::{DAY, GB, HOUR, KB, MB, MILLISECOND, MINUTE, SECOND, TB, bare, size, time};
use super::quantity::Range;
use super::reader::Reader;
use super::{EventSource, QueryMode, Upstream, WebSocket};

// What streams of both kinds have.
const THROTTLE: Range =
    Range::times(MILLISECOND.saturating_mul(10), MINUTE).or_zero("for each at once");
const SEND_BUFFER: Range = Range::sizes(4 * KB, 4 * MB);
const MAX_AGE: Range = Range::times(MINUTE, DAY.saturating_mul(30)).or_zero("for never");

/// Each of our paths must be told from the others, and from the Session's.
pub(super) fn own_paths(
    reader: &mut Reader<'_>,
    upstream: Option<&Upstream>,
    event_source: Option<&EventSource>,
    websocket: Option<&WebSocket>,
) {
    let session = upstream.map(|section| ("upstream.session_path", &section.session_path));
    let events = event_source.map(|section| ("event_source.path", &section.path));
    let websocket = websocket.map(|section| ("websocket.path", &section.path));
    for (ours, others) in [(events, [session, None]), (websocket, [session, events])] {
        let Some((key, path)) = ours else { continue };
        let is_taken = |(_, other): &(&str, &String)| bare(path) == bare(other);
        let root = bare(path).is_empty().then_some(("upstream.session_path", path));
        if let Some((other, _)) = others.into_iter().flatten().find(is_taken).or(root) {
            reader.conflict(key, other, "a path of its own, such as \"/jmap/push/\"");
        }
    }
}

/// `[event_source]`.
pub(super) fn event_source(reader: &mut Reader<'_>) -> Option<EventSource> {
    let path = reader.parsed("event_source.path", address::path);
    let throttle = time(reader, "event_source.throttle", THROTTLE);
    // §7.3: "servers MUST NOT have a minimum allowed value higher than 30 or a maximum allowed value
    // less than 300."
    let ping_min = time(reader, "event_source.ping_min", Range::times(SECOND, SECOND * 30));
    let ping_max = time(reader, "event_source.ping_max", Range::times(SECOND * 300, DAY));
    let keep_alive = time(
        reader,
        "event_source.keep_alive",
        Range::times(SECOND, MINUTE * 10).or_zero("for none"),
    );
    let query = reader.choice(
        "event_source.query",
        &[("lenient", QueryMode::Lenient), ("strict", QueryMode::Strict)],
    );
    let retry = Range::times(MILLISECOND * 100, HOUR);
    let retry_min = time(reader, "event_source.retry_min", retry);
    let retry_max = time(reader, "event_source.retry_max", retry);
    if let (Some(min), Some(max)) = (retry_min, retry_max)
        && min > max
    {
        let why = "retry_min may not be longer than retry_max";
        reader.conflict("event_source.retry_min", "event_source.retry_max", why);
    }
    let write_timeout =
        time(reader, "event_source.write_timeout", Range::times(SECOND, MINUTE * 10));
    let send_buffer = size(reader, "event_source.send_buffer", SEND_BUFFER);
    let max_age = time(reader, "event_source.max_age", MAX_AGE);
    Some(EventSource {
        path: path?,
        throttle: throttle?,
        ping_min: ping_min?,
        ping_max: ping_max?,
        keep_alive: keep_alive?,
        query: query?,
        retry: (retry_min?, retry_max?),
        write_timeout: write_timeout?,
        send_buffer: send_buffer?,
        max_age: max_age?,
    })
}

/// `[websocket]`.
pub(super) fn websocket(reader: &mut Reader<'_>) -> Option<WebSocket> {
    let path = reader.parsed("websocket.path", address::path);
    let throttle = time(reader, "websocket.throttle", THROTTLE);
    let ping =
        time(reader, "websocket.ping", Range::times(SECOND, MINUTE * 10).or_zero("for none"));
    let pong_timeout = time(reader, "websocket.pong_timeout", Range::times(SECOND, MINUTE * 10));
    let idle = time(reader, "websocket.idle", Range::times(SECOND, DAY).or_zero("for never"));
    let max_age = time(reader, "websocket.max_age", MAX_AGE);
    let write_timeout = time(reader, "websocket.write_timeout", Range::times(SECOND, MINUTE * 10));
    let send_buffer = size(reader, "websocket.send_buffer", SEND_BUFFER);
    let memory = size(reader, "websocket.memory", Range::sizes(MB, TB));
    let response_size = size(reader, "websocket.response_size", Range::sizes(64 * KB, GB));
    if let (Some(one), Some(all)) = (response_size, memory)
        && one > all
    {
        let why = "one response must fit into the memory for all";
        reader.conflict("websocket.response_size", "websocket.memory", why);
    }
    let compression = reader.boolean("websocket.compression");
    let answer_echo = reader.boolean("websocket.answer_echo");
    Some(WebSocket {
        path: path?,
        throttle: throttle?,
        ping: ping?,
        pong_timeout: pong_timeout?,
        idle: idle?,
        max_age: max_age?,
        write_timeout: write_timeout?,
        send_buffer: send_buffer?,
        memory: memory?,
        response_size: response_size?,
        compression: compression?,
        answer_echo: answer_echo?,
    })
}
