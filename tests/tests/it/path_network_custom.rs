//! Reports of the network, and a path over a custom transport.

use core::net::SocketAddr;

use dunlin_core::{
    Arrival, ConnectOptions, ConnectionHandle, CustomAddr, Duration, Endpoint, Event, Instant, LocalAddr,
    NetworkChange, PathState, Peer, TrainLimit, TransportAddr, TransportId, TransportProfile,
};
use dunlin_sim::{ALPN, accept_incoming, config, endpoint};

use crate::common::ms;

/// Two engines that reach each other by IP and over a custom transport, without delay.
struct Two {
    ends: [Endpoint; 2],
    now: Instant,
}

impl Two {
    fn new(profile: TransportProfile) -> Self {
        let mut settings = config();
        settings.automatic_paths = false;
        settings.transports.insert(TransportId::new(7), profile);
        let ends = [1, 2].map(|secret| endpoint(settings.clone(), secret, 1));
        Self { ends, now: Instant::ZERO }
    }

    fn ip(end: usize) -> TransportAddr {
        SocketAddr::from(([10, 0, 0, end as u8], 1000)).into()
    }

    fn custom(end: usize) -> TransportAddr {
        TransportAddr::Custom {
            transport: TransportId::new(7),
            address: CustomAddr::new(&[end as u8]).unwrap(),
        }
    }

    fn run(&mut self, span: Duration) -> Vec<(ConnectionHandle, Event)> {
        let (end, mut events, mut train) = (self.now + span, Vec::new(), Vec::new());
        while self.now < end {
            for from in 0..2 {
                self.ends[from].handle_timeout(self.now);
                while let Some(transmit) =
                    self.ends[from].poll_transmit(self.now, TrainLimit::SINGLE, &mut train)
                {
                    let by_ip = matches!(transmit.remote, TransportAddr::Ip(_));
                    let (remote, ip) = if by_ip {
                        (Self::ip(from), Some([10, 0, 0, 1 - from as u8].into()))
                    } else {
                        (Self::custom(from), None)
                    };
                    let local = LocalAddr { socket: 0, ip };
                    self.ends[1 - from].handle_datagram(
                        self.now,
                        Arrival { local, remote, ecn: None },
                        &mut train,
                    );
                    train.clear();
                }
                while let Some((handle, event)) = self.ends[from].poll_event() {
                    accept_incoming(self.now, &mut self.ends[from], handle, &event);
                    events.push((handle, event));
                }
            }
            self.now += ms(1);
        }
        events
    }
}

/// A path over a custom transport does not depend on addresses, unless its profile says so.
#[test]
fn path_over_a_custom_transport_goes_on_as_its_profile_says() {
    for survives in [true, false] {
        let mut profile = TransportProfile::new(1200);
        profile.survives_network_change = survives;
        let mut two = Two::new(profile);
        let peer = Peer::Key(*two.ends[1].public_key());
        let own = |last: u8| NetworkChange::Addresses(vec![[10, 0, 0, 0].into(), [10, 5, 5, last].into()]);
        two.ends[0].network_changed(two.now, own(1));
        let client = two.ends[0].connect(two.now, peer, ConnectOptions::new(Two::ip(1), ALPN)).unwrap();
        two.run(ms(2000));
        let connection = |two: &mut Two| two.ends[0].connection(client).unwrap().paths().collect::<Vec<_>>();
        two.ends[0].connection(client).unwrap().open_path(Two::custom(1), None).unwrap();
        two.run(ms(1000));
        assert!(connection(&mut two).iter().all(|path| path.state == PathState::Open));
        two.ends[0].network_changed(two.now, own(1));
        two.run(ms(500));
        assert_eq!(connection(&mut two).len(), 2, "nothing has changed");
        two.ends[0].network_changed(two.now, own(2));
        two.run(ms(500));
        let kinds: Vec<_> = connection(&mut two).iter().map(|path| path.remote).collect();
        let expected = if survives { vec![Two::ip(1), Two::custom(1)] } else { vec![Two::ip(1)] };
        assert_eq!(kinds, expected, "survives: {survives}");
        // The last one goes on in any case.
        two.ends[0].network_changed(two.now, NetworkChange::Addresses(Vec::new()));
        two.run(ms(500));
        assert_eq!(connection(&mut two).len(), 1);
    }
}
