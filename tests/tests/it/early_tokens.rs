//! Early data that is acted on at once (docs/PROTOCOL.md, "Early data at once"). Who would have it acted on twice is in
//! `hostile/early.rs`.

use dunlin_core::{
    CloseReason, Config, ConnectOptions, ConnectionHandle, Direction, Duration, EarlyData, EarlyToken,
    Endpoint, Event, Instant, Peer, RetryPolicy, StreamId,
};
use dunlin_sim::{ALPN, AcceptAll, Pair, Receiver, accept_incoming, config, seeds};

use crate::common::{
    DATA, INIT_KNOWN, INIT_KNOWN_REPLY, bad_line, drop_if, kind, ms, patient, patterned, quick, read_all,
    record,
};

/// Where the length of the tokens stands in an Init.
const TOKEN_LEN: usize = 41;

fn applying() -> Config {
    let mut config = config();
    config.early_data = EarlyData::Apply;
    config
}

/// The newest token of the dialler's, if it gets one within a while.
fn token(pair: &mut Pair) -> Option<EarlyToken> {
    let (client, _) = pair.connect();
    for _ in 0..300 {
        pair.world.run_for(ms(100));
        let token = pair.on_client(client, |connection| connection.early_token());
        if token.is_some() {
            return token;
        }
    }
    None
}

/// Dials with this token.
fn dial(pair: &mut Pair, token: Option<EarlyToken>) -> ConnectionHandle {
    let mut options = ConnectOptions::new(pair.server_addr, ALPN);
    options.early = token;
    let (now, peer, node) = (pair.now(), Peer::Key(pair.server_key()), pair.client);
    pair.world.node_mut(node).endpoint.connect(now, peer, options).expect("the dial starts")
}

/// Writes and finishes a stream.
fn write(pair: &mut Pair, client: ConnectionHandle, direction: Direction, len: usize) -> StreamId {
    pair.on_client(client, |connection| {
        let id = connection.open(direction).unwrap();
        assert_eq!(connection.write(id, &patterned(id, len)), Ok(len));
        connection.finish(id).unwrap();
        id
    })
}

/// The answerer's latest connection.
fn latest(pair: &Pair) -> ConnectionHandle {
    let attempts = pair.server().events.iter().rev();
    attempts.filter(|(.., event)| *event == Event::Incoming).map(|(_, handle, _)| *handle).next().unwrap()
}

/// Answers each stream with what came on it, and more of its own.
fn answerer(more: usize) -> impl FnMut(Instant, &mut Endpoint, ConnectionHandle, &Event) {
    move |now, endpoint, handle, event| {
        accept_incoming(now, endpoint, handle, event);
        let Some(mut connection) = endpoint.connection(handle) else { return };
        if let Event::Readable(id) = *event {
            let (request, _) = read_all(&mut connection, id);
            connection.write(id, &[request, vec![9; more]].concat()).unwrap();
            connection.finish(id).unwrap();
        }
    }
}

#[test]
fn early_data_with_a_token_arrives_a_round_trip_sooner() {
    for apply in [false, true] {
        let (receiver, seen) = Receiver::new();
        let settings = if apply { applying() } else { config() };
        let mut pair = Pair::with(1, quick(), config(), settings, AcceptAll, receiver);
        let token = token(&mut pair);
        assert_eq!(token.is_some(), apply, "tokens are given out where they are good for something");
        let start = pair.now();
        let client = dial(&mut pair, token);
        let id = write(&mut pair, client, Direction::Unidirectional, 900);
        pair.world.run_for(Duration::from_secs(1));
        assert_eq!(seen.borrow().last - start, if apply { ms(20) } else { ms(60) });
        let events: Vec<&Event> = pair.server().events_of(latest(&pair)).collect();
        let place = |event: &Event| events.iter().position(|other| *other == event);
        assert_eq!(place(&Event::EarlyData), apply.then_some(1));
        let opened = Event::StreamOpened(Direction::Unidirectional);
        assert_eq!(place(&opened) < place(&Event::Connected), apply);
        // The reply says what became of it: it need not be sent again, nor be acknowledged.
        let finished = pair.client().when(client, &Event::Finished(id)).unwrap() - start;
        assert!(if apply { finished == ms(40) } else { finished >= ms(80) }, "{finished:?}");
        assert_eq!(seen.borrow().total(), 900);
        assert_eq!(pair.server().endpoint.stats().early_applied, u64::from(apply));
        pair.finish();
    }
}

