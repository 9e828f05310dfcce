//! Memory as a promise: what an endpoint and each of its connections may hold, and what they do hold, in bytes.
//!
//! Whoever allocates for a peer charges its connection's [`Account`] first; the account draws on the endpoint's
//! [`Budget`], so both limits hold at any time.

#[cfg(test)]
mod tests;

/// How far beyond its limits a connection may be and still be given the blocks of one more packet of readable data, in
/// bytes: one block, because the next is needed before the end of that one is there and both can be read.
const OVERDRAFT: usize = 16 << 10;

/// Growing credit leaves one part in so many of each limit alone.
const SPARE: usize = 16;
/// Credit that a connection may have whatever the others have, in bytes, while there is memory: a window for 80 Mbit/s over
/// 100 ms.
const FAIR_CREDIT: usize = 1 << 20;
/// Data to send leaves one part in so many of a connection's limit alone. It is less than credit leaves, so that credit
/// cannot keep out data to send.
const WRITE_SPARE: usize = 32;

/// A limit stands in the way; nothing was charged.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum OverBudget {
    /// The connection has used up what one connection may hold.
    #[error("the connection is at its memory limit")]
    Connection,
    /// All connections together have used up what the endpoint may hold.
    #[error("the endpoint is at its memory limit")]
    Endpoint,
}

/// Bytes that so many of a type take.
pub(crate) const fn room<T>(count: usize) -> usize {
    count.saturating_mul(size_of::<T>())
}

/// The sum of some numbers of bytes.
pub(crate) fn total<const N: usize>(parts: [usize; N]) -> usize {
    parts.into_iter().fold(0, usize::saturating_add)
}

/// What the whole endpoint may hold and holds, in bytes.
#[derive(Debug)]
pub(crate) struct Budget {
    limit: usize,
    used: usize,
    /// Accounts with more credit than [`FAIR_CREDIT`].
    large: usize,
}

impl Budget {
    /// A budget of `limit` bytes, all of it free.
    pub(crate) const fn new(limit: usize) -> Self {
        Self { limit, used: 0, large: 0 }
    }

    /// Bytes that may be held.
    pub(crate) const fn limit(&self) -> usize {
        self.limit
    }

    /// Bytes held.
    pub(crate) const fn used(&self) -> usize {
        self.used
    }

    /// Bytes that can still be charged.
    pub(crate) const fn available(&self) -> usize {
        self.limit.saturating_sub(self.used)
    }

    /// Charges `bytes` that belong to no connection (tables, half-open entries).
    pub(crate) fn charge(&mut self, bytes: usize) -> Result<(), OverBudget> {
        if bytes > self.available() {
            return Err(OverBudget::Endpoint);
        }
        self.used = self.used.saturating_add(bytes);
        Ok(())
    }

    /// Gives back what [`Self::charge`] charged.
    pub(crate) fn release(&mut self, bytes: usize) {
        debug_assert!(bytes <= self.used, "released {bytes} of {self:?}");
        self.used = self.used.saturating_sub(bytes);
    }

    /// Panics in debug builds unless exactly `held` bytes are charged (the sum over all accounts and direct charges).
    pub(crate) fn check(&self, held: usize) {
        debug_assert_eq!(self.used, held, "charged differs from held");
    }
}

/// What one connection may hold and holds, in bytes; all of it is charged to the endpoint's [`Budget`] as well.
///
/// Three kinds of holdings: those charged and released one by one (streams, blocks of data to send), bookkeeping (tables
/// by their capacity), which is measured after each verb and settled as one number, and
/// received data. The last draws
/// on the flow-control credit that was reserved when it was advertised, so that what was promised can be kept; only
/// what goes beyond it (the rounding of many streams to blocks) is charged on top.
///
/// End it with [`Self::close`]: an account that is just dropped leaves its charges in the budget.
#[derive(Debug)]
pub(crate) struct Account {
    limit: usize,
    charged: usize,
    settled: usize,
    credit: usize,
    received: usize,
    /// Received data beyond a limit that was let in nevertheless, until as much is released.
    overdraft: usize,
}

impl Account {
    /// An account that may hold `limit` bytes, and holds none.
    pub(crate) const fn new(limit: usize) -> Self {
        Self { limit, charged: 0, settled: 0, credit: 0, received: 0, overdraft: 0 }
    }

    /// Bytes held.
    pub(crate) const fn used(&self) -> usize {
        let received = if self.received > self.credit { self.received } else { self.credit };
        self.charged.saturating_add(self.settled).saturating_add(received)
    }

    /// Bytes that can still be charged as far as this connection goes; the endpoint may have less.
    pub(crate) const fn available(&self) -> usize {
        self.limit.saturating_sub(self.used())
    }

    /// Whether `bytes` can be charged now.
    pub(crate) const fn fits(&self, budget: &Budget, bytes: usize) -> Result<(), OverBudget> {
        if bytes > self.available() {
            Err(OverBudget::Connection)
        } else if bytes > budget.available() {
            Err(OverBudget::Endpoint)
        } else {
            Ok(())
        }
    }

    /// Charges `bytes`, or nothing.
    pub(crate) fn charge(&mut self, budget: &mut Budget, bytes: usize) -> Result<(), OverBudget> {
        self.fits(budget, bytes)?;
        budget.charge(bytes)?;
        self.charged = self.charged.saturating_add(bytes);
        Ok(())
    }

    /// Bytes that can still be charged for data to send, as far as this connection goes. The rest is for what such data
    /// could not be sent without, above all records of packets, and for streams that are opened: writers take whatever
    /// there is.
    pub(crate) const fn writable(&self) -> usize {
        self.available().saturating_sub(self.limit / WRITE_SPARE)
    }

