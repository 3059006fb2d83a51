//! The accepted forms of settings: how a text becomes a value, what is wrong when it does not, and how to say so.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use catalog::Nanodollars;
use http::Uri;
use secrecy::SecretString;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use crate::config::{Config, Weights};

/// A form with its bounds and with what a value of it sets.
pub(in crate::config) enum Form {
    /// An address of this machine.
    Address(fn(&mut Config, IpAddr)),
    /// A port.
    Port(fn(&mut Config, u16)),
    /// A whole number, from and to.
    Count(usize, usize, fn(&mut Config, usize)),
    /// A time in seconds, from and to.
    Seconds(f64, f64, fn(&mut Config, Duration)),
    /// A number from 0 to 1.
    Share(fn(&mut Config, f64)),
    /// On or off.
    Switch(fn(&mut Config, bool)),
    /// One of these words.
    Word(&'static [Word]),
    /// A log level, or a list of them by target.
    LogFilter(fn(&mut Config, String)),
    /// A provider's model.
    Model(fn(&mut Config, String)),
    /// A folder or file.
    Path(fn(&mut Config, PathBuf)),
    /// US dollars, more than none.
    Dollars(fn(&mut Config, Nanodollars)),
    /// A URL with one of these schemes. It may hold a password, so no message quotes it.
    Url(&'static [&'static str], fn(&mut Config, SecretString)),
    /// The weights of cost, quality and latency.
    Weights(fn(&mut Config, Weights)),
    /// Names of models.
    Names(fn(&mut Config, Vec<String>)),
    /// Something that opens a door, of at least so many characters. No message quotes it.
    Secret(usize, fn(&mut Config, SecretString)),
}

/// A word and what it sets.
type Word = (&'static str, fn(&mut Config));

impl Form {
    /// Reads `text` and sets it.
    ///
    /// # Errors
    /// What is wrong with the text, as the end of a sentence about it.
    pub(in crate::config) fn apply(&self, config: &mut Config, text: &str) -> Result<(), &'static str> {
        match self {
            Form::Address(set) => set(config, address(text)?),
            Form::Port(set) => set(config, text.parse().map_err(|_| "is not a port")?),
            Form::Count(from, to, set) => set(config, within(text, *from, *to, "is not a whole number")?),
            Form::Seconds(from, to, set) => {
                set(config, Duration::from_secs_f64(within(text, *from, *to, "is not a number of seconds")?));
            }
            Form::Share(set) => set(config, within(text, 0.0, 1.0, "is not a number")?),
            Form::Switch(set) => set(config, text.parse().map_err(|_| "is neither `true` nor `false`")?),
            Form::Word(words) => {
                let (_, set) =
                    words.iter().find(|(word, _)| *word == text).ok_or("is not one of the accepted words")?;
                set(config);
            }
            Form::LogFilter(set) => set(config, log_filter(text)?),
            Form::Model(set) => set(config, model(text)?),
            Form::Path(set) => set(config, PathBuf::from(text)),
            Form::Dollars(set) => set(config, dollars(text)?),
            Form::Url(schemes, set) => set(config, url(text, schemes)?),
            Form::Weights(set) => set(config, weights(text)?),
            Form::Names(set) => set(config, names(text)?),
            Form::Secret(shortest, set) => set(config, secret(text, *shortest)?),
        }
        Ok(())
    }

    /// Whether its values must not be shown.
    pub(in crate::config) fn is_secret(&self) -> bool {
        matches!(self, Form::Url(..) | Form::Secret(..))
    }
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Form::Address(_) => f.write_str("an IP address, or `localhost`"),
            Form::Port(_) => write!(f, "a whole number from 0 to {}", u16::MAX),
            Form::Count(from, to, _) => write!(f, "a whole number from {from} to {to}"),
            Form::Seconds(from, to, _) => write!(f, "seconds, from {from} to {to}"),
            Form::Share(_) => f.write_str("a number from 0 to 1"),
            Form::Switch(_) => f.write_str("`true` or `false`"),
            Form::Word(words) => {
                for (index, (word, _)) in words.iter().enumerate() {
                    write!(f, "{}`{word}`", if index == 0 { "" } else { ", " })?;
                }
                Ok(())
            }
            Form::LogFilter(_) => {
                f.write_str("`error`, `warn`, `info`, `debug`, `trace`, or a list such as `info,gateway=debug`")
            }
            Form::Model(_) => f.write_str("`provider/model`"),
            Form::Path(_) => f.write_str("a path"),
            Form::Dollars(_) => f.write_str("US dollars, for example `25` or `0.5`"),
            Form::Url(schemes, _) => {
                for (index, scheme) in schemes.iter().enumerate() {
                    write!(f, "{}`{scheme}://…`", if index == 0 { "" } else { " or " })?;
                }
                Ok(())
            }
            Form::Weights(_) => f.write_str("three weights that sum to 1, as `cost=0.5,quality=0.3,latency=0.2`"),
            Form::Names(_) => f.write_str("names of models, separated by commas"),
            Form::Secret(shortest, _) => write!(f, "at least {shortest} characters without spaces"),
        }
    }
}

