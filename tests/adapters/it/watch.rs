//! The adapters watch the system's addresses: in a network namespace of their own, where that is allowed.

use core::net::SocketAddr;
use core::time::Duration;
use std::env;
use std::process::Command;
use std::time::Instant;

use dunlin_core::{
    Config, ConnectOptions, ErrorCode, Event, Identity, PathClosed, PathEvent, PathState, Peer,
};
use dunlin_mio::Driver;
use dunlin_tokio::Endpoint;

/// Tells a test that it is within a namespace.
const WITHIN: &str = "DUNLIN_TEST_NAMESPACE";

/// Longer than anything is under way, or waits to be acknowledged.
const QUIET: Duration = Duration::from_millis(300);

/// Far longer than it takes to hear of a change.
const SOON: Duration = Duration::from_secs(20);

/// Whether this is a namespace of our own, with a link from v0 to v1, and 192.0.2.1 on v0. If not, the `test` is run once
/// more in one, where that is allowed.
fn within_a_namespace(test: &str) -> bool {
    if env::var_os(WITHIN).is_some() {
        ip("link set lo up");
        ip("link add v0 type veth peer name v1");
        ip("link set v0 up");
        ip("link set v1 up");
        ip("address add 192.0.2.1/24 dev v0");
        return true;
    }
    let probe = Command::new("unshare")
        .args(["--net", "ip", "link", "add", "v0", "type", "veth", "peer", "name", "v1"])
        .output();
    if !probe.is_ok_and(|probe| probe.status.success()) {
        println!("skipped: no network namespaces here, or none that we may make");
        return false;
    }
    let mut again = Command::new("unshare");
    again
        .arg("--net")
        .arg(env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(WITHIN, "1");
    assert!(again.status().unwrap().success());
    false
}

fn ip(arguments: &str) {
    assert!(Command::new("ip").args(arguments.split(' ')).status().unwrap().success(), "ip {arguments}");
}

/// Connections say nothing by themselves.
fn config() -> Config {
    let mut config = Config::default();
    config.alpns = vec![b"test".to_vec()];
    config.idle_timeout = None;
    config.keep_alive = None;
    config.mtu_discovery.enabled = false;
    config
}

/// What is noticed.
const CHANGES: [&str; 4] = [
    "address add 198.51.100.1/24 dev v1",
    "address del 198.51.100.1/24 dev v1",
    // Which takes the link from the other one: its address stays, and is of no use.
    "link set v1 down",
    "link set v1 up",
];
/// What the system tells too, though it changes nothing.
const NO_CHANGE: &str = "link set dev v1 alias other";
/// How often that is tried, for a machine that stood still may send something late.
const TRIES: usize = 10;

#[test]
fn path_changes_of_addresses_are_noticed_on_tokio() {
    if !within_a_namespace("watch::path_changes_of_addresses_are_noticed_on_tokio") {
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let bind = |secret| {
            let address = "192.0.2.1:0".parse().unwrap();
            Endpoint::bind(address, config(), Identity::from_secret([secret; 32])).unwrap()
        };
        let (client, server) = (bind(1), bind(2));
        let peer = Peer::Key(*server.public_key());
        let dial = client.connect(server.local_addr(), peer, b"test").unwrap();
        let accept = async { server.accept().await.unwrap().accept().unwrap().await };
        let (dialled, _accepted) = tokio::try_join!(dial, accept).unwrap();
        // A stream that is open lets an endpoint ask whether its peer is there, when there is reason to.
        let mut stream = dialled.open_uni().await.unwrap();
        stream.write_all(b"open").await.unwrap();
        let sent = || client.stats().datagrams_sent;
        let quiet = async || {
            let mut before = u64::MAX;
            while before != sent() {
                before = sent();
                tokio::time::sleep(QUIET).await;
            }
            before
        };
        for change in CHANGES {
            let before = quiet().await;
            ip(change);
            let deadline = Instant::now() + SOON;
            while sent() == before {
                assert!(Instant::now() < deadline, "{change}");
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
        for _ in 0..TRIES {
            let before = quiet().await;
            ip(NO_CHANGE);
            tokio::time::sleep(QUIET).await;
            if sent() == before {
                return;
            }
        }
        panic!("{NO_CHANGE}");
    });
}

#[test]
fn path_changes_of_addresses_are_noticed_on_mio() {
    if !within_a_namespace("watch::path_changes_of_addresses_are_noticed_on_mio") {
        return;
    }
    let bind = |secret| {
        let address = "192.0.2.1:0".parse().unwrap();
        Driver::bind(address, config(), Identity::from_secret([secret; 32])).unwrap()
    };
    let (mut client, mut server) = (bind(1), bind(2));
    let peer = Peer::Key(*server.engine().public_key());
    let dial = client.connect(server.local_addr(), peer, b"test").unwrap();
    let stream = client.connection(dial).unwrap().open_uni().unwrap();
    client.connection(dial).unwrap().write(stream, b"open").unwrap();
    // Both in turn, each for a moment, or until there is something to do.
    let mut turn = || {
        for driver in [&mut client, &mut server] {
            driver.run_once(Some(Duration::from_millis(1))).unwrap();
            while let Some((handle, event)) = driver.poll_event() {
                if event == Event::Incoming {
                    driver.accept(handle).unwrap();
                }
            }
        }
        client.engine().stats().datagrams_sent
    };
    for change in CHANGES {
        let (mut sent, mut since) = (turn(), Instant::now());
        while since.elapsed() < QUIET {
            let now = turn();
            if now != sent {
                (sent, since) = (now, Instant::now());
            }
        }
        ip(change);
        let deadline = Instant::now() + SOON;
        while turn() == sent {
            assert!(Instant::now() < deadline, "{change}");
        }
    }
}

/// The alarm ends a wait, however long.
#[test]
fn path_changes_of_addresses_end_a_wait_on_mio() {
    if !within_a_namespace("watch::path_changes_of_addresses_end_a_wait_on_mio") {
        return;
    }
    let mut driver =
        Driver::bind("192.0.2.1:0".parse().unwrap(), config(), Identity::from_secret([1; 32])).unwrap();
    driver.run_once(Some(Duration::ZERO)).unwrap();
    ip("address add 198.51.100.1/24 dev v1");
    let before = Instant::now();
    driver.run_once(Some(SOON)).unwrap();
    assert!(before.elapsed() < SOON, "nothing ended the wait");
}

/// A connection that waits for nothing says that it is elsewhere, for its own address is gone for certain.
#[test]
fn path_from_an_address_that_is_gone_moves_on_tokio() {
    if !within_a_namespace("watch::path_from_an_address_that_is_gone_moves_on_tokio") {
        return;
    }
    ip("address add 192.0.2.7/24 dev v0");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let bind = |secret| {
            let address = "0.0.0.0:0".parse().unwrap();
            Endpoint::bind(address, config(), Identity::from_secret([secret; 32])).unwrap()
        };
        let (client, server) = (bind(1), bind(2));
        let peer = Peer::Key(*server.public_key());
        let remote = SocketAddr::from(([192, 0, 2, 1], server.local_addr().port()));
        let mut options = ConnectOptions::new(remote, b"test");
        options.local.ip = Some([192, 0, 2, 7].into());
        let dial = client.connect_with(peer, options).unwrap();
        let accept = async { server.accept().await.unwrap().accept().unwrap().await };
        let (_dialled, accepted) = tokio::try_join!(dial, accept).unwrap();
        let mut events = accepted.path_events();
        // For so long further connection ids may wait for a packet that takes them along.
        tokio::time::sleep(Duration::from_millis(1500)).await;
        ip("address del 192.0.2.7/24 dev v0");
        let moved = async {
            loop {
                if let Some(PathEvent::Moved { to, .. }) = events.next().await {
                    return to.remote;
                }
            }
        };
        let to = tokio::time::timeout(SOON, moved).await.expect("the peer sees it move");
        let port = client.local_addr().port();
        assert_eq!(to, SocketAddr::from(([192, 0, 2, 1], port)).into());
    });
}

