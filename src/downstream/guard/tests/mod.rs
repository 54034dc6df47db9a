//! The guard against what is known to split parsers, and against hyper itself (B1, B5).

mod differential;
mod io;
mod machine;
mod parsed;
mod payloads;
mod reference;
