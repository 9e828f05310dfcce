//! Several paths for one connection.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::net::UdpSocket as StdSocket;

use dunlin_core::{
    Config, ConnectOptions, ErrorCode, LocalAddr, PathClosed, PathError, PathEvent, PathId, PathState,
    PathStatus, Peer, TransportAddr,
};
use tokio::join;

use super::{LinkOf, TRIES, any, config, meet, pattern};
use crate::adapter::{Adapter, Link, Listener, Node, RecvHalf, SendHalf};

/// Enough that it takes many turns to send.
const BYTES: usize = 3_000_000;

/// Two endpoints with two sockets each, and a connection between the first ones.
struct Pair<A: Adapter> {
    client: A::Node,
    server: A::Node,
    dialled: LinkOf<A>,
    accepted: LinkOf<A>,
}

impl<A: Adapter> Pair<A> {
    async fn new(adapter: &A) -> Self {
        let addresses = ["127.0.0.1:0", "127.0.0.2:0"].map(|text| text.parse().unwrap());
        let (client, server) =
            (adapter.bind_all(&addresses, 1, by_hand()), adapter.bind_all(&addresses, 2, by_hand()));
        let (dialled, accepted) = meet::<A>(&client, &server).await;
        Self { client, server, dialled, accepted }
    }

    /// The server's second address.
    fn second(&self) -> SocketAddr {
        self.server.local_addrs()[1]
    }

    /// Opens a path between the second sockets.
    async fn open(&self, events: &mut impl Listener) -> PathId {
        open(&self.dialled, self.second().into(), socket(1), events).await
    }
}

/// No paths but those that are opened here.
fn by_hand() -> Config {
    let mut config = config();
    config.automatic_paths = false;
    config
}

/// One of our sockets, and the address that the system chooses.
fn socket(number: u16) -> LocalAddr {
    LocalAddr { socket: number, ip: None }
}

/// Opens a path, and waits until it is open. A machine that stands still may take too long to answer.
async fn open(link: &impl Link, to: TransportAddr, from: LocalAddr, events: &mut impl Listener) -> PathId {
    for _ in 0..TRIES {
        let id = link.open_path(to, from).unwrap();
        match about(events, id).await {
            PathEvent::Opened { remote, .. } => {
                assert_eq!(remote, to);
                return id;
            }
            event => {
                assert!(matches!(event, PathEvent::Closed { reason: PathClosed::NoAnswer, .. }), "{event:?}")
            }
        }
    }
    panic!("nobody answers at {to}");
}

/// The next event that is the path's beginning or end.
async fn about(events: &mut impl Listener, path: PathId) -> PathEvent {
    loop {
        match events.next().await.expect("the connection stands") {
            event @ (PathEvent::Opened { id, .. } | PathEvent::Closed { id, .. }) if id == path => {
                return event;
            }
            _ => {}
        }
    }
}

/// Waits until data takes this path.
async fn selected(events: &mut impl Listener, path: PathId) {
    while !matches!(events.next().await, Some(PathEvent::Selected { id, .. }) if id == path) {}
}

/// What a connection has sent over a path that is open.
fn sent(link: &impl Link, path: PathId) -> u64 {
    link.paths().iter().find(|stats| stats.id == path).map_or(0, |stats| stats.bytes_sent)
}

