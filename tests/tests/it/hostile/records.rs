//! Records of what was sent, for a peer that acknowledges nothing, or only what suits it.

use dunlin_core::Duration;
use dunlin_sim::{Evil, config};

use crate::common::{ms, quick};
use crate::frames::{max_streams, ping, stop_sending};

/// Probes repeat what was never acknowledged, here the ends of more streams than fit into one of them, each of which is to be
/// remembered. Where there is no memory for that, the oldest is forgotten, and no packet has more than there is room for.
#[test]
fn ac_12_records_of_probes_stay_within_the_limit() {
    const STREAMS: u64 = 1_500;
    const LIMIT: u64 = 1 << 20;
    let mut poor = config();
    poor.limits.per_connection = LIMIT;
    let mut evil = Evil::new(1, quick(), poor);
    evil.strike(&max_streams(true, STREAMS));
    let ids: Vec<_> = (0..STREAMS)
        .map(|_| {
            evil.as_victim(|connection| {
                let id = connection.open_uni().expect("a stream");
                connection.finish(id).expect("it is open");
                id
            })
        })
        .collect();
    for ids in ids.chunks(100) {
        evil.strike(&ids.iter().flat_map(|id| stop_sending(id.get(), 1)).collect::<Vec<_>>());
        evil.run(ms(10));
    }
    let mut most = 0;
    for _ in 0..40 {
        evil.strike(&ping());
        evil.run(Duration::from_secs(15));
        most = evil.stats().memory_used.max(most);
    }
    assert_eq!(evil.end(), None);
    assert!(most > LIMIT / 2, "{most} bytes: there is no need to forget anything");
    assert!(most <= LIMIT + (72 << 10), "{most} bytes of {LIMIT}");
    evil.finish();
}
