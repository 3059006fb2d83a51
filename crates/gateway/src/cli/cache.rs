//! `llm-gateway cache`: how well the semantic cache would tell texts apart, measured on pairs of your own.
//!
//! A file has one JSON array a line: `["one text", "the other", 1]`, the last 1 where both ask the same and 0 where not;
//! what follows is left aside. A compressed one is piped in: `gunzip -c pairs.jsonl.gz | llm-gateway cache eval -`.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Subcommand;
use embedding::{Encoder, Row};
use equivalence::{Calibration, Guard, Policy, Reading, Sample, Tally};
use futures_util::StreamExt;
use serde_json::Value;

use super::serve;
use crate::cache::Cache;
use crate::config::{Config, Locations};
use crate::gateway;

/// Longer texts are not looked up by meaning, so neither are they here.
const MOST_TOKENS: usize = 128;
/// A longer line is no pair of questions.
const MOST_LINE_BYTES: usize = 1 << 20;
/// Pairs between two signs of life.
const PROGRESS_EVERY: u64 = 1_000;

/// What can be done.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Print hit and false-hit rates for labelled pairs.
    Eval {
        /// Lines of `["one text", "the other", 1 or 0]`; `-` reads standard input.
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// The similarity that a semantic hit needs, 0 to 1.
        #[arg(long, default_value_t = 0.95, value_name = "SIMILARITY")]
        threshold: f32,
        /// Demand a counterpart of every word.
        #[arg(long)]
        strict: bool,
        /// Take only every n-th line, from the one that `--from` says.
        #[arg(long, default_value_t = 1, value_name = "N")]
        every: u64,
        /// The first line that is taken, counted from 0.
        #[arg(long, default_value_t = 0, value_name = "LINE")]
        from: u64,
        /// Stop after so many pairs.
        #[arg(long, default_value_t = u64::MAX, hide_default_value = true, value_name = "PAIRS")]
        limit: u64,
        /// Print the pairs that the configured policy gets wrong.
        #[arg(long)]
        wrong: bool,
    },
    /// Fit the scale of another embedding model and print it as JSON. The model's provider is asked for the vectors.
    Calibrate {
        /// Lines of `["one text", "the other", 1 or 0]`; a cosine behind the label is taken as the model's, and nobody is
        /// asked.
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// The model, as `provider/model`.
        #[arg(long, value_name = "PROVIDER/MODEL")]
        model: String,
    },
}

