//! One side of a connection has the right keys and no manners, the other is an endpoint with an application. Whatever the one
//! says, for the other it is bounded work, bounded memory and bounded talk.

use arbitrary::{Result, Unstructured};
use dunlin_core::fuzzing::{self, IdOf, Opened, Unopened};
use dunlin_core::{ConnectionHandle, Duration, PathId, TrainLimit};
use dunlin_sim::work_between;

use crate::frames;
use crate::input::{self, choice, number};
use crate::session::{Action, Dial, Duo, Flight, Verb, opening, roomy, tight};

/// The side that has no manners; the other is its victim.
const LIAR: usize = 0;
const VICTIM: usize = 1;
/// Things that one input says at most.
const MAX_STEPS: usize = 300;
/// The most work that a datagram may cause in the call that takes it, of the units of [`work_between`]: for each byte, and
/// for any.
const WORK_PER_BYTE: u64 = 4;
const WORK: u64 = 2_000;

/// What a liar with keys says, as the bytes have it.
///
/// # Panics
/// Something does not hold.
pub fn sealed(data: &[u8]) {
    let mut input = Unstructured::new(data);
    let Ok(kind) = choice(&mut input) else { return };
    let mut liar = Liar::new(kind);
    for _ in 0..MAX_STEPS {
        if liar.step(&mut input).is_err() {
            break;
        }
    }
    // What its own engine remembers of what it was made to say has no bound, and does not matter.
    if let Some(connection) = liar.duo.sides[LIAR].endpoint.connection(liar.own) {
        connection.forget();
    }
    liar.duo.end();
}

struct Liar {
    duo: Duo,
    own: ConnectionHandle,
    dial: Dial,
    /// What the victim has sent, as far as it could be opened.
    heard: Vec<Opened>,
    /// Packets on paths that its engine has not opened, whose numbers are counted here.
    unopened: u64,
}

impl Liar {
    /// The low bits of `kind` say how roomy the victim is and which wire it is; the others how far the connection has got.
    fn new(kind: u8) -> Self {
        let settings = if kind & 1 == 0 { roomy() } else { tight() };
        let dial = [Dial::Known, Dial::Unknown, Dial::QotpKey, Dial::Known][usize::from(kind >> 1 & 3)];
        let mut duo = Duo::new(settings.clone(), settings);
        let [connect, run, both, one] = opening(dial);
        connect.apply(&mut duo);
        match kind >> 3 {
            // The answerer has accepted and waits for the dialler's first Data packet.
            0..=4 => Self::halfway(&mut duo),
            5..=31 => [run, both, one].into_iter().for_each(|action| action.apply(&mut duo)),
            _ => {}
        }
        duo.on_forged();
        let own = duo.sides[LIAR].handles[0];
        duo.wire.clear();
        Self { duo, own, dial, heard: Vec::new(), unopened: 0 }
    }

    fn halfway(duo: &mut Duo) {
        for side in [LIAR, VICTIM] {
            duo.drain(side, TrainLimit::SINGLE);
            for flight in core::mem::take(&mut duo.wire) {
                duo.deliver(flight);
            }
            duo.events(1 - side);
        }
        // The reply to what was accepted only then.
        duo.drain(VICTIM, TrainLimit::SINGLE);
        for flight in core::mem::take(&mut duo.wire) {
            duo.deliver(flight);
        }
    }

    fn step(&mut self, input: &mut Unstructured<'_>) -> Result<()> {
        match choice(input)? {
            0..=119 => {
                let payload = self.payload(input)?;
                self.say(input, PathId::ZERO, &payload)?;
            }
            120..=134 => {
                let path = PathId::new(choice(input)? % 4).unwrap_or(PathId::ZERO);
                let payload = self.payload(input)?;
                self.say(input, path, &payload)?;
            }
            135..=159 => self.acknowledge(input)?,
            160..=164 => {
                let count = u32::from(input.arbitrary::<u8>()?);
                self.as_liar(|liar| fuzzing::skip_numbers(liar, PathId::ZERO, count));
            }
            165..=169 => self.as_liar(fuzzing::rotate_keys),
            170..=189 => self.pass(Duration::from_millis(u64::from(choice(input)?))),
            190..=194 => self.pass(Duration::from_millis(u64::from(choice(input)?) * 100)),
            195..=239 => {
                let verb = Verb::take(input)?;
                Action::On(VICTIM, input.arbitrary()?, verb).apply(&mut self.duo);
            }
            240..=255 => self.listen(),
        }
        Ok(())
    }

