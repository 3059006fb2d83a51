//! Families of words that tell kinds of work apart.

use std::collections::HashMap;
use std::sync::LazyLock;

/// A family of words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    /// Sets a calculation.
    Quantity,
    /// Names a branch or a thing of mathematics.
    Mathematics,
    /// Demands a proof, a derivation, a design.
    Rigour,
    /// Sets conditions to conclude from.
    Condition,
    /// Turns a question round.
    Negation,
    /// Natural sciences and engineering.
    Science,
    /// Medicine and life.
    Medicine,
    /// Law and government.
    Law,
    /// Economy and business.
    Economy,
    /// History, philosophy, society.
    Humanities,
    /// Programming.
    Code,
    /// Stories, verse, play.
    Creative,
    /// Texts made of texts or for a purpose.
    Writing,
    /// Parts or forms of what is given.
    Extraction,
    /// Greetings, thanks, small talk.
    Talk,
    /// Asks who, when, where, which one.
    Fact,
    /// Asks for why or how.
    Explanation,
    /// Asks for few words or one form.
    Brevity,
    /// Asks for much.
    Length,
    /// Money and its units.
    Money,
    /// Time and its units.
    Time,
    /// Relations between people, who does what.
    People,
}

/// How many families there are.
pub(crate) const FAMILIES: usize = 22;

/// The family of a word in lower case.
pub(crate) fn family_of(word: &[u8]) -> Option<Family> {
    WORDS.get(word).copied()
}

/// The longest word listed, in bytes.
pub(crate) const LONGEST: usize = 16;

static WORDS: LazyLock<HashMap<&'static [u8], Family>> = LazyLock::new(|| {
    let words = |(family, words): &(Family, &'static str)| {
        let family = *family;
        words.split_ascii_whitespace().map(move |word| (word.as_bytes(), family)).collect::<Vec<_>>()
    };
    LISTS.iter().flat_map(words).collect()
});

const LISTS: [(Family, &str); FAMILIES] = [
    (
        Family::Quantity,
        "total many much twice half double triple each every per remaining left altogether average sum difference \
         percent percentage ratio times more less fewer rate speed distance area volume perimeter calculate compute",
    ),
    (
        Family::Mathematics,
        "equation polynomial integer integers prime matrix vector derivative integral function theorem triangle circle \
         angle radius sqrt frac probability permutation modulo divisor coefficient root roots logarithm cosine sine \
         complex real positive group ring field finite converge series sequence graph algebra geometry calculus",
    ),
    (
        Family::Rigour,
        "prove proof derive derivation design architecture optimize optimise algorithm complexity evaluate analyze \
         analyse rigorous rigorously refactor debug strategy trade-offs tradeoffs consider determine demonstrate \
         justify theorem lemma",
    ),
    (
        Family::Condition,
        "if suppose assume assuming given whether unless therefore hence implies clue clues premise conclusion \
         statement statements true must could follows consistent argument logic puzzle",
    ),
    (Family::Negation, "not except false incorrect least never none neither nor without cannot"),
    (
        Family::Science,
        "energy force mass velocity acceleration electron atom molecule reaction acid temperature pressure voltage \
         current circuit magnetic electric frequency wavelength quantum gas liquid heat chemical solution \
         concentration mole oxide carbon hydrogen oxygen metal planet star orbit light wave",
    ),
    (
        Family::Medicine,
        "patient patients disease symptoms treatment blood cell cells dna protein gene enzyme infection clinical drug \
         dose cancer heart brain muscle bone nerve hormone virus bacteria physician surgery pain diagnosis species",
    ),
    (
        Family::Law,
        "court law plaintiff defendant contract statute constitutional state federal trial judge jury crime murder \
         liability negligence property evidence claim rights amendment congress legislature treaty lawsuit",
    ),
    (
        Family::Economy,
        "price cost demand supply market firm company tax income inflation monetary fiscal bank interest stock capital \
         profit investment consumer consumers output gdp trade marketing accounting management employees budget",
    ),
    (
        Family::Humanities,
        "century war empire king revolution moral ethics ethical philosopher religion church culture political society \
         social theory human behavior cognitive personality ancient historical passage author according",
    ),
    (
        Family::Code,
        "code program python javascript typescript java rust sql html css regex api json def class import return list \
         string array dictionary tuple print compile compiler bug stack exception script loop variable method \
         unit-test test tests implement database query linked binary",
    ),
    (
        Family::Creative,
        "story poem haiku song lyrics novel fiction character dialogue imagine creative joke limerick sonnet fantasy \
         scene plot rhyme verse metaphor roleplay slogan tagline",
    ),
    (
        Family::Writing,
        "write draft email letter essay article summarize summarise summary paraphrase rewrite translate translation \
         blog report edit proofread headline review memo speech outline tone rephrase condense paragraph sentences",
    ),
    (
        Family::Extraction,
        "extract classify classification label list table format csv xml yaml bullet bullets numbered convert parse \
         identify categorize sentiment entities fields key keys schema output tag tags",
    ),
    (Family::Talk, "hello hi hey thanks thank please you your bye morning evening welcome feeling favorite sorry"),
    (Family::Fact, "who whom whose when where which what name named called capital country city year born located"),
    (Family::Explanation, "why how explain describe compare contrast reason reasons cause causes effect because"),
    (
        Family::Brevity,
        "one-word single short brief briefly concise concisely only yes no answer choose select option options choice \
         correct nearest",
    ),
    (
        Family::Length,
        "detailed detail comprehensive thorough thoroughly long in-depth step-by-step steps step full complete \
         extensive guide tutorial",
    ),
    (
        Family::Money,
        "dollar dollars cents usd euro euros pay paid pays buy buys bought sell sells sold spend spent earn earns",
    ),
    (Family::Time, "hour hours minute minutes second seconds day days week weeks month months years old age"),
    (Family::People, "he she his her they their man woman boy girl friend friends father mother brother sister people"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_found_and_none_is_too_long() {
        assert_eq!(family_of(b"polynomial"), Some(Family::Mathematics));
        assert_eq!(family_of(b"Polynomial"), None);
        assert!(WORDS.keys().all(|word| word.len() <= LONGEST));
        assert!(LISTS.iter().enumerate().all(|(place, (family, _))| place == *family as usize));
    }
}
