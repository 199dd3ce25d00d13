//! The AWS settings that the function reads from the environment.

use apigw_rollback::cloud::aws::environment_settings;
use aws_sdk_ssm::config::ProvideCredentials;
use aws_types::service_config::ServiceConfigKey;

fn endpoint(get: fn(&str) -> Option<String>, service: &str) -> Option<String> {
    let key = ServiceConfigKey::builder().service_id(service).env("AWS_ENDPOINT_URL").profile("endpoint_url");
    environment_settings(get).unwrap().service_config().unwrap().load_config(key.build().unwrap())
}

#[test]
fn a_service_uses_its_own_endpoint_or_the_common_one_or_none() {
    let all = |name: &str| match name {
        "AWS_ENDPOINT_URL" => Some("https://all".to_owned()),
        "AWS_ENDPOINT_URL_API_GATEWAY" => Some("https://gateway".to_owned()),
        "AWS_ENDPOINT_URL_SSM" => Some(String::new()),
        _ => None,
    };
    assert_eq!(endpoint(all, "API Gateway").as_deref(), Some("https://gateway"));
    assert_eq!(endpoint(all, "CloudWatch").as_deref(), Some("https://all"));
    assert_eq!(endpoint(all, "SSM").as_deref(), Some("https://all"), "an empty variable is not an endpoint");
    assert_eq!(endpoint(|_| None, "SSM"), None);
}

#[tokio::test]
async fn credentials_and_region_are_those_that_lambda_sets() {
    let settings = environment_settings(|name| match name {
        "AWS_ACCESS_KEY_ID" => Some("key".to_owned()),
        "AWS_SECRET_ACCESS_KEY" => Some("secret".to_owned()),
        "AWS_SESSION_TOKEN" => Some("token".to_owned()),
        "AWS_REGION" => Some("eu-west-1".to_owned()),
        "AWS_USE_FIPS_ENDPOINT" => Some("TRUE".to_owned()),
        _ => None,
    })
    .unwrap();
    let credentials = settings.credentials_provider().unwrap().provide_credentials().await.unwrap();
    assert_eq!((credentials.access_key_id(), credentials.session_token()), ("key", Some("token")));
    assert_eq!(settings.region().map(AsRef::as_ref), Some("eu-west-1"));
    assert_eq!((settings.use_fips(), settings.use_dual_stack()), (Some(true), Some(false)));
    let bare = environment_settings(|_| None).unwrap();
    assert!(bare.credentials_provider().is_none(), "credentials come only from the environment");
}
