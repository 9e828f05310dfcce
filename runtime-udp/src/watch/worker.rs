//! The loop of the thread that watches.

use core::net::IpAddr;
use core::ops::ControlFlow;
use core::time::Duration;

use dunlin_core::NetworkChange;

/// What comes together: an interface that comes up gets its addresses one after the other. Below the 100 ms that people
/// take for at once, and far below the 200 ms in which the engine takes several reports for one.
const DEBOUNCE: Duration = Duration::from_millis(50);

/// What tells of changes. `Break`: it was told to end.
pub(super) trait Source: Send {
    /// Waits until something may have changed.
    fn wait(&mut self) -> ControlFlow<()>;

    /// Waits for so long, whatever changes.
    fn pause(&mut self, time: Duration) -> ControlFlow<()>;

    /// What is other than when last asked, or than when the source was opened; what was told until now is heard.
    fn change(&mut self) -> Option<NetworkChange>;

    /// The addresses that there were then, if that is known.
    fn addresses(&self) -> Option<Vec<IpAddr>>;
}

/// Tells of changes until the source is told to end.
pub(super) fn work(mut source: Box<dyn Source>, tell: impl Fn(NetworkChange)) {
    while source.wait().is_continue() && source.pause(DEBOUNCE).is_continue() {
        if let Some(change) = source.change() {
            tell(change);
        }
    }
}

#[cfg(test)]
mod tests {
    use core::cell::RefCell;
    use std::collections::VecDeque;
    use std::sync::{Arc, Mutex};

    use super::*;

    /// What happens, one after the other.
    #[derive(Clone, Copy, PartialEq, Debug)]
    enum Step {
        /// The system says something.
        Word,
        /// The address is another one.
        Other(u8),
        /// So long nothing happens.
        Quiet(Duration),
        End,
    }
    use Step::{End, Other, Quiet, Word};

    struct Scripted {
        steps: VecDeque<Step>,
        address: u8,
        seen: u8,
        words: usize,
        pauses: Arc<Mutex<Vec<Duration>>>,
    }

    impl Scripted {
        /// `false`: the end has come.
        fn take(&mut self) -> bool {
            match self.steps.pop_front() {
                Some(Word) => self.words += 1,
                Some(Other(address)) => self.address = address,
                Some(Quiet(_)) => {}
                Some(End) | None => return false,
            }
            true
        }
    }

    impl Source for Scripted {
        fn wait(&mut self) -> ControlFlow<()> {
            while self.words == 0 {
                if !self.take() {
                    return ControlFlow::Break(());
                }
            }
            ControlFlow::Continue(())
        }

        fn pause(&mut self, time: Duration) -> ControlFlow<()> {
            self.pauses.lock().unwrap().push(time);
            while !matches!(self.steps.front(), Some(Quiet(quiet)) if *quiet >= time) {
                if !self.take() {
                    return ControlFlow::Break(());
                }
            }
            ControlFlow::Continue(())
        }

        fn change(&mut self) -> Option<NetworkChange> {
            self.words = 0;
            let is_other = core::mem::replace(&mut self.seen, self.address) != self.address;
            is_other.then(|| address(self.address))
        }

        fn addresses(&self) -> Option<Vec<IpAddr>> {
            None
        }
    }

    fn address(last: u8) -> NetworkChange {
        NetworkChange::Addresses(vec![[192, 0, 2, last].into()])
    }

    /// What somebody is told, and how long was paused.
    fn told(steps: &[Step]) -> (Vec<NetworkChange>, Vec<Duration>) {
        let pauses = Arc::<Mutex<Vec<_>>>::default();
        let source = Scripted {
            steps: steps.iter().copied().collect(),
            address: 0,
            seen: 0,
            words: 0,
            pauses: Arc::clone(&pauses),
        };
        let changes = RefCell::new(Vec::new());
        work(Box::new(source), |change| changes.borrow_mut().push(change));
        let pauses = pauses.lock().unwrap().clone();
        (changes.into_inner(), pauses)
    }

    const LONG: Step = Quiet(Duration::from_secs(1));
    const SHORT: Step = Quiet(Duration::from_millis(10));

    #[test]
    fn what_comes_within_50_ms_is_told_once() {
        let steps = [Other(1), Word, SHORT, Other(2), Word, Word, LONG, Other(3), Word, LONG, End];
        assert_eq!(told(&steps), (vec![address(2), address(3)], vec![Duration::from_millis(50); 2]));
    }

    #[test]
    fn what_is_as_it_was_is_not_told() {
        // The kernel tells of things that concern no address, and of addresses that come and go.
        let steps = [Word, LONG, Other(1), Word, SHORT, Other(0), Word, LONG, Word, LONG, End];
        assert_eq!(told(&steps).0, []);
    }

    #[test]
    fn it_ends_when_it_is_told_to_also_in_a_pause() {
        assert_eq!(told(&[End, Other(1), Word, LONG]).0, []);
        assert_eq!(told(&[Other(1), Word, End, LONG]).0, []);
    }
}
