//! A real Redis of one's own: on a free loopback port, in memory only, gone with the test.
//!
//! Like [`Postgres`](crate::Postgres) it blocks and panics; `cargo xtask setup` installs it.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// Pause between two looks, and how many of them a start may take.
const STEP: Duration = Duration::from_millis(10);
const LONGEST_START: usize = 1_000;

/// A server. It ends when this is dropped.
#[derive(Debug)]
pub struct Redis {
    port: u16,
    server: Mutex<Child>,
}

impl Redis {
    /// Starts a server that nobody else uses.
    #[expect(clippy::expect_used, reason = "a test without its Redis can only stop")]
    pub fn start() -> Redis {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = listener.local_addr().expect("a bound port").port();
        drop(listener);
        Redis { port, server: Mutex::new(start_server(port)) }
    }

    /// Where clients find it.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }

    /// Stops it where it is: connections stay open, nothing answers.
    pub fn freeze(&self) {
        signal("-STOP", self.server().id());
    }

    /// Lets a frozen server go on.
    pub fn thaw(&self) {
        signal("-CONT", self.server().id());
    }

    /// Kills it; what it held is lost.
    pub fn kill(&self) {
        let mut server = self.server();
        // Gone already is as good.
        let _ = server.kill();
        let _ = server.wait();
    }

    /// After [`Redis::kill`]: an empty one at the same port.
    pub fn start_again(&self) {
        *self.server() = start_server(self.port);
    }

    /// Forgets everything.
    pub fn flush(&self) {
        assert!(ask(self.port, "FLUSHALL"), "Redis does not flush");
    }

    fn server(&self) -> MutexGuard<'_, Child> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
    }
}

#[expect(clippy::expect_used, reason = "a test without its Redis can only stop")]
fn start_server(port: u16) -> Child {
    let mut command = Command::new("redis-server");
    command.args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--port"]).arg(port.to_string());
    command.current_dir("/").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut server = command.spawn().expect("redis-server starts; `cargo xtask setup` installs it");
    for _ in 0..LONGEST_START {
        if ask(port, "PING") {
            return server;
        }
        if server.try_wait().is_ok_and(|ended| ended.is_some()) {
            break;
        }
        thread::sleep(STEP);
    }
    panic!("Redis does not start");
}

/// Whether a command without arguments is answered well.
fn ask(port: u16, command: &str) -> bool {
    let Ok(mut connection) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) else { return false };
    let mut answer = [0; 1];
    let is_asked = connection.write_all(format!("{command}\r\n").as_bytes()).is_ok();
    is_asked && connection.read_exact(&mut answer).is_ok() && answer == *b"+"
}

fn signal(which: &str, process: u32) {
    let sent = Command::new("kill").arg(which).arg(process.to_string()).status();
    assert!(sent.is_ok_and(|status| status.success()), "kill {which} {process}");
}
