use std::vec::Vec;

use super::*;
use crate::path::addr::LocalAddr;

const PTO: Duration = Duration::from_millis(10);
const UNMEASURED: Duration = Duration::from_secs(1);
const OLD: [u8; 8] = [1; 8];
const NEW: [u8; 8] = [2; 8];

fn at(text: &str) -> Tuple {
    Tuple { local: LocalAddr::default(), remote: TransportAddr::Ip(text.parse().unwrap()) }
}

fn ends() -> Ends {
    Ends { old: at("192.0.2.1:1"), was_proved: true, new: at("192.0.2.1:2") }
}

fn begun(ends: Ends) -> Move {
    Move::begin(Instant::ZERO, ends, 100, Patience { pto: PTO, unmeasured: UNMEASURED }, [OLD, NEW])
}

#[test]
fn data_moves_when_the_new_address_answers() {
    let mut moving = begun(ends());
    assert_eq!(moving.on_packet(&ends().new), MoveStep::Stay);
    assert_eq!(moving.on_response(Instant::ZERO, PTO, &[3; 8]), MoveStep::Stay, "somebody's guess");
    assert_eq!(moving.on_response(Instant::ZERO, PTO, &NEW), MoveStep::Go(ends().new));
    assert_eq!(moving.on_response(Instant::ZERO, PTO, &NEW), MoveStep::Stay, "once");
    assert_eq!(
        moving.on_response(Instant::ZERO, PTO, &OLD),
        MoveStep::Stay,
        "the old one was left, not lost"
    );
}

#[test]
fn an_old_address_that_answers_and_goes_on_stays() {
    let mut moving = begun(ends());
    assert_eq!(moving.on_packet(&ends().old), MoveStep::Stay);
    assert_eq!(moving.on_response(Instant::ZERO, PTO, &OLD), MoveStep::Stay);
    assert_eq!(
        moving.on_response(Instant::ZERO, PTO, &NEW),
        MoveStep::Stay,
        "what was settled stays settled"
    );
    assert_eq!((moving.here_deadline(), moving.there()), (None, None));
    // And if the new one is faster with its answer, and the old one is heard late.
    let mut moving = begun(ends());
    assert_eq!(moving.on_response(Instant::ZERO, PTO, &NEW), MoveStep::Go(ends().new));
    assert_eq!(moving.on_response(Instant::ZERO, PTO, &OLD), MoveStep::Stay);
    assert_eq!(moving.on_packet(&ends().old), MoveStep::Go(ends().old));
}

#[test]
fn an_old_address_that_goes_on_is_waited_for() {
    let mut moving = begun(Ends { new: at("198.51.100.1:1"), ..ends() });
    assert_eq!(moving.on_packet(&ends().old), MoveStep::Stay);
    assert_eq!(moving.on_response(Instant::ZERO + PTO, PTO, &NEW), MoveStep::Stay);
    assert_eq!(moving.over(), Instant::ZERO + PTO * 2, "not for long");
    let mut silent = moving;
    assert_eq!(silent.on_response(Instant::ZERO + PTO, PTO, &NEW), MoveStep::Stay);
    assert_eq!(silent.end(), MoveStep::Go(at("198.51.100.1:1")));
    assert_eq!(moving.on_response(Instant::ZERO + PTO, PTO, &OLD), MoveStep::Stay);
    assert_eq!(moving.end(), MoveStep::Stay);
    assert_eq!(begun(ends()).end(), MoveStep::Stay, "nobody has answered");
}