/// Of two paths the one whose address is gone is abandoned, and the other one goes on.
#[test]
fn path_from_an_address_that_is_gone_is_abandoned_on_mio() {
    if !within_a_namespace("watch::path_from_an_address_that_is_gone_is_abandoned_on_mio") {
        return;
    }
    ip("address add 198.51.100.1/24 dev v1");
    let bind = |secret| {
        let address = "0.0.0.0:0".parse().unwrap();
        Driver::bind(address, config(), Identity::from_secret([secret; 32])).unwrap()
    };
    let (mut client, mut server) = (bind(1), bind(2));
    let (peer, port) = (Peer::Key(*server.engine().public_key()), server.local_addr().port());
    let at = |ip: [u8; 4]| SocketAddr::from((ip, port));
    let dial = client.connect(at([192, 0, 2, 1]), peer, b"test").unwrap();
    let run = |client: &mut Driver, server: &mut Driver, until: &dyn Fn(&mut Driver) -> bool| {
        let deadline = Instant::now() + SOON;
        while !until(client) {
            assert!(Instant::now() < deadline, "nothing happens");
            for driver in [&mut *client, &mut *server] {
                driver.run_once(Some(Duration::from_millis(1))).unwrap();
                while let Some((handle, event)) = driver.poll_event() {
                    if event == Event::Incoming {
                        driver.accept(handle).unwrap();
                    }
                }
            }
        }
    };
    let open = |client: &mut Driver| {
        let connection = client.connection(dial).unwrap();
        connection
            .paths()
            .filter(|path| path.state == PathState::Open)
            .map(|path| path.id)
            .collect::<Vec<_>>()
    };
    let began = Instant::now();
    run(&mut client, &mut server, &|_| began.elapsed() > Duration::from_millis(1500));
    let mut cursor = client.connection(dial).unwrap().subscribe_paths();
    let second = client.connection(dial).unwrap().open_path(at([198, 51, 100, 1]), None).unwrap();
    run(&mut client, &mut server, &|client| open(client).contains(&second));
    ip("address del 198.51.100.1/24 dev v1");
    run(&mut client, &mut server, &|client| !open(client).contains(&second));
    assert_eq!(open(&mut client).len(), 1);
    let mut connection = client.connection(dial).unwrap();
    let mut events = core::iter::from_fn(|| connection.path_events(&mut cursor));
    let closed = events
        .find_map(|event| if let PathEvent::Closed { reason, .. } = event { Some(reason) } else { None });
    // Whichever side heard of it first.
    let possible = [PathClosed::AddressGone, PathClosed::Peer(ErrorCode::from(2u32))];
    assert!(closed.is_some_and(|reason| possible.contains(&reason)), "{closed:?}");
}