/// Runs the command.
///
/// # Errors
/// The file cannot be read, a line of it is no pair, or the model's provider does not answer.
pub async fn run(file_of_settings: Option<PathBuf>, command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Eval { file, threshold, strict, every, from, limit, wrong } => {
            let guard = if strict { Guard::Strict } else { Guard::Standard };
            let policy = Policy { threshold, guard };
            let chosen = Chosen { every: every.max(1), from, limit };
            evaluate(pairs(&file)?, &policy, &chosen, wrong)?;
        }
        Command::Calibrate { file, model } => {
            let pairs = pairs(&file)?.take(MOST_SAMPLES).collect::<anyhow::Result<Vec<Pair>>>()?;
            let told =
                pairs.iter().map(|pair| Some(pair.rest.as_ref()?.as_f64()? as f32)).collect::<Option<Vec<f32>>>();
            let cosines = match told {
                Some(cosines) => cosines,
                None => {
                    let config = match Locations::of_process(file_of_settings).load() {
                        Ok(config) => config,
                        Err(problems) => return Ok(serve::refuse(&problems)),
                    };
                    ask(config, &model, &pairs).await?
                }
            };
            let calibration = calibrate(&pairs, &cosines, model)?;
            writeln!(std::io::stdout(), "{}", serde_json::to_string(&calibration)?)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Which lines of a file are taken.
struct Chosen {
    every: u64,
    from: u64,
    limit: u64,
}

/// A labelled pair of texts.
struct Pair {
    one: String,
    other: String,
    is_same: bool,
    /// What stands behind the label.
    rest: Option<Value>,
}

fn evaluate(
    pairs: impl Iterator<Item = anyhow::Result<Pair>>,
    policy: &Policy,
    chosen: &Chosen,
    shows_wrong: bool,
) -> anyhow::Result<()> {
    let encoder = Encoder::load()?;
    let calibration = Calibration::embedded();
    let (mut bare, mut plain, mut configured) = (Tally::default(), Tally::default(), Tally::default());
    let mut done = 0_u64;
    for (line, pair) in (0_u64..).zip(pairs) {
        let pair = pair?;
        if done >= chosen.limit {
            break;
        }
        if !line.checked_sub(chosen.from).is_some_and(|line| line.is_multiple_of(chosen.every)) {
            continue;
        }
        let cosine = cosine(&encoder, &pair);
        bare.add(pair.is_same, similar(cosine, 0.95));
        let guards = || equivalence::compare(&Reading::of(&pair.one), &Reading::of(&pair.other), policy.guard);
        plain.add(pair.is_same, similar(cosine, 0.92).and_then(|()| guards()));
        let verdict = equivalence::judge(&pair.one, &pair.other, cosine, &calibration, policy);
        configured.add(pair.is_same, verdict);
        if shows_wrong && verdict.is_ok() != pair.is_same {
            let verdict = verdict.map_or_else(equivalence::Mismatch::as_str, |()| "hit");
            writeln!(std::io::stdout(), "{verdict:<12} {cosine:.3}  {}  |  {}", pair.one, pair.other)?;
        }
        done = done.saturating_add(1);
        if done.is_multiple_of(PROGRESS_EVERY) {
            writeln!(std::io::stderr(), "{done} pairs")?;
        }
    }
    let mut out = std::io::stdout().lock();
    writeln!(out, "{} pairs of one meaning, {} of another", configured.same, configured.different)?;
    show(&mut out, "cosine 0.95, nothing else", &bare)?;
    show(&mut out, "cosine 0.92, guards", &plain)?;
    show(&mut out, &format!("threshold {}, {} guards, normalised", policy.threshold, name(policy.guard)), &configured)?;
    writeln!(out, "\nWhat stood against a hit (same meaning / other):")?;
    for (mismatch, [same, different]) in &configured.refused {
        writeln!(out, "  {:<12} {same:>8} / {different}", mismatch.as_str())?;
    }
    Ok(())
}

fn show(out: &mut impl Write, label: &str, tally: &Tally) -> std::io::Result<()> {
    let percent = |rate: Option<f64>| rate.map_or_else(|| "-".to_owned(), |rate| format!("{:.2} %", rate * 100.0));
    writeln!(
        out,
        "{label:<44} hits {:>8}  false hits {:>8}",
        percent(tally.hit_rate()),
        percent(tally.false_hit_rate())
    )
}

fn name(guard: Guard) -> &'static str {
    match guard {
        Guard::Strict => "strict",
        Guard::Standard => "standard",
    }
}

fn similar(cosine: f32, least: f32) -> Result<(), equivalence::Mismatch> {
    if cosine >= least { Ok(()) } else { Err(equivalence::Mismatch::Similarity) }
}

/// The cosine as the cache has it, of bytes; a text beyond the limit is near to nothing.
fn cosine(encoder: &Encoder, pair: &Pair) -> f32 {
    let sentences = [&pair.one, &pair.other].map(|text| encoder.encode(text, MOST_TOKENS));
    if sentences.iter().any(|sentence| sentence.is_truncated) {
        return 0.0;
    }
    let [one, other] = sentences.map(|sentence| Row::of(&sentence.vector));
    one.similarity(&other)
}

fn calibrate(pairs: &[Pair], cosines: &[f32], model: String) -> anyhow::Result<Calibration> {
    let encoder = Encoder::load()?;
    let mut samples = Vec::with_capacity(pairs.len());
    for (pair, theirs) in pairs.iter().zip(cosines) {
        samples.push(Sample { is_same: pair.is_same, embedded: cosine(&encoder, pair), cosine: *theirs });
        if (samples.len() as u64).is_multiple_of(PROGRESS_EVERY) {
            writeln!(std::io::stderr(), "{} of {} pairs encoded", samples.len(), pairs.len())?;
        }
    }
    Ok(Calibration::fit(model, &samples)?)
}

/// The cosines of a provider's vectors. They are asked for through a gateway of this process, with the settings of the
/// configured one and nothing of its data.
async fn ask(mut config: Config, model: &str, pairs: &[Pair]) -> anyhow::Result<Vec<f32>> {
    let folder = config.storage.data_dir.join(format!("calibration-{}", std::process::id()));
    (config.host, config.port) = (Ipv4Addr::LOCALHOST.into(), 0);
    (config.storage.database_url, config.storage.redis_url) = (None, None);
    config.storage.data_dir.clone_from(&folder);
    config.cache.embedding_model = None;
    let running = gateway::start(config).await?;
    let cosines = vectors(&running.gateway.cache, model, pairs).await;
    running.stop(Duration::ZERO, std::future::ready(())).await;
    // What is left of it does no harm.
    let _ = std::fs::remove_dir_all(folder);
    cosines
}

async fn vectors(cache: &Cache, model: &str, pairs: &[Pair]) -> anyhow::Result<Vec<f32>> {
    let batches = futures_util::stream::iter(pairs.chunks(PAIRS_AT_ONCE)).map(|pairs| async {
        let texts: Vec<String> = pairs.iter().flat_map(|pair| [pair.one.clone(), pair.other.clone()]).collect();
        for _ in 0..TRIES {
            if let Some(vectors) = cache.vectors_of(model, &texts).await {
                let rows: Vec<Row> = vectors.iter().map(|vector| Row::of(vector)).collect();
                return Ok(rows.as_chunks::<2>().0.iter().map(|[one, other]| one.similarity(other)).collect::<Vec<f32>>());
            }
            // A local server's models are known once it was asked for them; a rate limit wants some patience.
            tokio::time::sleep(PAUSE).await;
        }
        bail!(
            "`{model}` gave no vectors. It has to be written as `provider/model`, its provider's key has to be set, and it \
             has to offer the model: `llm-gateway check` tells what is missing"
        )
    });
    let mut batches = batches.buffered(BATCHES_AT_ONCE);
    let mut cosines = Vec::with_capacity(pairs.len());
    while let Some(batch) = batches.next().await {
        cosines.extend(batch?);
        writeln!(std::io::stderr(), "{} of {} pairs asked for", cosines.len(), pairs.len())?;
    }
    Ok(cosines)
}

/// Pairs in one request: vendors take some hundred texts at least.
const PAIRS_AT_ONCE: usize = 48;
/// Requests at one time.
const BATCHES_AT_ONCE: usize = 4;
/// How often a batch is asked for, and the pause after it was in vain.
const TRIES: usize = 5;
const PAUSE: Duration = Duration::from_secs(2);

/// More pairs do not make a better calibration.
const MOST_SAMPLES: usize = 100_000;

fn pairs(file: &Path) -> anyhow::Result<impl Iterator<Item = anyhow::Result<Pair>>> {
    let reader: Box<dyn BufRead> = if file.as_os_str() == "-" {
        Box::new(BufReader::new(std::io::stdin()))
    } else {
        Box::new(BufReader::new(File::open(file).with_context(|| format!("cannot read `{}`", file.display()))?))
    };
    let lines = reader.lines().filter(|line| line.as_ref().map_or(true, |line| !line.trim().is_empty()));
    Ok((1_u64..).zip(lines).map(|(number, line)| pair(&line?).with_context(|| format!("line {number} is no pair"))))
}

fn pair(line: &str) -> anyhow::Result<Pair> {
    if line.len() > MOST_LINE_BYTES {
        bail!("it is too long");
    }
    let mut fields = serde_json::from_str::<Vec<Value>>(line)?.into_iter();
    let (Some(Value::String(one)), Some(Value::String(other)), Some(label)) =
        (fields.next(), fields.next(), fields.next())
    else {
        bail!("it has to be two texts and a label");
    };
    let is_same = match label {
        Value::Bool(label) => label,
        label => label.as_f64().context("its label has to be 1 or 0")? > 0.5,
    };
    Ok(Pair { one, other, is_same, rest: fields.next() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_is_two_texts_and_a_label() {
        let read = pair(r#"["a", "b", 1, 0.5]"#).unwrap();
        assert_eq!((read.one.as_str(), read.other.as_str(), read.is_same), ("a", "b", true));
        assert_eq!(read.rest, Some(Value::from(0.5)));
        assert!(!pair(r#"["a", "b", false]"#).unwrap().is_same);

        for line in ["", "{}", "[]", r#"["a", "b"]"#, r#"["a", 1, 1]"#, r#"["a", "b", "yes"]"#] {
            assert!(pair(line).is_err(), "{line}");
        }
    }
}
