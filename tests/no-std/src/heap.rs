//! The simplest allocator that there is: memory is handed out once, from one block, and never taken back.

use core::alloc::{GlobalAlloc, Layout};
use core::cell::UnsafeCell;
use core::ptr::null_mut;
use core::sync::atomic::{AtomicUsize, Ordering};

/// Bytes in all: what the message needs, several times over.
const SIZE: usize = 4 << 20;

struct Heap {
    memory: UnsafeCell<[u8; SIZE]>,
    used: AtomicUsize,
}

// SAFETY: `memory` is only reached through the ranges that `alloc` hands out, each to one caller.
unsafe impl Sync for Heap {}

// SAFETY: every range is handed out once (`used` only grows), is aligned, and lies within `memory`, which lives for ever.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let base = self.memory.get() as usize;
        let place = |used: usize| (base + used).checked_next_multiple_of(layout.align());
        let end = |used: usize| place(used)?.checked_add(layout.size()).filter(|end| *end <= base + SIZE);
        let taken = self
            .used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| end(used).map(|end| end - base));
        match taken.ok().and_then(place) {
            Some(start) => self.memory.get().cast::<u8>().wrapping_add(start - base),
            None => null_mut(),
        }
    }

    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}
}

#[global_allocator]
static HEAP: Heap = Heap { memory: UnsafeCell::new([0; SIZE]), used: AtomicUsize::new(0) };
