//! Exact arithmetic of money: picodollars a token, nanodollars an answer, integers throughout.
//!
//! A price of one US dollar per million tokens is 1,000,000 picodollars per token, so every published price is a whole
//! number. Costs are summed in picodollars and rounded up to a nanodollar once, at the end. Floating point appears only
//! where a number leaves for people or JSON.

#![deny(clippy::arithmetic_side_effects, clippy::float_arithmetic)]

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize, Serializer};
use wire::usage::Usage;

/// What a model's tokens cost.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Price {
    /// Of a prompt token.
    pub input: PicodollarsPerToken,
    /// Of a prompt token read from the provider's cache; `None` costs as much as any other.
    pub cached_input: Option<PicodollarsPerToken>,
    /// Of a prompt token written to the provider's cache; `None` costs as much as any other.
    pub cache_write: Option<PicodollarsPerToken>,
    /// Of one that the provider keeps for an hour; `None` costs as much as any other that is written.
    pub cache_write_1h: Option<PicodollarsPerToken>,
    /// Of a generated token, reasoning included.
    pub output: PicodollarsPerToken,
    /// Of a prompt token of an image or of sound; `None` costs as much as any other.
    pub media_input: Option<PicodollarsPerToken>,
    /// Of what is paid for instead of tokens: an image that is made, a character that is spoken, a second that is
    /// heard. Millionths of a millionth of a US dollar, as for tokens.
    pub unit: Option<PicodollarsPerToken>,
    /// What holds for work that may wait: the vendor's batch interface. Nothing here uses it yet.
    pub batch: Option<Batch>,
    /// What holds instead for a long prompt, where that differs.
    pub long_context: Option<Box<LongContext>>,
}

/// The price of work that may wait.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Batch {
    /// Of a prompt token.
    pub input: PicodollarsPerToken,
    /// Of a generated token.
    pub output: PicodollarsPerToken,
}

/// The price of a request whose prompt is long; it holds for all of its tokens.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct LongContext {
    /// The longest prompt, in tokens, that still has the ordinary price.
    pub above_input_tokens: u64,
    /// The price beyond.
    pub price: Price,
}

impl Price {
    /// A price given in US dollars per million tokens, as `0.15` and `0.6`.
    ///
    /// # Errors
    /// Either text is no such amount.
    pub fn per_million(input: &str, output: &str) -> Result<Price, NotAnAmount> {
        let (input, output) = (PicodollarsPerToken::parse(input)?, PicodollarsPerToken::parse(output)?);
        Ok(Price::of(input, output))
    }

    /// Nothing: the price of a model that runs on the operator's own machine.
    pub fn free() -> Price {
        let nothing = PicodollarsPerToken(0);
        Price::of(nothing, nothing)
    }

    pub(crate) fn of(input: PicodollarsPerToken, output: PicodollarsPerToken) -> Price {
        Price {
            input,
            cached_input: None,
            cache_write: None,
            cache_write_1h: None,
            output,
            media_input: None,
            unit: None,
            batch: None,
            long_context: None,
        }
    }

    /// What these tokens cost, rounded up to a nanodollar.
    ///
    /// A count that is unknown adds nothing, so ask [`Price::covers`] first. Cached and written tokens are part of
    /// the prompt, hence never more than it and never paid twice. What no account could hold is [`i64::MAX`].
    pub fn cost(&self, usage: &Usage) -> Nanodollars {
        let (cached, written) = (usage.cached_input.unwrap_or(0), usage.cache_write.unwrap_or(0));
        let input = usage.input.unwrap_or_else(|| cached.saturating_add(written));
        let cached = cached.min(input);
        let written = written.min(input.saturating_sub(cached));
        let plain = input.saturating_sub(cached).saturating_sub(written);
        let media = usage.media_input.unwrap_or(0).min(plain);
        let for_an_hour = usage.cache_write_1h.unwrap_or(0).min(written);

        let price = self.at(input);
        let picodollars = [
            (plain.saturating_sub(media), price.input),
            (media, price.media_input.unwrap_or(price.input)),
            (cached, price.cached_input.unwrap_or(price.input)),
            (written.saturating_sub(for_an_hour), price.cache_write.unwrap_or(price.input)),
            (for_an_hour, price.cache_write_1h.or(price.cache_write).unwrap_or(price.input)),
            (usage.output.unwrap_or(0), price.output),
            (usage.units.unwrap_or(0), price.unit.unwrap_or(PicodollarsPerToken(0))),
        ]
        .into_iter()
        .map(|(tokens, each)| u128::from(tokens).saturating_mul(u128::from(each.0)))
        .fold(0, u128::saturating_add);
        Nanodollars(i64::try_from(picodollars.div_ceil(PICODOLLARS_PER_NANODOLLAR)).unwrap_or(i64::MAX))
    }

