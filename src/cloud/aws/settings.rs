//! What the command-line tool starts with: a person's credentials and region, and the function's own settings.

use aws_config::retry::RetryConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_lambda::config::{Builder, ProvideCredentials};
use aws_sdk_lambda::error::BoxError;
use aws_sdk_lambda::operation::get_function_configuration::GetFunctionConfigurationOutput;
use tokio::time::Instant;

use super::call::{causes, found};
use super::{Clients, http};
use crate::cloud::FunctionNow;
use crate::model::cloud_error::{CloudError, Failure};

/// The credentials and the region of a profile, each found where the AWS CLI finds them. With `system_roots` only the
/// system's roots are trusted, as where `SSL_CERT_FILE` names them.
///
/// # Errors
/// Settings of the HTTP client that the SDK refuses.
pub async fn personal_settings(
    profile: Option<&str>,
    region: Option<&str>,
    system_roots: bool,
) -> Result<SdkConfig, BoxError> {
    let client = http::client(system_roots)?;
    let mut loader = aws_config::defaults(BehaviorVersion::v2026_01_12()).http_client(client);
    if let Some(profile) = profile {
        loader = loader.profile_name(profile);
    }
    if let Some(region) = region {
        loader = loader.region(Region::new(region.to_owned()));
    }
    Ok(loader.load().await)
}

/// Whether there are credentials at all, so that their absence is told before any call is tried.
///
/// # Errors
/// A [`CloudError`] with the code `NoCredentials`, and what was tried in its message.
pub async fn find_credentials(settings: &SdkConfig) -> Result<(), CloudError> {
    let none = |message: String| CloudError {
        failure: Failure::Other,
        operation: "GetCredentials",
        subject: "your settings".to_owned(),
        code: "NoCredentials".to_owned(),
        message,
    };
    let Some(provider) = settings.credentials_provider() else {
        return Err(none("no credentials are set".to_owned()));
    };
    provider.provide_credentials().await.map(|_| ()).map_err(|error| {
        let why = causes(&error);
        // Then every place that was looked into is told, a line each, and none of them is the person's.
        if why.contains("no credentials found in chain") {
            return none("none in the environment, in the profile, or from the machine".to_owned());
        }
        none(why)
    })
}

impl Clients {
    /// `GetFunctionConfiguration`; `None` where there is no such function.
    ///
    /// # Errors
    /// A failed call.
    pub async fn function(&self, name: &str, deadline: Instant) -> Result<Option<FunctionNow>, CloudError> {
        // The first call of all: a person who has no network, or a misspelt region, is not kept waiting.
        let few = Builder::new().retry_config(RetryConfig::standard().with_max_attempts(3));
        let call = self.lambda.get_function_configuration().function_name(name);
        let call = call.customize().config_override(few).send();
        let answer = self.until(deadline).attempt("GetFunctionConfiguration", name, call).await;
        Ok(found(answer)?.map(from_configuration))
    }
}

fn from_configuration(answer: GetFunctionConfigurationOutput) -> FunctionNow {
    let environment =
        answer.environment.unwrap_or_else(|| aws_sdk_lambda::types::EnvironmentResponse::builder().build());
    let hidden = environment.error.map(|error| {
        format!("{}: {}", error.error_code.unwrap_or_default(), error.message.unwrap_or_default())
    });
    let arn = answer.function_arn.unwrap_or_default();
    FunctionNow {
        // Without a version or an alias: alarms and subscriptions may name any of them.
        arn: arn.splitn(8, ':').take(7).collect::<Vec<_>>().join(":"),
        role: answer.role.unwrap_or_default(),
        state: answer.state.map(|state| state.as_str().to_owned()),
        why: answer.state_reason,
        variables: environment.variables.unwrap_or_default().into_iter().collect(),
        hidden,
    }
}
