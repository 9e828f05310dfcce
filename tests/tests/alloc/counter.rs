//! An allocator that counts, per thread, so that tests do not disturb each other.

use core::alloc::{GlobalAlloc, Layout};
use core::cell::Cell;
use core::ops::{AddAssign, Sub};
use std::alloc::System;

/// What a thread has done with the heap so far.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Heap {
    /// Allocations and reallocations.
    pub(crate) allocations: u64,
    /// Deallocations; a reallocation is none.
    pub(crate) frees: u64,
    /// Bytes asked for and not given back. What the allocator adds of its own is not counted.
    pub(crate) live: i64,
}

impl Heap {
    /// Up to now, on this thread.
    pub(crate) fn now() -> Self {
        HEAP.with(Cell::get)
    }
}

/// The most bytes that were live on this thread since [`forget_peak`].
pub(crate) fn peak() -> i64 {
    PEAK.with(Cell::get)
}

/// The peak is what is live now.
pub(crate) fn forget_peak() {
    PEAK.with(|peak| peak.set(Heap::now().live));
}

impl Sub for Heap {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self {
            allocations: self.allocations - before.allocations,
            frees: self.frees - before.frees,
            live: self.live - before.live,
        }
    }
}

impl AddAssign for Heap {
    fn add_assign(&mut self, more: Self) {
        self.allocations += more.allocations;
        self.frees += more.frees;
        self.live += more.live;
    }
}

thread_local! {
    /// Neither initialised lazily nor dropped, so that counting never allocates.
    static HEAP: Cell<Heap> = const { Cell::new(Heap { allocations: 0, frees: 0, live: 0 }) };
    static PEAK: Cell<i64> = const { Cell::new(0) };
}

fn count(allocations: u64, frees: u64, live: i64) {
    HEAP.with(|heap| {
        let mut sum = heap.get();
        sum += Heap { allocations, frees, live };
        heap.set(sum);
        PEAK.with(|peak| peak.set(peak.get().max(sum.live)));
    });
}

/// The system's allocator, with a count kept.
struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: every call is passed on to `System` as it came, and what it returns is returned; counting neither allocates
// nor unwinds.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(1, 0, layout.size() as i64);
        // SAFETY: the caller keeps `alloc`'s contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(1, 0, layout.size() as i64);
        // SAFETY: the caller keeps `alloc_zeroed`'s contract.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        count(0, 1, -(layout.size() as i64));
        // SAFETY: the caller keeps `dealloc`'s contract, and `System` allocated what we handed out.
        unsafe { System.dealloc(place, layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(1, 0, size as i64 - layout.size() as i64);
        // SAFETY: the caller keeps `realloc`'s contract, and `System` allocated what we handed out.
        unsafe { System.realloc(place, layout, size) }
    }
}
