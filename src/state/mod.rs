//! How a change becomes known: observed, hinted or probed (architecture D7).