    /// Whether `usage` has what this price is of. What was not counted costs something that nobody knows.
    pub fn covers(&self, usage: &Usage) -> bool {
        if self.unit.is_some() { usage.units.is_some() } else { !usage.is_unknown() }
    }

    /// The price that holds for a prompt of that many tokens.
    fn at(&self, input: u64) -> &Price {
        match &self.long_context {
            Some(long) if input > long.above_input_tokens => long.price.at(input),
            Some(_) | None => self,
        }
    }
}

/// Millionths of a millionth of a US dollar for one token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct PicodollarsPerToken(pub u64);

impl PicodollarsPerToken {
    /// Reads US dollars per million tokens, as `0.15`.
    ///
    /// # Errors
    /// The text is no such amount, or finer than six decimals.
    pub fn parse(text: &str) -> Result<PicodollarsPerToken, NotAnAmount> {
        scaled(text, DECIMALS_PER_MILLION).map(PicodollarsPerToken).ok_or_else(|| NotAnAmount::new(text))
    }

    /// US dollars per million tokens, for display and JSON only.
    #[expect(clippy::float_arithmetic, reason = "leaves for display; no sum is made of it")]
    pub fn usd_per_million(self) -> f64 {
        self.0 as f64 / 1e6
    }
}

impl Serialize for PicodollarsPerToken {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (dollars, rest) = (self.0 / PICODOLLARS_PER_DOLLAR, self.0 % PICODOLLARS_PER_DOLLAR);
        let text = format!("{dollars}.{rest:06}");
        serializer.serialize_str(text.trim_end_matches('0').trim_end_matches('.'))
    }
}

impl TryFrom<String> for PicodollarsPerToken {
    type Error = NotAnAmount;

    fn try_from(text: String) -> Result<PicodollarsPerToken, NotAnAmount> {
        PicodollarsPerToken::parse(&text)
    }
}

/// Billionths of a US dollar: what things cost. Negative is a credit.
///
/// Displays as exact dollars, `0.000615`; serialises as a JSON number of dollars; reads what it displays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nanodollars(pub i64);

impl Nanodollars {
    /// The sum, unless no account could hold it.
    pub fn checked_add(self, other: Nanodollars) -> Option<Nanodollars> {
        self.0.checked_add(other.0).map(Nanodollars)
    }

    /// The difference, unless no account could hold it.
    pub fn checked_sub(self, other: Nanodollars) -> Option<Nanodollars> {
        self.0.checked_sub(other.0).map(Nanodollars)
    }

    /// US dollars, for display and JSON only; exact to the nanodollar below eight million dollars.
    #[expect(clippy::float_arithmetic, reason = "leaves for display; no sum is made of it")]
    pub fn to_usd(self) -> f64 {
        self.0 as f64 / 1e9
    }
}

impl fmt::Display for Nanodollars {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let magnitude = self.0.unsigned_abs();
        let (dollars, rest) = (magnitude / NANODOLLARS_PER_DOLLAR, magnitude % NANODOLLARS_PER_DOLLAR);
        let decimals = format!("{rest:09}");
        match decimals.trim_end_matches('0') {
            "" => write!(f, "{sign}{dollars}"),
            decimals => write!(f, "{sign}{dollars}.{decimals}"),
        }
    }
}

