//! Names that the operator gives to models: aliases and groups.

use super::file::{AliasEntry, File, GroupTable, TargetEntry, Value};
use super::problem::{Collector, Place, Problem};
use super::{Alias, Group, GroupKind, MissingProvider};

/// The names that stand for a choice instead of a model.
pub const VIRTUAL_MODELS: [&str; 4] = ["auto", "fast", "cheap", "quality"];

/// Every name that is taken, and where problems with names go.
struct Names<'a> {
    aliases: Vec<String>,
    groups: Vec<String>,
    missing: &'a [MissingProvider],
    problems: &'a mut Collector,
}

/// The aliases and groups of the file. No name hides another, and every target is a model: what a name stands for is
/// found in one step, and nothing can turn in a circle. A name that only stands for models of providers without a key
/// is refused here, and not at its first request.
pub(super) fn check(file: &File, missing: &[MissingProvider], problems: &mut Collector) -> (Vec<Alias>, Vec<Group>) {
    let aliases = file.aliases.iter().map(|alias| alias.name.clone()).collect();
    let groups = file.groups.iter().map(|group| group.name.clone()).collect();
    let mut names = Names { aliases, groups, missing, problems };
    let aliases = file.aliases.iter().filter_map(|entry| names.alias(entry)).collect();
    let groups = file.groups.iter().filter_map(|table| names.group(table)).collect();
    (aliases, groups)
}

impl Names<'_> {
    fn alias(&mut self, entry: &AliasEntry) -> Option<Alias> {
        self.check_name(&entry.name, &entry.target.name, &entry.target.place);
        let target = self.model(&entry.target)?;
        self.check_reach(&entry.target.name, &entry.target.place, std::iter::once(&target));
        Some(Alias { name: entry.name.clone(), target })
    }

    fn group(&mut self, table: &GroupTable) -> Option<Group> {
        self.check_name(&table.name, &table.path, &table.place);
        if self.aliases.contains(&table.name) {
            self.wrong(&table.path, &table.place, "is the name of an alias, too", "give one of the two another name");
        }
        let kind = match table.kind.text.as_str() {
            "ordered" => GroupKind::Ordered,
            "weighted" => GroupKind::Weighted,
            _ => {
                let problem = format!("`{}` is not a kind of group", table.kind.written);
                self.problems.add(table.kind.problem(problem, "accepted: `ordered`, `weighted`"));
                return None;
            }
        };
        if table.targets.is_empty() {
            self.wrong(&table.path, &table.place, "has no targets", "add `targets = [\"provider/model\", …]`");
        }
        let targets: Vec<_> = table.targets.iter().filter_map(|entry| self.target(kind, entry)).collect();
        self.check_reach(&table.path, &table.place, targets.iter().map(|(model, _)| model));
        Some(Group { name: table.name.clone(), kind, targets })
    }

    fn target(&mut self, kind: GroupKind, entry: &TargetEntry) -> Option<(String, u32)> {
        let model = self.model(&entry.model)?;
        if kind == GroupKind::Ordered && entry.weight.is_some() {
            let hint = "leave the weight out, or make the group `weighted`";
            self.problems.add(entry.model.problem("has a weight, but the group is `ordered`", hint));
        }
        Some((model, entry.weight.map_or(1, |weight| u32::from(weight.get()))))
    }

    fn check_name(&mut self, name: &str, path: &str, place: &Place) {
        if name.trim().is_empty() {
            self.wrong(path, place, "has an empty name", "give it the name that clients shall ask for");
        }
        if VIRTUAL_MODELS.contains(&name) {
            self.wrong(path, place, "would hide the virtual model of that name", "give it another name");
        }
    }

    /// The target, if it is a model's name and not another of these names.
    fn model(&mut self, target: &Value) -> Option<String> {
        let name = target.text.trim();
        let problem = if name.is_empty() {
            "has an empty target"
        } else if VIRTUAL_MODELS.contains(&name) {
            "points to a virtual model"
        } else if self.aliases.iter().any(|alias| alias == name) {
            "points to an alias"
        } else if self.groups.iter().any(|group| group == name) {
            "points to a group"
        } else {
            return Some(name.to_owned());
        };
        self.problems.add(target.problem(problem, "accepted: `provider/model`, or a model's name"));
        None
    }

    /// Of several targets one has to be in reach.
    fn check_reach<'t>(&mut self, path: &str, place: &Place, targets: impl Iterator<Item = &'t String>) {
        let missing = self.missing;
        let without_key = |target: &String| {
            let (provider, _) = target.split_once('/')?;
            missing.iter().find(|missing| missing.name == provider)
        };
        let found: Option<Vec<&MissingProvider>> = targets.map(without_key).collect();
        if let Some(provider) = found.and_then(|all| all.first().copied()) {
            let problem = format!("can never be answered: {} has no key", provider.title);
            self.wrong(path, place, &problem, &format!("set `{}`, or name another model", provider.variable));
        }
    }

    fn wrong(&mut self, name: &str, place: &Place, problem: &str, hint: &str) {
        let (name, place) = (name.to_owned(), place.clone());
        self.problems.add(Problem { place, name, problem: problem.to_owned(), hint: hint.to_owned() });
    }
}
