//! Early data that is acted on at once, and those who would have it acted on once more (docs/PROTOCOL.md, "Early data at once").

use core::net::SocketAddr;
use core::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;

use dunlin_core::admission::{Admission, Candidate, Known, Verdict};
use dunlin_core::{
    Arrival, CloseReason, Config, ConnectOptions, ConnectionHandle, ConnectionState, Direction, Disposition,
    DropReason, Duration, EarlyData, EarlyToken, Endpoint, Event, Instant, Peer, Secret, Shard, TrainLimit,
    TransportError, fuzzing,
};
use dunlin_sim::{ALPN, AcceptAll, Evil, Pair, config, endpoint};

use crate::common::{INIT_KNOWN_REPLY, at, drop_if, kind, ms, patterned, quick, record};
use crate::puppet::{self, EARLY_DATA, Init, hello, number, offer, split};

/// What the puppet's secret key is made of.
const PUPPET: u8 = 9;
const DIALLER: SocketAddr =
    SocketAddr::new(core::net::IpAddr::V4(core::net::Ipv4Addr::new(203, 0, 113, 1)), 5000);
const ANSWERER: SocketAddr =
    SocketAddr::new(core::net::IpAddr::V4(core::net::Ipv4Addr::new(203, 0, 113, 2)), 5000);
/// Where the length of the tokens stands in an Init.
const TOKEN_LEN: usize = 41;

fn applying() -> Config {
    let mut config = config();
    config.early_data = EarlyData::Apply;
    config
}

/// An application that accepts everybody and reads what there is: returns how many bytes it got before it was told that they
/// are their sender's.
fn serve(now: Instant, endpoint: &mut Endpoint) -> usize {
    let mut read = 0;
    while let Some((handle, event)) = endpoint.poll_event() {
        if let Some(incoming) = endpoint.incoming(handle).filter(|_| event == Event::Incoming) {
            let _ = incoming.accept(now);
        }
        let Some(mut connection) = endpoint.connection(handle) else { continue };
        let early = connection.state() == ConnectionState::Confirming;
        if event == Event::StreamOpened(Direction::Unidirectional) {
            while let Some(id) = connection.accept(Direction::Unidirectional) {
                let len = core::iter::from_fn(|| connection.read_chunk(id, usize::MAX).ok().flatten());
                read += len.map(|chunk| chunk.len()).sum::<usize>() * usize::from(early);
            }
        }
    }
    read
}

/// What an endpoint sends, datagram by datagram.
fn sent(now: Instant, endpoint: &mut Endpoint) -> Vec<Vec<u8>> {
    core::iter::from_fn(|| {
        let mut out = Vec::new();
        endpoint.poll_transmit(now, TrainLimit::SINGLE, &mut out).map(|_| out)
    })
    .collect()
}

/// Hands an Init in. Returns how many bytes of it the application got at once, and the reply.
fn hand(now: Instant, endpoint: &mut Endpoint, init: &[u8]) -> (usize, Option<Vec<u8>>) {
    fuzzing::recount(endpoint);
    endpoint.handle_timeout(now);
    sent(now, endpoint);
    serve(now, endpoint);
    endpoint.handle_datagram(now, Arrival::from_remote(DIALLER), &mut init.to_vec());
    let read = serve(now, endpoint);
    (read, sent(now, endpoint).into_iter().find(|packet| kind(packet) == INIT_KNOWN_REPLY))
}

/// Carries over what one endpoint sends to the other.
fn carry(now: Instant, from: &mut Endpoint, to: &mut Endpoint, source: SocketAddr) {
    from.handle_timeout(now);
    for mut packet in sent(now, from) {
        to.handle_datagram(now, Arrival::from_remote(source), &mut packet);
    }
    serve(now, to);
}

