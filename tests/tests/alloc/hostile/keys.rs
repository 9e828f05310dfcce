//! Packets that claim to be sealed with keys that are not in use yet.

use dunlin_core::{AeadPolicy, Disposition, DropReason, Duration, fuzzing};
use dunlin_sim::config;

use crate::rig::Rig;

/// Whoever knows a connection id can claim the next phase in one of four packets: that must cost an attempt to open it and
/// nothing else, not new keys each time.
#[test]
fn ac_24_forged_packets_of_the_next_phase_do_not_touch_the_heap() {
    for aead in [AeadPolicy::ChaCha20, AeadPolicy::Aes] {
        let mut settings = config();
        settings.aead = aead;
        let mut rig = Rig::new(settings.clone(), settings);
        let handles = rig.connect();
        rig.run(Duration::from_secs(2), &mut |_, _, _, _| {});
        let mut packet = Vec::new();
        let sealed = rig.with(0, handles[0], |connection| {
            fuzzing::rotate_keys(connection);
            fuzzing::seal(connection, &[1], &mut packet)
        });
        assert_eq!(sealed, Some(true));
        let forge = |rig: &mut Rig| {
            let mut forged = packet.clone();
            *forged.last_mut().expect("there is a tag") ^= 1;
            assert_eq!(rig.deliver(1, &mut forged), Disposition::Dropped(DropReason::Unauthentic));
        };
        // The first one may make the keys.
        forge(&mut rig);
        let (before, stats) = (rig.sides[1].heap, rig.sides[1].endpoint.stats());
        (0..10_000).for_each(|_| forge(&mut rig));
        assert_eq!(rig.sides[1].heap - before, crate::counter::Heap::default(), "{aead:?}");
        let after = rig.sides[1].endpoint.stats();
        assert_eq!(after.aead_operations - stats.aead_operations, 10_000, "one attempt each");
        assert_eq!(after.derivations, stats.derivations);
        // What they were made for is still good.
        assert_eq!(rig.deliver(1, &mut packet.clone()), Disposition::Accepted);
        assert_eq!(rig.sides[1].endpoint.stats().derivations, stats.derivations + 1);
    }
}