    /// Frames, or a payload of the other wire.
    fn payload(&self, input: &mut Unstructured<'_>) -> Result<Vec<u8>> {
        let mut payload = match self.dial {
            Dial::QotpKey => input::qotp_payload(input)?,
            _ => input::frames(input).concat(),
        };
        // The same over and over, up to a datagram's length.
        let copies = match input.arbitrary::<u8>()? {
            0..=239 => 1,
            copies @ 240..=255 => usize::from(copies - 238) * 4,
        };
        payload = payload.repeat(copies);
        payload.truncate(60_000);
        Ok(payload)
    }

    /// A packet around `payload` reaches the victim, perhaps damaged, perhaps twice, perhaps from elsewhere.
    fn say(&mut self, input: &mut Unstructured<'_>, path: PathId, payload: &[u8]) -> Result<()> {
        let (mut bytes, how) = (Vec::new(), input.arbitrary::<u8>()?);
        let native = !matches!(self.dial, Dial::QotpKey);
        self.unopened += 1;
        let unopened = Unopened {
            path,
            number: self.unopened,
            to: if how & 1 == 0 { IdOf::NoPath } else { IdOf::OpenPath },
        };
        self.as_liar(|liar| match native {
            true => {
                fuzzing::seal_on(liar, path, payload, &mut bytes)
                    || fuzzing::seal_unopened(liar, &unopened, payload, &mut bytes)
            }
            false => fuzzing::seal(liar, payload, &mut bytes),
        });
        if bytes.is_empty() {
            return Ok(());
        }
        let mut flight = Flight { to: VICTIM, socket: 0, from: self.duo.sides[LIAR].addr, bytes };
        match how {
            0..=219 => {}
            220..=229 => {
                let at = usize::from(input.arbitrary::<u16>()?) % flight.bytes.len();
                flight.bytes[at] ^= 1 << (how % 8);
            }
            230..=239 => self.strike(flight.clone()),
            240..=255 => flight.from.set_port(3_000 + u16::from(how)),
        }
        self.strike(flight);
        Ok(())
    }

    /// Hands it over and weighs the work that it was.
    fn strike(&mut self, flight: Flight) {
        let len = flight.bytes.len() as u64;
        let before = self.duo.sides[VICTIM].endpoint.stats();
        self.duo.deliver(flight);
        let after = self.duo.sides[VICTIM].endpoint.stats();
        let work = work_between(&before, &after);
        assert!(work <= WORK_PER_BYTE * len + WORK, "work of {work} for {len} bytes");
    }

    /// Opens what the victim has sent.
    fn listen(&mut self) {
        self.duo.settle(VICTIM, TrainLimit::OFFLOAD);
        for flight in core::mem::take(&mut self.duo.wire) {
            let now = self.duo.tell_time(LIAR);
            self.duo.sides[LIAR].endpoint.handle_timeout(now);
            if let Some(mut liar) = self.duo.sides[LIAR].endpoint.connection(self.own) {
                self.heard.extend(fuzzing::open(&mut liar, &flight.bytes));
            }
        }
    }

    /// Acknowledges something: all that was heard, the newest, what was not, or one number at a time.
    fn acknowledge(&mut self, input: &mut Unstructured<'_>) -> Result<()> {
        self.listen();
        let how = choice(input)?;
        let newest = self.heard.iter().map(|heard| heard.number).max().unwrap_or(0);
        let payload = match how {
            0..=99 => frames::ack(0, newest, 0, &[]),
            100..=149 => frames::ack(0, newest, newest, &[]),
            150..=179 => {
                let every_second = vec![(0, 0); usize::try_from(newest / 2).unwrap_or(0).min(8_000)];
                frames::ack(0, newest, 0, &every_second)
            }
            180..=209 => frames::ack(0, newest.saturating_add(number(input)?), number(input)?, &[]),
            210..=255 => (0..newest.min(2_000)).flat_map(|number| frames::ack(0, number, 0, &[])).collect(),
        };
        self.say(input, PathId::ZERO, &payload)
    }

    /// Time passes, and the victim does what is due in it.
    fn pass(&mut self, span: Duration) {
        let end = self.duo.now + span;
        for _ in 0..1_000 {
            self.duo.settle(VICTIM, TrainLimit::OFFLOAD);
            let due = self.duo.sides[VICTIM].endpoint.poll_timeout().filter(|due| *due <= end);
            let Some(due) = due else { break };
            self.duo.now = due.max(self.duo.now);
        }
        self.duo.now = end.max(self.duo.now);
        self.duo.events(VICTIM);
        self.duo.settle(VICTIM, TrainLimit::OFFLOAD);
    }

    fn as_liar<R: Default>(&mut self, act: impl FnOnce(&mut dunlin_core::Connection<'_>) -> R) -> R {
        let Some(mut liar) = self.duo.sides[LIAR].endpoint.connection(self.own) else { return R::default() };
        act(&mut liar)
    }
}
