//! A real PostgreSQL of one's own: on a free loopback port, in a temporary folder, gone with the test process.
//!
//! Everything here blocks, for seconds where a server starts: that is for tests to bear, and needs no runtime. It
//! panics where there is no PostgreSQL; `cargo xtask setup` installs it.

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

/// A server. It ends, and its folder goes, when this is dropped or the process ends, however it ends.
#[derive(Debug)]
pub struct Postgres {
    programs: Programs,
    folder: PathBuf,
    port: u16,
    server: Mutex<Child>,
    cleaner: Child,
    databases: AtomicUsize,
}

impl Postgres {
    /// A server that all tests of this process share. Whoever wants to freeze or kill one starts their own.
    pub fn shared() -> &'static Postgres {
        static SHARED: OnceLock<Postgres> = OnceLock::new();
        SHARED.get_or_init(Postgres::start)
    }

    /// Starts a server that nobody else uses.
    pub fn start() -> Postgres {
        let programs = Programs::find();
        let folder = PathBuf::from(read(programs.command("mktemp").args(["-d", "-t", "gw-postgres-XXXXXXXX"])));
        let cleaner = start_cleaner(&folder);
        let mut initdb = programs.command("initdb");
        initdb.args(["--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C", "--no-sync", "--pgdata"]);
        read(initdb.arg(folder.join("data")));
        let port = free_port();
        let server = Mutex::new(start_server(&programs, &folder, port));
        Postgres { programs, folder, port, server, cleaner, databases: AtomicUsize::new(0) }
    }

    /// Where clients find that database; `postgres` is always there.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }

    /// Makes an empty database that nobody else uses, and returns its URL.
    pub fn create_database(&self) -> String {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        read(self.programs.client("createdb", self.port).arg(&name));
        self.url(&name)
    }

    /// Stops every process of the server where it is: connections stay open, nothing answers.
    pub fn freeze(&self) {
        freeze(self.server().id());
    }

    /// Lets a frozen server go on.
    pub fn thaw(&self) {
        signal("CONT", &family(self.server().id()));
    }

    /// Kills every process of the server at once, as the kernel does when memory runs out. What was committed is kept.
    pub fn kill(&self) {
        let mut server = self.server();
        let family = freeze(server.id());
        signal("KILL", &family);
        // The process is gone or about to be; there is nothing to learn from an error.
        let _ = server.wait();
        while family.iter().any(|process| is_running(*process)) {
            thread::sleep(STEP);
        }
        // Its number may soon be another's.
        let _ = fs::remove_file(self.folder.join("data/postmaster.pid"));
    }

    /// After [`Postgres::kill`]: the same data at the same port.
    pub fn start_again(&self) {
        *self.server() = start_server(&self.programs, &self.folder, self.port);
    }

    fn server(&self) -> MutexGuard<'_, Child> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // Frozen processes hear nothing else.
        self.thaw();
        drop(self.cleaner.stdin.take());
        // The cleaner waits until the server is gone, and the server is gone only when we have seen it.
        let _ = self.server().wait();
        let _ = self.cleaner.wait();
    }
}

/// Where the server's programs are, and how they are started.
#[derive(Debug)]
struct Programs {
    /// Empty where they are on the PATH.
    folder: PathBuf,
    /// PostgreSQL refuses to run as root.
    is_root: bool,
}

impl Programs {
    /// Debian's newest, which is not on the PATH, or else what is.
    fn find() -> Programs {
        let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
        let complete = versions.map(|version| version.path()).filter(|path| path.join("bin/initdb").exists());
        let newest = complete.max_by_key(|path| number(path.file_name().and_then(|name| name.to_str())));
        let folder = newest.map(|path| path.join("bin")).unwrap_or_default();
        Programs { folder, is_root: read(Command::new("id").arg("-u")) == "0" }
    }

    /// A program that runs as a user whom the server accepts.
    fn command(&self, name: &str) -> Command {
        let path = self.folder.join(name);
        let program = if path.exists() { path } else { name.into() };
        let mut command = if self.is_root {
            let mut setpriv = Command::new("setpriv");
            setpriv.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]).arg(program);
            setpriv
        } else {
            Command::new(program)
        };
        // Not every user may look into the tests' folder.
        command.current_dir("/").stdin(Stdio::null());
        command
    }

    fn client(&self, name: &str, port: u16) -> Command {
        let mut command = self.command(name);
        command.args(["--host=127.0.0.1", "--username=postgres", "--port"]).arg(port.to_string());
        command
    }
}

