//! The maximum of recent values: the filters of the bandwidth and of the aggregation estimate.

/// The maximum over the current and the previous slot of time; what a slot is, the owner decides by `advance`.
///
/// For the bandwidth a slot is a probing cycle, and two slots are exactly the draft's window
/// (draft-ietf-ccwg-bbr-06 sections 2.11 and 5.5.6).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct WindowedMax<T> {
    /// The maximum of the slot before.
    previous: T,
    /// The maximum of the slot that is open; `None` while it is empty.
    current: Option<T>,
}

impl<T: Copy + Ord> WindowedMax<T> {
    /// Takes in `value`.
    pub(super) fn update(&mut self, value: T) {
        self.current = Some(self.current.map_or(value, |current| current.max(value)));
    }

    /// Forgets all but `value`.
    pub(super) fn reset(&mut self, value: T) {
        *self = Self { previous: value, current: None };
    }

    /// The maximum of both slots.
    pub(super) fn get(&self) -> T {
        self.current.map_or(self.previous, |current| current.max(self.previous))
    }

    /// Closes the current slot. An empty one stays open: silence must not make the filter forget.
    pub(super) fn advance(&mut self) {
        if let Some(current) = self.current.take() {
            self.previous = current;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    #[test]
    fn an_empty_slot_forgets_nothing() {
        let mut filter = WindowedMax::<u64>::default();
        filter.update(7);
        (0..5).for_each(|_| filter.advance());
        assert_eq!(filter.get(), 7);
        filter.update(3);
        assert_eq!(filter.get(), 7);
        filter.advance();
        assert_eq!(filter.get(), 3);
    }

    #[test]
    fn a_reset_leaves_nothing_of_either_slot() {
        let mut filter = WindowedMax::<u64>::default();
        filter.update(9);
        filter.advance();
        filter.update(8);
        filter.reset(2);
        assert_eq!(filter.get(), 2);
        filter.advance();
        assert_eq!(filter.get(), 2);
        filter.update(3);
        assert_eq!(filter.get(), 3);
    }

    proptest! {
        /// Against the model: the maximum of the values in the last two slots that had any.
        #[test]
        fn agrees_with_a_list(operations in proptest::collection::vec(proptest::option::of(0_u64..100), 1..100)) {
            let mut filter = WindowedMax::default();
            let mut slots: Vec<Vec<u64>> = Vec::from([Vec::new(), Vec::new()]);
            for operation in operations {
                match operation {
                    Some(value) => {
                        filter.update(value);
                        slots.last_mut().unwrap().push(value);
                    }
                    None => {
                        filter.advance();
                        if !slots.last().unwrap().is_empty() {
                            slots.push(Vec::new());
                        }
                    }
                }
                let model = slots.iter().rev().take(2).flatten().max().copied().unwrap_or(0);
                prop_assert_eq!(filter.get(), model);
            }
        }
    }
}
