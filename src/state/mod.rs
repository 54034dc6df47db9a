//! How a change becomes known: observed, hinted or probed (architecture D7).

pub mod fact;

pub use fact::Fact;