/// Lets two endpoints talk for 50 round trips of 2 ms.
fn talk(now: &mut Instant, dialler: &mut Endpoint, answerer: &mut Endpoint) {
    for _ in 0..50 {
        carry(*now, dialler, answerer, DIALLER);
        *now += ms(1);
        carry(*now, answerer, dialler, ANSWERER);
        *now += ms(1);
    }
}

fn connect(
    now: Instant,
    dialler: &mut Endpoint,
    peer: &Endpoint,
    options: ConnectOptions,
) -> ConnectionHandle {
    dialler.connect(now, Peer::Key(*peer.public_key()), options).expect("the dial starts")
}

/// Has `answerer` give out a token, in a connection that is closed then.
fn granted(now: &mut Instant, dialler: &mut Endpoint, answerer: &mut Endpoint) -> EarlyToken {
    let handle = connect(*now, dialler, answerer, ConnectOptions::new(ANSWERER, ALPN));
    talk(now, dialler, answerer);
    let mut connection = dialler.connection(handle).expect("the connection stands");
    let token = connection.early_token().expect("a token was given out");
    connection.close(0u32.into(), b"");
    talk(now, dialler, answerer);
    token
}

/// The first packet of a dial that shows `token`, with a stream of 100 bytes.
fn first_packet(now: Instant, dialler: &mut Endpoint, answerer: &Endpoint, token: &EarlyToken) -> Vec<u8> {
    let options = ConnectOptions::new(ANSWERER, ALPN).early(token.clone());
    let handle = connect(now, dialler, answerer, options);
    let mut connection = dialler.connection(handle).expect("it was just made");
    let id = connection.open_uni().expect("the first streams need no leave");
    connection.write(id, &patterned(id, 100)).expect("there is room");
    connection.finish(id).expect("it is open");
    let init = sent(now, dialler).remove(0);
    dialler.connection(handle).expect("it is dialling").close(0u32.into(), b"");
    init
}

/// A dialler, an answerer that applies, and a first packet that nobody has seen yet.
fn scene(config: Config) -> (Instant, Endpoint, Endpoint, Vec<u8>) {
    let (mut now, mut dialler) = (at(5_000_000), endpoint(self::config(), 1, 1));
    let mut answerer = endpoint(config, 2, 1);
    let token = granted(&mut now, &mut dialler, &mut answerer);
    let init = first_packet(now, &mut dialler, &answerer, &token);
    (now, dialler, answerer, init)
}

#[test]
fn ac_50_early_data_is_acted_on_once_however_often_it_is_handed_in() {
    let mut config = applying();
    config.limits.half_open_lifetime = ms(50);
    let (mut now, _, mut answerer, init) = scene(config);
    assert_eq!(hand(now, &mut answerer, &init).0, 100);
    // Until the token has expired, and beyond that.
    for n in 0..10_000 {
        now += ms(70);
        assert_eq!(hand(now, &mut answerer, &init).0, 0, "replay {n}");
    }
    let stats = answerer.stats();
    assert_eq!(stats.early_applied, 1);
    assert!(stats.incoming > 9_000, "each was an attempt of its own: {}", stats.incoming);
    now += Duration::from_secs(10);
    answerer.handle_timeout(now);
    sent(now, &mut answerer);
    assert_eq!(answerer.stats().memory_used, 0, "what was used is not remembered for ever");
}

