//! Warms what a rollback needs before the first event: connections, credentials, endpoint rules, and the code itself.

use std::time::Duration;

use aws_sdk_ssm::config::interceptors::BeforeTransmitInterceptorContextMut;
use aws_sdk_ssm::config::retry::RetryConfig;
use aws_sdk_ssm::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_ssm::error::BoxError;
use aws_smithy_types::body::SdkBody;

use super::Clients;
use super::http::HandshakeOnly;
use crate::model::protocol::Protocol;

/// Where an endpoint is slow or away, the first event is not kept waiting.
const PATIENCE: Duration = Duration::from_secs(1);

/// Lets a call go its whole way up to the wire, and there only shake hands: nothing is asked of AWS, so it needs no
/// permission and counts towards no quota. Should it be sent all the same, it is nobody's `GET /ping`.
#[derive(Debug)]
struct Handshake;

impl Intercept for Handshake {
    fn name(&self) -> &'static str {
        "Handshake"
    }

    fn modify_before_transmit(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let request = context.request_mut();
        let host = request.uri().splitn(4, '/').take(3).collect::<Vec<_>>().join("/");
        request.set_method("GET")?;
        request.set_uri(format!("{host}/ping"))?;
        for header in
            ["authorization", "content-type", "content-length", "x-amz-target", "x-amz-security-token"]
        {
            request.headers_mut().remove(header);
        }
        *request.body_mut() = SdkBody::empty();
        request.add_extension(HandshakeOnly);
        Ok(())
    }
}

/// A call that is a handshake, once.
macro_rules! shake_hands {
    ($service:ident, $call:expr) => {
        async {
            let once = $service::config::Builder::new().retry_config(RetryConfig::disabled());
            // It cannot succeed, and need not.
            $call.customize().interceptor(Handshake).config_override(once).send().await.ok();
        }
    };
}

impl Clients {
    /// Connects with the endpoints that a rollback of stages of these kinds calls, all at the same time. Never fails.
    pub async fn warm(&self, protocols: &[Protocol]) {
        let v2 = protocols.iter().any(|protocol| protocol.is_v2());
        let rest = !v2 || protocols.contains(&Protocol::Rest);
        let records = shake_hands!(aws_sdk_ssm, self.ssm.get_parameters().names("ping"));
        let alarms = shake_hands!(aws_sdk_cloudwatch, self.cloudwatch.describe_alarms());
        let stages = async {
            if rest {
                let call = self.apigateway.get_stage().rest_api_id("ping").stage_name("ping");
                shake_hands!(aws_sdk_apigateway, call).await;
            }
        };
        let v2_stages = async {
            if v2 {
                let call = self.apigatewayv2.get_stage().api_id("ping").stage_name("ping");
                shake_hands!(aws_sdk_apigatewayv2, call).await;
            }
        };
        let all = async { tokio::join!(records, stages, v2_stages, alarms) };
        if tokio::time::timeout(PATIENCE, all).await.is_err() {
            tracing::warn!("the connections are not all made before the first event");
        }
    }
}