/// Waits, in a process of its own, for our end; then ends the server and removes the folder.
#[expect(clippy::expect_used, reason = "a test without its database can only stop")]
fn start_cleaner(folder: &Path) -> Child {
    let mut cleaner = Command::new("sh");
    // In a group of its own, for the terminal's interrupt would end it before us.
    std::os::unix::process::CommandExt::process_group(&mut cleaner, 0);
    cleaner.args(["-c", CLEANER]).arg(folder).current_dir("/");
    cleaner.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the shell starts")
}

/// Starts the server and waits until it answers.
#[expect(clippy::expect_used, reason = "a test without its database can only stop")]
fn start_server(programs: &Programs, folder: &Path, port: u16) -> Child {
    let log = File::create(folder.join("log")).expect("the folder is there");
    let mut command = programs.command("postgres");
    command.arg("-D").arg(folder.join("data")).arg("-p").arg(port.to_string());
    for setting in SETTINGS {
        command.args(["-c", setting]);
    }
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    command.stdout(Stdio::null()).stderr(log);
    let mut server = command.spawn().expect("PostgreSQL starts");
    for _ in 0..LONGEST_START {
        let mut probe = programs.client("pg_isready", port);
        if probe.stdout(Stdio::null()).status().is_ok_and(|status| status.success()) {
            return server;
        }
        if server.try_wait().is_ok_and(|ended| ended.is_some()) {
            break;
        }
        thread::sleep(STEP);
    }
    panic!("PostgreSQL does not start: {}", fs::read_to_string(folder.join("log")).unwrap_or_default());
}

/// Returns the processes that it stopped.
fn freeze(server: u32) -> Vec<u32> {
    // Stopped first, the server starts no process that would be missed.
    signal("STOP", &[server]);
    let family = family(server);
    signal("STOP", &family);
    family
}

/// The process and its children: the server has no deeper generations.
fn family(parent: u32) -> Vec<u32> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbers = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let children = numbers.filter(|process| state_and_parent(*process).is_some_and(|(_, of)| of == parent));
    std::iter::once(parent).chain(children).collect()
}

fn is_running(process: u32) -> bool {
    state_and_parent(process).is_some_and(|(state, _)| state != 'Z')
}

/// From `number (name) state parent …`, where the name may hold anything.
fn state_and_parent(process: u32) -> Option<(char, u32)> {
    let text = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let mut words = text.rsplit_once(") ")?.1.split(' ');
    Some((words.next()?.chars().next()?, words.next()?.parse().ok()?))
}

/// Those that are gone already need no signal.
fn signal(name: &str, processes: &[u32]) {
    let numbers = processes.iter().map(u32::to_string);
    // The shell has a `kill` of its own, not every machine another.
    let mut shell = Command::new("sh");
    let _ = shell.args(["-c", r#"kill -"$0" "$@""#, name]).args(numbers).stderr(Stdio::null()).status();
}

#[expect(clippy::expect_used, reason = "a test without its database can only stop")]
fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free loopback port");
    listener.local_addr().expect("the port's number").port()
}

/// What the command prints, without the end of the line.
fn read(command: &mut Command) -> String {
    match command.output() {
        Ok(output) if output.status.success() => String::from_utf8_lossy(&output.stdout).trim_end().to_owned(),
        Ok(output) => panic!("{command:?}: {}", String::from_utf8_lossy(&output.stderr)),
        Err(error) => panic!("{command:?}: {error}; `cargo xtask setup` installs what is needed"),
    }
}

fn number(text: Option<&str>) -> u32 {
    text.and_then(|text| text.parse().ok()).unwrap_or_default()
}

/// Waits for the end of its input. The number in the server's own file is the right one after a new start, too.
const CLEANER: &str = r#"
read -r _
if server=$(head -n 1 "$0/data/postmaster.pid"); then
    kill -CONT "$server"
    kill -QUIT "$server"
    for _ in $(seq 100); do
        kill -0 "$server" || break
        sleep 0.1
    done
fi
rm -rf "$0"
"#;

/// Nothing that a test writes needs to survive the machine, but what was committed survives [`Postgres::kill`].
const SETTINGS: [&str; 7] = [
    "listen_addresses=127.0.0.1",
    "unix_socket_directories=",
    "fsync=off",
    "full_page_writes=off",
    "shared_buffers=32MB",
    "max_connections=200",
    "dynamic_shared_memory_type=mmap",
];

/// Between two looks at a process.
const STEP: Duration = Duration::from_millis(20);
/// Looks at a server that starts: 60 seconds on a busy machine.
const LONGEST_START: u32 = 3_000;