#[test]
fn ac_50_early_data_is_acted_on_by_one_shard_only() {
    let port = |secret: Option<u8>, seed| {
        let mut settings = applying();
        settings.early_secret = secret.map(|byte| Secret::new([byte; 32]));
        Shard::all(2)
            .map(|shard| endpoint(settings.clone().for_shard(shard), 2, seed + u64::from(shard.index())))
            .collect::<Vec<_>>()
    };
    for (secret, known) in [(Some(7), true), (None, false)] {
        let (mut applied, mut foreign) = (0, 0);
        for seed in 0..20 {
            let (mut now, mut dialler) = (at(1000), endpoint(config(), 1, seed));
            let mut shards = port(secret, 100 + 2 * seed);
            let token = granted(&mut now, &mut dialler, &mut shards[0]);
            let init = first_packet(now, &mut dialler, &shards[0], &token);
            // Whose packet it is says its first routed byte; but it is handed to both, in either order.
            let owner = usize::from(init[1] % 2);
            let order = if seed % 2 == 0 { [0, 1] } else { [1, 0] };
            for place in order {
                let (read, reply) = hand(now, &mut shards[place], &init);
                assert!(reply.is_some(), "what is not acted on is held");
                assert_eq!(read, if place == owner && (known || owner == 0) { 100 } else { 0 });
                applied += usize::from(read > 0);
                foreign += usize::from(read > 0 && place == 1);
            }
        }
        // Shards with a secret of their own know their own tokens, and those alone.
        assert!(if known { applied == 20 && foreign > 3 } else { applied > 3 && foreign == 0 });
    }
}

#[test]
fn ac_50_a_restart_does_not_bring_early_data_back() {
    for shared in [false, true] {
        let mut settings = applying();
        settings.group_secret = shared.then(|| Secret::new([5; 32]));
        let (now, _, mut answerer, init) = scene(settings.clone());
        assert_eq!(hand(now, &mut answerer, &init).0, 100);
        let mut restarted = endpoint(settings, 2, 2);
        let (read, reply) = hand(now, &mut restarted, &init);
        assert_eq!((read, reply.is_some()), (0, true));
    }
}

#[test]
fn ac_50_clocks_that_jump_do_not_bring_early_data_back() {
    let hour = Duration::from_secs(3600);
    let (now, _, mut answerer, init) = scene(applying());
    assert_eq!(hand(now + hour, &mut answerer, &init).0, 0, "it has expired");
    assert_eq!(hand(now, &mut answerer, &init).0, 0, "and the clock does not go back");
    let (now, _, mut answerer, init) = scene(applying());
    let before = Instant::from_nanos(now.as_nanos() - hour.as_nanos() as u64);
    assert_eq!(hand(before, &mut answerer, &init).0, 100, "the latest time told is what counts");
    for then in [before, now, before + ms(11_000), now + ms(11_000), now + hour, now] {
        assert_eq!(hand(then, &mut answerer, &init).0, 0);
    }
}

#[test]
fn ac_50_a_snapshot_has_no_promise_until_it_is_reseeded() {
    let (now, _, mut answerer, init) = scene(applying());
    // A machine that was cloned with all that it knows: each clone acts on it.
    let (_, _, mut clone, same) = scene(applying());
    assert_eq!(init, same);
    assert_eq!([hand(now, &mut answerer, &init).0, hand(now, &mut clone, &init).0], [100, 100]);
    let (_, _, mut reseeded, _) = scene(applying());
    reseeded.reseed(&[3; 32]);
    assert_eq!(hand(now, &mut reseeded, &init).0, 0);
}

#[test]
fn ac_50_a_token_that_was_copied_is_good_for_one_dial() {
    let (mut now, mut dialler) = (at(1000), endpoint(config(), 1, 1));
    let mut answerer = endpoint(applying(), 2, 1);
    let token = granted(&mut now, &mut dialler, &mut answerer);
    let copy = EarlyToken::from_bytes(*token.as_bytes());
    let inits = [&token, &copy, &token].map(|token| first_packet(now, &mut dialler, &answerer, token));
    let read = inits.map(|init| hand(now, &mut answerer, &init).0);
    assert_eq!(read, [100, 0, 0]);
}

/// A first packet of the puppet's, which may say anything.
fn puppets(answerer: &Endpoint, token: &[u8], frames: &[u8]) -> Init {
    let payload = [hello(&offer()), frames.to_vec()].concat();
    Init::new(Some(answerer.public_key()), &payload, token, 1200)
}

/// 100 bytes of the first unidirectional stream.
fn some_data() -> Vec<u8> {
    [&[0x0a, 2, 0x40, 100][..], &[7; 100]].concat()
}

