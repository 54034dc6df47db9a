//! Tests of the built program between real parts: Cyrus IMAP behind it, Redis beside it, nginx and
//! curl before it. `tests/run` starts the parts.
