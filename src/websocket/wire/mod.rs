//! The WebSocket protocol itself (RFC 6455), and permessage-deflate (RFC 7692): bytes in, messages
//! out, and the other way round. Pure; what the messages say is not looked at.
