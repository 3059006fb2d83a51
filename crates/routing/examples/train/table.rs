//! The table that the heads are trained from: features and grades of public prompts, no text.
//!
//! A line of JSON ([`Header`]), then a record a row, all of one set together:
//! group (1 byte: rows of one prompt share it), category (1), features (a byte each, 255 is 1), vector (half a byte a
//! dimension, in half standard deviations about the mean), grades (a byte a model, 255 is none), length of the answers.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use routing::Reading;
use serde::{Deserialize, Serialize};

/// What the table holds, before its records.
#[derive(Serialize, Deserialize)]
pub(crate) struct Header {
    /// Features of a record.
    numbers: usize,
    /// Mean of each dimension of the vectors.
    mean: Vec<f32>,
    /// Standard deviation of each dimension.
    deviation: Vec<f32>,
    /// The sets, in the order of their records.
    sets: Vec<SetHeader>,
}

#[derive(Serialize, Deserialize)]
struct SetHeader {
    name: String,
    rows: usize,
    models: Vec<String>,
    categories: Vec<String>,
}

/// A prompt of a file of rows, with what each model made of it.
#[derive(Deserialize)]
pub(crate) struct Row {
    pub(crate) set: String,
    pub(crate) category: String,
    pub(crate) prompt: String,
    /// By model: score, input tokens, output tokens, US dollars, and sometimes seconds.
    pub(crate) m: BTreeMap<String, Vec<f64>>,
}

/// Reads a file of rows, packed or not.
pub(crate) fn read_rows(path: &Path) -> Result<Vec<Row>> {
    let reading = || format!("reading {}", path.display());
    let mut text = String::new();
    if path.extension().is_some_and(|extension| extension == "gz") {
        let mut unpack =
            Command::new("gzip").arg("-dc").arg(path).stdout(Stdio::piped()).spawn().with_context(reading)?;
        unpack.stdout.take().context("gzip has no output")?.read_to_string(&mut text).with_context(reading)?;
        if !unpack.wait()?.success() {
            bail!("{} is no gzip file", path.display());
        }
    } else {
        std::fs::File::open(path).and_then(|mut file| file.read_to_string(&mut text)).with_context(reading)?;
    }
    BufReader::new(text.as_bytes()).lines().map(|line| Ok(serde_json::from_str(&line?)?)).collect()
}

/// Builds the table of these files.
pub(crate) fn build(files: &[PathBuf]) -> Result<Vec<u8>> {
    let mut sets: BTreeMap<String, Vec<(Row, Reading)>> = BTreeMap::new();
    for file in files {
        for row in read_rows(file)? {
            let reading = Reading::of_text(&row.prompt);
            sets.entry(row.set.clone()).or_default().push((row, reading));
        }
    }
    let (mean, deviation) = moments(sets.values().flatten().map(|(_, reading)| &reading.vector));
    let mut header = Header { numbers: Reading::NUMBERS, mean, deviation, sets: Vec::new() };
    let mut records = Vec::new();
    for (name, rows) in &sets {
        let names = |of: &dyn Fn(&Row) -> Vec<String>| {
            let mut names: Vec<String> = rows.iter().flat_map(|(row, _)| of(row)).collect();
            names.sort();
            names.dedup();
            names
        };
        let models = names(&|row| row.m.keys().cloned().collect());
        let categories = names(&|row| vec![row.category.clone()]);
        for (row, reading) in rows {
            write_record(&mut records, row, reading, &header, &models, &categories)?;
        }
        header.sets.push(SetHeader { name: name.clone(), rows: rows.len(), models, categories });
    }
    let mut table = serde_json::to_vec(&header)?;
    table.push(b'\n');
    table.extend(records);
    Ok(table)
}

fn moments<'v>(vectors: impl Iterator<Item = &'v [f32; embedding::DIMENSIONS]> + Clone) -> (Vec<f32>, Vec<f32>) {
    let count = vectors.clone().count().max(1) as f64;
    let sum = |of: &dyn Fn(usize, f32) -> f64| -> Vec<f64> {
        let mut sums = vec![0.0; embedding::DIMENSIONS];
        for vector in vectors.clone() {
            sums.iter_mut().enumerate().zip(vector).for_each(|((place, sum), value)| *sum += of(place, *value));
        }
        sums
    };
    let mean: Vec<f64> = sum(&|_, value| f64::from(value)).into_iter().map(|sum| sum / count).collect();
    let squares = sum(&|place, value| (f64::from(value) - mean[place]).powi(2));
    let deviation = squares.into_iter().map(|sum| (sum / count).sqrt() as f32).collect();
    (mean.into_iter().map(|mean| mean as f32).collect(), deviation)
}

