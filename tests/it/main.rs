//! Tests of the whole from outside: one binary, a module for each part.

mod config;
