//! One seam for fan-out: publish, subscribe.
