//! What a subscription costs: `STORE_SUBSCRIPTIONS=100000 cargo nextest run --release --no-capture
//! store::tests::measured` tells; the ordinary run only sees to it that many, which several threads read,
//! are no trouble.

use tokio::time::Instant;

use super::*;

fn nth(n: u32) -> SubscriptionId {
    let mut bytes: [u8; 12] = rand::random();
    bytes[..4].copy_from_slice(&n.to_be_bytes());
    SubscriptionId(bytes)
}

/// Resident memory of this process, in bytes.
fn resident() -> usize {
    let statm = fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

#[tokio::test]
async fn many_subscriptions_are_opened_and_told_of_at_once() {
    let count =
        std::env::var("STORE_SUBSCRIPTIONS").map_or(12_000_u32, |text| text.parse().unwrap());
    let scratch = Scratch::new();
    let store = filled(&scratch, &[]).await;
    let all: Vec<_> = (0..count).map(nth).collect();
    for some in all.chunks(1000) {
        store.apply(some.iter().map(|id| created(&store, *id)).collect()).await.unwrap();
    }
    // Some leave, so that there are gaps between the rows.
    let (gone, ids): (Vec<_>, Vec<_>) = all.into_iter().partition(|id| id.0[3].is_multiple_of(10));
    store.apply(gone.into_iter().map(Change::Destroy).collect()).await.unwrap();
    store.close().await.unwrap();
    let disk = fs::metadata(scratch.settings().path).unwrap().len();
    let before = resident();
    let asked = Instant::now();
    let (store, found) = reopened(&scratch);
    let opened = asked.elapsed();
    let memory = resident().saturating_sub(before);
    let mut found: Vec<_> = found.into_iter().map(|it| it.id).collect();
    found.sort_unstable_by_key(|id| id.0);
    assert_eq!(found, ids);
    let asked = Instant::now();
    for id in ids.iter().take(10_000) {
        store.note_given(*id, "1sAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");
    }
    let noted = asked.elapsed();
    let asked = Instant::now();
    store.close().await.unwrap();
    println!(
        "{count} opened in {opened:?}, {} B of disk and {} B of memory each; \
         10,000 tokens noted in {noted:?}, written and closed in {:?}",
        disk / u64::from(count),
        memory / ids.len(),
        asked.elapsed()
    );
    let given = reopened(&scratch).1.iter().filter(|it| !it.given.is_empty()).count();
    assert_eq!(given, ids.len().min(10_000));
}
