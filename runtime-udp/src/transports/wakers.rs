//! One waker for the transports, many behind it: one for each shard's driver.

use core::task::Waker;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Wake;

/// Who is to be woken, by shard, when any of the transports says so.
#[derive(Debug)]
pub(super) struct Wakers(Box<[Mutex<Option<Waker>>]>);

impl Wakers {
    pub(super) fn new(shards: usize) -> Self {
        Self((0..shards).map(|_| Mutex::default()).collect())
    }

    /// Has `waker` woken at the next occasion, and once.
    pub(super) fn set(&self, shard: usize, waker: &Waker) {
        let Some(place) = self.0.get(shard) else { return };
        let mut place = place.lock().unwrap_or_else(PoisonError::into_inner);
        // The old one may run anything when it is dropped, so not under the lock.
        let old = match &*place {
            Some(same) if same.will_wake(waker) => None,
            _ => place.replace(waker.clone()),
        };
        drop(place);
        drop(old);
    }
}

impl Wake for Wakers {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        for place in &self.0 {
            let waker = place.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }
}