    /// As [`Self::charge`], for data to send.
    pub(crate) fn charge_written(&mut self, budget: &mut Budget, bytes: usize) -> Result<(), OverBudget> {
        if bytes > self.writable() { Err(OverBudget::Connection) } else { self.charge(budget, bytes) }
    }

    /// Gives back `bytes` of what [`Self::charge`] charged.
    pub(crate) fn release(&mut self, budget: &mut Budget, bytes: usize) {
        debug_assert!(bytes <= self.charged, "released {bytes} of {self:?}");
        // Never more than this account drew, or a mistake here would free what others hold.
        let bytes = bytes.min(self.charged);
        self.charged = self.charged.saturating_sub(bytes);
        budget.release(bytes);
    }

    /// By how much the charge grows if `bytes` more are received.
    const fn beyond_credit(&self, bytes: usize) -> usize {
        let free = self.credit.saturating_sub(self.received);
        bytes.saturating_sub(free)
    }

    /// Holds `bytes` of received data: within the credit at no charge, beyond it charged.
    pub(crate) fn charge_received(&mut self, budget: &mut Budget, bytes: usize) -> Result<(), OverBudget> {
        let growth = self.beyond_credit(bytes);
        self.fits(budget, growth)?;
        budget.charge(growth)?;
        self.received = self.received.saturating_add(bytes);
        Ok(())
    }

    /// As [`Self::charge_received`], for data that the application can read at once: such a charge may go beyond the
    /// limits, unless earlier ones did so by more than [`OVERDRAFT`]. Without it a connection whose room is taken by data
    /// behind a gap could never fill the gap.
    pub(crate) fn charge_readable(&mut self, budget: &mut Budget, bytes: usize) -> Result<(), OverBudget> {
        let charged = self.charge_received(budget, bytes);
        if charged.is_ok() || self.overdraft > OVERDRAFT {
            return charged;
        }
        let before = self.used();
        self.received = self.received.saturating_add(bytes);
        budget.used = budget.used.saturating_add(self.used().saturating_sub(before));
        self.overdraft = self.overdraft.saturating_add(bytes);
        Ok(())
    }

    /// Gives back `bytes` of what [`Self::charge_received`] took.
    pub(crate) fn release_received(&mut self, budget: &mut Budget, bytes: usize) {
        debug_assert!(bytes <= self.received, "released {bytes} received of {self:?}");
        let before = self.used();
        self.received = self.received.saturating_sub(bytes);
        self.overdraft = self.overdraft.saturating_sub(bytes);
        budget.release(before.saturating_sub(self.used()));
    }

    /// Reserves flow-control credit of `wish` bytes in all, or as much of it as there is room for. Credit that grows takes
    /// no more than half of what is left of each limit, so that late-comers grow too and data behind holes, which takes
    /// whole blocks, finds room; and it leaves a [`SPARE`] part to bookkeeping and to new connections. Beyond
    /// [`FAIR_CREDIT`] it is at most its share of what would be left without it, if all that have so much shared that: however
    /// many and greedy they are, the next one gets as much as the last. Never less than
    /// was reserved before: credit is never revoked. Returns the credit now reserved.
    pub(crate) fn reserve_credit(&mut self, budget: &mut Budget, wish: u64) -> u64 {
        let wish = usize::try_from(wish).unwrap_or(usize::MAX);
        let spare = |available: usize, limit: usize| available.saturating_sub(limit / SPARE);
        let left = spare(budget.available(), budget.limit);
        let (own, shared) = if self.credit == 0 {
            (self.available(), budget.available())
        } else {
            (spare(self.available(), self.limit) / 2, left / 2)
        };
        let room = own.min(shared);
        // What is overdrawn comes back; credit never would.
        let held = self.credit.max(self.received.saturating_sub(self.overdraft));
        let before = self.used();
        let was_large = self.has_large_credit();
        let all_large = budget.large.saturating_add(usize::from(!was_large));
        let share = left.saturating_add(self.credit).checked_div(all_large).unwrap_or(0).max(FAIR_CREDIT);
        self.credit = wish.min(held.saturating_add(room)).min(share).max(self.credit);
        budget.large = budget.large.saturating_add(usize::from(self.has_large_credit() && !was_large));
        let growth = self.used().saturating_sub(before);
        budget.used = budget.used.saturating_add(growth);
        self.credit as u64
    }

    /// Whether this connection has more credit than it may have whatever the others have.
    const fn has_large_credit(&self) -> bool {
        self.credit > FAIR_CREDIT
    }

    /// Sets the bookkeeping, so far whatever the last call said, to `new_total` bytes.
    ///
    /// The memory is held already, so this cannot fail; it may go beyond the limits by what one verb's bookkeeping can
    /// grow (every table has a cap of its own), and nothing else is granted until they hold again.
    pub(crate) fn settle(&mut self, budget: &mut Budget, new_total: usize) {
        budget.used = budget.used.saturating_sub(self.settled).saturating_add(new_total);
        self.settled = new_total;
    }

    /// Gives everything back, for a connection that ends.
    pub(crate) fn close(&mut self, budget: &mut Budget) {
        budget.release(self.used());
        budget.large = budget.large.saturating_sub(usize::from(self.has_large_credit()));
        *self = Self::new(self.limit);
    }

    /// Panics in debug builds unless exactly `charged` bytes are charged one by one.
    pub(crate) fn check(&self, charged: usize) {
        debug_assert_eq!(self.charged.saturating_add(self.received), charged, "charged differs from held");
    }
}
