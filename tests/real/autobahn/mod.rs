//! The cases of Autobahn's test suite, which is how WebSocket implementations are compared (hostile.md
//! B8): framing, UTF-8, closing, messages of 16 MB, and compression. kosoku runs them.

use std::ffi::OsStr;
use std::process::{Command, Stdio};

use crate::support::{Clients, listener};

mod echo;

/// What a case may end with: conformance, or something seen that no rule speaks of.
const PASSED: [&str; 2] = ["OK", "INFORMATIONAL"];

/// Runs these cases; fails with those that did not pass.
#[track_caller]
fn passes(cases: &[impl AsRef<OsStr>], count: usize) {
    let output = Command::new(Clients::shared().python)
        .arg(listener::program("autobahn.py"))
        .arg(echo::serve().to_string())
        .args(cases)
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
    let whole = failed.is_empty() && passed.len() == count;
    assert!(whole, "{} passed, these did not: {failed:#?}\n{errors}", passed.len());
}

#[test]
fn autobahn_finds_no_fault_in_the_protocol() {
    passes(&["1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "9.*", "10.*"], 301);
}

/// Of many kinds of data, and after every offer that a client can make. A group is eighteen sizes of
/// message and frame, and two thirds of a gigabyte: all of it is sent if `AUTOBAHN_SIZES` is `*`, else
/// the sizes up to 8192 bytes.
#[test]
fn autobahn_finds_no_fault_in_compression() {
    let sizes = std::env::var("AUTOBAHN_SIZES").unwrap_or_else(|_| "1 2 3 4 5 6 11".to_owned());
    let count = if sizes == "*" { 18 } else { sizes.split(' ').count() };
    let all_of = |group: u32, subgroups: u32| {
        let cases = (1..=subgroups)
            .flat_map(|subgroup| sizes.split(' ').map(move |n| format!("{group}.{subgroup}.{n}")));
        let cases: Vec<String> = cases.collect();
        passes(&cases, count * subgroups as usize);
    };
    std::thread::scope(|scope| {
        scope.spawn(|| all_of(12, 5));
        scope.spawn(|| all_of(13, 7));
    });
}
