//! Who wants to know, and the one thread that tells them.

use core::net::IpAddr;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use dunlin_core::NetworkChange;

use super::Watch;
use super::worker::{Source, work};

/// What the thread waits for, and what ends it by being dropped.
pub(super) type Opened = (Box<dyn Source>, Box<dyn Send>);

type Listener = Arc<dyn Fn(NetworkChange) + Send + Sync>;

/// Who wants to know.
pub(super) struct Hub {
    open: fn() -> io::Result<Opened>,
    state: Mutex<State>,
}

struct State {
    listeners: Vec<(u64, Listener)>,
    next: u64,
    /// The latest list of addresses, as long as there are listeners.
    addresses: Option<Vec<IpAddr>>,
    /// Dropping it ends the thread, which is there as long as there are listeners.
    stop: Option<Box<dyn Send>>,
}

impl Hub {
    pub(super) const fn new(open: fn() -> io::Result<Opened>) -> Self {
        let state = State { listeners: Vec::new(), next: 0, addresses: None, stop: None };
        Self { open, state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It is told what there is, and from then on what changes. The former under the lock, so that nobody is told the latter
    /// before.
    pub(super) fn add(
        &'static self,
        listener: Box<dyn Fn(NetworkChange) + Send + Sync>,
    ) -> io::Result<Watch> {
        let mut state = self.state();
        if state.stop.is_none() {
            let (source, stop) = (self.open)()?;
            state.addresses = source.addresses();
            thread::Builder::new()
                .name("dunlin watch".to_owned())
                .spawn(move || work(source, |change| self.tell(&change)))?;
            state.stop = Some(stop);
        }
        let number = state.next;
        state.next += 1;
        if let Some(addresses) = &state.addresses {
            listener(NetworkChange::Addresses(addresses.clone()));
        }
        state.listeners.push((number, listener.into()));
        Ok(Watch { hub: self, number })
    }

    pub(super) fn remove(&self, number: u64) {
        let mut state = self.state();
        state.listeners.retain(|(other, _)| *other != number);
        let stop = if state.listeners.is_empty() { state.stop.take() } else { None };
        drop(state);
        drop(stop);
    }

    /// Tells everybody, without the lock: they may come and go meanwhile.
    fn tell(&self, change: &NetworkChange) {
        let mut state = self.state();
        state.addresses = match change {
            NetworkChange::Addresses(addresses) => Some(addresses.clone()),
            _ => None,
        };
        let listeners = state.listeners.clone();
        drop(state);
        for (_, listener) in listeners {
            listener(change.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use core::ops::ControlFlow;
    use core::sync::atomic::{AtomicUsize, Ordering::SeqCst};
    use core::time::Duration;
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    /// The network of this test: how often it was opened, and where changes are sent.
    static OPENED: AtomicUsize = AtomicUsize::new(0);
    static CHANGES: Mutex<Option<Sender<u8>>> = Mutex::new(None);
    static ENDED: AtomicUsize = AtomicUsize::new(0);
    static HUB: Hub = Hub::new(open);

    /// Ends when nobody can send changes any more.
    struct Scripted {
        changes: Receiver<u8>,
        last: u8,
    }

    impl Source for Scripted {
        fn wait(&mut self) -> ControlFlow<()> {
            let Ok(last) = self.changes.recv() else { return ControlFlow::Break(()) };
            self.last = last;
            ControlFlow::Continue(())
        }

        fn pause(&mut self, _: Duration) -> ControlFlow<()> {
            ControlFlow::Continue(())
        }

        fn change(&mut self) -> Option<NetworkChange> {
            Some(address(self.last))
        }

        fn addresses(&self) -> Option<Vec<IpAddr>> {
            Some(vec![[192, 0, 2, self.last].into()])
        }
    }

    impl Drop for Scripted {
        fn drop(&mut self) {
            ENDED.fetch_add(1, SeqCst);
        }
    }

    struct Stop;

    impl Drop for Stop {
        fn drop(&mut self) {
            *CHANGES.lock().unwrap() = None;
        }
    }

    fn open() -> io::Result<Opened> {
        OPENED.fetch_add(1, SeqCst);
        let (sender, receiver) = channel();
        *CHANGES.lock().unwrap() = Some(sender);
        Ok((Box::new(Scripted { changes: receiver, last: 0 }), Box::new(Stop)))
    }

    fn address(last: u8) -> NetworkChange {
        NetworkChange::Addresses(vec![[192, 0, 2, last].into()])
    }

    fn change(last: u8) {
        CHANGES.lock().unwrap().as_ref().unwrap().send(last).unwrap();
    }

    /// Somebody who watches, and where to look what it was told.
    fn watch() -> (Watch, Receiver<NetworkChange>) {
        let (told, looked) = channel();
        (HUB.add(Box::new(move |change| told.send(change).unwrap_or_default())).unwrap(), looked)
    }

    #[test]
    fn all_share_one_thread_that_ends_with_the_last() {
        let ((one, hears_one), (two, hears_two)) = (watch(), watch());
        assert_eq!(OPENED.load(SeqCst), 1);
        assert_eq!([hears_one.recv(), hears_two.recv()], [Ok(address(0)), Ok(address(0))], "what there is");
        change(1);
        assert_eq!([hears_one.recv(), hears_two.recv()], [Ok(address(1)), Ok(address(1))]);
        drop(one);
        change(2);
        assert_eq!(hears_two.recv(), Ok(address(2)));
        assert!(hears_one.recv().is_err(), "it hears nothing more, and nobody can tell it");
        let (three, hears_three) = watch();
        assert_eq!(hears_three.recv(), Ok(address(2)), "what there is by now");
        drop((two, three));
        assert!(CHANGES.lock().unwrap().is_none(), "the thread is told to end");
        let (_again, hears_again) = watch();
        assert_eq!(OPENED.load(SeqCst), 2);
        assert_eq!(hears_again.recv(), Ok(address(0)));
        change(3);
        assert_eq!(hears_again.recv(), Ok(address(3)));
        // Its thread may take a moment.
        while ENDED.load(SeqCst) == 0 {
            thread::yield_now();
        }
    }
}
