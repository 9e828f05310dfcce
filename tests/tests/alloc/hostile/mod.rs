//! The memory guarantee against peers, and strangers, that do as they like.

mod guarantee;
mod keys;
