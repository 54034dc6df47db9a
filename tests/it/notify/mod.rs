//! Being told of changes by others than Redis: by HTTP, by Dovecot over it, by Cyrus' socket. Every
//! scenario ends with the ledger.

mod cyrus;
mod http;
