//! The shape of `gateway.toml`: what people wrote, with lines kept and unknown keys refused. What it means is decided
//! by [`super::settings`], [`super::providers`] and [`super::names`].

mod reader;

use std::collections::BTreeMap;
use std::num::{NonZeroU16, NonZeroU64};
use std::path::PathBuf;

use toml::Spanned;
use toml::de::{DeString, DeValue};

use super::problem::{Collector, Place};
use super::settings::{SETTINGS, Setting};
use super::variables::Variables;
use reader::{Reader, Table};

pub(super) use reader::Value;

/// Settings that the file gives, by key.
pub(super) type Settings = BTreeMap<&'static str, Value>;

/// The whole file.
#[derive(Default)]
pub(super) struct File {
    pub(super) settings: Settings,
    pub(super) providers: Vec<ProviderTable>,
    pub(super) aliases: Vec<AliasEntry>,
    pub(super) groups: Vec<GroupTable>,
}

/// A `[[provider]]` table.
pub(super) struct ProviderTable {
    pub(super) name: Value,
    pub(super) dialect: Option<Value>,
    pub(super) base_url: Option<Value>,
    pub(super) query: Option<Value>,
    pub(super) auth: Option<Value>,
    pub(super) key: Option<Value>,
    pub(super) key_env: Option<Value>,
    pub(super) is_local: Option<bool>,
    pub(super) circuit_breaker: Option<bool>,
    pub(super) quirks: Vec<Value>,
    pub(super) credentials: Vec<CredentialTable>,
    pub(super) models: Vec<ModelTable>,
}

/// A `[[provider.credential]]` table: a further key.
pub(super) struct CredentialTable {
    pub(super) key: Option<Value>,
    pub(super) key_env: Option<Value>,
    pub(super) weight: Option<NonZeroU16>,
    pub(super) place: Place,
    pub(super) path: String,
}

/// A `[[provider.model]]` table. Prices are US dollars for a million tokens.
pub(super) struct ModelTable {
    pub(super) id: Value,
    pub(super) context_window: Option<NonZeroU64>,
    pub(super) input_price: Option<Value>,
    pub(super) output_price: Option<Value>,
    pub(super) cached_input_price: Option<Value>,
}

/// A line of `[aliases]`.
pub(super) struct AliasEntry {
    pub(super) name: String,
    pub(super) target: Value,
}

/// A `[groups.<name>]` table.
pub(super) struct GroupTable {
    pub(super) name: String,
    pub(super) path: String,
    pub(super) place: Place,
    pub(super) kind: Value,
    pub(super) targets: Vec<TargetEntry>,
}

/// One of a group's targets.
pub(super) struct TargetEntry {
    pub(super) model: Value,
    pub(super) weight: Option<NonZeroU16>,
}

/// Reads the file, if there is one.
pub(super) fn read(file: Option<&(PathBuf, String)>, variables: Variables<'_>, problems: &mut Collector) -> File {
    let Some((path, text)) = file else {
        return File::default();
    };
    let mut reader = Reader { path, text, variables, problems };
    let Some(entries) = reader.parse() else {
        return File::default();
    };

    let mut root = reader.root(&entries);
    let settings = settings(&mut reader, &mut root);
    let providers = providers(&mut reader, &mut root);
    let aliases = aliases(&mut reader, &mut root);
    let groups = groups(&mut reader, &mut root);
    reader.refuse_unknown(&root, setting_called);
    File { settings, providers, aliases, groups }
}

fn settings(reader: &mut Reader<'_>, root: &mut Table<'_>) -> Settings {
    let mut found = Settings::new();
    for rows in SETTINGS.chunk_by(|a, b| a.section() == b.section()) {
        let Some(mut table) = rows.first().and_then(|row| reader.table(root, row.section())) else {
            continue;
        };
        for row in rows {
            if let Some(value) = reader.scalar(&mut table, row.name()) {
                found.insert(row.key, value);
            }
        }
        reader.refuse_unknown(&table, setting_called);
    }
    found
}

/// The key of the setting that somebody meant who wrote it in the wrong section or wrote its variable.
fn setting_called(key: &str) -> Option<&'static str> {
    let is_meant = |row: &&Setting| key.eq_ignore_ascii_case(row.variable) || key.eq_ignore_ascii_case(row.name());
    SETTINGS.iter().find(is_meant).map(|row| row.key)
}

