//! Environment variables: those of the process, and those of `.env` where the process has none.

use std::collections::BTreeMap;

use super::problem::{Collector, Place, Problem};

/// The variables of both sources. They come as maps, so that tests need no global state.
#[derive(Clone, Copy)]
pub(super) struct Variables<'a> {
    pub(super) environment: &'a BTreeMap<String, String>,
    pub(super) dotenv: &'a BTreeMap<String, String>,
}

/// One variable's value and where it stands.
pub(super) struct Found<'a> {
    pub(super) text: &'a str,
    pub(super) place: Place,
}

impl<'a> Variables<'a> {
    /// The variable's value without white space around it. An empty value counts as not set, and one in the process
    /// still hides that of `.env`: `PORT= llm-gateway` is the way to undo a line there.
    pub(super) fn get(&self, name: &str) -> Option<Found<'a>> {
        let in_process = self.environment.get(name).map(|text| (text, Place::Environment));
        let (text, place) = in_process.or_else(|| self.dotenv.get(name).map(|text| (text, Place::Dotenv)))?;
        let text = text.trim();
        (!text.is_empty()).then_some(Found { text, place })
    }
}

/// Reads the text of a `.env` file.
pub(super) fn parse_dotenv(text: &str, problems: &mut Collector) -> BTreeMap<String, String> {
    let mut variables = BTreeMap::new();
    for entry in dotenvy::from_read_iter(text.trim_start_matches('\u{feff}').as_bytes()) {
        match entry {
            // The first of two lines counts, as where a `.env` file is loaded into the environment.
            Ok((name, value)) => drop(variables.entry(name).or_insert(value)),
            Err(error) => problems.add(bad_line(text, &error)),
        }
    }
    variables
}

/// Says which line is at fault, never what stands in it: it may hold a key.
fn bad_line(text: &str, error: &dotenvy::Error) -> Problem {
    let line = match error {
        dotenvy::Error::LineParse(line, _) => text.lines().position(|candidate| candidate.trim() == line.trim()),
        _ => None,
    };
    let name = line.map_or_else(|| ".env".to_owned(), |index| format!(".env line {}", index + 1));
    let hint = "accepted: `NAME=value`, with the value in single quotes if it holds spaces, `#` or `$`".to_owned();
    Problem { place: Place::Whole, name, problem: "cannot be understood".to_owned(), hint }
}