impl FromStr for Nanodollars {
    type Err = NotAnAmount;

    fn from_str(text: &str) -> Result<Nanodollars, NotAnAmount> {
        let amount = match text.strip_prefix('-') {
            Some(credit) => scaled(credit, DECIMALS_PER_DOLLAR).and_then(|nanos| 0i64.checked_sub_unsigned(nanos)),
            None => scaled(text, DECIMALS_PER_DOLLAR).and_then(|nanos| i64::try_from(nanos).ok()),
        };
        amount.map(Nanodollars).ok_or_else(|| NotAnAmount::new(text))
    }
}

impl Serialize for Nanodollars {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.to_usd())
    }
}

/// A text that names no amount of US dollars, or one finer or larger than can be counted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an amount of US dollars like `0.15`")]
pub struct NotAnAmount(String);

impl NotAnAmount {
    fn new(text: &str) -> NotAnAmount {
        NotAnAmount(text.chars().take(LONGEST_AMOUNT).collect())
    }
}

/// Plain decimal text times ten to the power of `decimals`, as a whole number; `None` if it isn't one.
fn scaled(text: &str, decimals: usize) -> Option<u64> {
    let (whole, fraction) = match text.split_once('.') {
        Some((_, "")) => return None,
        Some((whole, fraction)) => (whole, fraction.trim_end_matches('0')),
        None => (text, ""),
    };
    if whole.is_empty() || text.len() > LONGEST_AMOUNT || fraction.len() > decimals {
        return None;
    }
    let padding = std::iter::repeat_n('0', decimals.saturating_sub(fraction.len()));
    whole
        .chars()
        .chain(fraction.chars())
        .chain(padding)
        .try_fold(0u64, |value, digit| value.checked_mul(10)?.checked_add(u64::from(digit.to_digit(10)?)))
}