fn providers(reader: &mut Reader<'_>, root: &mut Table<'_>) -> Vec<ProviderTable> {
    let tables = reader.tables(root, "provider");
    tables.into_iter().filter_map(|table| provider(reader, table)).collect()
}

fn provider(reader: &mut Reader<'_>, mut table: Table<'_>) -> Option<ProviderTable> {
    let table = &mut table;
    let name = reader.required(table, "name");
    let dialect = reader.scalar(table, "dialect");
    let base_url = reader.scalar(table, "base_url");
    let query = reader.scalar(table, "query");
    let auth = reader.scalar(table, "auth");
    let key = reader.scalar(table, "key");
    let key_env = reader.scalar(table, "key_env");
    let is_local = reader.parsed(table, "local", "`true` or `false`");
    let circuit_breaker = reader.parsed(table, "circuit_breaker", "`true` or `false`");
    let quirks = reader.list(table, "quirks");
    let quirks = quirks.into_iter().filter_map(|(name, item)| reader.as_scalar(name, item)).collect();
    let credentials = reader.tables(table, "credential");
    let credentials = credentials.into_iter().map(|table| credential(reader, table)).collect();
    let models = reader.tables(table, "model");
    let models = models.into_iter().filter_map(|table| model(reader, table)).collect();
    reader.refuse_unknown(table, |_| None);
    let name = name?;
    Some(ProviderTable {
        name,
        dialect,
        base_url,
        query,
        auth,
        key,
        key_env,
        is_local,
        circuit_breaker,
        quirks,
        credentials,
        models,
    })
}

fn credential(reader: &mut Reader<'_>, mut table: Table<'_>) -> CredentialTable {
    let table = &mut table;
    let key = reader.scalar(table, "key");
    let key_env = reader.scalar(table, "key_env");
    let weight = reader.parsed(table, "weight", "a whole number from 1 to 65535");
    reader.refuse_unknown(table, |_| None);
    CredentialTable { key, key_env, weight, place: table.place.clone(), path: table.path.clone() }
}

fn model(reader: &mut Reader<'_>, mut table: Table<'_>) -> Option<ModelTable> {
    let table = &mut table;
    let id = reader.required(table, "id");
    let context_window = reader.parsed(table, "context_window", "a whole number of tokens, 1 or more");
    let input_price = reader.scalar(table, "input_usd_per_million");
    let output_price = reader.scalar(table, "output_usd_per_million");
    let cached_input_price = reader.scalar(table, "cached_input_usd_per_million");
    reader.refuse_unknown(table, |_| None);
    Some(ModelTable { id: id?, context_window, input_price, output_price, cached_input_price })
}

fn aliases(reader: &mut Reader<'_>, root: &mut Table<'_>) -> Vec<AliasEntry> {
    let Some(table) = reader.table(root, "aliases") else {
        return Vec::new();
    };
    let alias = |(key, value): (&Spanned<DeString<'_>>, &Spanned<DeValue<'_>>)| {
        let target = reader.as_scalar(table.name_of(key.get_ref()), value)?;
        Some(AliasEntry { name: key.get_ref().to_string(), target })
    };
    table.entries.iter().filter_map(alias).collect()
}

fn groups(reader: &mut Reader<'_>, root: &mut Table<'_>) -> Vec<GroupTable> {
    let Some(table) = reader.table(root, "groups") else {
        return Vec::new();
    };
    let group = |(key, value): (&Spanned<DeString<'_>>, _)| {
        let mut group = reader.as_table(table.name_of(key.get_ref()), value)?;
        let kind = reader.required(&mut group, "kind")?;
        let targets = reader.list(&mut group, "targets");
        let targets = targets.into_iter().filter_map(|(name, item)| target(reader, name, item)).collect();
        reader.refuse_unknown(&group, |_| None);
        Some(GroupTable { name: key.get_ref().to_string(), path: group.path, place: group.place, kind, targets })
    };
    table.entries.iter().filter_map(group).collect()
}

/// A model's name, or a table of it and its weight.
fn target(reader: &mut Reader<'_>, name: String, item: &Spanned<DeValue<'_>>) -> Option<TargetEntry> {
    if !item.get_ref().is_table() {
        return Some(TargetEntry { model: reader.as_scalar(name, item)?, weight: None });
    }
    let mut table = reader.as_table(name, item)?;
    let model = reader.required(&mut table, "model");
    let weight = reader.parsed(&mut table, "weight", "a whole number from 1 to 65535");
    reader.refuse_unknown(&table, |_| None);
    Some(TargetEntry { model: model?, weight })
}
