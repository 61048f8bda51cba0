//! HTTP/1.1 over one persistent connection, as IM servers use it. It never retries, so the tests know what was
//! answered.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// The time-out of an answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// One connection.
pub struct Connection {
    reader: BufReader<TcpStream>,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Answer {
    /// A header's value; `name` is in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(found, _)| found == name)
            .map(|(_, value)| value.as_str())
    }
}

impl Connection {
    /// Connects; nothing if no server listens.
    pub fn open(port: u16) -> Option<Connection> {
        Connection::open_with(port, PATIENCE)
    }

    /// The same with another time-out for answers, which must be above zero.
    pub fn open_with(port: u16, patience: Duration) -> Option<Connection> {
        let stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
        stream.set_nodelay(true).ok()?;
        stream.set_read_timeout(Some(patience)).ok()?;
        Some(Connection {
            reader: BufReader::new(stream),
        })
    }

    /// Posts JSON as both IM servers do.
    pub fn post(&mut self, target: &str, body: impl AsRef<[u8]>) -> Option<Answer> {
        self.request(
            "POST",
            target,
            &[("Content-Type", "application/json; charset=utf-8")],
            body.as_ref(),
        )
    }

    /// Sends a request and reads its whole answer; nothing if the connection breaks before.
    pub fn request(&mut self, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Option<Answer> {
        let mut request = format!(
            "{method} {target} HTTP/1.1\r\nHost: bridge\r\nContent-Length: {}\r\n",
            body.len()
        );
        headers
            .iter()
            .for_each(|(name, value)| request.push_str(&format!("{name}: {value}\r\n")));
        request.push_str("\r\n");
        let bytes = [request.as_bytes(), body].concat();
        // The bridge may answer and close before it has read everything. The answer still counts.
        let written = self.reader.get_mut().write_all(&bytes);
        let answer = if method == "HEAD" { self.head() } else { self.answer() };
        answer.or_else(|| written.ok().and(None))
    }

    /// Sends these bytes and reads the answer to them.
    pub fn send(&mut self, bytes: &[u8]) -> Option<Answer> {
        self.reader.get_mut().write_all(bytes).ok()?;
        self.answer()
    }

    /// Whether the connection is open, as far as this side knows while it awaits no answer.
    pub fn is_open(&self) -> bool {
        let stream = self.reader.get_ref();
        let nothing_yet = |end: std::io::Result<usize>| end.is_err_and(|error| error.kind() == ErrorKind::WouldBlock);
        let open = stream.set_nonblocking(true).is_ok() && nothing_yet(stream.peek(&mut [0]));
        open && stream.set_nonblocking(false).is_ok()
    }

    /// Whether nothing arrives for this time.
    pub fn is_silent_for(&mut self, time: Duration) -> bool {
        let stream = self.reader.get_mut();
        stream.set_read_timeout(Some(time)).expect("not zero");
        let silent = stream.peek(&mut [0]).is_err();
        stream.set_read_timeout(Some(PATIENCE)).expect("not zero");
        silent
    }

    /// Sends a request that promises more bytes than it sends, and does not wait for an answer.
    pub fn half_send(&mut self, target: &str, promised: usize, body: &[u8]) {
        let head = format!("POST {target} HTTP/1.1\r\nHost: bridge\r\nContent-Length: {promised}\r\n\r\n");
        self.reader.get_mut().write_all(&[head.as_bytes(), body].concat()).ok();
    }

    /// Sends a request that promises more bytes than it sends, and reads its answer.
    pub fn half_request(&mut self, target: &str, promised: usize, body: &[u8]) -> Option<Answer> {
        let head = format!("POST {target} HTTP/1.1\r\nHost: bridge\r\nContent-Length: {promised}\r\n\r\n");
        self.reader
            .get_mut()
            .write_all(&[head.as_bytes(), body].concat())
            .ok()?;
        self.answer()
    }

    fn answer(&mut self) -> Option<Answer> {
        let answer = self.head()?;
        let length = answer.header("content-length").map_or(Ok(0), str::parse).ok()?;
        let mut body = vec![0; length];
        self.reader.read_exact(&mut body).ok()?;
        let body = String::from_utf8(body).ok()?;
        Some(Answer { body, ..answer })
    }

    fn head(&mut self) -> Option<Answer> {
        let status = self.line()?.split(' ').nth(1)?.parse().ok()?;
        let mut headers = Vec::new();
        loop {
            let line = self.line()?;
            match line.split_once(':') {
                Some((name, value)) => headers.push((name.to_lowercase(), value.trim().to_owned())),
                None => break,
            }
        }
        let body = String::new();
        Some(Answer { status, headers, body })
    }

    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        (self.reader.read_line(&mut line).ok()? > 0).then(|| line.trim_end().to_owned())
    }
}
