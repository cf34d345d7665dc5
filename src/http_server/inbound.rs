//! The bytes that a connection has received, cut into requests. Pure: no socket, no clock.

use super::head::{self, Head, Scan};
use super::limits::Limits;
use super::refusal::Refusal;

/// What the received bytes amount to.
#[derive(Debug)]
pub enum Received {
    /// Not even the first byte of a request.
    Nothing,
    /// A part of a request.
    Part,
    /// A head whose client waits for `100 Continue` before it sends the body. Returned once for each request.
    AwaitsContinue,
    /// A whole request.
    Request(Box<(Head, Vec<u8>)>),
}

/// The next event in the received bytes.
#[derive(Debug, Default)]
enum Stage {
    /// A head, of which this many bytes were scanned.
    #[default]
    Start,
    Head(usize),
    Body(Box<Head>, usize),
}

/// The bytes that have been received and belong to no complete request yet.
#[derive(Debug, Default)]
pub struct Inbound {
    bytes: Vec<u8>,
    stage: Stage,
    /// Length of the parsed head whose body is being received, in bytes.
    head_bytes: usize,
}

impl Inbound {
    /// Adds received bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// How many bytes are kept.
    pub fn len(&self) -> usize {
        self.bytes.len() + self.head_bytes
    }

    /// Takes the next request if it is complete. After an error the connection cannot be used further.
    pub fn next(&mut self, limits: &Limits) -> Result<Received, Refusal> {
        if matches!(self.stage, Stage::Start) {
            // An empty line before a request is ignored: some clients send one after a body.
            if self.bytes.starts_with(b"\r\n") {
                self.bytes.drain(..2);
            }
            match self.bytes.as_slice() {
                [] => return Ok(Received::Nothing),
                b"\r" => return Ok(Received::Part),
                _ => self.stage = Stage::Head(0),
            }
        }
        let mut is_new = false;
        if let Stage::Head(scanned) = self.stage {
            let end = self.bytes.len().min(limits.head_bytes);
            match head::scan(&self.bytes[..end], scanned)? {
                Scan::Incomplete if self.bytes.len() >= limits.head_bytes => {
                    return Err(Refusal::HeadTooLarge);
                }
                Scan::Incomplete => {
                    self.stage = Stage::Head(end);
                    return Ok(Received::Part);
                }
                Scan::Complete(length) => {
                    let head = head::parse(&self.bytes[..length])?;
                    let body_bytes = usize::try_from(head.body_bytes)
                        .ok()
                        .filter(|bytes| *bytes <= limits.body_bytes)
                        .ok_or(Refusal::BodyTooLarge)?;
                    self.bytes.drain(..length);
                    self.stage = Stage::Body(Box::new(head), body_bytes);
                    self.head_bytes = length;
                    is_new = true;
                }
            }
        }
        Ok(self.next_body(is_new))
    }

    fn next_body(&mut self, is_new: bool) -> Received {
        match std::mem::take(&mut self.stage) {
            Stage::Body(head, length) if self.bytes.len() < length => {
                let awaits = is_new && head.expects_continue && self.bytes.is_empty();
                self.stage = Stage::Body(head, length);
                match awaits {
                    true => Received::AwaitsContinue,
                    false => Received::Part,
                }
            }
            Stage::Body(head, length) => {
                let rest = self.bytes.split_off(length);
                let body = std::mem::replace(&mut self.bytes, rest);
                self.head_bytes = 0;
                Received::Request(Box::new((*head, body)))
            }
            stage => {
                self.stage = stage;
                Received::Part
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> Limits {
        Limits {
            head_bytes: 100,
            body_bytes: 50,
            ..Limits::default()
        }
    }

    /// The requests in `text`, received in parts of `step` bytes: each with its path and body.
    fn requests(text: &str, step: usize) -> Result<Vec<(String, String)>, Refusal> {
        let (mut inbound, mut found) = (Inbound::default(), Vec::new());
        for part in text.as_bytes().chunks(step) {
            inbound.push(part);
            while let Received::Request(request) = inbound.next(&limits())? {
                let (head, body) = *request;
                found.push((head.path, String::from_utf8(body).unwrap()));
            }
        }
        Ok(found)
    }

    #[test]
    fn pipelined_requests_are_cut_where_they_end() {
        let text = "POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nGET /x\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\nGET /3 HTTP/1.1\r\nHost: a\r\n\r\nGET";
        let expected = [("/1", "GET /x"), ("/2", ""), ("/3", "")]
            .map(|(path, body)| (path.to_owned(), body.to_owned()));
        for step in 1..=text.len() {
            assert_eq!(requests(text, step).unwrap(), expected, "{step}");
        }
    }

    #[test]
    fn sizes_are_bounded_to_the_byte() {
        let head = |length: usize| {
            let rest = "GET / HTTP/1.1\r\nHost: a\r\nX: \r\n\r\n".len();
            let value = "x".repeat(length - rest);
            format!("GET / HTTP/1.1\r\nHost: a\r\nX: {value}\r\n\r\n")
        };
        let body = |length: usize| {
            let body = "x".repeat(length);
            format!("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n{body}")
        };
        for step in [1, 7, 1000] {
            assert_eq!(requests(&head(100), step).map(|all| all.len()), Ok(1));
            let refused = requests(&head(101), step);
            assert_eq!(refused, Err(Refusal::HeadTooLarge), "{step}");
            assert_eq!(requests(&body(50), step).map(|all| all.len()), Ok(1));
            let refused = requests(&body(51), step);
            assert_eq!(refused, Err(Refusal::BodyTooLarge), "{step}");
        }
    }

    #[test]
    fn one_empty_line_before_a_request_is_ignored() {
        let request = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        for step in [1, 2, 3, 100] {
            let found = requests(&format!("\r\n{request}"), step);
            assert_eq!(found.map(|all| all.len()), Ok(1), "{step}");
        }
        let refused = requests("\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 100);
        assert_eq!(refused, Err(Refusal::LineEnd));
    }

    #[test]
    fn a_client_that_waits_is_told_to_continue_once() {
        let mut inbound = Inbound::default();
        let head =
            b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n";
        inbound.push(head);
        let next = |inbound: &mut Inbound| inbound.next(&limits()).unwrap();
        assert!(matches!(next(&mut inbound), Received::AwaitsContinue));
        assert!(matches!(next(&mut inbound), Received::Part));
        inbound.push(b"ab");
        assert!(matches!(next(&mut inbound), Received::Request(_)));
        assert!(matches!(next(&mut inbound), Received::Nothing));
        // It did not wait.
        inbound.push(head);
        inbound.push(b"a");
        assert!(matches!(next(&mut inbound), Received::Part));
    }
}