/// A price of a dollar per million tokens.
const PICODOLLARS_PER_DOLLAR: u64 = 1_000_000;
/// Decimals of a price per million tokens that picodollars per token can hold.
const DECIMALS_PER_MILLION: usize = 6;
/// Decimals of a dollar that nanodollars can hold.
const DECIMALS_PER_DOLLAR: usize = 9;
const NANODOLLARS_PER_DOLLAR: u64 = 1_000_000_000;
const PICODOLLARS_PER_NANODOLLAR: u128 = 1_000;
/// Longest text read as an amount, and longest part of one that an error repeats: more than the largest amount needs.
const LONGEST_AMOUNT: usize = 32;

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "made-up numbers within small bounds")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pico(text: &str) -> PicodollarsPerToken {
        PicodollarsPerToken::parse(text).unwrap()
    }

    fn cached() -> Price {
        Price {
            cached_input: Some(pico("0.125")),
            cache_write: Some(pico("1.5625")),
            ..Price::per_million("1.25", "10").unwrap()
        }
    }

    fn with_long_context() -> Price {
        let long = LongContext { above_input_tokens: 272_000, price: Price::per_million("5", "22.5").unwrap() };
        Price { long_context: Some(Box::new(long)), ..Price::per_million("2.5", "15").unwrap() }
    }

    fn usage(input: u64, cached: u64, written: u64, output: u64) -> Usage {
        Usage {
            input: Some(input),
            cached_input: Some(cached),
            cache_write: Some(written),
            output: Some(output),
            ..Usage::default()
        }
    }

    #[test]
    fn a_dollar_per_million_is_a_million_picodollars_per_token() {
        assert_eq!(pico("1"), PicodollarsPerToken(1_000_000));
        assert_eq!(pico("0.15"), PicodollarsPerToken(150_000));
        assert_eq!(pico("0.0375"), PicodollarsPerToken(37_500));
        assert_eq!(pico("0.000001"), PicodollarsPerToken(1));
        assert_eq!(pico("2.500000000"), PicodollarsPerToken(2_500_000));
        assert_eq!(pico("0.075").usd_per_million(), 0.075);
    }

    #[test]
    fn costs_are_what_a_hand_works_out() {
        let mini = Price::per_million("0.15", "0.6").unwrap();
        for (price, usage, dollars) in [
            (&mini, usage(1_000, 0, 0, 500), "0.00045"),
            (&mini, usage(1_000_000, 0, 0, 1_000_000), "0.75"),
            (&mini, Usage { input: Some(12), ..Usage::default() }, "0.0000018"),
            (&mini, Usage::default(), "0"),
            // 600 × 1.25 + 400 × 0.125 + 50 × 10, per million.
            (&cached(), usage(1_000, 400, 0, 50), "0.0013"),
            // 500 × 1.25 + 400 × 0.125 + 100 × 1.5625 + 50 × 10, per million.
            (&cached(), usage(1_000, 400, 100, 50), "0.00133125"),
            // Without a price of its own a cached token costs as much as any other.
            (&mini, usage(1_000, 400, 100, 0), "0.00015"),
            (&with_long_context(), usage(272_000, 0, 0, 1_000), "0.695"),
            (&with_long_context(), usage(272_001, 0, 0, 1_000), "1.382505"),
            (&Price::free(), usage(1_000, 0, 0, 1_000), "0"),
        ] {
            assert_eq!(price.cost(&usage).to_string(), dollars, "{usage:?}");
        }
    }

    #[test]
    fn a_part_of_a_nanodollar_is_a_whole_one() {
        let price = Price::per_million("0.000001", "0").unwrap();

        assert_eq!(price.cost(&usage(1, 0, 0, 0)), Nanodollars(1));
        assert_eq!(price.cost(&usage(1_000, 0, 0, 0)), Nanodollars(1));
        assert_eq!(price.cost(&usage(1_001, 0, 0, 0)), Nanodollars(2));
    }

    #[test]
    fn more_cached_tokens_than_prompt_are_not_paid_twice() {
        let prompt_from_cache = cached().cost(&usage(100, 100, 0, 0));

        assert_eq!(cached().cost(&usage(100, 900, 900, 0)), prompt_from_cache);
        let unsaid = Usage { cached_input: Some(100), ..Usage::default() };
        assert_eq!(cached().cost(&unsaid), prompt_from_cache);
    }

    #[test]
    fn absurd_counts_saturate() {
        let price = Price::per_million("18000000000000", "18000000000000").unwrap();

        assert_eq!(price.cost(&usage(u64::MAX, 0, 0, u64::MAX)), Nanodollars(i64::MAX));
    }

    #[test]
    fn amounts_are_exact_text_both_ways() {
        for (nanos, text) in [
            (0, "0"),
            (1, "0.000000001"),
            (615_000, "0.000615"),
            (1_500_000_000, "1.5"),
            (-2_000_000_000, "-2"),
            (i64::MAX, "9223372036.854775807"),
            (i64::MIN, "-9223372036.854775808"),
        ] {
            assert_eq!(Nanodollars(nanos).to_string(), text);
            assert_eq!(text.parse(), Ok(Nanodollars(nanos)));
        }
        assert_eq!(serde_json::to_string(&Nanodollars(615_000)).unwrap(), "0.000615");
        assert_eq!(serde_json::to_string(&Nanodollars(2_000_000_000)).unwrap(), "2.0");
    }

    #[test]
    fn what_is_no_amount_is_refused() {
        let long = "1".repeat(1_000_000);
        for text in
            ["", ".", "1.", ".5", "1e3", "+1", "--1", "1,5", " 1", "NaN", "$1", "٣", "0.0000000001", long.as_str()]
        {
            assert!(text.parse::<Nanodollars>().is_err(), "{text:.20}");
            assert!(PicodollarsPerToken::parse(text).is_err(), "{text:.20}");
        }
        assert!("9223372036.854775808".parse::<Nanodollars>().is_err());
        assert!(PicodollarsPerToken::parse("-1").is_err());
        assert!(PicodollarsPerToken::parse("0.0000001").is_err());
        assert!(long.parse::<Nanodollars>().unwrap_err().to_string().len() < 100);
    }

    #[test]
    fn sums_are_checked() {
        assert_eq!(Nanodollars(2).checked_add(Nanodollars(3)), Some(Nanodollars(5)));
        assert_eq!(Nanodollars(2).checked_sub(Nanodollars(3)), Some(Nanodollars(-1)));
        assert_eq!(Nanodollars(i64::MAX).checked_add(Nanodollars(1)), None);
        assert_eq!(Nanodollars(i64::MIN).checked_sub(Nanodollars(1)), None);
    }

    fn any_price() -> impl Strategy<Value = Price> {
        let rates = || {
            (0..1_000_000_000u64, 0..=100u64, 0..1_000_000_000u64).prop_map(|(input, percent, output)| Price {
                input: PicodollarsPerToken(input),
                cached_input: Some(PicodollarsPerToken(input / 100 * percent)),
                cache_write: Some(PicodollarsPerToken(input + input / 4)),
                cache_write_1h: Some(PicodollarsPerToken(input * 2)),
                output: PicodollarsPerToken(output),
                media_input: Some(PicodollarsPerToken(input * 2)),
                unit: None,
                batch: None,
                long_context: None,
            })
        };
        (rates(), 0..2_000u64, any::<bool>()).prop_map(|(price, above_input_tokens, has_long)| {
            let twice = |each: PicodollarsPerToken| PicodollarsPerToken(each.0 * 2);
            let doubled = Price {
                input: twice(price.input),
                cached_input: price.cached_input.map(twice),
                cache_write: price.cache_write.map(twice),
                cache_write_1h: price.cache_write_1h.map(twice),
                output: twice(price.output),
                media_input: price.media_input.map(twice),
                unit: None,
                batch: None,
                long_context: None,
            };
            let long = has_long.then(|| Box::new(LongContext { above_input_tokens, price: doubled }));
            Price { long_context: long, ..price }
        })
    }

    /// A prompt of plain, cached and written tokens, and an answer.
    fn any_usage() -> impl Strategy<Value = [u64; 4]> {
        prop::array::uniform4(0..1_000_000u64)
    }

    fn of([plain, cached, written, output]: [u64; 4]) -> Usage {
        usage(plain + cached + written, cached, written, output)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn more_tokens_never_cost_less(price in any_price(), counts in any_usage(), which in 0..4usize, more in 0..1_000u64) {
            let mut larger = counts;
            larger[which] += more;

            prop_assert!(price.cost(&of(larger)) >= price.cost(&of(counts)));
        }

        #[test]
        fn parts_cost_no_more_than_the_whole_and_its_rounding(price in any_price(), a in any_usage(), b in any_usage()) {
            let whole = std::array::from_fn(|index| a[index] + b[index]);
            let parts = price.cost(&of(a)).checked_add(price.cost(&of(b))).unwrap();

            prop_assert!(parts.0 <= price.cost(&of(whole)).0 + 1);
        }

        #[test]
        fn no_counts_panic_or_pay(price in any_price(), counts in prop::array::uniform4(any::<Option<u64>>())) {
            let [input, cached_input, cache_write, output] = counts;
            let usage = Usage { input, cached_input, cache_write, output, ..Usage::default() };

            prop_assert!(price.cost(&usage) >= Nanodollars(0));
        }

        #[test]
        fn text_and_json_keep_every_nanodollar(nanos: i64, small in -8_000_000_000_000_000..8_000_000_000_000_000i64) {
            prop_assert_eq!(Nanodollars(nanos).to_string().parse(), Ok(Nanodollars(nanos)));
            prop_assert_eq!(Nanodollars(small).to_usd().to_string().parse(), Ok(Nanodollars(small)));
        }

        #[test]
        fn no_text_panics(text in ".{0,60}") {
            let _ = text.parse::<Nanodollars>();
        }
    }
}
