//! `jmap-push-proxy demo`, and its page in a browser.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::support::eventually;
use crate::support::proxy::free_address;

#[test]
fn the_page_shows_each_event_and_how_long_it_took() {
    let mut demo = Demo::start();
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/python/demo_page.py");
    let seen = Command::new("python3").arg(page).arg(demo.url()).output();
    let seen = seen.expect("python3");
    let told = String::from_utf8_lossy(&seen.stderr);
    let seen: Value = serde_json::from_slice(&seen.stdout).unwrap_or_else(|_| panic!("{told}"));

    for press in ["delivered", "shared", "marked", "unannounced"] {
        let [shown, measured] = [0, 1].map(|at| seen[press][at].as_f64().unwrap_or(f64::NAN));
        // It shows less than a second in whole milliseconds, seconds to a tenth.
        let rounding = if shown < 1000.0 { 1.0 } else { 50.0 };
        assert!(shown > 0.0 && shown <= measured + rounding, "{press}: {seen}");
        assert!(measured - shown < 100.0 + rounding, "{press}: {seen}");
    }
    // One press follows the other at once: none waits for the throttle.
    for press in ["delivered", "shared", "marked"] {
        assert!(seen[press][0].as_f64().is_some_and(|shown| shown < 500.0), "{press}: {seen}");
    }
    // The WebSocket: a request and its answer, then push.
    let messages = seen["messages"].as_array().expect("messages");
    let kinds: Vec<_> = messages.iter().map(|message| message[0].as_str()).collect();
    let said = ["Request", "Response", "WebSocketPushEnable", "StateChange"];
    assert_eq!(kinds, said.map(Some), "{seen}");
    let message = |at: usize| -> Value {
        let text = messages[at][1].as_str().unwrap_or_default();
        serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
    };
    assert_eq!(message(1)["requestId"], "R1", "{seen}");
    assert!(message(3)["changed"]["alice"]["Email"].is_string(), "{seen}");
    assert_web_push(&seen);
    assert!(seen["events"].as_u64().is_some_and(|events| events >= 4), "{seen}");
    assert!(seen["foreign"].as_str().is_some_and(|text| text.contains("told nothing")), "{seen}");

    demo.stop();
}

/// The page has decrypted by itself what the demo's push service took (RFC 8291); Chromium's own cannot be
/// reached from here, and the page says so.
fn assert_web_push(seen: &Value) {
    let receiver = &seen["receiver"];
    assert_eq!(receiver["status"], "subscribed", "{seen}");
    assert_eq!(receiver["steps"].as_array().map(Vec::len), Some(5), "{seen}");
    let pushes = receiver["pushes"].as_array().expect("pushes");
    let [verification, change] = &pushes[..] else { panic!("{seen}") };
    assert_eq!(verification["name"], "PushVerification", "{seen}");
    assert_eq!(change["name"], "StateChange", "{seen}");
    assert!(change["latency"].is_string(), "{seen}");
    let message: Value = serde_json::from_str(change["message"].as_str().unwrap()).unwrap();
    assert!(message["changed"]["alice"]["Email"].is_string(), "{seen}");
    let request = change["request"].as_str().unwrap();
    for shown in ["ttl: ", "urgency: high", "content-encoding: aes128gcm", "\"aud\": \"https://"] {
        assert!(request.contains(shown), "{shown}: {request}");
    }
    let browser = seen["browser"].as_str();
    assert!(browser.is_some_and(|text| text.contains("cannot reach its push service")), "{seen}");
}

/// A running demo, killed when dropped.
struct Demo(Child);

impl Demo {
    fn start() -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_jmap-push-proxy"));
        command.args(["demo", "--listen", &free_address()]);
        // It is to open no browser of its own.
        command.env_remove("DISPLAY").env_remove("WAYLAND_DISPLAY");
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        Self(command.spawn().expect("the built program"))
    }

    /// Where to look, as it says itself.
    fn url(&mut self) -> String {
        let mut lines = BufReader::new(self.0.stdout.take().expect("its output, once")).lines();
        let url = lines.find_map(|line| {
            let line = line.expect("its output");
            Some(line.split_once("Look at it:")?.1.trim().to_owned())
        });
        url.expect("where to look")
    }

    fn stop(mut self) {
        let pid = self.0.id().to_string();
        let sent = Command::new("kill").args(["-TERM", &pid]).status().expect("kill");
        assert!(sent.success(), "kill -TERM {pid}: {sent}");
        let status = eventually("end after SIGTERM", || {
            self.0.try_wait().expect("a child").ok_or("still running")
        });
        assert_eq!(status.code(), Some(0));
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
