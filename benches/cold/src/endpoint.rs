//! The TLS endpoint that replaces AWS, in its own process. It has a port for each service, as AWS has a host for each,
//! and takes the bench's orders from standard input.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde::{Deserialize, Serialize};

use crate::http;
use crate::world::{Call, World, nanoseconds};

/// The services that the job uses.
pub const SERVICES: [&str; 3] = ["ssm", "apigateway", "monitoring"];

/// The endpoint's first line of output, when it is ready.
#[derive(Debug, Serialize, Deserialize)]
pub struct Hello {
    /// The port of each service.
    pub ports: BTreeMap<String, u16>,
    /// The root certificate to trust, as PEM.
    pub authority: String,
}

/// An order of the bench. The endpoint answers with its world.
#[derive(Debug, Serialize, Deserialize)]
enum Order {
    /// Replaces the world. `fresh` also resets the count of connections, for a new candidate.
    Reset { world: Box<World>, fresh: bool },
    /// Changes nothing.
    Tell,
}

/// Serves until standard input ends.
pub fn serve() -> Result<(), Box<dyn Error>> {
    let (config, authority) = identity()?;
    let world = Arc::new(Mutex::new(World::default()));
    let mut ports = BTreeMap::new();
    for service in SERVICES {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        ports.insert(service.to_owned(), listener.local_addr()?.port());
        let (config, world) = (Arc::clone(&config), Arc::clone(&world));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (config, world) = (Arc::clone(&config), Arc::clone(&world));
                // A killed candidate breaks its connections; the next candidate opens its own.
                thread::spawn(move || converse(service, stream, config, &world).ok());
            }
        });
    }
    let mut out = io::stdout().lock();
    writeln!(out, "{}", serde_json::to_string(&Hello { ports, authority })?)?;
    for line in io::stdin().lock().lines() {
        let mut now = lock(&world);
        if let Order::Reset { world, fresh } = serde_json::from_str(&line?)? {
            let (connections, unsigned) =
                if fresh { Default::default() } else { (now.connections.clone(), now.unsigned) };
            *now = World { unsigned, connections, ..*world };
        }
        let told = serde_json::to_string(&*now)?;
        drop(now);
        writeln!(out, "{told}")?;
        out.flush()?;
    }
    Ok(())
}

fn lock(world: &Mutex<World>) -> MutexGuard<'_, World> {
    world.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Creates the server's settings and its root certificate. Both use ECDSA, which costs little.
fn identity() -> Result<(Arc<ServerConfig>, String), Box<dyn Error>> {
    // The root needs its own name: a leaf with the same name would count as self-signed.
    let mut root = CertificateParams::new(vec![])?;
    root.distinguished_name.push(DnType::CommonName, "cold-bench root");
    root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    root.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    let root = CertifiedIssuer::self_signed(root, KeyPair::generate()?)?;
    let key = KeyPair::generate()?;
    let leaf = CertificateParams::new(vec!["127.0.0.1".to_owned()])?.signed_by(&key, &root)?;
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok((Arc::new(config), root.pem()))
}

fn converse(
    service: &str,
    mut tcp: TcpStream,
    config: Arc<ServerConfig>,
    world: &Mutex<World>,
) -> Result<(), Box<dyn Error>> {
    tcp.set_nodelay(true)?;
    let mut tls = ServerConnection::new(config)?;
    while tls.is_handshaking() {
        tls.complete_io(&mut tcp)?;
    }
    *lock(world).connections.entry(service.to_owned()).or_default() += 1;
    let mut stream = StreamOwned::new(tls, tcp);
    let mut rest = Vec::new();
    while let Some(request) = http::read(&mut stream, &mut rest)? {
        let (start, came) = (Instant::now(), nanoseconds());
        let is_signed = request.header("authorization").is_some();
        let mut now = lock(world);
        let latency = now.latency();
        let (call, (status, kind, body)) = if is_signed {
            now.answer(service, &request)
        } else {
            now.unsigned += 1;
            (Call::default(), (403, "application/json", b"{}".to_vec()))
        };
        drop(now);
        thread::sleep(latency.saturating_sub(start.elapsed()));
        if is_signed {
            lock(world).calls.push(Call { came, went: nanoseconds(), ..call });
        }
        let protocol = request.header("smithy-protocol").unwrap_or("none");
        let headers = [("content-type", kind), ("smithy-protocol", protocol), ("x-amzn-requestid", "stub")];
        http::write(&mut stream, status, &headers, &body)?;
    }
    Ok(())
}

/// The endpoint's process, killed when this value is dropped.
pub struct Endpoint {
    child: Child,
    orders: ChildStdin,
    told: BufReader<ChildStdout>,
    /// The endpoint's first line of output.
    pub hello: Hello,
}

impl Endpoint {
    /// Starts this program again as the endpoint.
    pub fn start() -> Result<Self, Box<dyn Error>> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg("endpoint")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let orders = child.stdin.take().ok_or("no pipe to the endpoint")?;
        let mut told = BufReader::new(child.stdout.take().ok_or("no pipe from the endpoint")?);
        let mut line = String::new();
        told.read_line(&mut line)?;
        let hello =
            serde_json::from_str(&line).map_err(|why| format!("the endpoint did not start: {why}"))?;
        Ok(Self { child, orders, told, hello })
    }

    /// Replaces the endpoint's world.
    pub fn reset(&mut self, world: &World, fresh: bool) -> Result<World, Box<dyn Error>> {
        self.order(&Order::Reset { world: Box::new(world.clone()), fresh })
    }

    /// Returns the endpoint's world and its calls.
    pub fn tell(&mut self) -> Result<World, Box<dyn Error>> {
        self.order(&Order::Tell)
    }

    fn order(&mut self, order: &Order) -> Result<World, Box<dyn Error>> {
        writeln!(self.orders, "{}", serde_json::to_string(order)?)?;
        self.orders.flush()?;
        let mut line = String::new();
        self.told.read_line(&mut line)?;
        Ok(serde_json::from_str(&line).map_err(|why| format!("the endpoint has ended: {why}"))?)
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
