//! Open loop: request k is due at start + k / rate, whatever came before.
//!
//! Latency counts from the due time when the target kept the sender busy past it, so a stall shows in every request it
//! delayed (no coordinated omission), else from the sender's own wake-up, whose lateness is the machine's and is told as
//! `late`. Blocking sockets, one kept connection a thread. `ttfb` is the first byte of the body.

use std::io::{Error, ErrorKind, Read, Result, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::answer::Head;
use crate::figures;
use crate::request::Arguments;

struct Schedule {
    start: Instant,
    rate: f64,
    total: usize,
    /// A target too slow for the rate must not stretch the run without end.
    stop: Instant,
    next: AtomicUsize,
}

impl Schedule {
    fn next_due(&self) -> Option<Instant> {
        let index = self.next.fetch_add(1, Ordering::Relaxed);
        let due = self.start + Duration::from_secs_f64(index as f64 / self.rate);
        (index < self.total && Instant::now() < self.stop).then_some(due)
    }
}

#[derive(Default)]
struct Outcome {
    latency: Vec<u64>,
    ttfb: Vec<u64>,
    late: Vec<u64>,
    not_200: usize,
    errors: usize,
    why: String,
}

impl Outcome {
    fn add(&mut self, other: Outcome) {
        self.latency.extend(other.latency);
        self.ttfb.extend(other.ttfb);
        self.late.extend(other.late);
        self.not_200 += other.not_200;
        self.errors += other.errors;
        if !other.why.is_empty() {
            self.why = other.why;
        }
    }
}

pub fn run(arguments: &Arguments) {
    let (rate, seconds) = (arguments.number("--rate", 200.0), arguments.number("--secs", 10.0));
    let start = Instant::now() + Duration::from_millis(100);
    let schedule = Schedule {
        start,
        rate,
        total: (rate * seconds) as usize,
        stop: start + Duration::from_secs_f64(seconds * 2.0 + 10.0),
        next: AtomicUsize::new(0),
    };
    let (request, port) = (arguments.request(), arguments.port());
    let mut all = Outcome::default();
    thread::scope(|scope| {
        let senders: Vec<_> = (0..arguments.number("--threads", 16.0) as usize)
            .map(|_| scope.spawn(|| send(&schedule, port, &request)))
            .collect();
        senders
            .into_iter()
            .for_each(|sender| all.add(sender.join().expect("a sender")));
    });
    println!(
        "{{\"ok\":{},\"non200\":{},\"errors\":{},\"secs\":{:.3},{},{},{},\"why\":{:?}}}",
        all.latency.len(),
        all.not_200,
        all.errors,
        start.elapsed().as_secs_f64(),
        figures::percentiles("latency", all.latency),
        figures::percentiles("ttfb", all.ttfb),
        figures::percentiles("late", all.late),
        all.why
    );
}

fn send(schedule: &Schedule, port: u16, request: &[u8]) -> Outcome {
    // SAFETY: prctl with PR_SET_TIMERSLACK only changes how exactly this thread's sleeps end.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1usize) };
    let (mut connection, mut bytes, mut outcome) = (None, Vec::new(), Outcome::default());
    while let Some(due) = schedule.next_due() {
        let wait = due.saturating_duration_since(Instant::now());
        thread::sleep(wait);
        outcome.late.push(nanoseconds_since(due));
        let from = if wait.is_zero() { due } else { Instant::now() };
        match exchange(&mut connection, port, request, from, &mut bytes) {
            Ok(Some(times)) => {
                outcome.latency.push(times.total);
                outcome.ttfb.push(times.ttfb);
            }
            Ok(None) => {
                outcome.not_200 += 1;
                outcome.why = String::from_utf8_lossy(&bytes[..bytes.len().min(400)]).into();
            }
            Err(error) => {
                outcome.errors += 1;
                outcome.why = error.to_string();
                connection = None;
            }
        }
    }
    outcome
}

struct Times {
    ttfb: u64,
    total: u64,
}

/// One exchange on the kept connection; None is an answer that is not 200. `bytes` holds the answer afterwards.
fn exchange(
    connection: &mut Option<TcpStream>,
    port: u16,
    request: &[u8],
    from: Instant,
    bytes: &mut Vec<u8>,
) -> Result<Option<Times>> {
    let stream = match connection {
        Some(stream) => stream,
        None => connection.insert(connect(port)?),
    };
    stream.write_all(request)?;
    bytes.clear();
    let (mut buffer, mut head, mut ttfb) = ([0; 16384], None, None);
    loop {
        let count = stream.read(&mut buffer)?;
        bytes.extend_from_slice(&buffer[..count]);
        head = head.or_else(|| Head::parse(bytes));
        if let Some(head) = &head {
            if bytes.len() > head.length {
                ttfb.get_or_insert_with(|| nanoseconds_since(from));
            }
            let closed = head.ends_with_connection() && count == 0;
            if closed || head.is_complete(bytes) {
                let total = nanoseconds_since(from);
                let is_ok = head.status == 200;
                if closed {
                    *connection = None;
                }
                return Ok(is_ok.then_some(Times {
                    ttfb: ttfb.unwrap_or(total),
                    total,
                }));
            }
        }
        if count == 0 {
            return Err(Error::from(ErrorKind::UnexpectedEof));
        }
    }
}

fn connect(port: u16) -> Result<TcpStream> {
    let stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    Ok(stream)
}

fn nanoseconds_since(instant: Instant) -> u64 {
    instant.elapsed().as_nanos() as u64
}
