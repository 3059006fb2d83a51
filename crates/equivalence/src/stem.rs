//! A word without its endings: enough to tell that two are forms of one.

/// The stem of a word in lower case: plural, past and `-ing` off, a doubled consonant single, a last `e` off.
pub(crate) fn stem(word: &str) -> String {
    if let Some((_, stem)) = IRREGULAR.iter().find(|(form, _)| *form == word) {
        return (*stem).to_owned();
    }
    if !word.is_ascii() || word.len() <= 3 {
        return word.to_owned();
    }
    let mut stem = singular(word);
    for ending in ["ing", "ed"] {
        let Some(rest) = stem.strip_suffix(ending) else { continue };
        if rest.len() >= 3 && rest.contains(['a', 'e', 'i', 'o', 'u', 'y']) && !rest.ends_with('e') {
            stem = undouble(rest).to_owned();
            break;
        }
    }
    match stem.strip_suffix('e').filter(|rest| rest.len() >= 3) {
        Some(rest) => rest.to_owned(),
        None => match stem.strip_suffix('y').filter(|rest| rest.len() >= 3 && !rest.ends_with(['a', 'e', 'o', 'u'])) {
            Some(rest) => format!("{rest}i"),
            None => stem,
        },
    }
}

fn singular(word: &str) -> String {
    if let Some(rest) = word.strip_suffix("ies").filter(|rest| rest.len() >= 2) {
        return format!("{rest}y");
    }
    for ending in ["sses", "shes", "ches", "xes", "zes"] {
        if word.ends_with(ending) {
            return word.strip_suffix("es").unwrap_or(word).to_owned();
        }
    }
    match word.strip_suffix('s') {
        Some(rest) if !rest.ends_with(['s', 'u', 'i']) => rest.to_owned(),
        Some(_) | None => word.to_owned(),
    }
}

/// "stopp" is "stop", "fall" stays.
fn undouble(word: &str) -> &str {
    let mut letters = word.chars().rev();
    match (letters.next(), letters.next()) {
        (Some(last), Some(before))
            if last == before && !matches!(last, 'l' | 's' | 'z' | 'a' | 'e' | 'i' | 'o' | 'u') =>
        {
            word.get(..word.len().saturating_sub(1)).unwrap_or(word)
        }
        _ => word,
    }
}

/// Forms that no rule makes.
const IRREGULAR: [(&str, &str); 78] = [
    ("men", "man"),
    ("women", "woman"),
    ("children", "child"),
    ("people", "person"),
    ("mice", "mouse"),
    ("feet", "foot"),
    ("teeth", "tooth"),
    ("wives", "wife"),
    ("lives", "life"),
    ("knives", "knife"),
    ("got", "get"),
    ("gotten", "get"),
    ("getting", "get"),
    ("went", "go"),
    ("gone", "go"),
    ("going", "go"),
    ("goes", "go"),
    ("made", "make"),
    ("making", "make"),
    ("took", "take"),
    ("taken", "take"),
    ("taking", "take"),
    ("came", "come"),
    ("coming", "come"),
    ("saw", "see"),
    ("seen", "see"),
    ("said", "say"),
    ("told", "tell"),
    ("gave", "give"),
    ("given", "give"),
    ("giving", "give"),
    ("wrote", "write"),
    ("written", "write"),
    ("writing", "write"),
    ("bought", "buy"),
    ("sold", "sell"),
    ("built", "build"),
    ("sent", "send"),
    ("spent", "spend"),
    ("lost", "lose"),
    ("losing", "lose"),
    ("won", "win"),
    ("found", "find"),
    ("kept", "keep"),
    ("left", "leave"),
    ("felt", "feel"),
    ("met", "meet"),
    ("ran", "run"),
    ("running", "run"),
    ("began", "begin"),
    ("begun", "begin"),
    ("beginning", "begin"),
    ("knew", "know"),
    ("known", "know"),
    ("grew", "grow"),
    ("grown", "grow"),
    ("flew", "fly"),
    ("drove", "drive"),
    ("driven", "drive"),
    ("driving", "drive"),
    ("ate", "eat"),
    ("eaten", "eat"),
    ("spoke", "speak"),
    ("spoken", "speak"),
    ("broke", "break"),
    ("broken", "break"),
    ("chose", "choose"),
    ("chosen", "choose"),
    ("died", "die"),
    ("dying", "die"),
    ("using", "us"),
    ("used", "us"),
    ("use", "us"),
    ("uses", "us"),
    ("paid", "pay"),
    ("taught", "teach"),
    ("thought", "think"),
    ("brought", "bring"),
];
