//! Several paths at once: which of them the next train takes, so that the whole arrives soonest.
//!
//! Each path has an estimate of when the train would have arrived on it, from its pacer, what is queued on it, its bandwidth
//! and half its round trip: Earliest Delivery Path First (Chebrolu and Rao, "Bandwidth Aggregation for Real-Time
//! Applications in Heterogeneous Wireless Networks", IEEE TMC 2006). Where the best one cannot take it now, a worse one
//! that can does so only if the better ones could not have delivered everything by then: ECF (Lim and others, "ECF: An MPTCP
//! Path Scheduler to Manage Heterogeneous Paths", CoNEXT 2017), for any number of paths. So a transfer has the bandwidth of
//! all of them, and its end, or a single message, is not left waiting for the slow one.

use crate::time::{Duration, Instant, part};

/// A path that data may take, as far as it matters here.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lane {
    /// When its pacer lets the next packet go.
    pub(crate) ready: Instant,
    /// Bytes in flight.
    pub(crate) in_flight: u64,
    /// Bytes that may be in flight.
    pub(crate) window: u64,
    /// Its bandwidth in bytes per second; 0 while unknown.
    pub(crate) bandwidth: u64,
    /// Its round-trip time without a queue.
    pub(crate) min_rtt: Duration,
}

/// Which lane, by its place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Pick {
    /// This one takes the next train.
    Send(usize),
    /// None does now: it would arrive later than on this one, which has to wait for its pacer or for acknowledgements.
    Wait(usize),
}

/// Bytes that are waiting to be sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    /// In one packet.
    pub(crate) packet: u64,
    /// In the next train.
    pub(crate) train: u64,
    /// Behind it, as far as the peer gives credit for them.
    pub(crate) left: u64,
}

/// Picks the lane for the next train; `None` if there is no lane. Of equals it is the first.
pub(crate) fn pick(now: Instant, lanes: &[Lane], load: Load) -> Option<Pick> {
    let arrivals = || lanes.iter().enumerate().map(|(at, lane)| (lane.arrival(now, load), at, lane));
    let order = |(arrival, at, _): &(Duration, usize, &Lane)| (*arrival, *at);
    let (_, best, _) = arrivals().min_by_key(order)?;
    let free = arrivals().filter(|(_, _, lane)| lane.is_free(now, load.packet)).min_by_key(order);
    let Some((by_then, free, _)) = free else { return Some(Pick::Wait(best)) };
    let better = arrivals().filter(|(arrival, _, _)| *arrival < by_then);
    let delivered = better.fold(0, |sum: u64, (arrival, _, lane)| {
        sum.saturating_add(load.train).saturating_add(lane.bytes_in(by_then.saturating_sub(arrival)))
    });
    let is_needed = delivered < load.train.saturating_add(load.left) || free == best;
    Some(if is_needed { Pick::Send(free) } else { Pick::Wait(best) })
}

impl Lane {
    /// Whether a packet can go now.
    fn is_free(&self, now: Instant, packet: u64) -> bool {
        self.ready <= now && (self.in_flight == 0 || self.in_flight.saturating_add(packet) <= self.window)
    }

    /// From now until the next train would have arrived.
    fn arrival(&self, now: Instant, load: Load) -> Duration {
        let paced = self.ready - now;
        let beyond_window = self.in_flight.saturating_add(load.packet).saturating_sub(self.window);
        let queued = self.time_for(self.in_flight).saturating_sub(self.min_rtt);
        let start = paced.max(queued).max(self.time_for(beyond_window));
        start.saturating_add(self.time_for(load.train)).saturating_add(part(self.min_rtt, 2))
    }

    /// The bandwidth, as bytes in a time: at least half a window for each round trip, which is what a path has that is full
    /// (RFC 9002 section 7.7). Who has sent little has measured what it sent, and not what the path can.
    fn bandwidth(&self) -> (u64, Duration) {
        let measured = u128::from(self.bandwidth).saturating_mul(self.min_rtt.as_nanos());
        let possible = u128::from(self.window / 2).saturating_mul(Duration::from_secs(1).as_nanos());
        if measured > possible {
            (self.bandwidth, Duration::from_secs(1))
        } else {
            (self.window / 2, self.min_rtt)
        }
    }

    /// The time that so many bytes take.
    fn time_for(&self, bytes: u64) -> Duration {
        let (rate, time) = self.bandwidth();
        let nanos = u128::from(bytes).saturating_mul(time.as_nanos()).checked_div(u128::from(rate.max(1)));
        Duration::from_nanos(nanos.and_then(|nanos| u64::try_from(nanos).ok()).unwrap_or(u64::MAX))
    }

