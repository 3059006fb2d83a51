//! What kind of answer a text asks for.

use crate::Guard;

/// What kind of answer is asked for.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Frame {
    pub(crate) manner: Manner,
    /// The kinds that further clauses ask for, sorted.
    pub(crate) further: Vec<Manner>,
}

/// A question word, or what stands for one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Manner {
    #[default]
    None,
    /// An order or a statement.
    Told,
    What,
    HowTo,
    /// "How does …", "how is …".
    How,
    HowMany,
    HowMuch,
    HowLong,
    HowOften,
    HowFar,
    HowOld,
    HowOther,
    Why,
    Who,
    Whose,
    When,
    Where,
    /// Yes or no: of fact, of ability, of duty, of the future.
    Is,
    Can,
    Should,
    Will,
}

impl Frame {
    /// Takes a word of the text with the next one and its place.
    pub(crate) fn see(&mut self, word: &str, next: &str, place: usize) {
        let Some(manner) = asked(word, next).or_else(|| yes_or_no(word).filter(|_| place == 0)) else { return };
        // What may also be relative asks only near the beginning.
        let may_be_relative = matches!(manner, Manner::What | Manner::Who | Manner::When | Manner::Where);
        if self.manner == Manner::None && (place < EARLY || !may_be_relative) {
            self.manner = manner;
        } else if !may_be_relative {
            self.further.push(manner);
            self.further.sort_unstable();
        }
    }

    /// Whether both ask for the same kind of answer. A "why" behind a question asks for what a good answer has
    /// anyway, and "types of art" for what "what are types of art" does.
    pub(crate) fn agrees(&self, other: &Frame, guard: Guard) -> bool {
        let counts = |manner: &&Manner| guard == Guard::Strict || **manner != Manner::Why;
        let plain = |manner| if guard == Guard::Standard && manner == Manner::Told { Manner::What } else { manner };
        plain(self.manner) == plain(other.manner)
            && self.further.iter().filter(counts).eq(other.further.iter().filter(counts))
    }

    /// Whether they ask for different kinds of answers by words that often stand for one another.
    pub(crate) fn is_kin(&self, other: &Frame) -> bool {
        let is_of_one_kin = |kin: &&[Manner]| kin.contains(&self.manner) && kin.contains(&other.manner);
        let beside = |frame: &Frame| Frame { manner: Manner::What, further: frame.further.clone() };
        !self.agrees(other, Guard::Standard)
            && KIN.iter().any(is_of_one_kin)
            && beside(self).agrees(&beside(other), Guard::Standard)
    }

    /// Whether it asks for one or some of many.
    pub(crate) fn lists(&self) -> bool {
        matches!(self.manner, Manner::What | Manner::Told | Manner::Where | Manner::HowTo)
    }

    pub(crate) fn is_yes_or_no(&self) -> bool {
        matches!(self.manner, Manner::Is | Manner::Can | Manner::Should | Manner::Will)
    }
}

/// Question words that often stand for one another: "what is the best place" and "where is …", "does it cause" and "can it
/// cause", "is it safe" and "how safe is it". When, why and how much never do.
const KIN: [&[Manner]; 4] = [
    &[Manner::Told, Manner::What, Manner::Where, Manner::HowTo, Manner::How],
    &[Manner::Is, Manner::Can],
    &[Manner::Is, Manner::HowOther],
    &[Manner::What, Manner::Who],
];

/// A relative "which" or "who" comes later than a question's.
const EARLY: usize = 6;

/// Of what a "how" asks the degree.
const DEGREES: [&str; 34] = [
    "tall",
    "big",
    "large",
    "small",
    "fast",
    "quickly",
    "deep",
    "hot",
    "cold",
    "warm",
    "heavy",
    "high",
    "wide",
    "close",
    "near",
    "hard",
    "difficult",
    "easy",
    "good",
    "bad",
    "well",
    "safe",
    "dangerous",
    "important",
    "accurate",
    "effective",
    "common",
    "likely",
    "expensive",
    "strong",
    "popular",
    "rich",
    "soon",
    "late",
];

fn asked(word: &str, next: &str) -> Option<Manner> {
    Some(match word {
        "what" | "which" => Manner::What,
        "why" => Manner::Why,
        "who" | "whom" => Manner::Who,
        "whose" => Manner::Whose,
        "when" => Manner::When,
        "where" => Manner::Where,
        "how" => match next {
            "to" => Manner::HowTo,
            "many" => Manner::HowMany,
            "much" => Manner::HowMuch,
            "long" => Manner::HowLong,
            "often" => Manner::HowOften,
            "far" => Manner::HowFar,
            "old" => Manner::HowOld,
            degree if DEGREES.contains(&degree) => Manner::HowOther,
            _ => Manner::How,
        },
        _ => return None,
    })
}

fn yes_or_no(word: &str) -> Option<Manner> {
    Some(match word {
        "is" | "are" | "am" | "was" | "were" | "do" | "does" | "did" | "has" | "have" | "had" => Manner::Is,
        "can" | "could" | "may" | "might" => Manner::Can,
        "should" | "must" | "ought" | "shall" => Manner::Should,
        "will" | "would" => Manner::Will,
        _ => return None,
    })
}