pub(crate) async fn path_data_goes_on_when_one_of_two_is_closed_in_mid_transfer<A: Adapter>(adapter: A) {
    let pair = Pair::<A>::new(&adapter).await;
    let (dialled, accepted) = (&pair.dialled, &pair.accepted);
    let (mut here, mut there) = (dialled.path_events(), accepted.path_events());
    let second = pair.open(&mut here).await;
    assert!(matches!(about(&mut there, second).await, PathEvent::Opened { .. }));
    assert!(dialled.paths().iter().all(|path| path.state == PathState::Open));
    let content = pattern(1, BYTES);
    let (first_part, rest) = content.split_at(BYTES / 3);
    let (second_part, third_part) = rest.split_at(BYTES / 3);
    let send = async {
        let mut send = dialled.open_uni().await.unwrap();
        send.write_all(first_part).await.unwrap();
        dialled.select_path(second).unwrap();
        selected(&mut here, second).await;
        send.write_all(second_part).await.unwrap();
        assert!([PathId::ZERO, second].iter().all(|path| sent(dialled, *path) > 100_000));
        dialled.close_path(PathId::ZERO).unwrap();
        send.write_all(third_part).await.unwrap();
        send.finish().unwrap();
    };
    let receive = async { accepted.accept_uni().await.unwrap().read_to_end().await };
    let ((), received) = join!(send, receive);
    assert!(received.unwrap() == content);
    let ours = about(&mut here, PathId::ZERO).await;
    let PathEvent::Closed { reason: PathClosed::Local, stats: last, .. } = ours else { panic!("{ours:?}") };
    assert!(last.bytes_sent > 100_000);
    let theirs = about(&mut there, PathId::ZERO).await;
    assert!(matches!(theirs, PathEvent::Closed { reason: PathClosed::Peer(_), .. }), "{theirs:?}");
    assert_eq!((dialled.paths().len(), dialled.path().id), (1, second));
    assert_eq!(dialled.remote(), TransportAddr::Ip(pair.second()));
    assert_eq!(accepted.remote(), TransportAddr::Ip(pair.client.local_addrs()[1]));
}

pub(crate) async fn path_answers_of_a_socket_for_all_addresses_leave_from_the_one_that_was_asked<
    A: Adapter,
>(
    adapter: A,
) {
    let all: SocketAddr =
        if StdSocket::bind("[::1]:0").is_ok() { "[::]:0" } else { "0.0.0.0:0" }.parse().unwrap();
    let (client, server) = (adapter.bind(all, 1, by_hand()), adapter.bind(all, 2, by_hand()));
    let port = server.local_addr().port();
    let mut asked = vec![Ipv4Addr::LOCALHOST.into(), Ipv4Addr::new(127, 0, 0, 2).into()];
    asked.extend(all.is_ipv6().then_some(IpAddr::from(Ipv6Addr::LOCALHOST)));
    let asked: Vec<_> = asked.into_iter().map(|ip| SocketAddr::new(ip, port)).collect();
    for (index, address) in asked.iter().enumerate() {
        let dial =
            client.connect(Peer::Key(server.public_key()), ConnectOptions::new(*address, b"test").exact());
        let (dialled, accepted) = join!(dial, server.accept());
        let (dialled, accepted) = (dialled.unwrap(), accepted.unwrap());
        assert_eq!(dialled.remote(), TransportAddr::Ip(*address), "the answer came from where it was asked");
        // And so on a path to another address of the same socket.
        let (mut here, mut there) = (dialled.path_events(), accepted.path_events());
        let other = asked[(index + 1) % asked.len()];
        let path = open(&dialled, other.into(), socket(0), &mut here).await;
        let PathEvent::Opened { local, .. } = about(&mut there, path).await else { panic!("{path:?}") };
        assert_eq!(local.ip, Some(other.ip()));
        accepted.select_path(path).unwrap();
        let content = pattern(2, 100_000);
        let write = async {
            let mut send = accepted.open_uni().await.unwrap();
            send.write_all(&content).await.unwrap();
            send.finish().unwrap();
        };
        let read = async { dialled.accept_uni().await.unwrap().read_to_end().await };
        let ((), received) = join!(write, read);
        assert!(received.unwrap() == content);
        let came = dialled.paths().iter().find(|stats| stats.id == path).map(|stats| stats.bytes_received);
        assert!(came.is_some_and(|bytes| bytes > 100_000), "{came:?}");
        dialled.close(ErrorCode::default(), b"");
        accepted.closed().await;
    }
}

