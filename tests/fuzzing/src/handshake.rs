//! Two endpoints that dial one another, a network that remakes what passes, and a stranger who handshakes properly and says
//! anything. Whoever is connected is so with whom it dialled, and both ends see the same.

use arbitrary::{Result, Unstructured};
use dunlin_core::fuzzing::Stranger;
use dunlin_core::{
    Connection, ConnectionHandle, PeerIdentity, PublicKey, RetryPolicy, Secret, Suite, TrainLimit,
};
use dunlin_sim::work_between;

use crate::decoders::hello;
use crate::frames::varint;
use crate::input::{bytes, choice, frames};
use crate::session::{Action, Decision, Dial, Duo, Fate, Flight, Jump, roomy, tight};

/// Things that happen in one input at most.
const MAX_STEPS: usize = 200;
/// Dials that one input has at most: each costs half a millisecond.
const MAX_DIALS: usize = 8;
/// The most work that a datagram may cause in the call that takes it, of the units of [`work_between`]: a handshake's, and for
/// each two bytes.
const WORK: u64 = 2_000;

/// Handshakes as the bytes say.
///
/// # Panics
/// Something does not hold.
pub fn handshake(data: &[u8]) {
    let mut input = Unstructured::new(data);
    let Ok(kind) = choice(&mut input) else { return };
    let mut settings = if kind & 1 == 0 { roomy() } else { tight() };
    settings.retry = match kind >> 3 & 7 {
        0 => RetryPolicy::Never,
        1..=4 => RetryPolicy::UnderLoad,
        5.. => RetryPolicy::Always,
    };
    if kind & 0xc0 == 0xc0 {
        settings.limits.dh_per_second = 20;
    }
    let mut attack = Attack {
        duo: Duo::new(settings.clone(), settings),
        stranger: Stranger::new([99; 32]),
        known: Vec::new(),
        dials: 0,
    };
    attack.dial(usize::from(kind >> 1 & 1), if kind & 4 == 0 { Dial::Known } else { Dial::AnyKey });
    for _ in 0..MAX_STEPS {
        if attack.step(&mut input).is_err() {
            break;
        }
        attack.check();
    }
    attack.duo.end();
}

struct Attack {
    duo: Duo,
    stranger: Stranger,
    /// Dials for a certain key: whose, and that key.
    known: Vec<(usize, ConnectionHandle, PublicKey)>,
    dials: usize,
}

impl Attack {
    fn dial(&mut self, side: usize, dial: Dial) {
        self.dials += 1;
        let before = self.duo.sides[side].handles.len();
        Action::Connect(side, dial).apply(&mut self.duo);
        let key = match dial {
            Dial::Known => *self.duo.sides[1 - side].endpoint.public_key(),
            _ => return,
        };
        let new = self.duo.sides[side].handles.get(before);
        self.known.extend(new.map(|handle| (side, *handle, key)));
    }

    fn step(&mut self, input: &mut Unstructured<'_>) -> Result<()> {
        let kind = choice(input)?;
        let side = usize::from(kind & 1);
        match kind {
            0..=15 if self.dials < MAX_DIALS => {
                let dial = Dial::take(input)?;
                self.dial(side, dial);
            }
            0..=23 => Action::Decide(side, input.arbitrary()?, Decision::take(input)?).apply(&mut self.duo),
            24..=79 => self.duo.drain(side, TrainLimit::SINGLE),
            80..=119 => Action::Network(input.arbitrary()?, Fate::take(input)?).apply(&mut self.duo),
            120..=151 => self.remake(input)?,
            152..=171 => self.stranger_dials(side, input)?,
            172..=195 => self.stranger_answers(input)?,
            196..=211 => {
                self.duo.events(side);
            }
            212..=235 => {
                Action::Time(Jump::take(input)?).apply(&mut self.duo);
                self.duo.settle(side, TrainLimit::OFFLOAD);
            }
            236..=247 => self.duo.sides[side].accepts = kind & 2 == 0,
            248..=255 => Action::Garbage(side, bytes(input, 1_500)?.to_vec()).apply(&mut self.duo),
        }
        Ok(())
    }

