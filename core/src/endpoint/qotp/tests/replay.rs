//! The recorded conversations, with our engine in the place of either side: every packet of the other side is handed over
//! when it arrived then, the application does what it did when it did it.

use std::collections::{BTreeMap, VecDeque};

use super::peer::{Says, Wire};
use super::*;
use crate::Role;
use crate::crypto::qotp::packet::{Epochs, Sequence, open};
use crate::crypto::qotp::vectors::{
    AppAction, AppEvent, Conversation, Datagram, Keys, Sealed, conversations,
};
use crate::error::{CloseReason, ReadError, WriteError};
use crate::id::{Direction, StreamId};
use crate::wire::qotp::payload::{Payload, StreamPart, strip_filler};

/// What an acknowledgement says that acknowledges nothing: stream, offset, length.
const NOTHING: Named = (u32::MAX, 0, 0xffff);
/// The window of an empty receive buffer.
const WINDOW: u64 = 16 << 20;

/// What a packet carried: stream, offset, length.
type Named = (u32, u64, usize);

/// What happened on a stream, in our application and on the wire.
#[derive(Default)]
struct Stream {
    written: Vec<u8>,
    finished: bool,
    read: Vec<u8>,
    ended: bool,
    /// Length of what was sent by its offset. Nothing else is ever sent of it.
    sent: BTreeMap<u64, usize>,
    sent_fin: bool,
    /// The peer's end of it has arrived.
    peer_closed: bool,
}

/// A conversation in which our engine plays one side.
struct Replay<'a> {
    conversation: &'a Conversation,
    role: Role,
    endpoint: Endpoint,
    handle: Option<ConnectionHandle>,
    now: Instant,
    /// Opens Init packets, then everything else.
    keys: [PacketKey; 2],
    streams: BTreeMap<u32, Stream>,
    /// What the peer sent, in the order in which it is to be acknowledged.
    unacked: VecDeque<Named>,
    first: Option<Vec<u8>>,
    sequence: Option<Sequence>,
    /// The peer's first Data packet has arrived.
    confirmed: bool,
    /// What we sent that asks for an acknowledgement. Some of it has had one.
    named: Vec<Named>,
    /// Packets of ours that are in the recording too.
    same: usize,
}

