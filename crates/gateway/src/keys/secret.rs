//! The secret of a gateway key: `gw-<environment>-<random><checksum>`.
//!
//! 256 random bits cannot be guessed, so a keyed hash is kept and no slow one: a lookup costs a microsecond, and a
//! stolen table without the hashing secret tells nothing. The checksum lets scanners of leaked text be sure that they
//! found a key of ours, and us refuse a mistyped one without hashing it.

use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};
use secrecy::SecretString;

const LETTERS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// 43 letters of 62 hold 256 bits.
const RANDOM_LETTERS: usize = 43;
/// 6 letters of 62 hold the 32 bits of the checksum.
const CHECKSUM_LETTERS: usize = 6;
const PREFIX: &str = "gw-";

/// The system gave no random bytes.
#[derive(Debug, thiserror::Error)]
#[error("the system gives no random bytes")]
pub struct NoRandomness;

/// Makes the secret of a new key for `environment`.
///
/// # Errors
/// The system gives no random bytes.
pub fn generate(environment: &str) -> Result<SecretString, NoRandomness> {
    let body = format!("{PREFIX}{environment}-{}", random_letters(RANDOM_LETTERS)?);
    let checksum = checksum(&body);
    Ok(format!("{body}{checksum}").into())
}

/// Random letters and digits: `length` of them, 5.95 bits each.
///
/// # Errors
/// The system gives no random bytes.
pub fn random_letters(length: usize) -> Result<String, NoRandomness> {
    let system = SystemRandom::new();
    let mut text = String::with_capacity(length);
    let mut bytes = [0; 64];
    while text.len() < length {
        system.fill(&mut bytes).map_err(|_| NoRandomness)?;
        // Bytes beyond the largest multiple of 62 are left out, so that every letter is as likely as any other.
        let letters = bytes.iter().filter(|byte| **byte < 248).filter_map(|byte| LETTERS.get(usize::from(*byte % 62)));
        text.extend(letters.take(length.saturating_sub(text.len())).map(|letter| char::from(*letter)));
    }
    Ok(text)
}

/// Whether a text claims to be a gateway key.
pub fn is_ours(text: &str) -> bool {
    text.starts_with(PREFIX)
}

/// Whether a text is a gateway key as far as its form can tell.
pub fn is_well_formed(text: &str) -> bool {
    let split = text.len().checked_sub(CHECKSUM_LETTERS).and_then(|middle| text.split_at_checked(middle));
    is_ours(text) && split.is_some_and(|(body, sum)| checksum(body) == *sum)
}

/// What people may see of a secret: its first six and last four characters.
pub fn hint(secret: &str) -> String {
    let (head, tail) = (secret.get(..6).unwrap_or_default(), secret.len().saturating_sub(4));
    format!("{head}…{}", secret.get(tail..).unwrap_or_default())
}

fn checksum(body: &str) -> String {
    let mut rest = crc32fast::hash(body.as_bytes());
    let mut letters = [b'0'; CHECKSUM_LETTERS];
    for place in letters.iter_mut().rev() {
        *place = LETTERS.get(rest as usize % LETTERS.len()).copied().unwrap_or(b'0');
        rest /= LETTERS.len() as u32;
    }
    letters.iter().map(|letter| char::from(*letter)).collect()
}

/// Turns secrets into what is kept of them: HMAC-SHA-256 under the gateway's hashing secret.
#[derive(Clone, Debug)]
pub struct Hasher(hmac::Key);

impl Hasher {
    /// A hasher under this secret.
    pub fn new(secret: &str) -> Hasher {
        Hasher(hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()))
    }

    /// The hash of a key.
    pub fn hash(&self, key: &str) -> [u8; 32] {
        let tag = hmac::sign(&self.0, key.as_bytes());
        let mut hash = [0; 32];
        for (to, from) in hash.iter_mut().zip(tag.as_ref()) {
            *to = *from;
        }
        hash
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn a_secret_names_its_environment_and_bears_its_checksum() {
        let secret = generate("staging").unwrap();
        let text = secret.expose_secret();

        assert!(text.starts_with("gw-staging-"), "{text}");
        assert_eq!(text.len(), "gw-staging-".len() + RANDOM_LETTERS + CHECKSUM_LETTERS);
        assert!(is_well_formed(text));
        assert_ne!(text, generate("staging").unwrap().expose_secret());
    }

    #[test]
    fn any_wrong_letter_is_noticed_before_hashing() {
        let secret = generate("production").unwrap();
        let text = secret.expose_secret();

        for place in 0..text.len() {
            let mut bytes = text.as_bytes().to_vec();
            bytes[place] = if bytes[place] == b'x' { b'y' } else { b'x' };
            assert!(!is_well_formed(std::str::from_utf8(&bytes).unwrap()), "{place}");
        }
        for text in ["", "gw-", "gw-ü-ü-ü-ü", "sk-0000000000", &text[..text.len() - 1]] {
            assert!(!is_well_formed(text), "{text}");
        }
    }

    #[test]
    fn the_hash_depends_on_the_hashing_secret() {
        let (one, other) = (Hasher::new("one"), Hasher::new("other"));

        assert_eq!(one.hash("gw-x"), one.hash("gw-x"));
        assert_ne!(one.hash("gw-x"), other.hash("gw-x"));
        assert_ne!(one.hash("gw-x"), one.hash("gw-y"));
    }

    #[test]
    fn letters_are_equally_likely() {
        let text = random_letters(62_000).unwrap();

        for letter in LETTERS {
            let count = text.bytes().filter(|byte| byte == letter).count();
            assert!((800..1_200).contains(&count), "{} {count}", char::from(*letter));
        }
    }
}
