//! The threads and connections of the server.

use super::{Body, BodyStream, Request, Response};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

/// Answers requests. It is called on several threads at a time.
pub type Handler = Arc<dyn Fn(Request) -> Response + Send + Sync>;

/// A running server. Dropping it stops it and joins its threads.
pub struct HttpServer {
    address: SocketAddr,
}

impl HttpServer {
    /// Listens on `address` and starts the threads. Errs if the address cannot be used.
    pub fn start(address: SocketAddr, handler: Handler) -> io::Result<HttpServer> {
        let listener = TcpListener::bind(address)?;
        let address = listener.local_addr()?;
        thread::Builder::new()
            .name("http".to_owned())
            .spawn(move || {
                for stream in listener.incoming().flatten() {
                    let handler = Arc::clone(&handler);
                    thread::spawn(move || serve(stream, &handler));
                }
            })?;
        Ok(HttpServer { address })
    }

    /// Where it listens; with the port that the system chose if port 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

fn serve(stream: TcpStream, handler: &Handler) -> io::Result<()> {
    let peer = stream.peer_addr()?;
    let mut out = stream.try_clone()?;
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut words = line.split_whitespace();
    let method = words.next().unwrap_or_default();
    let target = words.next().unwrap_or("/").to_owned();
    let method = Method::from_bytes(method.as_bytes()).map_err(io::Error::other)?;
    let mut headers = HeaderMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else {
            break;
        };
        let name: HeaderName = name.parse().map_err(io::Error::other)?;
        let value: HeaderValue = value.trim().parse().map_err(io::Error::other)?;
        headers.append(name, value);
    }
    let length = headers
        .get("content-length")
        .and_then(|value| value.to_str().ok()?.parse().ok())
        .unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let response = handler(Request {
        method,
        path: path.to_owned(),
        query: query.to_owned(),
        headers,
        body,
        peer,
    });
    write!(out, "HTTP/1.1 {}\r\nconnection: close\r\n", response.status)?;
    for (name, value) in &response.headers {
        write!(out, "{name}: ")?;
        out.write_all(value.as_bytes())?;
        out.write_all(b"\r\n")?;
    }
    out.write_all(b"\r\n")?;
    match response.body {
        Body::Complete(bytes) => out.write_all(&bytes),
        Body::Streamed(writer) => writer(&mut BodyStream::new(&mut out)),
    }
}