/// No name is looked up: what `localhost` means is the one thing that is certain without asking.
fn address(text: &str) -> Result<IpAddr, &'static str> {
    match text {
        "localhost" => Ok(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        _ => text.parse().map_err(|_| "is not an IP address"),
    }
}

fn within<T: FromStr + PartialOrd>(text: &str, from: T, to: T, wrong: &'static str) -> Result<T, &'static str> {
    let number: T = text.parse().map_err(|_| wrong)?;
    if (from..=to).contains(&number) { Ok(number) } else { Err("is out of bounds") }
}

fn model(text: &str) -> Result<String, &'static str> {
    let is_both = text.split_once('/').is_some_and(|(provider, model)| !provider.is_empty() && !model.is_empty());
    if is_both { Ok(text.to_owned()) } else { Err("does not name a provider and its model") }
}

fn dollars(text: &str) -> Result<Nanodollars, &'static str> {
    let amount: Nanodollars = text.parse().map_err(|_| "is not an amount of US dollars")?;
    if amount > Nanodollars(0) { Ok(amount) } else { Err("is not more than nothing") }
}

fn url(text: &str, schemes: &[&str]) -> Result<SecretString, &'static str> {
    let url: Uri = text.parse().map_err(|_| "is not a URL")?;
    let is_accepted = url.scheme_str().is_some_and(|scheme| schemes.contains(&scheme));
    if is_accepted && url.host().is_some() { Ok(text.into()) } else { Err("is not such a URL") }
}

/// Each of the three once, in any order.
fn weights(text: &str) -> Result<Weights, &'static str> {
    const WRONG: &str = "does not name the weights of `cost`, `quality` and `latency`";
    let mut given = [None; 3];
    for part in text.split(',') {
        let (name, weight) = part.split_once('=').ok_or(WRONG)?;
        let place = ["cost", "quality", "latency"].iter().position(|known| *known == name.trim()).ok_or(WRONG)?;
        let weight = weight.trim().parse::<f64>().map_err(|_| WRONG)?;
        let slot = given.get_mut(place).ok_or(WRONG)?;
        if slot.replace(weight).is_some() {
            return Err(WRONG);
        }
    }
    let [Some(cost), Some(quality), Some(latency)] = given else { return Err(WRONG) };
    Weights::new(cost, quality, latency).map_err(|_| "has weights that are negative or do not sum to 1")
}

fn names(text: &str) -> Result<Vec<String>, &'static str> {
    let names: Vec<String> = text.split(',').map(|name| name.trim().to_owned()).collect();
    if names.iter().any(String::is_empty) { Err("holds an empty name") } else { Ok(names) }
}

fn secret(text: &str, shortest: usize) -> Result<SecretString, &'static str> {
    match text.len() >= shortest && text.chars().all(|letter| letter.is_ascii_graphic()) {
        true => Ok(text.into()),
        false => Err("is too short or holds spaces"),
    }
}

/// A part without `=` must be a level: the filter would take any word for the name of a target and log nothing else.
fn log_filter(text: &str) -> Result<String, &'static str> {
    let is_level = |part: &str| part.contains('=') || part.trim().parse::<LevelFilter>().is_ok();
    match text.split(',').all(is_level) && EnvFilter::try_new(text).is_ok() {
        true => Ok(text.to_owned()),
        false => Err("is not a log level"),
    }
}