pub(crate) async fn path_events_with_lag_tell_how_many_and_the_paths_themselves_what_is<A: Adapter>(
    adapter: A,
) {
    const ROUNDS: u64 = 6;
    let pair = Pair::<A>::new(&adapter).await;
    let mut busy = pair.dialled.path_events();
    let mut slow = pair.dialled.path_events();
    let mut heard = 0;
    let mut all = Vec::new();
    for _ in 0..ROUNDS {
        let path = pair.open(&mut busy).await;
        pair.dialled.close_path(path).unwrap();
        all.push(about(&mut busy, path).await);
        heard += 2;
    }
    let left = pair.open(&mut busy).await;
    heard += 1;
    assert!(all.iter().all(|event| matches!(event, PathEvent::Closed { reason: PathClosed::Local, .. })));
    let Some(PathEvent::Lagged(missed)) = slow.next().await else { panic!("it has heard nothing of this") };
    assert!(missed >= heard - 8, "at least {heard} events, of which 8 are kept");
    let mut kept = Vec::new();
    for _ in 0..8 {
        kept.push(slow.next().await.unwrap());
    }
    assert!(matches!(kept.last(), Some(PathEvent::Opened { id, .. }) if *id == left));
    let now: Vec<PathId> = pair.dialled.paths().iter().map(|path| path.id).collect();
    assert_eq!(now, [PathId::ZERO, left]);
    pair.accepted.close(ErrorCode::default(), b"");
    pair.dialled.closed().await;
    let mut ends = [(); 2].map(|()| None);
    for end in &mut ends {
        *end = slow.next().await;
    }
    let of = |end: &Option<PathEvent>| match end {
        Some(PathEvent::Closed { id, reason: PathClosed::ConnectionClosed, stats }) => {
            assert!(stats.packets_sent > 0);
            *id
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(ends.each_ref().map(of), [PathId::ZERO, left]);
    assert_eq!(slow.next().await, None);
}

pub(crate) async fn path_that_one_side_calls_a_backup_is_spared_by_both<A: Adapter>(adapter: A) {
    let pair = Pair::<A>::new(&adapter).await;
    let (mut here, mut there) = (pair.dialled.path_events(), pair.accepted.path_events());
    let second = pair.open(&mut here).await;
    pair.dialled.set_path_status(PathId::ZERO, PathStatus::Backup).unwrap();
    selected(&mut here, second).await;
    loop {
        match there.next().await.unwrap() {
            PathEvent::Status { id, status } => {
                assert_eq!((id, status), (PathId::ZERO, PathStatus::Backup));
                break;
            }
            PathEvent::Opened { .. } | PathEvent::Selected { .. } => {}
            event => panic!("{event:?}"),
        }
    }
    if pair.accepted.path().id != second {
        selected(&mut there, second).await;
    }
    let told = pair.accepted.paths()[0];
    assert_eq!(
        (told.id, told.status, told.peer_status),
        (PathId::ZERO, PathStatus::Available, PathStatus::Backup)
    );
}

pub(crate) async fn path_verbs_say_what_is_wrong<A: Adapter>(adapter: A) {
    let pair = Pair::<A>::new(&adapter).await;
    let nowhere = "0.0.0.0:1".parse::<SocketAddr>().unwrap();
    let link = &pair.dialled;
    assert_eq!(link.open_path(nowhere.into(), socket(0)), Err(PathError::Address));
    assert_eq!(link.open_path(link.remote(), socket(0)), Err(PathError::Exists));
    assert_eq!(link.close_path(PathId::ZERO), Err(PathError::LastPath));
    // Who is bound there never answers.
    let silent = StdSocket::bind(any()).unwrap();
    let opening = link.open_path(silent.local_addr().unwrap().into(), socket(0)).unwrap();
    assert_eq!(link.select_path(opening), Err(PathError::NotConnected));
    link.close_path(opening).unwrap();
    assert_eq!(link.select_path(opening), Err(PathError::Unknown));
    pair.dialled.close(ErrorCode::default(), b"");
    assert_eq!(link.set_path_status(PathId::ZERO, PathStatus::Backup), Err(PathError::Closed));
}
