//! The settings of the function's clients, read only from the environment that Lambda sets. The function needs no
//! provider chain, no files, and no code of `aws-config`.

use aws_sdk_ssm::config::{BehaviorVersion, Credentials, Region, SharedCredentialsProvider};
use aws_sdk_ssm::error::BoxError;
use aws_types::SdkConfig;
use aws_types::service_config::{LoadServiceConfig, ServiceConfigKey};

use super::http::{self, Roots};

/// Returns a variable's value, if it is set.
pub type Environment = fn(&str) -> Option<String>;

/// Reads credentials, Region and endpoints (`AWS_ENDPOINT_URL`, or for one service such as `AWS_ENDPOINT_URL_SSM`), and
/// whether to use FIPS or dual-stack endpoints. `SSL_CERT_FILE` names other root certificates to trust.
///
/// # Errors
/// The SDK refuses the settings of the HTTP client.
pub fn environment_settings(get: Environment) -> Result<SdkConfig, BoxError> {
    let is_true = |name: &str| get(name).is_some_and(|value| value.eq_ignore_ascii_case("true"));
    let credentials = get("AWS_ACCESS_KEY_ID").zip(get("AWS_SECRET_ACCESS_KEY")).map(|(key, secret)| {
        // Lambda sets them once for the lifetime of the process, so they have no expiry here.
        let credentials = Credentials::new(key, secret, get("AWS_SESSION_TOKEN"), None, "Environment");
        SharedCredentialsProvider::new(credentials)
    });
    let roots = if get("SSL_CERT_FILE").is_some() { Roots::Systems } else { Roots::Amazons };
    let mut settings = SdkConfig::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .http_client(http::client(&roots)?)
        .service_config(Endpoints(get))
        .use_fips(is_true("AWS_USE_FIPS_ENDPOINT"))
        .use_dual_stack(is_true("AWS_USE_DUALSTACK_ENDPOINT"));
    settings.set_region(get("AWS_REGION").map(Region::new));
    settings.set_credentials_provider(credentials);
    Ok(settings.build())
}

/// Gives each client its endpoint, if the environment sets one.
#[derive(Debug)]
struct Endpoints(Environment);

impl LoadServiceConfig for Endpoints {
    fn load_config(&self, key: ServiceConfigKey<'_>) -> Option<String> {
        let service = key.service_id().to_uppercase().replace(' ', "_");
        let set = |name: &str| (self.0)(name).filter(|value| !value.is_empty());
        set(&format!("{}_{service}", key.env())).or_else(|| set(key.env()))
    }
}
