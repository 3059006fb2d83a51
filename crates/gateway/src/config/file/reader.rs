//! Reads TOML tables field by field. Unlike a derived decoder it goes on after a fault, so that all faults are
//! reported at once, each with its line.

use std::path::Path;
use std::str::FromStr;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::super::problem::{Collector, Place, Problem};
use super::super::variables::Variables;

/// The file being read and where its faults go.
pub(super) struct Reader<'a> {
    pub(super) path: &'a Path,
    pub(super) text: &'a str,
    pub(super) variables: Variables<'a>,
    pub(super) problems: &'a mut Collector,
}

/// A table of the file.
pub(super) struct Table<'t> {
    /// The full path of its key; empty for the file itself.
    pub(super) path: String,
    pub(super) place: Place,
    pub(super) entries: &'t DeTable<'t>,
    /// The keys that were asked for so far: those that have a meaning.
    known: Vec<&'static str>,
}

/// A string, number or boolean.
#[derive(Clone)]
pub(in crate::config) struct Value {
    /// The value as text, variables filled in. May be a secret.
    pub(in crate::config) text: String,
    /// The value as it stands in the file.
    pub(in crate::config) written: String,
    /// The full path of its key.
    pub(in crate::config) name: String,
    /// Where it stands.
    pub(in crate::config) place: Place,
}

impl Value {
    /// A problem with this value.
    pub(in crate::config) fn problem(&self, problem: impl Into<String>, hint: impl Into<String>) -> Problem {
        let (name, place) = (self.name.clone(), self.place.clone());
        Problem { place, name, problem: problem.into(), hint: hint.into() }
    }
}

