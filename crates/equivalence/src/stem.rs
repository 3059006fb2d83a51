//! A word without its endings: enough to tell that two are forms of one.

/// The stem of a word in lower case: plural, past and `-ing` off, a doubled consonant single, a last `e` off.
pub(crate) fn stem(word: &str) -> String {
    let word = IRREGULAR.iter().find(|(form, _)| *form == word).map_or(word, |(_, base)| *base);
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
    // "New" is another word.
    if word == "news" {
        return word.to_owned();
    }
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

/// "stopp" is "stop" and "travell" is "travel", "fall" stays.
fn undouble(word: &str) -> &str {
    let doubles_l = word.len() >= LONG_WITH_L && (word.ends_with("ell") || word.ends_with("oll"));
    let mut letters = word.chars().rev();
    match (letters.next(), letters.next()) {
        (Some(last), Some(before))
            if last == before && (doubles_l || !matches!(last, 'l' | 's' | 'z' | 'a' | 'e' | 'i' | 'o' | 'u')) =>
        {
            word.get(..word.len().saturating_sub(1)).unwrap_or(word)
        }
        _ => word,
    }
}

/// From so many letters on, a verb that ends in "l" doubles it; shorter ones, as "spell", have two anyway.
const LONG_WITH_L: usize = 6;

/// Forms that no rule makes.
const IRREGULAR: [(&str, &str); 126] = [
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
    ("using", "use"),
    ("used", "use"),
    ("uses", "use"),
    ("paid", "pay"),
    ("taught", "teach"),
    ("thought", "think"),
    ("brought", "bring"),
    ("became", "become"),
    ("fell", "fall"),
    ("fallen", "fall"),
    ("fought", "fight"),
    ("learnt", "learn"),
    ("beaten", "beat"),
    ("overcame", "overcome"),
    ("overtaken", "overtake"),
    ("understood", "understand"),
    ("caught", "catch"),
    ("held", "hold"),
    ("heard", "hear"),
    ("led", "lead"),
    ("meant", "mean"),
    ("shown", "show"),
    ("slept", "sleep"),
    ("stood", "stand"),
    ("stole", "steal"),
    ("stolen", "steal"),
    ("swam", "swim"),
    ("threw", "throw"),
    ("thrown", "throw"),
    ("woke", "wake"),
    ("woken", "wake"),
    ("wore", "wear"),
    ("worn", "wear"),
    ("hidden", "hide"),
    ("drew", "draw"),
    ("drawn", "draw"),
    ("forgot", "forget"),
    ("forgotten", "forget"),
    ("froze", "freeze"),
    ("frozen", "freeze"),
    ("rode", "ride"),
    ("ridden", "ride"),
    ("sang", "sing"),
    ("sung", "sing"),
    ("shot", "shoot"),
    ("sought", "seek"),
    ("stuck", "stick"),
    ("struck", "strike"),
    ("dealt", "deal"),
    ("dreamt", "dream"),
    ("burnt", "burn"),
    ("lying", "lie"),
    ("rose", "rise"),
    ("risen", "rise"),
    ("bitten", "bite"),
    ("seeing", "see"),
];