/// A DATAGRAM frame with its length.
const A_DATAGRAM: &[u8] = &[0x31, 3, 7, 7, 7];

/// An answerer, and a token of the puppet's.
fn puppet_scene(config: Config) -> (Instant, Endpoint, EarlyToken) {
    let (mut now, mut dialler) = (at(1000), endpoint(self::config(), PUPPET, 1));
    assert_eq!(*dialler.public_key(), puppet::public());
    let mut answerer = endpoint(config, 2, 1);
    let token = granted(&mut now, &mut dialler, &mut answerer);
    (now, answerer, token)
}

/// What a reply says of early data.
fn outcome(init: &mut Init, reply: Option<Vec<u8>>) -> Option<u8> {
    let payload = init.open(&reply?)?;
    let (values, _) = split(&payload);
    values.iter().find(|(id, _)| *id == EARLY_DATA).map(|(_, value)| value[0])
}

#[test]
fn ac_50_tokens_that_are_not_the_diallers_or_too_old_or_out_of_place_have_early_data_held() {
    let (held, applied) = (Some(1), Some(3));
    let (now, answerer, token) = puppet_scene(applying());
    drop(answerer);
    let bytes = *token.as_bytes();
    let mut changed = bytes;
    changed[20] ^= 1;
    let others: [(&[u8], Option<u8>); 7] = [
        (&bytes, applied),
        (&[], held),
        (&bytes[..32], held),
        (&changed, held),
        (&[&[9][..], &bytes].concat(), held),
        (&[&bytes[..], &[9; 20]].concat(), applied),
        // Behind the token of a Retry, good or not.
        (&[&[1; 25][..], &bytes].concat(), applied),
    ];
    for (tokens, expected) in others {
        let (_, mut answerer, same) = puppet_scene(applying());
        assert_eq!(same, token);
        let mut init = puppets(&answerer, tokens, &some_data());
        let (read, reply) = hand(now, &mut answerer, &init.datagram);
        assert_eq!(outcome(&mut init, reply), expected, "{tokens:x?}");
        assert_eq!(read, if expected == applied { 100 } else { 0 });
    }
    for (later, expected) in [(539, applied), (601, held)] {
        let (_, mut answerer, token) = puppet_scene(applying());
        let mut init = puppets(&answerer, token.as_bytes(), &some_data());
        let (_, reply) = hand(now + Duration::from_secs(later), &mut answerer, &init.datagram);
        assert_eq!(outcome(&mut init, reply), expected, "{later} s");
    }
    // Another dialler's, stolen; and one that is shown in clear, where no data can be.
    let (now, _, mut answerer, theirs) = scene(applying());
    let stolen = &theirs[TOKEN_LEN + 1..][..EarlyToken::LEN];
    let init = puppets(&answerer, stolen, &some_data());
    assert_eq!(hand(now, &mut answerer, &init.datagram).0, 0);
    let clear = Init::new(None, &hello(&offer()), stolen, 1200);
    answerer.handle_datagram(now, Arrival::from_remote(DIALLER), &mut clear.datagram.clone());
    serve(now, &mut answerer);
    assert_eq!(answerer.stats().early_applied, 0);
}

#[test]
fn early_data_of_those_whom_a_policy_lets_in_unasked_waits_for_their_proof() {
    let (mut now, mut dialler) = (at(1000), endpoint(config(), 1, 1));
    let mut settings = applying();
    settings.admission = Some(Arc::new(Known::new([*dialler.public_key()])));
    let mut answerer = endpoint(settings, 2, 1);
    let token = granted(&mut now, &mut dialler, &mut answerer);
    let init = first_packet(now, &mut dialler, &answerer, &token);
    let (read, reply) = hand(now, &mut answerer, &init);
    assert_eq!((read, reply.is_some(), answerer.stats().early_applied), (0, true, 0));
    assert!(answerer.poll_event().is_none(), "the first word is that it is proved");
}