#[test]
fn a_request_with_a_token_is_answered_a_round_trip_sooner() {
    // An answer for which the reply has room, and one that goes on when the dialler has proved its key.
    for (apply, more, first, last) in [(false, 100, 80, 80), (true, 100, 40, 40), (true, 5_000, 40, 80)] {
        let settings = if apply { applying() } else { config() };
        let mut pair = Pair::with(1, quick(), config(), settings, AcceptAll, answerer(more));
        let token = token(&mut pair);
        let packets = record(&mut pair.world);
        let client = dial(&mut pair, token);
        let id = write(&mut pair, client, Direction::Bidirectional, 100);
        let (mut answer, mut times) = (Vec::new(), Vec::new());
        for millis in 1..=300 {
            pair.world.run_for(ms(1));
            let (read, _) = pair.on_client(client, |connection| read_all(connection, id));
            times.extend(Some(millis).filter(|_| !read.is_empty()));
            answer.extend(read);
        }
        assert_eq!(answer, [patterned(id, 100), vec![9; more]].concat());
        assert_eq!(times.first(), Some(&first), "{apply} {more}");
        // What is more than a packet is paced.
        assert!((last..=last + 5).contains(times.last().unwrap()), "{apply} {more}: {times:?}");
        let packets = packets.borrow();
        let mut replies = packets.iter().filter(|seen| kind(&seen.bytes) == INIT_KNOWN_REPLY);
        assert!(replies.all(|reply| reply.bytes.len() <= 1200), "no longer than what it answers");
        drop(packets);
        pair.finish();
    }
}

#[test]
fn an_answer_in_a_reply_that_is_lost_goes_again_and_arrives_once() {
    for lost in [INIT_KNOWN, INIT_KNOWN_REPLY, DATA] {
        let mut pair = Pair::with(1, quick(), config(), applying(), AcceptAll, answerer(2_000));
        let token = token(&mut pair);
        let mut left = 2;
        drop_if(&mut pair.world, move |passing| {
            let drops = kind(passing.bytes) == lost && left > 0;
            left -= u32::from(drops);
            drops
        });
        let client = dial(&mut pair, token);
        let id = write(&mut pair, client, Direction::Bidirectional, 100);
        pair.world.run_for(Duration::from_secs(10));
        let (answer, ended) = pair.on_client(client, |connection| read_all(connection, id));
        assert_eq!((answer.len(), ended), (2_100, true), "{lost}");
        assert_eq!(pair.server().endpoint.stats().early_applied, 1);
        assert!(pair.server().has(latest(&pair), &Event::Finished(id)), "{lost}");
        pair.finish();
    }
}

#[test]
fn an_answerer_that_closes_at_once_is_heard() {
    let app = |now, endpoint: &mut Endpoint, handle, event: &Event| {
        accept_incoming(now, endpoint, handle, event);
        if *event == Event::EarlyData {
            let mut connection = endpoint.connection(handle).unwrap();
            assert!(connection.is_early() && connection.alpn() == Some(ALPN));
            connection.close(5u32.into(), b"no");
        }
    };
    let mut pair = Pair::with(1, quick(), config(), applying(), AcceptAll, app);
    let token = token(&mut pair);
    let client = dial(&mut pair, token);
    write(&mut pair, client, Direction::Unidirectional, 100);
    pair.world.run_for(Duration::from_secs(1));
    let reason = CloseReason::Peer { code: 5u32.into(), reason: b"no"[..].into() };
    assert_eq!(pair.client().closed(client).map(|(_, reason)| reason), Some(&reason));
    pair.finish();
}

