//! The settings of the command-line tool: the operator's credentials and Region, and the function's configuration.

use std::time::Duration;

use aws_config::profile::{self, ProfileFileCredentialsProvider};
use aws_config::provider_config::ProviderConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_lambda::config::ProvideCredentials;
use aws_sdk_lambda::error::BoxError;
use aws_sdk_lambda::operation::get_function_configuration::GetFunctionConfigurationOutput;
use aws_types::os_shim_internal::{Env, Fs};
use tokio::time::Instant;

use super::Clients;
use super::call::{causes, found};
use super::http::{self, Roots};
use crate::cloud::FunctionNow;
use crate::model::cloud_error::{CloudError, Failure};

/// Loads the credentials and the Region of a profile from the places where the AWS CLI looks. As there, a profile that is
/// given wins over keys in the environment, which can belong to another account.
///
/// # Errors
/// The SDK refuses the settings of the HTTP client.
pub async fn personal_settings(
    profile: Option<&str>,
    region: Option<&str>,
    roots: &Roots,
) -> Result<SdkConfig, BoxError> {
    let client = http::client(roots)?;
    let load = || {
        let loader = aws_config::defaults(BehaviorVersion::v2026_01_12()).http_client(client.clone());
        let loader = profile.iter().fold(loader, |loader, profile| loader.profile_name(*profile));
        region.iter().fold(loader, |loader, region| loader.region(Region::new((*region).to_owned())))
    };
    let settings = load().load().await;
    let Some(profile) = profile else { return Ok(settings) };
    let found = ProviderConfig::without_region().with_http_client(client.clone());
    let found = found.with_region(settings.region().cloned());
    let provider = ProfileFileCredentialsProvider::builder().configure(&found).profile_name(profile).build();
    Ok(load().credentials_provider(provider).load().await)
}

/// Returns whether a profile exists in the files of the AWS CLI. A profile may have a Region and no credentials, and then
/// the AWS CLI takes those of the environment.
///
/// # Errors
/// A file of the AWS CLI cannot be parsed.
pub async fn has_profile(name: &str) -> Result<bool, BoxError> {
    #[expect(deprecated, reason = "its new name is in a crate that this one does not depend on")]
    let files = profile::profile_file::ProfileFiles::default();
    let found = profile::load(&Fs::real(), &Env::real(), &files, None).await?;
    Ok(found.get_profile(name).is_some())
}

/// Checks that credentials exist, so that the tool reports missing ones before it makes any call.
///
/// # Errors
/// A [`CloudError`] with the code `NoCredentials` and the reason in its message.
pub async fn find_credentials(settings: &SdkConfig) -> Result<(), CloudError> {
    let none = |message: String| CloudError {
        failure: Failure::Other,
        operation: "GetCredentials",
        subject: "your settings".to_owned(),
        code: "NoCredentials".to_owned(),
        message,
    };
    let Some(provider) = settings.credentials_provider() else {
        return Err(none("no credentials are configured".to_owned()));
    };
    provider.provide_credentials().await.map(|_| ()).map_err(|error| {
        let why = causes(&error);
        // The SDK's own text then lists every provider of its chain, which does not help the operator.
        if why.contains("no credentials found in chain") {
            return none("none found in the environment, the profile or the machine's metadata".to_owned());
        }
        none(why)
    })
}

/// How long the tool's first call is repeated: without a network, or with a misspelt Region, the operator must not wait
/// long.
const FIRST_CALL: Duration = Duration::from_secs(6);

impl Clients {
    /// Reads a function (`GetFunctionConfiguration`). Returns `None` if it does not exist.
    ///
    /// # Errors
    /// The call failed, or had no answer for six seconds.
    pub async fn function(&self, name: &str) -> Result<Option<FunctionNow>, CloudError> {
        let until = Instant::now() + FIRST_CALL;
        let call = self.lambda.get_function_configuration().function_name(name);
        let aws = self.until(until, until);
        let answer = aws.call("GetFunctionConfiguration", name, || call.clone().send()).await;
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
        // Without a version or an alias, because alarms and subscriptions may name any of them.
        arn: arn.splitn(8, ':').take(7).collect::<Vec<_>>().join(":"),
        role: answer.role.unwrap_or_default(),
        state: answer.state.map(|state| state.as_str().to_owned()),
        why: answer.state_reason,
        variables: environment.variables.unwrap_or_default().into_iter().collect(),
        hidden,
        log_group: answer.logging_config.and_then(|logging| logging.log_group),
        dead_letter: answer.dead_letter_config.and_then(|target| target.target_arn),
    }
}
