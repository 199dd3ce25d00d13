//! A stub of the Lambda Runtime API that notes when each request came and when each answer went.

use std::io;
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::http;

/// The function that the candidates believe to be.
pub const FUNCTION: &str = "arn:aws:lambda:eu-west-1:123456789012:function:apigw-rollback";

/// One candidate's Runtime API.
pub struct RuntimeApi {
    /// `host:port`, for `AWS_LAMBDA_RUNTIME_API`.
    pub address: String,
    /// How long a candidate may take for anything: the function's time-out.
    pub patience: Duration,
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
    pub fn listen(patience: Duration) -> io::Result<Self> {
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
        Ok(Self { address, patience, incoming })
    }

    /// The next request, which must be this one.
    pub fn expect(&self, wanted: &str, is_alive: impl Fn() -> bool) -> Result<Received, String> {
        let received = self.receive(is_alive).map_err(|why| format!("{why}; expected was {wanted}"))?;
        if received.path.ends_with(wanted) {
            return Ok(received);
        }
        let body: String = String::from_utf8_lossy(&received.body).chars().take(800).collect();
        Err(format!("it asked for {} instead of {wanted}: {body}", received.path))
    }

    /// The next request.
    pub fn receive(&self, is_alive: impl Fn() -> bool) -> Result<Received, String> {
        let began = Instant::now();
        loop {
            match self.incoming.recv_timeout(Duration::from_millis(100)) {
                Ok(received) => return Ok(received),
                Err(RecvTimeoutError::Timeout) if is_alive() && began.elapsed() < self.patience => {}
                Err(_) => return Err("it ended, or fell silent".to_owned()),
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
    /// Hands an event to the candidate, which has so long for it. Returns when.
    pub fn give(mut self, event: &str, patience: Duration) -> io::Result<Instant> {
        let deadline = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default() + patience;
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

    /// Hangs up, by which a candidate ends.
    pub fn hang_up(self) -> io::Result<()> {
        self.stream.shutdown(Shutdown::Both)
    }

    /// Accepts what the candidate sent.
    pub fn accept(mut self) -> io::Result<()> {
        http::write(&mut self.stream, 202, &[("content-type", "application/json")], b"{\"status\":\"OK\"}")
    }
}