#[test]
fn early_data_and_what_follows_it_arrive_once_whatever_the_line_does() {
    for seed in seeds(10) {
        let (receiver, seen) = Receiver::new();
        let mut pair = Pair::with(seed, bad_line(20), patient(), applying(), AcceptAll, receiver);
        let token = token(&mut pair);
        assert!(token.is_some(), "a token that is lost is followed by another one");
        let client = dial(&mut pair, token);
        for _ in 0..4 {
            write(&mut pair, client, Direction::Unidirectional, 5_000);
        }
        assert!(pair.run_until(Duration::from_secs(60), |_| seen.borrow().finished == 4));
        assert_eq!(seen.borrow().total(), 20_000);
        assert_eq!(pair.server().endpoint.stats().early_applied, 1);
        pair.finish();
    }
}

#[test]
fn a_dial_that_has_to_show_its_address_shows_both_tokens_and_its_early_data_is_acted_on() {
    let (receiver, read) = Receiver::new();
    let mut wary = applying();
    wary.retry = RetryPolicy::Always;
    let mut pair = Pair::with(1, quick(), config(), wary, AcceptAll, receiver);
    let token = token(&mut pair).unwrap();
    let seen = record(&mut pair.world);
    let client = dial(&mut pair, Some(token.clone()));
    write(&mut pair, client, Direction::Unidirectional, 3_000);
    pair.world.run_for(Duration::from_secs(1));
    let seen = seen.borrow();
    let inits: Vec<_> = seen.iter().filter(|seen| kind(&seen.bytes) == INIT_KNOWN).collect();
    assert_eq!(inits.len(), 2);
    assert!(inits.iter().all(|init| init.bytes.len() == 1200));
    let shown = |place: usize, len: usize| &inits[place].bytes[TOKEN_LEN..][..=len];
    assert_eq!(shown(0, 33), [&[33][..], token.as_bytes()].concat());
    assert_eq!(shown(1, 58)[..2], [58, 1]);
    assert_eq!(shown(1, 58)[26..], token.as_bytes()[..]);
    assert_eq!(pair.server().endpoint.stats().early_applied, 1);
    assert_eq!((read.borrow().finished, read.borrow().total()), (1, 3_000));
    drop(seen);
    pair.finish();
}

#[test]
fn a_dial_without_early_data_keeps_its_token() {
    let mut pair = Pair::with(1, quick(), config(), applying(), AcceptAll, AcceptAll);
    let token = token(&mut pair);
    let seen = record(&mut pair.world);
    let client = dial(&mut pair, token.clone());
    pair.world.run_for(Duration::from_secs(1));
    assert!(pair.client().has(client, &Event::Connected));
    assert_eq!(seen.borrow()[0].bytes[TOKEN_LEN], 0, "it would be used up for nothing");
    let client = dial(&mut pair, token);
    write(&mut pair, client, Direction::Unidirectional, 10);
    pair.world.run_for(Duration::from_secs(1));
    assert_eq!(pair.server().endpoint.stats().early_applied, 1);
    pair.finish();
}

#[test]
fn a_busy_connection_always_has_a_token_that_is_fresh() {
    let mut pair = Pair::with(1, quick(), config(), applying(), AcceptAll, AcceptAll);
    let (client, server) = pair.connect();
    pair.world.run_for(ms(200));
    let mut tokens = Vec::new();
    for _ in 0..60 {
        tokens.push(pair.on_client(client, |connection| connection.early_token()).unwrap());
        pair.on_server(server, |connection| connection.send_datagram(b"something").unwrap());
        pair.world.run_for(Duration::from_secs(60));
    }
    tokens.dedup();
    assert_eq!(tokens.len(), 12, "one each five minutes of an hour");
    pair.finish();
}
