//! Fuzzing of HTTP requests.

use super::inbound::{Inbound, Received};
use super::limits::Limits;
use crate::fuzz::{ACCEPTED, fuzz};

/// What a client sends, in one piece or in several, gives the same requests, within the limits.
#[test]
fn any_bytes_are_requests_within_the_limits_or_a_refusal() {
    let samples: [&[u8]; 3] = [
        b"GET /tasks?state=failed&limit=5 HTTP/1.1\r\nHost: localhost:8080\r\nUser-Agent: x\r\nCookie: a=b; c=d\r\n\r\n",
        b"POST /api/v1/tasks HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n{}",
        b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    ];
    let words = [
        "Content-Length: ",
        "Transfer-Encoding: chunked\r\n",
        "\r\n\r\n",
        "\r\n",
        "Host: ",
        " HTTP/1.1",
        "HTTP/2.0",
        "%00",
        "%2e%2e/",
        "Connection: close\r\n",
        "GET ",
        "?",
        "#",
    ];
    let limits = Limits::default();
    fuzz("requests", &samples, &words, |input| {
        let read = |size: usize| {
            let (mut inbound, mut found) = (Inbound::default(), Vec::new());
            for piece in input.chunks(size) {
                inbound.push(piece);
                loop {
                    match inbound.next(&limits) {
                        Ok(Received::Request(request)) => {
                            let (head, body) = *request;
                            assert!(
                                body.len() <= limits.body_bytes
                                    && body.len() as u64 == head.body_bytes
                            );
                            assert!(
                                head.path.starts_with('/')
                                    && head.path.len() + head.query.len() <= limits.head_bytes
                            );
                            found.push((head.method, head.path, head.query, body));
                        }
                        Ok(Received::AwaitsContinue) => {}
                        Ok(_) => break,
                        Err(refusal) => return (found, Some(format!("{refusal:?}"))),
                    }
                }
                assert!(inbound.len() <= limits.head_bytes + limits.body_bytes + size);
            }
            (found, None)
        };
        let whole = read(input.len().max(1));
        let pieces = read(1 + input.len() / 7);
        assert_eq!(
            whole.0, pieces.0,
            "the size of the pieces makes a difference"
        );
        match whole {
            (found, None) if !found.is_empty() => ACCEPTED.to_owned(),
            (_, refusal) => refusal.unwrap_or_default(),
        }
    });
}