#[test]
fn ac_52_without_memory_early_data_is_held_and_its_token_is_used_up() {
    let mut settings = applying();
    // Room for a connection that does nothing: it cannot hold a stream.
    settings.limits.per_connection = (64 << 10) + (27 << 8) + 100;
    let (now, mut answerer, token) = puppet_scene(settings);
    let mut init = puppets(&answerer, token.as_bytes(), &some_data());
    let (read, reply) = hand(now, &mut answerer, &init.datagram);
    assert_eq!((read, outcome(&mut init, reply)), (0, Some(1)));
    let later = now + Duration::from_secs(11);
    answerer.handle_timeout(later);
    sent(later, &mut answerer);
    fuzzing::recount(&answerer);
    let kept = answerer.stats().memory_used;
    assert!((1..200).contains(&kept), "{kept} bytes: the token is remembered, and nothing else");
}

#[test]
fn ac_04_early_frames_that_break_a_rule_are_refused_and_leave_nothing() {
    for (frames, error) in [
        // A stream beyond the window, and one beyond those that may be open.
        ([&[0x0e, 2, 0x80, 0x10, 0, 0, 1][..], &[7]].concat(), TransportError::FlowControl),
        (vec![0x0a, 0x7f, 0xfe, 0], TransportError::StreamLimit),
    ] {
        let (now, mut answerer, token) = puppet_scene(applying());
        // What comes before is good, and is gone with the rest.
        let frames = [A_DATAGRAM, &some_data(), &frames].concat();
        let mut init = puppets(&answerer, token.as_bytes(), &frames);
        answerer.handle_datagram(now, Arrival::from_remote(DIALLER), &mut init.datagram.clone());
        let (handle, _) = answerer.poll_event().expect("an attempt");
        assert!(answerer.incoming(handle).expect("it waits").accept(now).is_err());
        assert_eq!(answerer.poll_event(), None, "nobody hears of it");
        let reply = sent(now, &mut answerer).into_iter().find(|packet| kind(packet) == INIT_KNOWN_REPLY);
        let payload = init.open(&reply.expect("a refusal")).expect("it opens");
        let (_, frames) = split(&payload);
        assert_eq!(frames[..2], [0x1c, error.code().get() as u8]);
        let later = now + Duration::from_secs(11);
        answerer.handle_timeout(later);
        sent(later, &mut answerer);
        assert_eq!((answerer.stats().connections, answerer.stats().early_applied), (0, 0));
        assert_eq!(answerer.poll_event(), None, "nobody hears of it");
    }
}

#[test]
fn ac_04_a_close_in_early_data_is_not_acted_on_at_once() {
    let (now, mut answerer, token) = puppet_scene(applying());
    let frames = [some_data(), vec![0x1d, 1, 0]].concat();
    let mut init = puppets(&answerer, token.as_bytes(), &frames);
    let (read, reply) = hand(now, &mut answerer, &init.datagram);
    assert_eq!((read, outcome(&mut init, reply)), (0, Some(1)));
}

#[test]
fn ac_12_a_dialler_that_gives_tokens_out_is_stopped() {
    let mut evil = Evil::new(1, quick(), applying());
    evil.strike(&[&[0x07, 33][..], &[2; 33]].concat());
    evil.run(ms(10));
    assert_eq!(evil.end(), Some(CloseReason::Violation(TransportError::Protocol)));
    evil.finish();
    for len in [0, 65] {
        let mut evil = Evil::new(1, quick(), applying());
        evil.strike(&[&number(7)[..], &number(len), &vec![2; len as usize]].concat());
        evil.run(ms(10));
        assert_eq!(evil.end(), Some(CloseReason::Violation(TransportError::FrameEncoding)));
        evil.finish();
    }
}

