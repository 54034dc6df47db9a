//! The cases of Autobahn's test suite, which is how WebSocket implementations are compared (hostile.md
//! B8): framing, UTF-8, closing, messages of 16 MB, and compression. kosoku runs them.

use std::process::{Command, Stdio};

use crate::support::{Clients, listener};

mod echo;

/// What a case may end with: conformance, or something seen that no rule speaks of.
const PASSED: [&str; 2] = ["OK", "INFORMATIONAL"];

/// Runs the cases of these groups; fails with those that did not pass.
#[track_caller]
fn passes(groups: &[&str], count: usize) {
    let output = Command::new(Clients::shared().python)
        .arg(listener::program("autobahn.py"))
        .arg(echo::serve().to_string())
        .args(groups)
        .stdin(Stdio::null())
        .output()
        .expect("a Python");
    let results = String::from_utf8_lossy(&output.stdout);
    let passed = |line: &&str| {
        let mut verdicts = line.split(' ').skip(1);
        verdicts.all(|verdict| PASSED.contains(&verdict))
    };
    let (passed, failed): (Vec<_>, Vec<_>) = results.lines().partition(passed);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(failed.is_empty() && passed.len() == count, "{} passed\n{errors}", passed.len());
}

#[test]
fn autobahn_finds_no_fault_in_the_protocol() {
    passes(&["1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "9.*", "10.*"], 301);
}

#[test]
fn autobahn_finds_no_fault_in_compressed_data_of_many_kinds() {
    passes(&["12.*"], 90);
}

#[test]
fn autobahn_finds_no_fault_in_any_offer_of_compression() {
    passes(&["13.*"], 126);
}
