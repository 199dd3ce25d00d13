//! The part of HTTP/1.1 that the stubs need. Reads block, because a thread that waits for one socket measures time most
//! exactly.

use std::io::{self, Read, Write};

/// One request.
pub struct Request {
    /// The method.
    pub method: String,
    /// The path, with its query.
    pub path: String,
    /// The headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Request {
    /// Returns a header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_str())
    }
}

/// Reads the next request of a connection; `None` if the client has closed it. `rest` keeps the bytes after it.
pub fn read(stream: &mut impl Read, rest: &mut Vec<u8>) -> io::Result<Option<Request>> {
    loop {
        if let Some((head, mut request, length)) = parse(rest)? {
            while rest.len() < head + length {
                if fill(stream, rest)? == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
            request.body = rest[head..head + length].to_vec();
            rest.drain(..head + length);
            return Ok(Some(request));
        }
        if fill(stream, rest)? == 0 {
            return Ok(None);
        }
    }
}

fn fill(stream: &mut impl Read, rest: &mut Vec<u8>) -> io::Result<usize> {
    let mut chunk = [0; 16 * 1024];
    let read = stream.read(&mut chunk)?;
    rest.extend_from_slice(&chunk[..read]);
    Ok(read)
}

/// Returns the length of the head, the request without its body, and the body's length; `None` if the head is not
/// complete.
fn parse(bytes: &[u8]) -> io::Result<Option<(usize, Request, usize)>> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut parsed = httparse::Request::new(&mut headers);
    let httparse::Status::Complete(head) = parsed.parse(bytes).map_err(io::Error::other)? else {
        return Ok(None);
    };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let request = Request {
        method: parsed.method.unwrap_or_default().to_owned(),
        path: parsed.path.unwrap_or_default().to_owned(),
        headers: parsed.headers.iter().map(|one| (one.name.to_lowercase(), text(one.value))).collect(),
        body: vec![],
    };
    if request.header("transfer-encoding").is_some() {
        return Err(io::Error::other("the stub does not read chunked requests"));
    }
    let length = request.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    Ok(Some((head, request, length)))
}

/// Writes an answer in one piece.
pub fn write(stream: &mut impl Write, status: u16, headers: &[(&str, &str)], body: &[u8]) -> io::Result<()> {
    let mut answer = format!("HTTP/1.1 {status} Stub\r\ncontent-length: {}\r\n", body.len()).into_bytes();
    for (name, value) in headers {
        answer.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
    }
    answer.extend_from_slice(b"\r\n");
    answer.extend_from_slice(body);
    stream.write_all(&answer)?;
    stream.flush()
}