#[test]
fn an_answerer_that_says_it_has_applied_what_it_cannot_have_is_no_peer() {
    for with_data in [false, true] {
        let mut pair = Pair::with(1, quick(), config(), config(), AcceptAll, AcceptAll);
        let seen = record(&mut pair.world);
        let server = pair.server_addr;
        drop_if(&mut pair.world, move |passing| passing.to == server);
        let client = pair.dial_as(Peer::Key(puppet::public()));
        if with_data {
            pair.on_client(client, |connection| {
                let id = connection.open_uni().unwrap();
                connection.write(id, b"no token").unwrap();
            });
        }
        pair.world.run_for(ms(10));
        let init = seen.borrow()[0].bytes.clone();
        let values = puppet::with(puppet::answer(), EARLY_DATA, &[3]);
        let (_, bytes) = puppet::reply(&init, &hello(&values));
        let (node, to) = (pair.client, pair.client_addr);
        crate::common::hand_in(&mut pair.world, node, to, server, &bytes);
        pair.world.run_for(ms(10));
        let reason = CloseReason::Violation(TransportError::Parameters);
        assert_eq!(pair.client().closed(client).map(|(_, reason)| reason), Some(&reason));
        pair.finish();
    }
}

#[test]
fn early_data_that_is_never_confirmed_ends_and_can_be_read_until_then() {
    let (now, _, mut answerer, init) = scene(applying());
    assert_eq!(hand(now, &mut answerer, &init).0, 100);
    let later = now + Duration::from_secs(10);
    answerer.handle_timeout(later);
    let end = core::iter::from_fn(|| answerer.poll_event()).last();
    assert!(matches!(end, Some((_, Event::Closed(CloseReason::Unconfirmed)))), "{end:?}");
}

/// Hands an Init in to an application that accepts and does nothing else: says what it hears.
fn accept(now: Instant, endpoint: &mut Endpoint, init: &Init) -> (ConnectionHandle, Vec<Event>) {
    endpoint.handle_datagram(now, Arrival::from_remote(DIALLER), &mut init.datagram.clone());
    let (handle, event) = endpoint.poll_event().expect("an attempt");
    assert_eq!(event, Event::Incoming);
    endpoint.incoming(handle).expect("it waits").accept(now).expect("there is room");
    (handle, core::iter::from_fn(|| endpoint.poll_event()).map(|(_, event)| event).collect())
}

#[test]
fn ac_50_early_data_that_nobody_proved_is_gone_when_the_attempt_ends() {
    let (now, mut answerer, token) = puppet_scene(applying());
    let frames = [A_DATAGRAM, &some_data()].concat();
    let init = puppets(&answerer, token.as_bytes(), &frames);
    let (handle, _) = accept(now, &mut answerer, &init);
    sent(now, &mut answerer);
    // An application that reads nothing of which `is_early` says that it is, until that changes.
    assert!(answerer.connection(handle).expect("it is there").is_early());
    let later = now + Duration::from_secs(10);
    answerer.handle_timeout(later);
    let end = core::iter::from_fn(|| answerer.poll_event()).last();
    assert_eq!(end, Some((handle, Event::Closed(CloseReason::Unconfirmed))));
    if let Some(mut connection) = answerer.connection(handle) {
        let id = connection.accept(Direction::Unidirectional);
        let data = id.and_then(|id| connection.read_chunk(id, usize::MAX).ok().flatten());
        assert_eq!((data, connection.read_datagram(&mut Vec::new())), (None, None));
    }
    sent(later, &mut answerer);
    assert_eq!(answerer.stats().connections, 0, "it is not kept for a reader");
}

#[test]
fn ac_50_a_first_packet_that_was_refused_is_not_acted_on_later() {
    let (now, _, mut answerer, init) = scene(applying());
    answerer.handle_datagram(now, Arrival::from_remote(DIALLER), &mut init.clone());
    let (handle, _) = answerer.poll_event().expect("an attempt");
    answerer.incoming(handle).expect("it waits").refuse(now, 1u32.into());
    assert_eq!(sent(now, &mut answerer).len(), 1, "who dialled is told");
    let (read, reply) = hand(now + ms(11_000), &mut answerer, &init);
    assert_eq!((read, reply.is_some()), (0, true));
}

