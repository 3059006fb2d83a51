//! A body of `multipart/form-data` (RFC 7578), read in place: names and where the values stand.

use std::ops::Range;

use crate::openai::request::is_extension;
use crate::{Error, Problem};

/// More parts than any of these APIs has fields and files.
const MAX_PARTS: usize = 128;
/// The longest boundary that RFC 2046, section 5.1.1, allows.
const MAX_BOUNDARY: usize = 70;

/// The parts of a body.
#[derive(Debug)]
pub(super) struct Form<'a> {
    body: &'a [u8],
    pub(super) parts: Vec<Part>,
    /// From the last delimiter to the end of the body.
    closing: Range<usize>,
}

/// One part.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) name: String,
    pub(super) is_file: bool,
    /// From its delimiter to its value.
    head: Range<usize>,
    value: Range<usize>,
}

impl<'a> Form<'a> {
    /// Finds the parts.
    pub(super) fn read(content_type: &str, body: &'a [u8]) -> Result<Form<'a>, Error> {
        let broken = |what: &str| Error::body(Problem::InvalidValue, format!("The multipart body {what}."));
        let boundary =
            parameter(content_type, "boundary").filter(|boundary| (1..=MAX_BOUNDARY).contains(&boundary.len()));
        let boundary = boundary.ok_or_else(|| broken("has no boundary in its `Content-Type`"))?;
        let delimiter = format!("\r\n--{boundary}").into_bytes();
        let mut parts: Vec<Part> = Vec::new();
        // The first delimiter has no line before it.
        let first = delimiter.get(2..).unwrap_or_default();
        let mut begin = if body.starts_with(first) {
            0
        } else {
            find(body, &delimiter, 0).ok_or_else(|| broken("holds no part"))?
        };
        let mut after = begin.saturating_add(if begin == 0 { first.len() } else { delimiter.len() });
        while !at(body, after).starts_with(b"--") {
            let headers_end =
                find(body, b"\r\n\r\n", after).ok_or_else(|| broken("ends within the headers of a part"))?;
            let value = headers_end.saturating_add(4);
            // An empty value may have its delimiter right behind the headers.
            let end = find(body, &delimiter, headers_end.saturating_add(2))
                .ok_or_else(|| broken("has no closing boundary"))?;
            let headers = String::from_utf8_lossy(body.get(after..headers_end).unwrap_or_default());
            let disposition = headers.lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                name.trim().eq_ignore_ascii_case("content-disposition").then(|| value.to_owned())
            });
            let disposition = disposition.ok_or_else(|| broken("has a part without `Content-Disposition`"))?;
            let name = parameter(&disposition, "name").ok_or_else(|| broken("has a part without a name"))?;
            let is_file = parameter(&disposition, "filename").is_some();
            parts.push(Part { name, is_file, head: begin..value, value: value..end.max(value) });
            if parts.len() > MAX_PARTS {
                return Err(broken("has too many parts"));
            }
            (begin, after) = (end, end.saturating_add(delimiter.len()));
        }
        Ok(Form { body, parts, closing: begin..body.len() })
    }

    /// The value of a part.
    pub(super) fn value(&self, part: &Part) -> &'a [u8] {
        self.body.get(part.value.clone()).unwrap_or_default()
    }

    /// The body with another model in it and without our own fields.
    pub(super) fn for_model(&self, model: &str) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.body.len().saturating_add(model.len()));
        for part in self.parts.iter().filter(|part| part.is_file || !is_extension(&part.name)) {
            let head = self.body.get(part.head.clone()).unwrap_or_default();
            // What stood before it may be gone, and with it the reason for the line break.
            out.extend_from_slice(if out.is_empty() { head.strip_prefix(b"\r\n").unwrap_or(head) } else { head });
            let is_model = part.name == "model" && !part.is_file;
            out.extend_from_slice(if is_model { model.as_bytes() } else { self.value(part) });
        }
        out.extend_from_slice(self.body.get(self.closing.clone()).unwrap_or_default());
        out
    }
}

fn at(body: &[u8], from: usize) -> &[u8] {
    body.get(from..).unwrap_or_default()
}

fn find(body: &[u8], what: &[u8], from: usize) -> Option<usize> {
    memchr::memmem::find(at(body, from), what).map(|place| place.saturating_add(from))
}

/// The value of a header's parameter, quoted or not.
fn parameter(header: &str, wanted: &str) -> Option<String> {
    let mut rest = header;
    while let Some((_, after)) = rest.split_once(';') {
        let (name, value) = after.split_once('=')?;
        let value = value.trim_start();
        let (value, tail) = match value.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => value.split_at(value.find(';').unwrap_or(value.len())),
        };
        if name.trim().eq_ignore_ascii_case(wanted) {
            return Some(value.trim_end().to_owned());
        }
        rest = tail;
    }
    None
}
