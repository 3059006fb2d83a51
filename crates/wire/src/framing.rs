//! Frames out of byte streams: any slicing of the input gives the same frames.

pub mod ndjson;
pub mod sse;

/// The largest frame that is held, in bytes. Room for an image in a stream, and a bound on memory.
pub const MAX_FRAME_BYTES: usize = 1024 * 1024;