impl<'a> Reader<'a> {
    /// Parses the text; `None` if it is not TOML, with every fault reported.
    pub(super) fn parse(&mut self) -> Option<DeTable<'a>> {
        let (root, errors) = DeTable::parse_recoverable(self.text);
        for error in &errors {
            let place = self.place(error.span().map_or(0, |span| span.start));
            let problem = error.message().replace('\n', ", ");
            self.wrong(place, "syntax", problem, "accepted: TOML, as described on toml.io");
        }
        errors.is_empty().then(|| root.into_inner())
    }

    /// The whole file as a table.
    pub(super) fn root<'t>(&self, entries: &'t DeTable<'t>) -> Table<'t> {
        Table { path: String::new(), place: self.place(0), entries, known: Vec::new() }
    }

    /// The table at `key`.
    pub(super) fn table<'t>(&mut self, parent: &mut Table<'t>, key: &'static str) -> Option<Table<'t>> {
        let (name, value) = parent.look_up(key)?;
        self.as_table(name, value)
    }

    /// The tables of the array at `key`.
    pub(super) fn tables<'t>(&mut self, parent: &mut Table<'t>, key: &'static str) -> Vec<Table<'t>> {
        let items = self.list(parent, key);
        items.into_iter().filter_map(|(name, value)| self.as_table(name, value)).collect()
    }

    /// The items of the array at `key`, each with its name.
    pub(super) fn list<'t>(
        &mut self,
        parent: &mut Table<'t>,
        key: &'static str,
    ) -> Vec<(String, &'t Spanned<DeValue<'t>>)> {
        let Some((name, value)) = parent.look_up(key) else {
            return Vec::new();
        };
        let Some(items) = value.get_ref().as_array() else {
            self.wrong_type(&name, value, "a list");
            return Vec::new();
        };
        items.iter().map(|item| (name.clone(), item)).collect()
    }

    /// The string, number or boolean at `key`.
    pub(super) fn scalar(&mut self, parent: &mut Table<'_>, key: &'static str) -> Option<Value> {
        let (name, value) = parent.look_up(key)?;
        self.as_scalar(name, value)
    }

    /// The same, for a key that must be there and say something.
    pub(super) fn required(&mut self, parent: &mut Table<'_>, key: &'static str) -> Option<Value> {
        let value = parent.look_up(key);
        if value.is_none() {
            self.wrong(parent.place.clone(), &parent.path, format!("has no `{key}`"), format!("add `{key} = \"…\"`"));
        }
        let (name, value) = value?;
        let value = self.as_scalar(name, value)?;
        if value.text.trim().is_empty() {
            self.problems.add(value.problem("is empty", "accepted: a text"));
            return None;
        }
        Some(value)
    }

    /// The value at `key`, read as a `T`.
    pub(super) fn parsed<T: FromStr>(
        &mut self,
        parent: &mut Table<'_>,
        key: &'static str,
        accepted: &str,
    ) -> Option<T> {
        let value = self.scalar(parent, key)?;
        let parsed = value.text.parse().ok();
        if parsed.is_none() {
            let problem = format!("`{}` cannot be used here", value.written);
            self.problems.add(value.problem(problem, format!("accepted: {accepted}")));
        }
        parsed
    }

    /// The value as a table; `path` is the full path of its key.
    pub(super) fn as_table<'t>(&mut self, path: String, value: &'t Spanned<DeValue<'t>>) -> Option<Table<'t>> {
        let Some(entries) = value.get_ref().as_table() else {
            self.wrong_type(&path, value, "a table");
            return None;
        };
        Some(Table { path, place: self.place(value.span().start), entries, known: Vec::new() })
    }

    /// The value as a string, number or boolean; `name` is the full path of its key.
    pub(super) fn as_scalar(&mut self, name: String, value: &Spanned<DeValue<'_>>) -> Option<Value> {
        let place = self.place(value.span().start);
        let written = match value.get_ref() {
            DeValue::String(text) => text.to_string(),
            DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
                .map_or_else(|_| number.to_string(), |number| number.to_string()),
            DeValue::Float(number) => number.to_string(),
            DeValue::Boolean(on) => on.to_string(),
            DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => {
                self.wrong_type(&name, value, "a string, a number, `true` or `false`");
                return None;
            }
        };
        match fill_in(&written, self.variables) {
            Ok(text) => Some(Value { text, written, name, place }),
            Err(problem) => {
                self.wrong(place, &name, problem, "set the variable; a literal `${` is written `$${`");
                None
            }
        }
    }

    /// Reports every key of the table that nobody asked for. `meant` may know better than spelling which was meant.
    pub(super) fn refuse_unknown(&mut self, table: &Table<'_>, meant: impl Fn(&str) -> Option<&'static str>) {
        for key in table.entries.keys() {
            let (place, key) = (self.place(key.span().start), key.get_ref().as_ref());
            if table.known.contains(&key) {
                continue;
            }
            let close = || {
                let close = catalog::close_matches(key, table.known.iter().copied(), 1);
                close.first().map(|name| table.name_of(name))
            };
            let hint = match meant(key).map(str::to_owned).or_else(close) {
                Some(name) => format!("did you mean `{name}`?"),
                None => format!("accepted: {}", listed(&table.known)),
            };
            self.wrong(place, &table.name_of(key), "is not known", hint);
        }
    }

    fn place(&self, offset: usize) -> Place {
        let before = self.text.as_bytes().iter().take(offset);
        Place::File { path: self.path.to_owned(), line: before.filter(|byte| **byte == b'\n').count() + 1 }
    }

    fn wrong(&mut self, place: Place, name: &str, problem: impl Into<String>, hint: impl Into<String>) {
        self.problems.add(Problem { place, name: name.to_owned(), problem: problem.into(), hint: hint.into() });
    }

    fn wrong_type(&mut self, name: &str, value: &Spanned<DeValue<'_>>, accepted: &str) {
        let place = self.place(value.span().start);
        self.wrong(
            place,
            name,
            format!("is of the type {}", value.get_ref().type_str()),
            format!("accepted: {accepted}"),
        );
    }
}

impl<'t> Table<'t> {
    /// The full path of a key of this table.
    pub(super) fn name_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    fn look_up(&mut self, key: &'static str) -> Option<(String, &'t Spanned<DeValue<'t>>)> {
        self.known.push(key);
        self.entries.get(key).map(|value| (self.name_of(key), value))
    }
}

fn listed(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// Puts the values of variables where the text says `${NAME}`. `$${` stands for `${`.
///
/// # Errors
/// A variable that is not set, or a `${` without its `}`.
fn fill_in(text: &str, variables: Variables<'_>) -> Result<String, String> {
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        if let Some(before) = before.strip_suffix('$') {
            filled.push_str(before);
            filled.push_str("${");
            rest = after;
            continue;
        }
        let (name, after) = after.split_once('}').ok_or("has a `${` without `}`")?;
        filled.push_str(before);
        filled.push_str(variables.get(name).ok_or_else(|| format!("uses `${{{name}}}`, which is not set"))?.text);
        rest = after;
    }
    filled.push_str(rest);
    Ok(filled)
}