    /// Bytes of a datagram under way are others now; or there are more of them, or fewer.
    fn remake(&mut self, input: &mut Unstructured<'_>) -> Result<()> {
        let (which, at, how) = (choice(input)?, usize::from(input.arbitrary::<u16>()?), choice(input)?);
        let new = bytes(input, 64)?;
        let count = self.duo.wire.len().max(1);
        let Some(flight) = self.duo.wire.get_mut(usize::from(which) % count) else { return Ok(()) };
        // The parts at the front are short, and the interesting ones.
        let at = if at < 1 << 15 { at % 80 } else { at % 1_500 }.min(flight.bytes.len());
        let end = (at + new.len()).min(flight.bytes.len());
        match how {
            0..=159 => drop(flight.bytes.splice(at..end, new.iter().copied())),
            160..=199 => drop(flight.bytes.splice(at..at, new.iter().copied())),
            200..=229 => drop(flight.bytes.drain(at..end)),
            230..=255 => flight.bytes.truncate(at),
        }
        Ok(())
    }

    /// HELLO and frames, as the bytes describe them.
    fn payload(input: &mut Unstructured<'_>) -> Result<Vec<u8>> {
        let values = hello(bytes(input, 60)?);
        let mut payload = vec![0x20];
        varint(&mut payload, values.len() as u64);
        payload.extend_from_slice(&values);
        match choice(input)? {
            0..=99 => {}
            100..=219 => payload.extend(frames(input).concat()),
            220..=255 => payload = bytes(input, 1_100)?.to_vec(),
        }
        Ok(payload)
    }

    fn stranger_dials(&mut self, to: usize, input: &mut Unstructured<'_>) -> Result<()> {
        let (known, id, seed) = (choice(input)? & 1 == 0, input.arbitrary()?, input.arbitrary::<u8>()?);
        let token = bytes(input, 80)?;
        let mut payload = Self::payload(input)?;
        payload.truncate(1_700);
        payload.resize(payload.len().max(1_200), 0);
        let key = *self.duo.sides[to].endpoint.public_key();
        let init = self.stranger.init(known.then_some(&key), id, [seed; 32], token, &payload);
        if let Some(bytes) = init {
            let from = ([10, 0, 0, 9], 9_000).into();
            self.strike(Flight { to, socket: 0, from, bytes });
        }
        Ok(())
    }

    /// The stranger answers a first datagram that is under way, from where it goes.
    fn stranger_answers(&mut self, input: &mut Unstructured<'_>) -> Result<()> {
        let (which, seed) = (usize::from(choice(input)?), input.arbitrary::<u8>()?);
        let payload = Self::payload(input)?;
        let count = self.duo.wire.len().max(1);
        let Some(flight) = self.duo.wire.get(which % count) else { return Ok(()) };
        let (to, from) = (1 - flight.to, self.duo.sides[flight.to].addr);
        if let Some(bytes) = self.stranger.reply(&flight.bytes, [seed; 32], &payload) {
            self.strike(Flight { to, socket: 0, from, bytes });
        }
        Ok(())
    }

    fn strike(&mut self, flight: Flight) {
        let (side, len) = (flight.to, flight.bytes.len() as u64);
        let before = self.duo.sides[side].endpoint.stats();
        self.duo.deliver(flight);
        let work = work_between(&before, &self.duo.sides[side].endpoint.stats());
        assert!(work <= WORK + len / 2, "work of {work} for {len} bytes");
    }

    /// Whoever was dialled by key is who is there, and who has the same handshake has all of it.
    fn check(&mut self) {
        for (side, handle, key) in &self.known {
            let Some(connection) = self.duo.sides[*side].endpoint.connection(*handle) else { continue };
            let peer = connection.peer_identity();
            assert!(peer.is_none_or(|peer| peer == PeerIdentity::Verified(*key)), "connected with {peer:?}");
        }
        let [ours, theirs] = [0, 1].map(|side| self.views(side));
        for view in &ours {
            let same = theirs.iter().find(|other| other.hash == view.hash);
            assert!(same.is_none_or(|other| other == view), "two ends of a handshake see it differently");
        }
    }

    fn views(&mut self, side: usize) -> Vec<View> {
        let side = &mut self.duo.sides[side];
        let endpoint = &mut side.endpoint;
        side.handles.iter().filter_map(|handle| View::of(&endpoint.connection(*handle)?)).collect()
    }
}

/// What both ends of a connection have to see alike.
#[derive(PartialEq)]
struct View {
    hash: [u8; 32],
    suite: Option<Suite>,
    alpn: Option<Vec<u8>>,
    exported: Option<Secret>,
}

impl View {
    fn of(connection: &Connection<'_>) -> Option<Self> {
        Some(Self {
            hash: connection.handshake_hash()?,
            suite: connection.suite(),
            alpn: connection.alpn().map(<[u8]>::to_vec),
            exported: connection.export(b"view", b"").ok()?,
        })
    }
}
