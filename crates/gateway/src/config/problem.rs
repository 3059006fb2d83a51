//! What is wrong with a configuration: every problem with its place, its name and the accepted form.

use std::fmt;
use std::path::PathBuf;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where it was written.
    pub place: Place,
    /// The variable or the key.
    pub name: String,
    /// What is wrong with it. Never quotes a secret.
    pub problem: String,
    /// The accepted form, or what to do.
    pub hint: String,
}

/// Where a value was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the environment of the process.
    Environment,
    /// In a `.env` file.
    Dotenv,
    /// In the configuration file.
    File {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
    /// Nowhere in particular: something is missing, or a file as a whole is at fault.
    Whole,
}

/// Everything that is wrong, at least one thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems(Vec<Problem>);

/// Gathers problems while reading goes on.
#[derive(Debug, Default)]
pub(super) struct Collector(Vec<Problem>);

impl Problems {
    /// The problems in the order in which they were found.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.0.iter()
    }
}

impl Collector {
    pub(super) fn add(&mut self, problem: Problem) {
        self.0.push(problem);
    }

    /// `value` if nothing was wrong.
    pub(super) fn or<T>(self, value: T) -> Result<T, Problems> {
        if self.0.is_empty() { Ok(value) } else { Err(Problems(self.0)) }
    }
}

impl std::error::Error for Problems {}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.len() {
            1 => f.write_str("1 problem in the configuration")?,
            count => write!(f, "{count} problems in the configuration")?,
        }
        self.0.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        match &self.place {
            Place::Environment => f.write_str(" (environment)")?,
            Place::Dotenv => f.write_str(" (.env)")?,
            Place::File { path, line } => write!(f, " ({} line {line})", path.display())?,
            Place::Whole => {}
        }
        write!(f, ": {}\n    {}", self.problem, self.hint)
    }
}
