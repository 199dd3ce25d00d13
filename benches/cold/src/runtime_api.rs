//! A stub of the Lambda Runtime API that notes when each request arrived and when each event was sent.

use std::io;
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::http;

/// The ARN that the candidates get as their own.
pub const FUNCTION: &str = "arn:aws:lambda:eu-west-1:123456789012:function:apigw-rollback";

/// One candidate's Runtime API.
pub struct RuntimeApi {
    /// The value of `AWS_LAMBDA_RUNTIME_API`: `host:port`.
    pub address: String,
    /// The longest time to wait for a request, which stands for the function's time-out.
    pub patience: Duration,
    incoming: Receiver<Received>,
}

/// A request and the connection that waits for its answer.
pub struct Received {
    /// When the whole request had arrived.
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
                // The thread ends with the candidate.
                thread::spawn(move || converse(stream, &sender).ok());
            }
        });
        Ok(Self { address, patience, incoming })
    }

    /// Waits for the next request. Fails if its path does not end with `wanted`.
    pub fn expect(&self, wanted: &str, is_alive: impl Fn() -> bool) -> Result<Received, String> {
        let received = self.receive(is_alive).map_err(|why| format!("{why}; expected {wanted}"))?;
        if received.path.ends_with(wanted) {
            return Ok(received);
        }
        let body: String = String::from_utf8_lossy(&received.body).chars().take(800).collect();
        Err(format!("the candidate requested {} instead of {wanted}: {body}", received.path))
    }

    /// Waits for the next request.
    pub fn receive(&self, is_alive: impl Fn() -> bool) -> Result<Received, String> {
        let began = Instant::now();
        loop {
            match self.incoming.recv_timeout(Duration::from_millis(100)) {
                Ok(received) => return Ok(received),
                Err(RecvTimeoutError::Timeout) if is_alive() && began.elapsed() < self.patience => {}
                Err(_) => return Err("the candidate ended, or made no request in time".to_owned()),
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
    /// Sends an event to the candidate, with a deadline after `patience`. Returns when.
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

    /// Closes the connection, which ends the candidate.
    pub fn hang_up(self) -> io::Result<()> {
        self.stream.shutdown(Shutdown::Both)
    }

    /// Accepts the candidate's answer.
    pub fn accept(mut self) -> io::Result<()> {
        http::write(&mut self.stream, 202, &[("content-type", "application/json")], b"{\"status\":\"OK\"}")
    }
}
