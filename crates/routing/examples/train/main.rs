//! Trains the shared heads from the table in `data/`, bit for bit, and builds that table from rows.
//!
//! `train` writes the constants, `train --check` compares them with those checked in, `train --table FILE…` builds the
//! table from files of rows (`.jsonl` or `.jsonl.gz`) and the prompts of our own, `train --eval FILE…` scores plans over
//! files of rows.

mod eigen;
mod eval;
mod fit;
mod kinds;
mod table;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("data");
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--table", ref files @ ..] => {
            let files = files.iter().map(PathBuf::from).chain([data.join("own.jsonl")]).collect::<Vec<_>>();
            std::fs::write(data.join("table.bin"), table::build(&files)?).context("writing the table")
        }
        ["--eval", ref files @ ..] => {
            eval::run(&read_table(&data)?, &files.iter().map(PathBuf::from).collect::<Vec<_>>())
        }
        [] => std::fs::write(data.join("heads.bin"), trained(&data)?).context("writing the constants"),
        ["--check"] if trained(&data)? == std::fs::read(data.join("heads.bin"))? => {
            println!("the constants are what training gives");
            Ok(())
        }
        ["--check"] => bail!("the constants are not what training gives: run `cargo xtask train`"),
        _ => bail!("expected nothing, `--check`, `--table FILE…` or `--eval FILE…`"),
    }
}

fn trained(data: &Path) -> Result<Vec<u8>> {
    Ok(fit::train(&read_table(data)?, |_, _| true)?.to_bytes())
}

fn read_table(data: &Path) -> Result<table::Table> {
    table::Table::read(&std::fs::read(data.join("table.bin")).context("reading the table")?)
}
