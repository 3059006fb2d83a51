//! Just enough HTTP/1.1 to know when an answer has arrived whole.

use memchr::memmem;

/// An answer's status and framing, read off its head.
pub struct Head {
    pub status: u16,
    pub length: usize,
    framing: Framing,
}

enum Framing {
    Length(usize),
    Chunked,
    UntilClose,
}

impl Head {
    /// None while the head is not complete.
    pub fn parse(bytes: &[u8]) -> Option<Head> {
        let length = memmem::find(bytes, b"\r\n\r\n")? + 4;
        let text = String::from_utf8_lossy(&bytes[..length]).to_ascii_lowercase();
        let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name).map(str::trim));
        let framing = match (field("transfer-encoding:"), field("content-length:")) {
            (Some(coding), _) if coding.contains("chunked") => Framing::Chunked,
            (_, Some(count)) => Framing::Length(count.parse().ok()?),
            _ => Framing::UntilClose,
        };
        Some(Head {
            status: text.get(9..12)?.parse().ok()?,
            length,
            framing,
        })
    }

    pub fn ends_with_connection(&self) -> bool {
        matches!(self.framing, Framing::UntilClose)
    }

    /// Whether `bytes`, which begin with this head, hold the whole body.
    pub fn is_complete(&self, bytes: &[u8]) -> bool {
        match self.framing {
            Framing::Length(count) => bytes.len() >= self.length + count,
            Framing::Chunked => last_chunk_arrived(&bytes[self.length..]).is_some(),
            Framing::UntilClose => false,
        }
    }
}

fn last_chunk_arrived(mut body: &[u8]) -> Option<()> {
    loop {
        let line = memmem::find(body, b"\r\n")?;
        let size = std::str::from_utf8(&body[..line]).ok()?.split(';').next()?.trim();
        let size = usize::from_str_radix(size, 16).ok()?;
        body = body.get(line + 2 + size + 2..)?;
        if size == 0 {
            return Some(());
        }
    }
}
