//! The tensors of a model's file: as much of ONNX (a protobuf message) as it takes to find them, read where they stand.

use std::collections::HashMap;

/// Their data by name, little-endian.
pub(crate) type Tensors = HashMap<&'static str, &'static [u8]>;

/// Fields of ONNX's messages: the graph of a model, the tensors of a graph, and what a tensor has.
const GRAPH: u64 = 7;
const INITIALIZER: u64 = 5;
const FLOAT_DATA: u64 = 4;
const NAME: u64 = 8;
const RAW_DATA: u64 = 9;

/// The tensors with data of a model; those that come before a damage where the file has one.
pub(crate) fn tensors(model: &'static [u8]) -> Tensors {
    let graphs = Fields(model).filter(|(number, _)| *number == GRAPH);
    let tensors = graphs.flat_map(|(_, graph)| Fields(graph)).filter(|(number, _)| *number == INITIALIZER);
    tensors.filter_map(|(_, tensor)| named(tensor)).collect()
}

fn named(tensor: &'static [u8]) -> Option<(&'static str, &'static [u8])> {
    let (mut name, mut data) = (None, None);
    for (number, bytes) in Fields(tensor) {
        match number {
            NAME => name = std::str::from_utf8(bytes).ok(),
            FLOAT_DATA | RAW_DATA => data = Some(bytes),
            _ => {}
        }
    }
    Some((name?, data?))
}

/// The fields of a message that have a length; the others are skipped.
struct Fields(&'static [u8]);

impl Iterator for Fields {
    type Item = (u64, &'static [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let tag = self.varint()?;
            match tag & 7 {
                0 => {
                    self.varint()?;
                }
                1 => {
                    self.take(8)?;
                }
                2 => {
                    let length = usize::try_from(self.varint()?).ok()?;
                    return Some((tag >> 3, self.take(length)?));
                }
                5 => {
                    self.take(4)?;
                }
                _ => return None,
            }
        }
    }
}

impl Fields {
    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn take(&mut self, length: usize) -> Option<&'static [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }
}

/// Floats as the file has them.
pub(crate) fn floats(bytes: &[u8]) -> impl Iterator<Item = f32> {
    bytes.as_chunks().0.iter().map(|four| f32::from_le_bytes(*four))
}
