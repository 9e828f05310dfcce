//! Peers with several paths, and with one of them in their minds only.

use core::net::SocketAddr;

use dunlin_core::{Disposition, Duration, PathId, fuzzing};
use dunlin_sim::{Evil, config};

use crate::common::{ms, quick};
use crate::frames::{path_challenge, path_response, path_status, ping, stream};

/// The first path that the dialler opens.
const SECOND: PathId = PathId::new(2).expect("a path id");

/// Where the liar is on its second path.
pub(super) fn elsewhere() -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 1], 1_001))
}

/// Opens a second path, of which the liar's own engine knows nothing: the liar challenges, and answers the victim's challenge.
pub(super) fn open_second(evil: &mut Evil) {
    let liar = evil.pair.client;
    evil.pair.world.add_address(liar, elsewhere());
    assert_eq!(evil.strike_from(elsewhere(), SECOND, &path_challenge([1; 8])), Disposition::Accepted);
    evil.run(ms(1));
    let asked = evil.overhear().into_iter().filter(|(to, _)| *to == elsewhere());
    let asked: Vec<_> =
        asked.filter_map(|(_, packet)| evil.as_dialler(|dialler| fuzzing::open(dialler, &packet))).collect();
    // What looks like a challenge and is none is answered too, which means nothing.
    let challenges =
        asked.iter().flat_map(|opened| opened.frames.windows(9)).filter(|frame| frame[0] == 0x1a);
    let answers: Vec<u8> =
        challenges.flat_map(|frame| path_response(frame[1..].try_into().expect("eight bytes"))).collect();
    assert_eq!(evil.strike_from(elsewhere(), SECOND, &answers), Disposition::Accepted);
    let open = evil.as_victim(|connection| connection.paths().count());
    assert_eq!(open, 2);
}

/// A path without room for the record of one more packet waits until there is some. Another one, which has room, changes
/// nothing about that: it does not make the first try again and again.
#[test]
fn ac_22_a_path_that_memory_holds_back_waits_beside_one_that_sends() {
    let mut settings = config();
    settings.limits.per_connection = 512 << 10;
    let mut evil = Evil::new(1, quick(), settings);
    open_second(&mut evil);
    evil.strike(&path_status(true, 0, 0, 1));
    // The front of the ring stays, as nothing is acknowledged, and it fills up to where it would have to double.
    for number in 0..110 {
        if number < 17 {
            evil.as_dialler(|dialler| fuzzing::skip_numbers(dialler, PathId::ZERO, 1));
        }
        evil.strike(&ping());
        evil.run(ms(30));
    }
    // All the memory goes elsewhere.
    evil.as_victim(|connection| {
        while let Ok(id) = connection.open_uni() {
            while connection.write(id, &[7; 60_000]).is_ok_and(|written| written > 0) {}
        }
    });
    let full = Disposition::Dropped(dunlin_core::DropReason::OverBudget);
    let filled = (0..100)
        .any(|index| evil.strike_from(elsewhere(), SECOND, &stream(index * 4 + 2, 600, b"x", false)) == full);
    assert!(filled, "there is no end to the memory");
    evil.run(ms(30));
    let mut waits = 0;
    for _ in 0..400 {
        evil.overhear();
        evil.strike(&ping());
        let before = evil.stats().timers_fired;
        evil.run(ms(30));
        let fired = evil.stats().timers_fired - before;
        assert!(fired <= 30, "{fired} timers in 30 ms");
        let answered = evil.overhear().iter().any(|(to, _)| *to == evil.pair.client_addr);
        waits += u32::from(!answered);
    }
    assert!(waits > 0, "memory never held the path back");
    evil.run(Duration::from_secs(1));
    evil.finish();
}