fn write_record(
    out: &mut Vec<u8>,
    row: &Row,
    reading: &Reading,
    header: &Header,
    models: &[String],
    categories: &[String],
) -> Result<()> {
    out.push(group(&row.prompt));
    let category = categories.iter().position(|name| *name == row.category).context("a category without a name")?;
    out.push(u8::try_from(category).context("more categories than a byte counts")?);
    out.extend(reading.numbers().map(|number| (number * 255.0).round() as u8));
    let halves: Vec<u8> = reading
        .vector
        .iter()
        .zip(header.mean.iter().zip(&header.deviation))
        .map(|(value, (mean, deviation))| ((value - mean) / deviation * 2.0 + 8.0).round().clamp(0.0, 15.0) as u8)
        .collect();
    out.extend(halves.chunks(2).map(|pair| pair[0] << 4 | pair[1]));
    for model in models {
        let score = row.m.get(model).and_then(|seen| seen.first());
        out.push(score.map_or(255, |score| (score * 254.0).round() as u8));
    }
    let lengths: Vec<f64> = row.m.values().filter_map(|seen| seen.get(2)).copied().collect();
    let mean = lengths.iter().sum::<f64>() / lengths.len().max(1) as f64;
    out.push((16.0 * (1.0 + mean).log2()).round().min(255.0) as u8);
    Ok(())
}

/// Rows of one prompt stand in several sets, with little more than white space between them: they share a group, so that
/// no prompt is learnt from and tested on.
pub(crate) fn group(prompt: &str) -> u8 {
    let letters = prompt.bytes().filter(u8::is_ascii_alphanumeric).take(120);
    let hash =
        letters.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    (hash >> 32) as u8
}

/// The table as the training reads it.
pub(crate) struct Table {
    /// Mean of each dimension, and standard deviation, of the vectors that records hold.
    pub(crate) vectors: Vec<[f32; 2]>,
    /// The sets, sorted by name.
    pub(crate) sets: Vec<Set>,
}

/// Prompts graded for the same models.
pub(crate) struct Set {
    pub(crate) name: String,
    pub(crate) models: Vec<String>,
    pub(crate) records: Vec<Record>,
}

/// One prompt.
pub(crate) struct Record {
    /// Rows of one prompt share it.
    pub(crate) group: u8,
    pub(crate) category: String,
    /// Features, then the vector in standard deviations about its mean.
    pub(crate) inputs: Vec<f32>,
    /// By model; `None` where it was not asked.
    pub(crate) grades: Vec<Option<f64>>,
    /// Binary logarithm of 1 + the mean length of the answers in tokens.
    pub(crate) length: f64,
}

impl Table {
    /// Reads a table.
    pub(crate) fn read(bytes: &[u8]) -> Result<Table> {
        let end = bytes.iter().position(|byte| *byte == b'\n').context("a table without a header")?;
        let header: Header = serde_json::from_slice(&bytes[..end])?;
        if header.numbers != Reading::NUMBERS {
            bail!("the table holds {} features, and {} are read now: build it anew", header.numbers, Reading::NUMBERS);
        }
        let mut rest = &bytes[end + 1..];
        let mut sets = Vec::new();
        for set in header.sets {
            let size = 2 + header.numbers + header.mean.len().div_ceil(2) + set.models.len() + 1;
            let (own, after) = rest.split_at_checked(size * set.rows).context("a table that ends early")?;
            rest = after;
            let records = own.chunks(size).map(|bytes| Record::read(bytes, header.numbers, &set)).collect();
            sets.push(Set { name: set.name, models: set.models, records });
        }
        let vectors =
            header.mean.into_iter().zip(header.deviation).map(|(mean, deviation)| [mean, deviation]).collect();
        Ok(Table { vectors, sets })
    }
}

impl Record {
    fn read(bytes: &[u8], numbers: usize, set: &SetHeader) -> Record {
        let (head, rest) = bytes.split_at(2);
        let (features, rest) = rest.split_at(numbers);
        let (vector, rest) = rest.split_at(embedding::DIMENSIONS / 2);
        let (grades, length) = rest.split_at(set.models.len());
        let halves = vector.iter().flat_map(|pair| [pair >> 4, pair & 15]).map(|half| (f32::from(half) - 8.0) / 2.0);
        Record {
            group: head[0],
            category: set.categories[usize::from(head[1])].clone(),
            inputs: features.iter().map(|number| f32::from(*number) / 255.0).chain(halves).collect(),
            grades: grades.iter().map(|grade| (*grade != 255).then(|| f64::from(*grade) / 254.0)).collect(),
            length: f64::from(length[0]) / 16.0,
        }
    }
}
