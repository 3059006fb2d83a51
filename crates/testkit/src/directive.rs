//! The words by which a prompt tells an upstream how to behave: `[upstream status=503 retry_after=2]`.
//!
//! The directive is looked for in the bytes of the request's body, wherever it stands; the last one counts. It
//! leaves the conversation's text alone. A word that does not exist, or a number that is none, is answered with
//! status 501 and the word, so that a typing error in a test shows.
//!
//! | Word | Effect |
//! |---|---|
//! | `status=503` | answers with this status and the vendor's error for it |
//! | `error=KIND` | the vendor's error of this [`Kind`]; also the one that `error_event` and `error_in_200` carry |
//! | `retry_after=2` | `retry-after` header, seconds |
//! | `latency_ms=`, `first_ms=`, `delay_ms=` | wait before the headers, before the first content, between chunks |
//! | `chunks=20` | the answer comes in so many content chunks |
//! | `cut=3` | the connection breaks after so many content chunks; a plain answer breaks in its middle |
//! | `no_done`, `no_finish`, `no_usage` | leaves out the terminal event, the finish reason, the token counts |
//! | `absurd_usage` | token counts that cannot be true |
//! | `bad_json=2`, `error_event=2` | broken JSON or an error event in place of this content chunk, counted from 0 |
//! | `html`, `error_in_200`, `empty_choices`, `gzip` | a wrong answer under status 200; `gzip` only claims to be |
//! | `huge_event` | the first content chunk is 2 MiB long |
//! | `comments=2`, `crlf`, `slice=1` | SSE comments before the content, CRLF line ends, writes of so many bytes |
//! | `usage_every_chunk` | running token counts in every chunk |
//! | `tools=2` | so many parallel tool calls, until the conversation holds tool results |
//! | `bad_key=K`, `broke_key=K`, `limited_key=K` | status 401, 402 or 429 for requests with this bearer token |
//! | `times=2` | the directive counts for the first so many requests that carry it |
//! | `close` | the connection is closed in place of an answer |
//! | `no_choices`, `null_message` | the member is missing, or null, in a whole answer |
//! | `after_done`, `done_only` | data follows the terminal event; nothing comes before it |
//! | `hang_at=2` | nothing follows this content chunk, and the connection stays open |
//! | `fast_mb=10` | so many MiB of content chunks of 1 KiB, as fast as they are taken |
//! | `huge_body` | a whole answer of 33 MiB |
//! | `drip_ms=20` | a wait between the slices of each content chunk after the second, one byte each |
//! | `left_percent=5` | rate limit headers that tell of so much being left |
//! | `stop=refusal`, `cached=10` | Anthropic: this stop reason; so many of the prompt's tokens came from the cache |
//! | `only=MODEL` | the directive counts for requests to this model |
//! | `echo`, `json` | the answer is the last user text, or JSON that fits the request's schema |
//! | `reasoning` | reasoning before the text |

use std::time::Duration;

use http::HeaderMap;
use http::header::AUTHORIZATION;

/// What an upstream was told. The default is to answer well.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Directive {
    pub(crate) status: Option<u16>,
    pub(crate) error: Option<Kind>,
    pub(crate) retry_after: Option<u64>,
    pub(crate) latency: Duration,
    pub(crate) first: Duration,
    pub(crate) delay: Duration,
    pub(crate) chunks: Option<usize>,
    pub(crate) cut: Option<usize>,
    pub(crate) bad_json: Option<usize>,
    pub(crate) error_event: Option<usize>,
    pub(crate) comments: usize,
    pub(crate) slice: Option<usize>,
    pub(crate) tools: usize,
    pub(crate) no_done: bool,
    pub(crate) no_finish: bool,
    pub(crate) no_usage: bool,
    pub(crate) absurd_usage: bool,
    pub(crate) html: bool,
    pub(crate) empty_choices: bool,
    pub(crate) error_in_200: bool,
    pub(crate) huge_event: bool,
    pub(crate) crlf: bool,
    pub(crate) echo: bool,
    pub(crate) json: bool,
    pub(crate) usage_every_chunk: bool,
    pub(crate) reasoning: bool,
    pub(crate) gzip: bool,
    pub(crate) close: bool,
    pub(crate) no_choices: bool,
    pub(crate) null_message: bool,
    pub(crate) after_done: bool,
    pub(crate) done_only: bool,
    pub(crate) huge_body: bool,
    pub(crate) drip: Duration,
    pub(crate) times: Option<usize>,
    pub(crate) only: Option<String>,
    pub(crate) hang_at: Option<usize>,
    pub(crate) fast_mb: usize,
    pub(crate) left_percent: Option<u64>,
    pub(crate) stop: Option<String>,
    pub(crate) cached: usize,
    /// A bearer token, and the status that it gets.
    pub(crate) keys: Vec<(String, u16)>,
}

/// Errors that vendors tell apart by code, type or text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `context_length`: the prompt is longer than the context window.
    ContextLength,
    /// `content_filter`: the content policy refuses the prompt.
    ContentFilter,
    /// `quota`: the account has no credit left.
    Quota,
    /// `auth`: the credential is not accepted.
    Auth,
    /// `not_found`: the vendor has no such model.
    NotFound,
    /// `overloaded`: too much work at the vendor's.
    Overloaded,
}

