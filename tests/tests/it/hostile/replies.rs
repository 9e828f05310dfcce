//! Answers to a dial that say more than its side has room for.

use dunlin_core::{Inspector, Payload, Peer};
use dunlin_sim::{AcceptAll, Injection, Pair, Verdict, config};

use crate::common::{DATA, INIT_KNOWN, Seen, kind, ms, quick, record};
use crate::frames::stream;
use crate::puppet::{self, answer, hello};

/// The answerer's first unidirectional stream.
const THEIR_UNI: u64 = 3;

/// Dials somebody who answers with these frames behind his HELLO. The dialler keeps so many gaps in a stream. Returns what it
/// said when it had heard, in words.
fn said_after(frames: &[u8], stream_gaps: usize) -> String {
    let mut settings = config();
    settings.key_log = true;
    settings.limits.stream_gaps = stream_gaps;
    let mut pair = Pair::with(1, quick(), settings, config(), AcceptAll, AcceptAll);
    let (payload, at) = ([hello(&answer()), frames.to_vec()].concat(), pair.server_addr);
    let seen = record(&mut pair.world);
    pair.world.add_tap(move |passing| {
        if kind(passing.bytes) != INIT_KNOWN {
            return Verdict::Drop;
        }
        let (_, reply) = puppet::reply(passing.bytes, &payload);
        passing.inject(Injection { after: ms(20), from: at, to: passing.from, ecn: None, bytes: reply });
        Verdict::Drop
    });
    let client = pair.dial_as(Peer::Key(puppet::public()));
    pair.world.run_for(ms(500));
    let said = in_words(&mut pair, &seen.borrow());
    assert_eq!(pair.client().closed(client), None);
    pair.finish();
    said
}

/// The Data packets among these datagrams.
fn in_words(pair: &mut Pair, seen: &[Seen]) -> String {
    let dialler = &mut pair.world.node_mut(pair.client).endpoint;
    let mut inspector = Inspector::new(core::iter::from_fn(|| dialler.poll_key_log()));
    let packets = seen.iter().filter(|seen| kind(&seen.bytes) == DATA);
    let read = packets.map(|seen| match inspector.read(&seen.bytes).payload {
        Payload::Frames(frames) => frames,
        payload => panic!("{payload:?}"),
    });
    read.collect::<Vec<_>>().join("\n")
}

/// An acknowledgement is a promise that what was in the packet will not be needed again. The answer is packet 0.
#[test]
fn ac_10_data_of_an_answer_that_is_not_kept_is_not_acknowledged() {
    let behind_a_gap = stream(THEIR_UNI, 5, b"later", false);
    let kept = said_after(&behind_a_gap, 1);
    assert!(kept.contains("ACK"), "{kept}");
    let withheld = said_after(&behind_a_gap, 0);
    assert!(withheld.contains("PING") && !withheld.contains("ACK"), "{withheld}");
}
