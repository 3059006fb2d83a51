//! Where configuration is looked for, and what was found there.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::Config;
use super::problem::{Collector, Place, Problem, Problems};
use super::variables::{self, Variables};

/// The configuration file that is read when none is named.
const FILE_NAME: &str = "gateway.toml";

/// The variable that names another one.
pub(super) const FILE_VARIABLE: &str = "GATEWAY_CONFIG";

/// Where to look. Stays the same while the gateway runs; what is found there may change.
#[derive(Clone)]
pub struct Locations {
    /// The variables of the process. A value put in here wins over every other source, as a command's flag should.
    pub environment: BTreeMap<String, String>,
    /// The folder in which `.env` and `gateway.toml` are looked for.
    pub directory: PathBuf,
    /// A configuration file that a flag named; it must exist.
    pub file: Option<PathBuf>,
    /// Offer every simulated provider.
    pub demo: bool,
}

/// What was found: everything that a [`Config`] is made of.
#[derive(Clone, Default)]
pub struct Sources {
    /// The variables of the process.
    pub environment: BTreeMap<String, String>,
    /// The variables of `.env`, which count where the process has none.
    pub dotenv: BTreeMap<String, String>,
    /// The configuration file: its path, for messages, and its text.
    pub file: Option<(PathBuf, String)>,
    /// Offer every simulated provider.
    pub demo: bool,
}

impl Locations {
    /// The environment and the working directory of this process, and a file that a flag named.
    pub fn of_process(file: Option<PathBuf>) -> Locations {
        let text = |value: OsString| value.to_string_lossy().into_owned();
        let environment = std::env::vars_os().map(|(name, value)| (text(name), text(value))).collect();
        Locations { environment, directory: PathBuf::new(), file, demo: false }
    }

    /// Reads what is there, a few small files, and turns it into a configuration.
    ///
    /// # Errors
    /// Everything that is wrong, in one list.
    pub fn load(&self) -> Result<Config, Problems> {
        let mut problems = Collector::default();
        let sources = self.read(&mut problems);
        Config::collect(&sources, problems)
    }

    /// The configuration file, there or not.
    pub(super) fn config_path(&self) -> PathBuf {
        let dotenv = self.dotenv(&mut Collector::default());
        self.named_file(&dotenv).unwrap_or_else(|| self.directory.join(FILE_NAME))
    }

    fn read(&self, problems: &mut Collector) -> Sources {
        let dotenv = self.dotenv(problems);
        let file = match self.named_file(&dotenv) {
            Some(path) => must_read(path, problems),
            None => may_read(self.directory.join(FILE_NAME), problems),
        };
        Sources { environment: self.environment.clone(), dotenv, file, demo: self.demo }
    }

    fn dotenv(&self, problems: &mut Collector) -> BTreeMap<String, String> {
        let found = may_read(self.directory.join(".env"), problems);
        found.map(|(_, text)| variables::parse_dotenv(&text, problems)).unwrap_or_default()
    }

    /// The file that a flag or a variable names.
    fn named_file(&self, dotenv: &BTreeMap<String, String>) -> Option<PathBuf> {
        let variables = Variables { environment: &self.environment, dotenv };
        let named = || variables.get(FILE_VARIABLE).map(|found| self.directory.join(found.text));
        self.file.clone().or_else(named)
    }
}

fn must_read(path: PathBuf, problems: &mut Collector) -> Option<(PathBuf, String)> {
    match std::fs::read_to_string(&path) {
        Ok(text) => Some((path, text)),
        Err(error) => {
            problems.add(unreadable(&path, &error));
            None
        }
    }
}

fn may_read(path: PathBuf, problems: &mut Collector) -> Option<(PathBuf, String)> {
    match path.try_exists() {
        Ok(false) => None,
        Ok(true) | Err(_) => must_read(path, problems),
    }
}

fn unreadable(path: &Path, error: &io::Error) -> Problem {
    let hint = match error.kind() {
        ErrorKind::NotFound => format!("name a file that exists, with `--config` or `{FILE_VARIABLE}`"),
        _ => "make it a UTF-8 text file that this user may read".to_owned(),
    };
    let problem = format!("cannot be read: {error}");
    Problem { place: Place::Whole, name: path.display().to_string(), problem, hint }
}
