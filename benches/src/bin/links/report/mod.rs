//! What is told of the outcomes: tables, files, charts, targets.

pub(crate) mod charts;
pub(crate) mod export;
pub(crate) mod table;
pub(crate) mod targets;
