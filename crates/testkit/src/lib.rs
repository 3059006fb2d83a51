//! Imitation providers on loopback ports, and a real [`Postgres`], for tests.
//!
//! An [`Upstream`] answers byte for byte as its vendor does, written from the vendors' documentation and sharing no
//! parser with the gateway: a shared mistake would go unseen. It keeps what it was sent, and fails as the prompt
//! tells it to: see [`directive`] for the words. Answers are deterministic; nothing here is a model.
//!
//! The flow: [`upstream`] reads a request and finds its [`directive`]; `openai`, `anthropic` or `ollama` reads the request into a
//! `conversation`, which decides what is answered, and writes that in its own shape as a `script` of writes and
//! waits, which is played as the response's body.

mod anthropic;
mod conversation;
pub mod directive;
mod embedding;
pub mod http2;
mod ollama;
mod openai;
pub mod postgres;
pub mod redis;
mod reply;
mod schema;
mod script;
pub mod tls;
pub mod upstream;

pub use http2::Http2Fault;
pub use postgres::Postgres;
pub use redis::Redis;
pub use tls::{Certificate, authority_pem};
pub use upstream::{Recorded, Transport, Upstream};

#[cfg(test)]
mod tests;
