//! A text in canonical words: the normalised tier.

use crate::tokens::{Kind, Token, tokens};
use crate::words;

/// A text without what carries no meaning: case, white space, the last full stop, contractions, spelled-out numbers and
/// operators, politeness.
///
/// Two texts with one canonical form get each other's answers without any further check. Code, quotations, addresses,
/// identifiers and words whose case tells them apart keep their bytes, a text of another language all but its spaces, and
/// one that is laid out in lines with indents everything. Total, and linear in the text.
pub fn canonical(text: &str) -> String {
    if is_laid_out(text) {
        return text.to_owned();
    }
    let (mut tokens, is_english) = tokens(text);
    drop_end(&mut tokens, is_english);
    let mut out = String::with_capacity(text.len());
    for token in &tokens {
        if !out.is_empty() {
            out.push(' ');
        }
        let quote = match token.kind {
            Kind::Code if token.text.contains('`') || token.text.is_empty() => "```",
            Kind::Code => "`",
            Kind::Quote if token.text.contains('"') => return text.to_owned(),
            // A quote that stands alone: who knows what it quotes.
            Kind::Mark if token.text.contains(['\'', '"', '`', '“', '”', '«', '»', '’']) => {
                return text.to_owned();
            }
            Kind::Quote => "\"",
            Kind::Word | Kind::Number | Kind::Name | Kind::Mark | Kind::Break => "",
        };
        out.push_str(quote);
        out.push_str(&token.text);
        out.push_str(quote);
    }
    out
}

/// Indented lines, fences and control characters: there white space may be the meaning.
fn is_laid_out(text: &str) -> bool {
    let indents = text.lines().any(|line| line.starts_with([' ', '\t']) && !line.trim().is_empty());
    indents && text.trim().contains('\n')
        || text.contains("```")
        || text.contains(|letter: char| letter.is_control() && letter != '\n')
}

/// Takes the last marks away that say nothing: a question mark only behind what is a question without it, an exclamation
/// mark not behind a number, which it makes a factorial, nor where it may be what is spoken of: "the meaning of !".
fn drop_end(tokens: &mut Vec<Token<'_>>, is_english: bool) {
    let asks = tokens.first().is_some_and(|token| token.kind == Kind::Word && words::begins_question(&token.text));
    while tokens.len() > 1 {
        let Some(last) = tokens.last() else { return };
        let before = tokens.iter().rev().nth(1);
        let exclaims = |before: &Token<'_>| {
            before.kind != Kind::Number && !(before.kind == Kind::Word && words::is_function(&before.text))
        };
        let is_empty = match last.kind {
            Kind::Break => true,
            Kind::Mark if last.is(".") => true,
            Kind::Mark if last.is("!") => is_english && before.is_some_and(exclaims),
            Kind::Mark if last.is("?") => is_english && asks,
            _ => false,
        };
        if !is_empty {
            return;
        }
        tokens.pop();
    }
}
