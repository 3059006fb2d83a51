//! HTTP/2 by hand, as far as a server needs it that gives a request up.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// How a connection ends that carries a first request (RFC 9113, 5.4 and 6.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Http2Fault {
    /// RST_STREAM with REFUSED_STREAM: nothing was begun.
    RefusedStream,
    /// A GOAWAY that does not cover the request: nothing was begun.
    GoAwayBefore,
    /// A GOAWAY that covers it, and then RST_STREAM: it was begun and given up.
    GoAwayAndReset,
}

const PREFACE_BYTES: usize = 24;
const HEAD_BYTES: usize = 9;
const HEADERS: u8 = 0x1;
const RST_STREAM: u8 = 0x3;
const SETTINGS: u8 = 0x4;
const GOAWAY: u8 = 0x7;
const INTERNAL_ERROR: u32 = 0x2;
const REFUSED_STREAM: u32 = 0x7;

/// Reads up to the first request's headers, ends it that way, and waits until the client has closed.
///
/// # Errors
/// The client left, or does not speak HTTP/2.
pub(crate) async fn fail(mut socket: impl AsyncRead + AsyncWrite + Unpin, fault: Http2Fault) -> io::Result<()> {
    let mut preface = [0; PREFACE_BYTES];
    socket.read_exact(&mut preface).await?;
    socket.write_all(&frame(SETTINGS, 0, &[])).await?;
    let stream = loop {
        let mut head = [0; HEAD_BYTES];
        socket.read_exact(&mut head).await?;
        let [a, b, c, kind, _flags, stream @ ..] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        socket.read_exact(&mut payload).await?;
        if kind == HEADERS {
            break u32::from_be_bytes(stream);
        }
    };
    let reset = |reason: u32| frame(RST_STREAM, stream, &reason.to_be_bytes());
    let go_away = |last: u32| frame(GOAWAY, 0, &[last.to_be_bytes(), [0; 4]].concat());
    let answer = match fault {
        Http2Fault::RefusedStream => reset(REFUSED_STREAM),
        Http2Fault::GoAwayBefore => go_away(0),
        Http2Fault::GoAwayAndReset => [go_away(stream), reset(INTERNAL_ERROR)].concat(),
    };
    socket.write_all(&answer).await?;
    socket.flush().await?;
    let mut rest = [0; 1_024];
    while socket.read(&mut rest).await? > 0 {}
    Ok(())
}

fn frame(kind: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let [_, a, b, c] = u32::try_from(payload.len()).unwrap_or(u32::MAX).to_be_bytes();
    [&[a, b, c, kind, 0][..], &stream.to_be_bytes(), payload].concat()
}
