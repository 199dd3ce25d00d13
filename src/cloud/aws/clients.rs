//! The SDK's clients, their time-outs and retries, and the meter that counts their requests.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use aws_sdk_ssm::config::interceptors::{
    BeforeSerializationInterceptorContextRef, BeforeTransmitInterceptorContextRef,
};
use aws_sdk_ssm::config::retry::RetryConfig;
use aws_sdk_ssm::config::timeout::TimeoutConfig;
use aws_sdk_ssm::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_ssm::error::BoxError;
use aws_types::SdkConfig;
use tokio::time::Instant;

use super::Aws;
use super::throttling::AbsentThrottles;
use crate::cloud::Spent;
use crate::cloud::pace::Pace;

/// The SDK's clients, built once per process.
#[derive(Clone, Debug)]
pub struct Clients {
    pub(super) apigateway: aws_sdk_apigateway::Client,
    pub(super) apigatewayv2: aws_sdk_apigatewayv2::Client,
    pub(super) cloudwatch: aws_sdk_cloudwatch::Client,
    pub(super) codedeploy: aws_sdk_codedeploy::Client,
    pub(super) eventbridge: aws_sdk_eventbridge::Client,
    pub(super) lambda: aws_sdk_lambda::Client,
    pub(super) sns: aws_sdk_sns::Client,
    pub(super) ssm: aws_sdk_ssm::Client,
    pub(super) meter: Meter,
    pub(super) pace: Arc<Pace>,
    /// Whether CloudWatch's endpoint does not know log alarms.
    pub(super) no_log_alarms: Arc<AtomicBool>,
}

/// Counts calls and attempts over the lifetime of the process.
#[derive(Clone, Debug, Default)]
pub(super) struct Meter {
    calls: Arc<AtomicU64>,
    attempts: Arc<AtomicU64>,
    /// Calls that repeat a throttled call.
    again: Arc<AtomicU64>,
}

impl Meter {
    /// Returns what the clients have sent since `before`.
    pub(super) fn since(&self, before: Spent) -> Spent {
        let calls = self.calls.load(Ordering::Relaxed).saturating_sub(self.again.load(Ordering::Relaxed));
        let attempts = self.attempts.load(Ordering::Relaxed);
        Spent {
            calls: calls.saturating_sub(before.calls),
            retries: attempts.saturating_sub(calls).saturating_sub(before.retries),
        }
    }

    /// Counts the next call as a repetition of a throttled one.
    pub(super) fn again(&self) {
        self.again.fetch_add(1, Ordering::Relaxed);
    }
}

impl Intercept for Meter {
    fn name(&self) -> &'static str {
        "Meter"
    }

    fn read_before_execution(
        &self,
        _: &BeforeSerializationInterceptorContextRef<'_>,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn read_before_attempt(
        &self,
        _: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        self.attempts.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

/// Builds a service's client whose requests the meter counts.
macro_rules! client {
    ($service:ident, $settings:expr, $meter:expr $(, $interceptor:expr)?) => {
        $service::Client::from_conf(
            $service::config::Builder::from($settings)
                .interceptor($meter.clone())
                $(.interceptor($interceptor))?
                .build(),
        )
    };
}

impl Clients {
    /// Builds the clients for these settings. The SDK sends each call once and may take 1 s to connect; [`Aws`] itself
    /// repeats calls and ends them (see [`tries`](crate::cloud::tries)).
    #[must_use]
    pub fn new(settings: &SdkConfig) -> Self {
        let timeouts = TimeoutConfig::builder().connect_timeout(Duration::from_secs(1)).build();
        let settings =
            settings.to_builder().timeout_config(timeouts).retry_config(RetryConfig::disabled()).build();
        let meter = Meter::default();
        Self {
            apigateway: client!(aws_sdk_apigateway, &settings, meter, AbsentThrottles),
            apigatewayv2: client!(aws_sdk_apigatewayv2, &settings, meter),
            cloudwatch: client!(aws_sdk_cloudwatch, &settings, meter),
            codedeploy: client!(aws_sdk_codedeploy, &settings, meter),
            eventbridge: client!(aws_sdk_eventbridge, &settings, meter),
            lambda: client!(aws_sdk_lambda, &settings, meter),
            sns: client!(aws_sdk_sns, &settings, meter),
            ssm: client!(aws_sdk_ssm, &settings, meter),
            meter,
            pace: Arc::default(),
            no_log_alarms: Arc::default(),
        }
    }

    /// Returns the port for one run. Its calls end at `deadline` at the latest, and those that notify people at `end`.
    #[must_use]
    pub fn until(&self, deadline: Instant, end: Instant) -> Aws {
        let spent_before = self.meter.since(Spent::default());
        Aws { clients: self.clone(), deadline, end, notifies: Arc::default(), spent_before }
    }
}
