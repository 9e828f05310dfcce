//! Who wants to know, and the one thread that tells them.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use super::Watch;
use super::worker::{Source, work};

/// What the thread waits for, and what ends it by being dropped.
pub(super) type Opened = (Box<dyn Source>, Box<dyn Send>);

type Listener = Arc<dyn Fn() + Send + Sync>;

/// Who wants to know.
pub(super) struct Hub {
    open: fn() -> io::Result<Opened>,
    state: Mutex<State>,
}

struct State {
    listeners: Vec<(u64, Listener)>,
    next: u64,
    /// Dropping it ends the thread, which is there as long as there are listeners.
    stop: Option<Box<dyn Send>>,
}

impl Hub {
    pub(super) const fn new(open: fn() -> io::Result<Opened>) -> Self {
        Self { open, state: Mutex::new(State { listeners: Vec::new(), next: 0, stop: None }) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn add(&'static self, listener: Box<dyn Fn() + Send + Sync>) -> io::Result<Watch> {
        let mut state = self.state();
        if state.stop.is_none() {
            let (source, stop) = (self.open)()?;
            thread::Builder::new()
                .name("dunlin watch".to_owned())
                .spawn(move || work(source, || self.tell()))?;
            state.stop = Some(stop);
        }
        let number = state.next;
        state.next += 1;
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
    fn tell(&self) {
        let listeners = self.state().listeners.clone();
        for (_, listener) in listeners {
            listener();
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
    static CHANGES: Mutex<Option<Sender<()>>> = Mutex::new(None);
    static ENDED: AtomicUsize = AtomicUsize::new(0);
    static HUB: Hub = Hub::new(open);

    /// Ends when nobody can send changes any more.
    struct Scripted(Receiver<()>);

    impl Source for Scripted {
        fn wait(&mut self) -> ControlFlow<()> {
            self.0.recv().map_or(ControlFlow::Break(()), ControlFlow::Continue)
        }

        fn pause(&mut self, _: Duration) -> ControlFlow<()> {
            ControlFlow::Continue(())
        }

        fn has_changed(&mut self) -> bool {
            true
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
        Ok((Box::new(Scripted(receiver)), Box::new(Stop)))
    }

    fn change() {
        CHANGES.lock().unwrap().as_ref().unwrap().send(()).unwrap();
    }

    /// Somebody who watches, and where to look whether it was told.
    fn watch() -> (Watch, Receiver<()>) {
        let (told, looked) = channel();
        (HUB.add(Box::new(move || told.send(()).unwrap_or_default())).unwrap(), looked)
    }

    #[test]
    fn all_share_one_thread_that_ends_with_the_last() {
        let ((one, hears_one), (two, hears_two)) = (watch(), watch());
        assert_eq!(OPENED.load(SeqCst), 1);
        change();
        hears_one.recv().unwrap();
        hears_two.recv().unwrap();
        drop(one);
        change();
        hears_two.recv().unwrap();
        assert!(hears_one.recv().is_err(), "it hears nothing more, and nobody can tell it");
        drop(two);
        assert!(CHANGES.lock().unwrap().is_none(), "the thread is told to end");
        let (_again, hears_again) = watch();
        assert_eq!(OPENED.load(SeqCst), 2);
        change();
        hears_again.recv().unwrap();
        // Its thread may take a moment.
        while ENDED.load(SeqCst) == 0 {
            thread::yield_now();
        }
    }
}
