//! Many event streams at once, one connection each, opened evenly over the ramp.
//!
//! A stream is good when it answers 200, carries at least `--chunks` data lines and ends with `[DONE]`.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use memchr::memmem;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::answer::Head;
use crate::figures;
use crate::request::Arguments;

/// How many streams have answered and not ended: now, and at most.
#[derive(Default)]
struct Live {
    now: Cell<usize>,
    most: Cell<usize>,
}

impl Live {
    fn enter(&self) {
        self.now.set(self.now.get() + 1);
        self.most.set(self.most.get().max(self.now.get()));
    }

    fn leave(&self) {
        self.now.set(self.now.get() - 1);
    }
}

struct Times {
    ttfb: u64,
    total: u64,
}

pub fn run(arguments: &Arguments) {
    let count = arguments.number("--count", 100.0) as usize;
    let chunks = arguments.number("--chunks", 20.0) as usize;
    let ramp = Duration::from_secs_f64(arguments.number("--ramp-ms", 1000.0) / 1000.0);
    let limit = Duration::from_secs_f64(arguments.number("--limit-s", 60.0));
    let (port, request) = (arguments.port(), &*arguments.request().leak());
    let live = Rc::new(Live::default());
    let started = Instant::now();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let results: Vec<Result<Times, String>> = tokio::task::LocalSet::new().block_on(&runtime, async {
        let tasks: Vec<_> = (0..count)
            .map(|index| {
                let (live, delay) = (live.clone(), ramp.mul_f64(index as f64 / count as f64));
                tokio::task::spawn_local(async move {
                    tokio::time::sleep(delay).await;
                    let read = tokio::time::timeout(limit, read_stream(port, request, chunks, &live));
                    read.await.unwrap_or_else(|_| Err("timed out".into()))
                })
            })
            .collect();
        let mut results = Vec::with_capacity(count);
        for task in tasks {
            results.push(task.await.expect("a stream's task"));
        }
        results
    });
    let good: Vec<&Times> = results.iter().filter_map(|result| result.as_ref().ok()).collect();
    let why = results
        .iter()
        .find_map(|result| result.as_ref().err())
        .map_or("", String::as_str);
    println!(
        "{{\"ok\":{},\"errors\":{},\"secs\":{:.3},\"max_live\":{},{},{},\"why\":{why:?}}}",
        good.len(),
        results.len() - good.len(),
        started.elapsed().as_secs_f64(),
        live.most.get(),
        figures::percentiles("ttfb", good.iter().map(|times| times.ttfb)),
        figures::percentiles("total", good.iter().map(|times| times.total)),
    );
}

async fn read_stream(port: u16, request: &[u8], chunks: usize, live: &Live) -> Result<Times, String> {
    let sent = Instant::now();
    let mut stream = TcpStream::connect(("127.0.0.1", port))
        .await
        .map_err(|error| error.to_string())?;
    stream.set_nodelay(true).ok();
    stream.write_all(request).await.map_err(|error| error.to_string())?;
    let (mut bytes, mut ttfb) = (Vec::with_capacity(16384), None);
    loop {
        let count = stream.read_buf(&mut bytes).await.map_err(|error| error.to_string())?;
        if ttfb.is_none() && memmem::find(&bytes, b"data:").is_some() {
            ttfb = Some(sent.elapsed().as_nanos() as u64);
            live.enter();
        }
        let tail = &bytes[bytes.len().saturating_sub(64)..];
        let done = memmem::find(tail, b"[DONE]").is_some();
        if !done && count > 0 {
            continue;
        }
        let ttfb = ttfb.inspect(|_| live.leave()).unwrap_or_default();
        let seen = memmem::find_iter(&bytes, b"data:").count();
        if done && seen >= chunks && Head::parse(&bytes).is_some_and(|head| head.status == 200) {
            return Ok(Times {
                ttfb,
                total: sent.elapsed().as_nanos() as u64,
            });
        }
        let start = String::from_utf8_lossy(&bytes[..bytes.len().min(300)]);
        return Err(format!("done={done} data={seen} {start}"));
    }
}