#[test]
fn the_new_address_gets_three_times_what_came_from_it_until_it_answers() {
    let mut moving = begun(ends());
    assert_eq!(moving.there().unwrap().allowance, 300);
    moving.on_sent_elsewhere(&ends().new.remote, Instant::ZERO, PTO, 280, true);
    moving.on_received(&ends().old.remote, 1000);
    assert_eq!(moving.there().unwrap().allowance, 20);
    moving.on_received(&ends().new.remote, 10);
    assert_eq!(moving.there().unwrap().allowance, 50);
    let _ = moving.on_response(Instant::ZERO, PTO, &NEW);
    let old = moving.there().unwrap();
    assert_eq!((old.to, old.allowance), (ends().old, u64::MAX), "it was proved before");
    let mut moving = begun(Ends { was_proved: false, ..ends() });
    let _ = moving.on_response(Instant::ZERO, PTO, &NEW);
    assert_eq!(moving.there(), None, "it was not");
}

#[test]
fn both_addresses_get_five_challenges_at_doubling_intervals() {
    let mut moving = begun(ends());
    let (mut here, mut there) = (Vec::new(), Vec::new());
    while let Some(due) = moving.here_deadline() {
        assert_eq!(moving.here_due(due), Some(OLD));
        moving.on_sent_here(due, PTO);
        here.push((due - Instant::ZERO).as_millis());
    }
    while let Some(due) = moving.there().unwrap().deadline {
        assert_eq!(moving.there_due(due), Some(NEW));
        moving.on_sent_elsewhere(&ends().new.remote, due, PTO, 40, true);
        there.push((due - Instant::ZERO).as_millis());
    }
    assert_eq!((here, there), ([0, 10, 30, 70, 150].to_vec(), [0, 10, 30, 70, 150].to_vec()));
}

#[test]
fn three_timeouts_end_it_and_a_new_route_may_be_slower() {
    assert_eq!(begun(ends()).over(), Instant::ZERO + PTO * 3);
    let moving = begun(Ends { new: at("198.51.100.1:1"), ..ends() });
    assert_eq!(moving.over(), Instant::ZERO + UNMEASURED * 3);
}

#[test]
fn one_move_at_a_time() {
    let (third, mut moving) = (at("192.0.2.1:3"), begun(ends()));
    assert!(!moving.gives_way_to(&third));
    let _ = moving.on_response(Instant::ZERO, PTO, &NEW);
    assert!(moving.gives_way_to(&third), "data has moved");
    assert!(!moving.gives_way_to(&ends().old), "that is for the old address's answer to say");
    let _ = moving.on_response(Instant::ZERO, PTO, &OLD);
    let _ = moving.on_packet(&ends().old);
    assert!(moving.gives_way_to(&third));
    assert!(!moving.gives_way_to(&ends().new), "that is settled");
}

/// What may happen while a path moves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
    PacketFrom(usize),
    AnswerFrom(usize),
    Timeout,
}

const STEPS: [Step; 5] =
    [Step::PacketFrom(0), Step::PacketFrom(1), Step::AnswerFrom(0), Step::AnswerFrom(1), Step::Timeout];

/// A path that conducts its moves as a connection does, with all that the model knows of them.
#[derive(Clone)]
struct Model {
    now: Instant,
    here: usize,
    moving: Option<Move>,
    /// By address: the latest challenge that went there, whether one was ever answered, what came and what went.
    asked: [Option<[u8; 8]>; 2],
    proved: [bool; 2],
    came: [u64; 2],
    went: [u64; 2],
    /// Challenges drawn so far.
    drawn: u8,
    /// Of the move under way: where it began, who has answered, whether the old address was heard, how often data went.
    from: usize,
    answered: [bool; 2],
    heard: bool,
    gone: u8,
}

impl Model {
    fn new() -> Self {
        Self {
            now: Instant::ZERO,
            here: 0,
            moving: None,
            asked: [None; 2],
            proved: [true, false],
            came: [0; 2],
            went: [0; 2],
            drawn: 0,
            from: 0,
            answered: [false; 2],
            heard: false,
            gone: 0,
        }
    }

    fn tuple(index: usize) -> Tuple {
        [ends().old, ends().new][index]
    }

