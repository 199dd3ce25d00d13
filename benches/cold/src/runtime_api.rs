//! A stub of the Lambda Runtime API that notes when each request came and when each answer went.

use std::io;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::http;

/// The function that the candidates believe to be.
pub const FUNCTION: &str = "arn:aws:lambda:eu-west-1:123456789012:function:apigw-rollback";

/// How long a candidate may take for anything.
const PATIENCE: Duration = Duration::from_mins(1);

/// One candidate's Runtime API.
pub struct RuntimeApi {
    /// `host:port`, for `AWS_LAMBDA_RUNTIME_API`.
    pub address: String,
    incoming: Receiver<Received>,
}

/// A request, and the connection that waits for its answer.
pub struct Received {
    /// When the whole request was there.
    pub at: Instant,
    /// Its path.
    pub path: String,
    /// Its body.
    pub body: Vec<u8>,
    stream: TcpStream,
}

impl RuntimeApi {
    /// Listens on a free port.
    pub fn listen() -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?.to_string();
        let (sender, incoming) = channel();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let sender = sender.clone();
                // It ends when the candidate does.
                thread::spawn(move || converse(stream, &sender).ok());
            }
        });
        Ok(Self { address, incoming })
    }

    /// The next request, which must be this one.
    pub fn expect(&self, wanted: &str, is_alive: impl Fn() -> bool) -> Result<Received, String> {
        let began = Instant::now();
        loop {
            match self.incoming.recv_timeout(Duration::from_millis(100)) {
                Ok(received) if received.path.ends_with(wanted) => return Ok(received),
                Ok(received) => {
                    let body: String = String::from_utf8_lossy(&received.body).chars().take(800).collect();
                    return Err(format!("it asked for {} instead of {wanted}: {body}", received.path));
                }
                Err(RecvTimeoutError::Timeout) if is_alive() && began.elapsed() < PATIENCE => {}
                Err(_) => return Err(format!("it ended, or fell silent, before it asked for {wanted}")),
            }
        }
    }
}

fn converse(mut stream: TcpStream, sender: &Sender<Received>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut rest = Vec::new();
    while let Some(request) = http::read(&mut stream, &mut rest)? {
        let received = Received {
            at: Instant::now(),
            path: request.path,
            body: request.body,
            stream: stream.try_clone()?,
        };
        if sender.send(received).is_err() {
            break;
        }
    }
    Ok(())
}

impl Received {
    /// Hands an event to the candidate. Returns when.
    pub fn give(mut self, event: &str) -> io::Result<Instant> {
        let deadline = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default() + PATIENCE;
        let deadline = deadline.as_millis().to_string();
        let headers = [
            ("content-type", "application/json"),
            ("lambda-runtime-aws-request-id", "8476a536-e9f4-11e8-9739-2dfe598c3fcd"),
            ("lambda-runtime-deadline-ms", deadline.as_str()),
            ("lambda-runtime-invoked-function-arn", FUNCTION),
            (
                "lambda-runtime-trace-id",
                "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Parent=9a9197af755a6419;Sampled=0",
            ),
        ];
        let at = Instant::now();
        http::write(&mut self.stream, 200, &headers, event.as_bytes())?;
        Ok(at)
    }

    /// Accepts what the candidate sent.
    pub fn accept(mut self) -> io::Result<()> {
        http::write(&mut self.stream, 202, &[("content-type", "application/json")], b"{\"status\":\"OK\"}")
    }
}
