use super::*;

/// A path that has moved to this port.
fn moved(port: u16) -> PathEvent {
    let tuple = |port| Tuple {
        local: LocalAddr::default(),
        remote: TransportAddr::Ip(([192, 0, 2, 1], port).into()),
    };
    PathEvent::Moved { id: PathId::ZERO, from: tuple(port - 1), to: tuple(port) }
}

/// A log, and `subscribers` from its beginning.
fn log<const SUBSCRIBERS: usize>() -> (PathLog, [PathCursor; SUBSCRIBERS]) {
    let mut log = PathLog::new(true);
    let cursors = array::from_fn(|_| log.subscribe());
    (log, cursors)
}

fn move_to(log: &mut PathLog, ports: core::ops::RangeInclusive<u16>) {
    for port in ports {
        let _ = log.record(moved(port));
    }
}

fn read_all(log: &PathLog, cursor: &mut PathCursor) -> alloc::vec::Vec<PathEvent> {
    core::iter::from_fn(|| log.read(cursor)).collect()
}

#[test]
fn path_events_lag_count() {
    for (events, lost) in [(7, 0), (8, 0), (9, 1), (16, 8), (1000, 992)] {
        let (mut log, [mut cursor]) = log();
        move_to(&mut log, 1..=events);
        let mut expected: alloc::vec::Vec<_> = (lost + 1..=events).map(moved).collect();
        if lost > 0 {
            expected.insert(0, PathEvent::Lagged(lost.into()));
        }
        assert_eq!(read_all(&log, &mut cursor), expected, "{events} events");
        move_to(&mut log, 1001..=1001);
        assert_eq!(read_all(&log, &mut cursor), [moved(1001)], "and is not behind any more");
    }
}

#[test]
fn path_events_late_subscriber_sees_nothing_old() {
    let (mut log, []) = log();
    move_to(&mut log, 1..=20);
    let mut late = log.subscribe();
    assert_eq!(log.read(&mut late), None);
    move_to(&mut log, 21..=21);
    assert_eq!(read_all(&log, &mut late), [moved(21)]);
}

#[test]
fn path_events_two_subscribers_lag_apart() {
    let (mut log, [mut quick, mut slow]) = log();
    move_to(&mut log, 1..=5);
    assert_eq!(read_all(&log, &mut quick).len(), 5);
    move_to(&mut log, 6..=10);
    assert_eq!(read_all(&log, &mut quick), (6..=10).map(moved).collect::<alloc::vec::Vec<_>>());
    assert_eq!(log.read(&mut slow), Some(PathEvent::Lagged(2)));
    assert_eq!(read_all(&log, &mut slow), (3..=10).map(moved).collect::<alloc::vec::Vec<_>>());
}

/// However much happens, the application is told once until it has looked, or somebody else begins to.
#[test]
fn path_events_are_told_once() {
    let (mut log, [mut cursor]) = log();
    assert!(log.record(moved(1)));
    assert!(!log.record(moved(2)));
    let _ = log.look(&mut cursor);
    assert!(log.record(moved(3)), "it has looked, if not at everything");
    log.subscribe();
    assert!(log.record(moved(4)), "the new one does not know");
    assert!(!log.record(moved(5)));
}

/// A cursor of another connection finds nothing, and does no harm.
#[test]
fn path_events_foreign_cursor_finds_nothing() {
    let (mut busy, [mut cursor]) = log();
    move_to(&mut busy, 1..=20);
    read_all(&busy, &mut cursor);
    let (quiet, []) = log();
    assert_eq!(quiet.read(&mut cursor), None);
}