    /// How many bytes it carries in this time.
    fn bytes_in(&self, time: Duration) -> u64 {
        let (rate, unit) = self.bandwidth();
        let bytes = time.as_nanos().saturating_mul(u128::from(rate)).checked_div(unit.as_nanos().max(1));
        bytes.and_then(|bytes| u64::try_from(bytes).ok()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    const NOW: Instant = Instant::from_nanos(1_000_000_000);
    /// A train, in bytes: 40 packets.
    const TRAIN: u64 = 48_000;

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn lane(mbit: u64, rtt: u64) -> Lane {
        let (bandwidth, min_rtt) = (mbit * 125_000, ms(rtt));
        let window = 2 * bandwidth * rtt / 1_000 + 2 * TRAIN;
        Lane { ready: NOW, in_flight: 0, window, bandwidth, min_rtt }
    }

    fn load(left: u64) -> Load {
        Load { packet: 1_200, train: 1_200, left }
    }

    #[test]
    fn a_message_takes_the_path_on_which_it_arrives_first() {
        let (fast, slow) = (lane(100, 20), lane(50, 60));
        assert_eq!(pick(NOW, &[slow, fast], load(0)), Some(Pick::Send(1)));
        let waits = Lane { ready: NOW + ms(5), ..fast };
        assert_eq!(pick(NOW, &[slow, waits], load(0)), Some(Pick::Wait(1)), "5 + 10 ms are less than 30");
        let waits = Lane { ready: NOW + ms(25), ..fast };
        assert_eq!(pick(NOW, &[slow, waits], load(0)), Some(Pick::Send(0)));
        let full = Lane { in_flight: 2 * fast.window, ..fast };
        assert_eq!(pick(NOW, &[slow, full], load(0)), Some(Pick::Send(0)), "three round trips' queue");
        assert_eq!(pick(NOW, &[], load(0)), None);
    }

    #[test]
    fn much_data_takes_every_path_and_its_end_the_fast_one() {
        let paced = Lane { ready: NOW + ms(1), ..lane(100, 20) };
        let lanes = [paced, lane(50, 60)];
        // The slow one is 19 ms later, in which the fast one carries 239,000 bytes.
        assert_eq!(pick(NOW, &lanes, load(300_000)), Some(Pick::Send(1)));
        assert_eq!(pick(NOW, &lanes, load(200_000)), Some(Pick::Wait(0)));
    }

    #[test]
    fn a_path_of_which_nothing_is_known_gets_what_others_cannot_take() {
        let known = lane(100, 20);
        let new = Lane { ready: NOW, in_flight: 0, window: 12_000, bandwidth: 0, min_rtt: ms(333) };
        assert_eq!(pick(NOW, &[new, known], load(10_000_000)), Some(Pick::Send(1)));
        let paced = Lane { ready: NOW + ms(1), ..known };
        assert_eq!(pick(NOW, &[new, paced], load(10_000_000)), Some(Pick::Send(0)));
        assert_eq!(pick(NOW, &[new, paced], load(100_000)), Some(Pick::Wait(1)));
    }

    /// Sends so many trains by the rule over idle lanes; how long it takes until all have arrived.
    fn run(lanes: &[Lane], trains: u64) -> Duration {
        let (mut lanes, mut now, mut last) = (lanes.to_vec(), NOW, NOW);
        let mut acks: Vec<(Instant, usize)> = Vec::new();
        for left in (0..trains).rev() {
            let load = Load { packet: 1_200, train: TRAIN, left: left * TRAIN };
            loop {
                acks.retain(|&(at, lane)| {
                    let due = at <= now;
                    lanes[lane].in_flight -= if due { TRAIN } else { 0 };
                    !due
                });
                match pick(now, &lanes, load).unwrap() {
                    Pick::Send(at) => {
                        let lane = &mut lanes[at];
                        lane.ready = now + lane.time_for(TRAIN);
                        lane.in_flight += TRAIN;
                        last = last.max(lane.ready + lane.min_rtt / 2);
                        acks.push((lane.ready + lane.min_rtt, at));
                        break;
                    }
                    Pick::Wait(_) => {
                        let pacers = lanes.iter().map(|lane| lane.ready).filter(|ready| *ready > now);
                        now = pacers.chain(acks.iter().map(|ack| ack.0)).min().unwrap();
                    }
                }
            }
        }
        last - NOW
    }

    /// The least time that any division of the trains among the lanes takes.
    fn optimum(lanes: &[Lane], trains: u64) -> Duration {
        let Some((lane, others)) = lanes.split_first() else {
            return if trains == 0 { ms(0) } else { Duration::MAX };
        };
        let take = |mine: u64| {
            let own = if mine == 0 { ms(0) } else { lane.time_for(mine * TRAIN) + lane.min_rtt / 2 };
            own.max(optimum(others, trains - mine))
        };
        (0..=trains).map(take).min().unwrap_or(Duration::MAX)
    }

    proptest! {
        #[test]
        fn a_transfer_is_done_almost_as_soon_as_it_can_be(
            lanes in prop::collection::vec((1..200_u64, 1..300_u64), 2..=3), trains in 1..60_u64,
        ) {
            let lanes: Vec<_> = lanes.into_iter().map(|(mbit, rtt)| lane(mbit, rtt)).collect();
            let (took, best) = (run(&lanes, trains), optimum(&lanes, trains));
            // Times are cut to nanoseconds, once for each train.
            let (slack, cut) = (lanes.iter().map(|lane| lane.time_for(TRAIN)).max().unwrap(), Duration::from_nanos(60));
            prop_assert!(best <= took + cut && took <= best + slack + cut, "{took:?}, at best {best:?}, {lanes:?}");
        }

        #[test]
        fn any_figures_are_taken(
            lanes in prop::collection::vec((any::<[u64; 4]>(), any::<Duration>()), 0..6), packet: u64, train: u64, left: u64,
        ) {
            let lanes: Vec<_> = lanes
                .into_iter()
                .map(|([ready, in_flight, window, bandwidth], min_rtt)| {
                    Lane { ready: Instant::from_nanos(ready), in_flight, window, bandwidth, min_rtt }
                })
                .collect();
            let picked = pick(NOW, &lanes, Load { packet, train, left });
            prop_assert_eq!(picked.is_none(), lanes.is_empty());
            if let Some(Pick::Send(at)) = picked {
                prop_assert!(lanes[at].ready <= NOW);
            }
        }
    }
}