    fn take(&mut self, step: Step) {
        self.now += Duration::from_millis(1);
        match step {
            Step::PacketFrom(index) => self.on_packet(index),
            Step::AnswerFrom(index) => self.on_answer(index),
            Step::Timeout => {
                if let Some(moving) = self.moving.take() {
                    assert!(moving.over() <= self.now + PTO * 3, "it ends within three timeouts");
                    self.now = self.now.max(moving.over());
                    self.follow(moving.end());
                }
            }
        }
        self.send();
        self.check();
    }

    fn on_packet(&mut self, index: usize) {
        self.came[index] += 40;
        if let Some(moving) = &mut self.moving {
            moving.on_received(&Self::tuple(index).remote, 40);
        }
        self.heard |= self.moving.is_some() && index == self.from;
        let step =
            self.moving.as_mut().map_or(MoveStep::Stay, |moving| moving.on_packet(&Self::tuple(index)));
        self.follow(step);
        if index != self.here && self.moving.is_none_or(|moving| moving.gives_way_to(&Self::tuple(index))) {
            self.drawn += 2;
            let ends = Ends { old: Self::tuple(self.here), was_proved: true, new: Self::tuple(index) };
            let challenges = [[self.drawn; 8], [self.drawn + 1; 8]];
            let patience = Patience { pto: PTO, unmeasured: UNMEASURED };
            self.moving = Some(Move::begin(self.now, ends, 40, patience, challenges));
            (self.from, self.answered, self.heard, self.gone) = (self.here, [false; 2], false, 0);
            self.proved[index] = false;
        }
    }

    fn on_answer(&mut self, index: usize) {
        let (Some(data), Some(moving)) = (self.asked[index], &mut self.moving) else { return };
        let step = moving.on_response(self.now, PTO, &data);
        // Only the challenges of the move under way count.
        if data[0] >= self.drawn {
            self.answered[index] = true;
            self.proved[index] = true;
        }
        self.follow(step);
    }

    fn follow(&mut self, step: MoveStep) {
        if let MoveStep::Go(to) = step {
            self.here = usize::from(to != Self::tuple(0));
            self.gone += 1;
        }
    }

    /// Sends what challenges are due.
    fn send(&mut self) {
        let Some(moving) = &mut self.moving else { return };
        if let Some(data) = moving.here_due(self.now) {
            self.asked[self.here] = Some(data);
            moving.on_sent_here(self.now, PTO);
        }
        if let (Some(there), Some(data)) = (moving.there(), moving.there_due(self.now))
            && there.allowance >= 40
        {
            let index = usize::from(there.to != Self::tuple(0));
            assert_ne!(index, self.here);
            self.asked[index] = Some(data);
            self.went[index] += 40;
            moving.on_sent_elsewhere(&there.to.remote, self.now, PTO, 40, true);
        }
    }

    fn check(&self) {
        assert!(self.proved[self.here], "data goes only where the peer has answered");
        assert!((0..2).all(|index| self.proved[index] || self.went[index] <= 3 * self.came[index]));
        assert!(self.gone <= 2, "there, and perhaps back");
        let Some(moving) = &self.moving else { return };
        let back = self.answered[self.from] && self.heard;
        match self.gone {
            0 => assert!(self.here == self.from && (self.heard || !self.answered[1 - self.from])),
            1 => assert!(self.here != self.from && self.answered[1 - self.from] && !back),
            _ => assert!(self.here == self.from && back),
        }
        assert!(moving.over() > self.now || self.now - moving.over() < PTO);
    }
}

/// Every order of events up to eight of them.
#[test]
fn no_order_of_packets_answers_and_timeouts_leads_a_path_astray() {
    fn explore(model: &Model, depth: u32, count: &mut u32) {
        *count += 1;
        if depth == 0 {
            return;
        }
        for step in STEPS {
            let mut next = model.clone();
            next.take(step);
            explore(&next, depth - 1, count);
        }
    }
    let mut count = 0;
    explore(&Model::new(), 8, &mut count);
    assert_eq!(count, (5_u32.pow(9) - 1) / 4);
}