impl Directive {
    /// The last directive in these bytes, or the default.
    ///
    /// # Errors
    /// The word that is no directive.
    pub fn find(body: &[u8]) -> Result<Directive, String> {
        let text = String::from_utf8_lossy(body);
        let words = text.rsplit_once("[upstream ").and_then(|(_, after)| after.split_once(']'));
        let mut directive = Directive::default();
        for word in words.map(|(words, _)| words.split_whitespace()).into_iter().flatten() {
            let (name, value) = word.split_once('=').unwrap_or((word, ""));
            directive.set(name, value).ok_or_else(|| word.to_owned())?;
        }
        Ok(directive)
    }

    /// What it says to a request to this model.
    pub(crate) fn for_model(self, model: &str) -> Directive {
        if self.is_for(model) { self } else { Directive::default() }
    }

    /// Whether it counts for requests to this model.
    pub(crate) fn is_for(&self, model: &str) -> bool {
        self.only.as_deref().is_none_or(|only| only == model)
    }

    /// What it says to a request with these headers: some faults are for one credential only.
    pub(crate) fn for_bearer(mut self, headers: &HeaderMap) -> Directive {
        let bearer = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
        let bearer = bearer.or_else(|| headers.get("x-api-key")?.to_str().ok());
        if !self.keys.is_empty() {
            self.status = self.keys.iter().find(|(key, _)| Some(key.as_str()) == bearer).map(|(_, status)| *status);
            self.retry_after = self.retry_after.filter(|_| self.status.is_some());
        }
        self
    }

    /// Whether the whole answer is to be an error with an error's status.
    pub(crate) fn refuses(&self) -> bool {
        (self.status.is_some() || self.error.is_some()) && self.error_event.is_none() && !self.error_in_200
    }

    fn set(&mut self, name: &str, value: &str) -> Option<()> {
        let milliseconds = || value.parse().ok().map(Duration::from_millis);
        let number = || value.parse::<usize>().ok();
        match name {
            "status" => self.status = Some(value.parse().ok()?),
            "error" => self.error = Some(Kind::named(value)?),
            "retry_after" => self.retry_after = Some(value.parse().ok()?),
            "latency_ms" => self.latency = milliseconds()?,
            "first_ms" => self.first = milliseconds()?,
            "delay_ms" => self.delay = milliseconds()?,
            "chunks" => self.chunks = Some(number()?),
            "cut" => self.cut = Some(number()?),
            "bad_json" => self.bad_json = Some(number()?),
            "error_event" => self.error_event = Some(number()?),
            "comments" => self.comments = number()?,
            "slice" => self.slice = Some(number()?.max(1)),
            "tools" => self.tools = number()?,
            "drip_ms" => self.drip = milliseconds()?,
            "only" => self.only = Some(value.to_owned()),
            "times" => self.times = Some(number()?),
            "hang_at" => self.hang_at = Some(number()?),
            "fast_mb" => self.fast_mb = number()?,
            "stop" => self.stop = Some(value.to_owned()),
            "cached" => self.cached = number()?,
            "left_percent" => self.left_percent = Some(value.parse().ok()?),
            "bad_key" => self.keys.push((value.to_owned(), 401)),
            "broke_key" => self.keys.push((value.to_owned(), 402)),
            "limited_key" => self.keys.push((value.to_owned(), 429)),
            _ => *self.flag(name).filter(|_| value.is_empty())? = true,
        }
        Some(())
    }

    fn flag(&mut self, name: &str) -> Option<&mut bool> {
        Some(match name {
            "no_done" => &mut self.no_done,
            "no_finish" => &mut self.no_finish,
            "no_usage" => &mut self.no_usage,
            "absurd_usage" => &mut self.absurd_usage,
            "html" => &mut self.html,
            "empty_choices" => &mut self.empty_choices,
            "error_in_200" => &mut self.error_in_200,
            "huge_event" => &mut self.huge_event,
            "crlf" => &mut self.crlf,
            "echo" => &mut self.echo,
            "json" => &mut self.json,
            "usage_every_chunk" => &mut self.usage_every_chunk,
            "reasoning" => &mut self.reasoning,
            "gzip" => &mut self.gzip,
            "close" => &mut self.close,
            "no_choices" => &mut self.no_choices,
            "null_message" => &mut self.null_message,
            "after_done" => &mut self.after_done,
            "done_only" => &mut self.done_only,
            "huge_body" => &mut self.huge_body,
            _ => return None,
        })
    }
}

impl Kind {
    fn named(name: &str) -> Option<Kind> {
        Some(match name {
            "context_length" => Kind::ContextLength,
            "content_filter" => Kind::ContentFilter,
            "quota" => Kind::Quota,
            "auth" => Kind::Auth,
            "not_found" => Kind::NotFound,
            "overloaded" => Kind::Overloaded,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_directive_counts_and_its_words_are_read() {
        let body = br#"{"a":"[upstream html]","b":"hi [upstream status=503 retry_after=2 no_done cut=3] there"}"#;

        let found = Directive::find(body).unwrap();

        let expected =
            Directive { status: Some(503), retry_after: Some(2), no_done: true, cut: Some(3), ..Directive::default() };
        assert_eq!(found, expected);
        assert!(found.refuses());
    }

    #[test]
    fn a_directive_for_one_model_says_nothing_to_others() {
        let found = Directive::find(b"[upstream echo only=a]").unwrap();

        assert!(found.clone().for_model("a").echo);
        assert_eq!(found.for_model("b"), Directive::default());
    }

    #[test]
    fn a_word_that_does_not_exist_is_named() {
        for word in ["nonsense", "status=high", "error=odd", "html=yes"] {
            assert_eq!(Directive::find(format!("[upstream {word}]").as_bytes()), Err(word.to_owned()));
        }
        assert_eq!(Directive::find(b"no directive [upstream"), Ok(Directive::default()));
    }
}
