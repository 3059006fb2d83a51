//! The arguments, and the request they describe.

/// `--name value` pairs.
pub struct Arguments(Vec<String>);

impl Arguments {
    pub fn new(words: Vec<String>) -> Arguments {
        Arguments(words)
    }

    fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0
            .windows(2)
            .filter(move |pair| pair[0] == name)
            .map(|pair| pair[1].as_str())
    }

    pub fn text(&self, name: &str) -> &str {
        self.all(name).next().unwrap_or_else(|| panic!("{name} is missing"))
    }

    pub fn number(&self, name: &str, default: f64) -> f64 {
        self.all(name)
            .next()
            .map_or(default, |value| value.parse().expect("a number"))
    }

    pub fn port(&self) -> u16 {
        self.text("--port").parse().expect("a port")
    }

    /// The bytes of the one request that is sent again and again.
    pub fn request(&self) -> Vec<u8> {
        let body = std::fs::read(self.text("--body")).expect("the body file");
        let mut head = format!(
            "POST {} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nAccept: */*\r\n\
             User-Agent: gwbench\r\nContent-Length: {}\r\n",
            self.text("--path"),
            body.len()
        );
        for header in self.all("--header") {
            head += header;
            head += "\r\n";
        }
        let mut request = (head + "\r\n").into_bytes();
        request.extend(body);
        request
    }
}
