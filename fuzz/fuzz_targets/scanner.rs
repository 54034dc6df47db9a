//! Any bytes, in any chunks: the scanner says nothing that a full parse denies.

#![no_main]

use std::hash::{DefaultHasher, Hash, Hasher};

use jmap_push_proxy::api::{Method, MethodError, MethodResponse, Observed, Scanner, Verdict, facts};
use jmap_push_proxy::jmap::id::{AccountId, State};
use libfuzzer_sys::fuzz_target;

#[path = "../../src/api/scanner/tests/oracle.rs"]
mod oracle;

fuzz_target!(|document: &[u8]| {
    oracle::check(document, &cuts(document));
    let every_byte: Vec<usize> = (0..document.len()).collect();
    let (verdict, _) = oracle::scan(document, &every_byte);
    assert_eq!(verdict, oracle::scan(document, &[]).0);
    let (Verdict::Complete(observed) | Verdict::Unknown(observed)) = verdict;
    let _ = facts(&observed.responses);
});

/// Offsets that look random but are always the same for a document.
fn cuts(document: &[u8]) -> Vec<usize> {
    let mut hasher = DefaultHasher::new();
    document.hash(&mut hasher);
    let mut cuts: Vec<usize> = (0..8)
        .map(|n: u8| {
            n.hash(&mut hasher);
            hasher.finish() as usize % (document.len() + 1)
        })
        .collect();
    cuts.sort_unstable();
    cuts
}
