//! The body types of both sides.