enum Input<'a> {
    Packet(&'a Datagram),
    App(&'a AppEvent),
}

impl<'a> Replay<'a> {
    fn new(conversation: &'a Conversation, role: Role) -> Self {
        let (own, peer) = match role {
            Role::Initiator => (&conversation.initiator, &conversation.responder),
            Role::Responder => (&conversation.responder, &conversation.initiator),
        };
        let Keys { identity, ephemeral } = own;
        let mut endpoint = endpoint(*identity, conversation.mtu);
        let known = conversation.known.then(|| public(&peer.identity));
        let handle = (role == Role::Initiator).then(|| dial(&mut endpoint, ephemeral, known));
        let (initiator, responder) = (&conversation.initiator, &conversation.responder);
        Self {
            conversation,
            role,
            endpoint,
            handle,
            now: START,
            keys: [&responder.identity, &responder.ephemeral].map(|key| shared(&initiator.ephemeral, key)),
            streams: BTreeMap::new(),
            unacked: VecDeque::new(),
            first: None,
            sequence: None,
            confirmed: false,
            named: Vec::new(),
            same: 0,
        }
    }

    /// Everything that happens to our side. What came in a packet was there before the application looked.
    fn inputs(&self) -> Vec<(Duration, Input<'a>)> {
        let theirs = self.conversation.datagrams.iter().filter(|datagram| datagram.from != self.role);
        let arrivals = theirs
            .filter(|datagram| datagram.delivered)
            .map(|datagram| (datagram.at + self.conversation.one_way_latency, Input::Packet(datagram)));
        let ours = self.conversation.events.iter().filter(|event| event.side == self.role);
        let mut inputs: Vec<_> = arrivals.chain(ours.map(|event| (event.at, Input::App(event)))).collect();
        inputs.sort_by_key(|(at, _)| *at);
        inputs
    }

    fn run(&mut self) {
        let inputs = self.inputs();
        let mut inputs = inputs.iter().peekable();
        while let Some((at, input)) = inputs.next() {
            match input {
                Input::Packet(datagram) => self.on_packet(datagram),
                Input::App(event) => self.on_app(event),
            }
            self.read();
            match inputs.peek() {
                Some((next, _)) if next == at => {}
                Some((next, _)) => self.run_until(START + *next),
                None => self.run_until(START + *at + Duration::from_secs(1)),
            }
        }
    }

    /// Sends what is to be sent, and serves timers.
    fn run_until(&mut self, end: Instant) {
        for _ in 0..1000 {
            for datagram in transmits(&mut self.endpoint, self.now) {
                self.on_sent(datagram);
            }
            assert!(self.unacked.is_empty(), "acknowledgements do not wait");
            match self.endpoint.poll_timeout().filter(|due| *due <= end) {
                Some(due) => self.now = due,
                None => {
                    self.now = end;
                    return;
                }
            }
            self.endpoint.handle_timeout(self.now);
        }
        panic!("the engine spins");
    }

    fn on_packet(&mut self, datagram: &Datagram) {
        let named = |part: &StreamPart<'_>| (part.stream, part.offset, part.data.len());
        let part = match &datagram.sealed {
            Some(sealed) => {
                let payload = Payload::decode(&sealed.payload).unwrap();
                if let Some(part) = payload.stream {
                    self.stream(part.stream).peer_closed |= payload.close;
                }
                payload.stream.as_ref().map(named)
            }
            None => Some((0, 0, 0)),
        };
        let disposition = feed(&mut self.endpoint, self.now, &datagram.packet);
        assert_eq!(disposition, Disposition::Accepted, "{:?}", Header::parse(&datagram.packet));
        self.unacked.extend(part);
        let ty = Header::parse(&datagram.packet).unwrap().ty();
        self.confirmed |= ty == PacketType::Data;
        while let Some((handle, event)) = self.endpoint.poll_event() {
            if event == Event::Incoming {
                accept(&mut self.endpoint, self.now, handle, &self.conversation.responder.ephemeral);
                self.handle = Some(handle);
            }
            assert!(!matches!(event, Event::Closed(_)), "{event:?}");
        }
    }

    fn on_app(&mut self, event: &AppEvent) {
        let (number, id) = (event.stream, StreamId::qotp(event.stream));
        let mut connection = self.endpoint.connection(self.handle.unwrap()).unwrap();
        match &event.action {
            AppAction::Write(data) => {
                let written = match connection.write(id, data) {
                    Err(WriteError::Closed) => {
                        connection.open_id(number).map(|id| connection.write(id, data))
                    }
                    written => Ok(written),
                };
                assert_eq!(written, Ok(Ok(data.len())));
                self.stream(number).written.extend(data);
            }
            AppAction::Close => {
                connection.finish(id).unwrap();
                self.stream(number).finished = true;
            }
            AppAction::Ping => {
                // Only new streams are announced by a PING; on others there is nothing to say.
                let _ = connection.open_id(number);
                self.stream(number);
            }
            // The reference closes its own side of a stream with the peer's.
            AppAction::RefusedWrite(_) => {}
            AppAction::Read(_) | AppAction::EndOfStream => {}
        }
    }

    fn stream(&mut self, number: u32) -> &mut Stream {
        self.streams.entry(number).or_default()
    }

    /// Reads whatever there is. At the end of a stream our side of it ends too, as the reference's does.
    fn read(&mut self) {
        let Some(mut connection) = self.handle.and_then(|handle| self.endpoint.connection(handle)) else {
            return;
        };
        while let Some(id) = connection.accept(Direction::Bidirectional) {
            self.streams.entry(id.qotp_number().unwrap()).or_default();
        }
        for (number, stream) in self.streams.iter_mut().filter(|(_, stream)| !stream.ended) {
            let id = StreamId::qotp(*number);
            loop {
                match connection.read_chunk(id, usize::MAX) {
                    Ok(Some(chunk)) => stream.read.extend_from_slice(&chunk),
                    Ok(None) => {
                        stream.ended = true;
                        assert!(stream.finished || connection.finish(id).is_ok());
                        stream.finished = true;
                        break;
                    }
                    // Not there yet, or no stream: it was named by packets that carry nothing.
                    Err(ReadError::Blocked | ReadError::Closed) => break,
                    Err(error) => panic!("{error}"),
                }
            }
        }
    }

    /// A packet of ours: it must be one that the recorded peer can read, and say what is true.
    fn on_sent(&mut self, mut datagram: Vec<u8>) {
        let bytes = datagram.clone();
        assert!(bytes.len() <= self.conversation.mtu);
        let header = Header::parse(&datagram).unwrap();
        let (ty, clear) = (header.ty(), header.ty().clear_len());
        let recorded =
            self.conversation.datagrams.iter().find(|recorded| recorded.from == self.role).unwrap();
        if self.first.is_none() {
            assert_eq!(bytes[..clear], recorded.packet[..clear], "the recorded keys, in the same places");
        }
        let first = self.first.get_or_insert_with(|| bytes.clone());
        match ty {
            PacketType::InitSnd | PacketType::InitCryptoSnd => {
                assert_eq!((self.role, bytes.len()), (Role::Initiator, self.conversation.mtu));
                assert!(
                    bytes == *first && bytes == recorded.packet,
                    "{ty:?} is the recorded one, and so are copies"
                );
            }
            PacketType::InitRcv | PacketType::InitCryptoRcv => {
                assert!(self.role == Role::Responder && !self.confirmed);
                assert_eq!(bytes[..clear], recorded.packet[..clear], "every reply has the same header");
            }
            PacketType::Data => assert!(self.role == Role::Initiator || self.confirmed),
        }
        if ty == PacketType::InitSnd {
            return;
        }
        let [init, data] = &self.keys;
        let (key, epochs) = match ty {
            PacketType::InitCryptoSnd => (init, Epochs::HANDSHAKE),
            _ => (data, [0, 0]),
        };
        let (sequence, range) = open(key, self.role, epochs, clear, &mut datagram).unwrap();
        let payload = &datagram[range];
        let payload = if ty == PacketType::InitCryptoSnd { strip_filler(payload).unwrap() } else { payload };
        let counts = self.sequence.is_none_or(|before| before < sequence) || bytes == *first;
        assert!(counts, "{:?} and then {sequence:?}", self.sequence);
        self.sequence = Some(sequence);
        self.compare(sequence, payload, &bytes);
        self.on_sent_payload(Payload::decode(payload).unwrap());
    }

    /// The same payload under the same number is the same packet.
    fn compare(&mut self, sequence: Sequence, payload: &[u8], bytes: &[u8]) {
        let ours = self.conversation.datagrams.iter().filter(|recorded| recorded.from == self.role);
        for recorded in ours {
            let same = |sealed: &Sealed| {
                sealed.sequence == sequence && sealed.payload == payload && recorded.packet[0] == bytes[0]
            };
            if recorded.sealed.as_ref().is_some_and(same) {
                assert_eq!(recorded.packet, bytes);
                self.same += 1;
            }
        }
    }

    fn on_sent_payload(&mut self, payload: Payload<'_>) {
        if let Some(ack) = payload.ack {
            let named = (ack.stream, ack.offset, usize::from(ack.len));
            assert_eq!(ack.window, WINDOW);
            if named != NOTHING {
                assert_eq!(
                    Some(named),
                    self.unacked.pop_front(),
                    "one acknowledgement a packet, in their order"
                );
            }
        }
        let Some(StreamPart { stream, offset, data }) = payload.stream else {
            assert!(!payload.close);
            return;
        };
        self.named.push((stream, offset, data.len()));
        if data.is_empty() && !payload.close {
            assert_eq!(offset, 0, "a PING");
            return;
        }
        let stream = self.stream(stream);
        let end = stream.sent.last_key_value().map_or(0, |(offset, len)| offset + *len as u64);
        let from = usize::try_from(offset).unwrap();
        assert_eq!(stream.written[from..from + data.len()], *data);
        match stream.sent.get(&offset) {
            Some(len) if *len > 0 => assert!(*len == data.len() || (data.is_empty() && offset == end)),
            _ => assert_eq!(offset, end, "new data follows what was sent, and is never cut otherwise"),
        }
        if !data.is_empty() {
            stream.sent.insert(offset, data.len());
        }
        if payload.close {
            assert!(stream.finished && from + data.len() == stream.written.len());
            stream.sent_fin = true;
        }
    }

    /// What the recorded application has read in all, and which streams have ended for it.
    fn recorded(&self) -> BTreeMap<u32, (Vec<u8>, bool)> {
        let mut recorded = BTreeMap::<u32, (Vec<u8>, bool)>::new();
        for event in self.conversation.events.iter().filter(|event| event.side == self.role) {
            let (read, ended) = recorded.entry(event.stream).or_default();
            match &event.action {
                AppAction::Read(data) => read.extend(data),
                AppAction::EndOfStream => *ended = true,
                _ => {}
            }
        }
        recorded
    }

    /// The recorded peer could not acknowledge what we had cut otherwise: that is done by hand, until all is said.
    fn acknowledge_all(&mut self) {
        let wire = Wire {
            initiator: self.conversation.initiator.ephemeral,
            responder: self.conversation.responder.ephemeral,
        };
        let mut numbers = 1000..2000;
        while !self.named.is_empty() {
            for (stream, offset, len) in mem::take(&mut self.named) {
                let says = Says::acked(stream, offset, u16::try_from(len).unwrap());
                let number = numbers.next().unwrap();
                let packet = wire.packet(self.role.peer(), &wire.data(), number, &says);
                assert_eq!(feed(&mut self.endpoint, self.now, &packet), Disposition::Accepted);
            }
            self.run_until(self.now + Duration::from_secs(1));
        }
    }

    fn check_end(&mut self) {
        for (number, (read, ended)) in self.recorded() {
            let stream = self.stream(number);
            assert!(stream.read == read, "stream {number}: {} of {} bytes", stream.read.len(), read.len());
            // The reference does not tell of the end of a stream without data.
            assert_eq!(stream.ended, ended || stream.peer_closed, "stream {number}");
        }
        for (number, stream) in &self.streams {
            let sent: usize = stream.sent.values().sum();
            assert_eq!((sent, stream.sent_fin), (stream.written.len(), stream.finished), "stream {number}");
        }
        let mut told: Vec<_> = core::iter::from_fn(|| self.endpoint.poll_event()).collect();
        told.retain(|(_, event)| matches!(event, Event::Closed(_)));
        assert!(told.is_empty(), "{told:?}");
        assert_eq!(self.endpoint.connection(self.handle.unwrap()).unwrap().path().in_flight, 0);
        self.run_until(self.now + Duration::from_secs(31));
        let (_, last) = core::iter::from_fn(|| self.endpoint.poll_event()).last().unwrap();
        assert_eq!(last, Event::Closed(CloseReason::IdleTimeout));
    }
}

#[test]
fn qotp_conversations_replay_with_us_in_either_place() {
    let conversations = conversations();
    assert_eq!(conversations.len(), 7);
    let mut same = 0;
    for conversation in &conversations {
        for role in [Role::Initiator, Role::Responder] {
            let mut replay = Replay::new(conversation, role);
            replay.run();
            replay.acknowledge_all();
            same += replay.same;
            replay.check_end();
        }
    }
    assert!(same > 20, "{same}");
}