/// Lets in unasked, for a time.
#[derive(Debug)]
struct Lenient(AtomicBool);

impl Admission for Lenient {
    fn judge(&self, _: &Candidate) -> Verdict {
        if self.0.load(Ordering::Relaxed) { Verdict::Accept } else { Verdict::Ask }
    }
}

#[test]
fn ac_50_a_first_packet_that_was_held_is_not_acted_on_later() {
    let (mut settings, policy) = (applying(), Arc::new(Lenient(AtomicBool::new(true))));
    settings.admission = Some(Arc::<Lenient>::clone(&policy));
    let (now, _, mut answerer, init) = scene(settings);
    assert_eq!(hand(now, &mut answerer, &init).0, 0, "it waits for its proof");
    policy.0.store(false, Ordering::Relaxed);
    let (read, reply) = hand(now + ms(11_000), &mut answerer, &init);
    assert_eq!((read, reply.is_some()), (0, true));
}

#[test]
fn early_datagrams_are_told_of_behind_the_word_that_they_are_early() {
    let (now, mut answerer, token) = puppet_scene(applying());
    let frames = [A_DATAGRAM, &some_data()].concat();
    let init = puppets(&answerer, token.as_bytes(), &frames);
    let (handle, events) = accept(now, &mut answerer, &init);
    assert_eq!(events.first(), Some(&Event::EarlyData), "{events:?}");
    assert_eq!(events.iter().filter(|event| **event == Event::DatagramReceived).count(), 1);
    let mut connection = answerer.connection(handle).expect("it is there");
    assert_eq!(connection.read_datagram(&mut Vec::new()), Some(3));
}

#[test]
fn ac_50_answers_to_those_who_prove_nothing_are_in_the_sum_of_what_attempts_hold() {
    let full = Disposition::Dropped(DropReason::OverBudget);
    for (answer, expected) in [(1_000, Disposition::Accepted), (200 << 10, full)] {
        let mut settings = applying();
        settings.limits.per_endpoint = 1 << 20;
        let (now, mut answerer, token) = puppet_scene(settings);
        let init = puppets(&answerer, token.as_bytes(), &[0x0a, 0, 1, 7]);
        let (handle, _) = accept(now, &mut answerer, &init);
        let mut connection = answerer.connection(handle).expect("it is there");
        let id = connection.accept(Direction::Bidirectional).expect("the request");
        assert_eq!(connection.write(id, &vec![7; answer]), Ok(answer));
        let other = Init::new(None, &hello(&offer()), b"", 1200);
        let next = answerer.handle_datagram(now, Arrival::from_remote(DIALLER), &mut other.datagram.clone());
        assert_eq!(next, expected, "behind an answer of {answer} bytes");
    }
}

#[test]
fn a_graceful_close_of_what_nobody_proves_ends_at_its_deadline() {
    let (now, mut answerer, token) = puppet_scene(applying());
    // Nothing is left of the connection that brought the token.
    let now = now + ms(1_000);
    answerer.handle_timeout(now);
    let init = puppets(&answerer, token.as_bytes(), &some_data());
    let (handle, _) = accept(now, &mut answerer, &init);
    let deadline = now + ms(1_000);
    let mut connection = answerer.connection(handle).expect("it is there");
    connection.close_graceful(deadline, 3u32.into(), b"");
    sent(now, &mut answerer);
    assert_eq!(answerer.poll_timeout(), Some(deadline));
    answerer.handle_timeout(deadline);
    let end = core::iter::from_fn(|| answerer.poll_event()).last();
    assert_eq!(end, Some((handle, Event::Closed(CloseReason::Local { code: 3u32.into() }))));
}
