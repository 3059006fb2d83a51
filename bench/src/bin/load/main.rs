//! Load against one loopback address; prints one line of JSON.
//!
//! ```text
//! load open    --port P --path /v1/… --body FILE [--header 'K: V']… [--rate 200] [--secs 10] [--threads 16]
//! load streams --port P --path /v1/… --body FILE [--header 'K: V']… --count 1000 --chunks 20 [--ramp-ms 1000] [--limit-s 60]
//! ```
//! `open` sends single requests on a schedule, `streams` holds many event streams at once; each file says what it measures.

mod answer;
mod figures;
mod open;
mod request;
mod streams;

use request::Arguments;

fn main() {
    let arguments = Arguments::new(std::env::args().skip(2).collect());
    match std::env::args().nth(1).as_deref() {
        Some("open") => open::run(&arguments),
        Some("streams") => streams::run(&arguments),
        _ => {
            eprintln!("usage: load open|streams --port P --path PATH --body FILE …");
            std::process::exit(2);
        }
    }
}
