//! One HTTP client for all of the SDK's clients. It parses one small trust store once, and can connect in advance.
//!
//! By default, each of the SDK's clients parses all of the system's root certificates when it is built and again at its
//! first call, and connects only when it is first used.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use aws_sdk_ssm::error::BoxError;
use aws_smithy_http_client::pool::{
    Client, ConnectionEvent, ConnectionEventListener, ConnectionPool, DriverSpawner, OriginKey, Partition,
    PartitionId,
};
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient,
    SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_runtime_api::http::StatusCode;
use aws_smithy_types::body::SdkBody;
use tokio::sync::watch;

/// The root certificates of AWS's endpoints, from <https://www.amazontrust.com/repository/>.
const ROOTS: &[u8] = include_bytes!("roots.pem");

/// Marks a request that only opens a connection and is not sent.
#[derive(Clone, Debug)]
pub(super) struct HandshakeOnly;

/// The root certificates that a client trusts.
#[derive(Clone, Debug)]
pub enum Roots {
    /// Amazon's own. If they do not fit, as behind a proxy that intercepts TLS, the system's.
    Amazons,
    /// Only the system's, which `SSL_CERT_FILE` can name.
    Systems,
    /// Only those of a file, in PEM form. The SDK panics on an invalid certificate, so [`bundle`](super::bundle) checks them.
    #[cfg(feature = "cli")]
    Bundle(Vec<u8>),
}

/// Builds a client that trusts these root certificates.
///
/// # Errors
/// The SDK refuses the settings of a pool.
pub(super) fn client(roots: &Roots) -> Result<SharedHttpClient, BoxError> {
    let others = match roots {
        Roots::Amazons | Roots::Systems => TrustStore::default(),
        #[cfg(feature = "cli")]
        Roots::Bundle(pem) => TrustStore::empty().with_pem_certificate(pem.as_slice()),
    };
    // A pool reads its root certificates when it first connects, so an unused pool costs nothing.
    let amazons = Pool::new(TrustStore::empty().with_pem_certificate(ROOTS))?;
    let systems = Pool::new(others)?;
    let falls_back = Arc::new(AtomicBool::new(!matches!(roots, Roots::Amazons)));
    Ok(SharedHttpClient::new(Trust { amazons, systems, falls_back }))
}

/// All connections run on the same runtime.
const RUNTIME: PartitionId = PartitionId::from_index(0);

#[derive(Clone, Debug)]
struct Pool {
    client: Client,
    opened: watch::Sender<Vec<OriginKey>>,
}

/// Notes the origins that the pool has connected to.
struct Opened(watch::Sender<Vec<OriginKey>>);

impl ConnectionEventListener for Opened {
    fn on_event(&self, event: &ConnectionEvent<'_>) {
        if let ConnectionEvent::Opened(opened) = event {
            let origin = opened.establishment().origin();
            self.0.send_if_modified(|origins| {
                let is_new = !origins.contains(origin);
                origins.extend(is_new.then(|| origin.clone()));
                is_new
            });
        }
    }
}

impl Pool {
    fn new(roots: TrustStore) -> Result<Self, BoxError> {
        let opened = watch::Sender::new(vec![]);
        let spawner = DriverSpawner::from_fn(|connection| drop(tokio::spawn(connection)));
        let pool = ConnectionPool::builder()
            .proxy_config(ProxyConfig::from_env())
            .event_listener(Opened(opened.clone()))
            .partitions([Partition::new(RUNTIME, spawner)])
            .tls_provider(Provider::Rustls(CryptoMode::Ring))
            .tls_context(TlsContext::builder().with_trust_store(roots).build()?)
            .build_https()?;
        Ok(Self { client: Client::from_partition(&pool, RUNTIME)?, opened })
    }

    fn connector(&self, settings: &HttpConnectorSettings, components: &RuntimeComponents) -> Connector {
        Connector { calls: self.client.http_connector(settings, components), opened: self.opened.clone() }
    }
}

/// Two pools: the second is for endpoints that the first does not trust.
#[derive(Debug)]
struct Trust {
    amazons: Pool,
    systems: Pool,
    falls_back: Arc<AtomicBool>,
}

impl HttpClient for Trust {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(Trusting {
            amazons: self.amazons.connector(settings, components),
            systems: self.systems.connector(settings, components),
            falls_back: self.falls_back.clone(),
        })
    }
}

#[derive(Debug)]
struct Trusting {
    amazons: Connector,
    systems: Connector,
    falls_back: Arc<AtomicBool>,
}

impl HttpConnector for Trusting {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        if self.falls_back.load(Ordering::Relaxed) {
            return self.systems.call(request);
        }
        let again = request.try_clone();
        let only = request.extension::<HandshakeOnly>().cloned();
        let (first, systems) = (self.amazons.call(request), self.systems.clone());
        let falls_back = self.falls_back.clone();
        HttpConnectorFuture::new(async move {
            match (first.await, again) {
                // The handshake failed, so the request was not sent and can be sent again.
                (Err(error), Some(mut again)) if is_unknown_issuer(&error) => {
                    tracing::warn!(
                        "an endpoint's certificate is not Amazon's; the system's root certificates apply"
                    );
                    falls_back.store(true, Ordering::Relaxed);
                    if let Some(only) = only {
                        again.add_extension(only);
                    }
                    systems.call(again).await
                }
                (answer, _) => answer,
            }
        })
    }
}

fn is_unknown_issuer(error: &ConnectorError) -> bool {
    // The SDK hides the TLS library's error type. `make bench-smoke` notices if the text changes.
    super::call::causes(error).contains("UnknownIssuer")
}

#[derive(Clone, Debug)]
struct Connector {
    calls: SharedHttpConnector,
    opened: watch::Sender<Vec<OriginKey>>,
}

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let origin = request.extension::<HandshakeOnly>().and_then(|_| request.uri().parse().ok());
        let Some(origin) = origin.and_then(|uri| OriginKey::from_uri(&uri).ok()) else {
            return self.calls.call(request);
        };
        let (mut opened, call) = (self.opened.subscribe(), self.calls.call(request));
        HttpConnectorFuture::new(async move {
            // Polled first, so that an open connection cancels the request before it is sent.
            tokio::select! {
                biased;
                _ = opened.wait_for(|origins| origins.contains(&origin)) => {
                    let status = StatusCode::try_from(404).map_err(|error| ConnectorError::other(error.into(), None))?;
                    Ok(HttpResponse::new(status, SdkBody::empty()))
                }
                answer = call => answer,
            }
        })
    }
}
