//! A value that an answer can do without: read where it has the expected shape, unknown where it has another.

use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer};
use serde_json::value::RawValue;

/// `None` for what is no `T`. Unlike an `Option`, it never fails the answer around it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lenient<T>(pub(crate) Option<T>);

impl<T> Default for Lenient<T> {
    fn default() -> Self {
        Lenient(None)
    }
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for Lenient<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = <&RawValue>::deserialize(deserializer)?.get();
        // A shape that does not fit costs an error, and `null` is in every chunk of a stream.
        let value = if raw == "null" { None } else { serde_json::from_str(raw).ok() };
        Ok(Lenient(value))
    }
}
