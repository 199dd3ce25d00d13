//! Warms up, before the first event, what a rollback needs: connections, credentials, endpoint rules, and the code.

use std::time::Duration;

use aws_sdk_ssm::config::interceptors::BeforeTransmitInterceptorContextMut;
use aws_sdk_ssm::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_ssm::error::BoxError;
use aws_smithy_types::body::SdkBody;

use super::Clients;
use super::http::HandshakeOnly;
use crate::model::protocol::Protocol;

/// The longest delay that a slow or unreachable endpoint causes the first event.
const PATIENCE: Duration = Duration::from_secs(1);

/// Runs a call through the SDK up to the TLS handshake, and sends nothing. So the call needs no permission and counts
/// towards no quota. If a request is sent nevertheless, it is an unsigned `GET /ping`.
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

/// Makes one handshake for a call.
macro_rules! shake_hands {
    ($call:expr) => {
        async {
            // The call itself always fails.
            $call.customize().interceptor(Handshake).send().await.ok();
        }
    };
}

impl Clients {
    /// Connects, at the same time, to every endpoint that a rollback of stages of these protocols calls. Takes at most
    /// 1 s and never fails.
    pub async fn warm(&self, protocols: &[Protocol]) {
        let v2 = protocols.iter().any(|protocol| protocol.is_v2());
        let rest = !v2 || protocols.contains(&Protocol::Rest);
        let records = shake_hands!(self.ssm.get_parameters().names("ping"));
        let alarms = shake_hands!(self.cloudwatch.describe_alarms());
        let stages = async {
            if rest {
                let call = self.apigateway.get_stage().rest_api_id("ping").stage_name("ping");
                shake_hands!(call).await;
            }
        };
        let v2_stages = async {
            if v2 {
                let call = self.apigatewayv2.get_stage().api_id("ping").stage_name("ping");
                shake_hands!(call).await;
            }
        };
        let all = async { tokio::join!(records, stages, v2_stages, alarms) };
        if tokio::time::timeout(PATIENCE, all).await.is_err() {
            tracing::warn!("not all connections are open before the first event");
        }
    }
}
