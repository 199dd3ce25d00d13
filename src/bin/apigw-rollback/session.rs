//! Where the tool works: the person's credentials and region, and the function whose settings it takes.

use std::time::{Duration, SystemTime};

use apigw_rollback::cloud::aws::{Aws, AwsDiagnostics, Clients, find_credentials, personal_settings};
use apigw_rollback::config::Config;
use apigw_rollback::context::Context;
use apigw_rollback::model::trigger::UNKNOWN;
use aws_config::SdkConfig;
use chrono::{DateTime, SubsecRound, Utc};
use clap::{Args, ValueEnum};
use tokio::time::Instant;

use super::error::CliError;

/// What the deployed function is called, unless said otherwise.
const FUNCTION: &str = "apigw-rollback";

/// A person waits no longer than this.
const PATIENCE: Duration = Duration::from_mins(1);

#[derive(Clone, Debug, Args)]
#[expect(clippy::doc_markdown, reason = "the comments are the help text, which is no Markdown")]
pub(crate) struct Connection {
    /// The deployed function, whose settings are taken [default: $APIGW_ROLLBACK_FUNCTION or apigw-rollback]
    #[arg(long, value_name = "NAME")]
    function: Option<String>,
    /// Take the settings from this tool's own environment instead (PROTECTED_STAGES, PARAMETER_PREFIX and so on)
    #[arg(long, conflicts_with = "function")]
    local: bool,
    /// The profile of the AWS CLI to use [default: $AWS_PROFILE]
    #[arg(long, value_name = "NAME")]
    profile: Option<String>,
    /// The region of the API and the function [default: $AWS_REGION, or the profile's]
    #[arg(long, value_name = "CODE")]
    region: Option<String>,
    /// How to print
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
}

/// How to print.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    Text,
    /// For programs
    Json,
}

/// The clients and the function's settings.
pub(crate) struct Session {
    clients: Clients,
    settings: SdkConfig,
    config: Config,
    function: Option<String>,
    name: String,
    id: String,
}

/// A variable of this tool's own environment.
pub(crate) fn variable(name: &str) -> Option<String> {
    #[expect(clippy::disallowed_methods, reason = "this is where the environment is read")]
    let value = std::env::var(name).ok();
    value.filter(|value| !value.trim().is_empty())
}

/// The time now, as fine as anybody needs it.
pub(crate) fn now() -> DateTime<Utc> {
    #[expect(clippy::disallowed_methods, reason = "this is where the clock is read")]
    let now: DateTime<Utc> = SystemTime::now().into();
    now.trunc_subsecs(3)
}

impl Session {
    /// Finds credentials, region and settings, or says what to do.
    pub(crate) async fn open(connection: &Connection) -> Result<Self, CliError> {
        let system_roots = variable("SSL_CERT_FILE").is_some();
        let settings =
            personal_settings(connection.profile.as_deref(), connection.region.as_deref(), system_roots)
                .await;
        let settings = settings
            .map_err(|error| CliError::Usage(format!("connections to AWS cannot be set up: {error}")))?;
        let Some(region) = settings.region().map(|region| region.as_ref().to_owned()) else {
            return Err(CliError::Usage("no region is set: give --region, or set AWS_REGION".to_owned()));
        };
        find_credentials(&settings).await.map_err(|error| CliError::of(&error, &region))?;
        let clients = Clients::new(&settings);
        let name = connection.function.clone().or_else(|| variable("APIGW_ROLLBACK_FUNCTION"));
        let name = name.unwrap_or_else(|| FUNCTION.to_owned());
        let id = format!("tool-{}-{}", now().timestamp_millis(), std::process::id());
        if connection.local {
            let get = |name: &str| if name == "AWS_REGION" { Some(region.clone()) } else { variable(name) };
            let config = Config::read(get).map_err(|error| CliError::Usage(error.to_string()))?;
            return Ok(Self { clients, settings, config, function: None, name, id });
        }
        let deadline = Instant::now() + PATIENCE;
        let found = clients.function(&name, deadline).await.map_err(|error| CliError::of(&error, &region))?;
        let Some(found) = found else {
            return Err(CliError::Function(format!(
                "there is no function `{name}` in the region `{region}`: give its name with --function or its region \
                 with --region"
            )));
        };
        if let Some(why) = &found.hidden {
            return Err(CliError::Access(format!("Lambda does not show the settings of `{name}`: {why}")));
        }
        if !found.variables.contains_key("PROTECTED_STAGES")
            && !found.variables.contains_key("PARAMETER_PREFIX")
        {
            return Err(CliError::Function(format!(
                "the function `{name}` has neither PROTECTED_STAGES nor PARAMETER_PREFIX, so it is another one: give \
                 the right name with --function"
            )));
        }
        let home = found.arn.split(':').nth(3).filter(|home| !home.is_empty()).unwrap_or(&region).to_owned();
        let get = |name: &str| {
            if name == "AWS_REGION" { Some(home.clone()) } else { found.variables.get(name).cloned() }
        };
        let config = Config::read(get)
            .map_err(|error| CliError::Usage(format!("the function `{name}` has {error}: deploy it anew")))?;
        Ok(Self { clients, settings, config, function: Some(found.arn), name, id })
    }

    /// The port, for calls that end in time.
    pub(crate) fn cloud(&self) -> Aws {
        self.clients.until(Instant::now() + PATIENCE)
    }

    /// The doctor's reads.
    pub(crate) fn clinic(&self) -> AwsDiagnostics {
        AwsDiagnostics::new(&self.settings, self.cloud())
    }

    /// The function's name, as it was given.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// A run that begins now.
    pub(crate) fn run<'a>(&'a self, cloud: &'a Aws) -> Context<'a, Aws> {
        let began = Instant::now();
        Context {
            cloud,
            config: &self.config,
            trigger: &UNKNOWN,
            id: &self.id,
            trace: None,
            function: self.function.as_deref(),
            now: now(),
            began,
            deadline: began + PATIENCE,
        }
    }

    /// The settings.
    pub(crate) fn config(&self) -> &Config {
        &self.config
    }
}
