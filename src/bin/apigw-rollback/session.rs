//! The session of one command: the operator's credentials and Region, and the function's settings.

use std::time::{Duration, SystemTime};

use apigw_rollback::cloud::aws::{Aws, AwsDiagnostics, Clients, find_credentials, personal_settings};
use apigw_rollback::config::Config;
use apigw_rollback::context::Context;
use apigw_rollback::model::trigger::UNKNOWN;
use aws_config::SdkConfig;
use chrono::{DateTime, SubsecRound, Utc};
use clap::{Args, ValueEnum};
use tokio::time::Instant;

use super::actions::print;
use super::error::CliError;

/// The default name of the deployed function.
const FUNCTION: &str = "apigw-rollback";

/// The time limit of one command, which an operator waits for.
const PATIENCE: Duration = Duration::from_mins(1);

#[derive(Clone, Debug, Args)]
#[expect(clippy::doc_markdown, reason = "the comments are the help text, which is no Markdown")]
pub(crate) struct Connection {
    /// The deployed function whose settings to use [default: $APIGW_ROLLBACK_FUNCTION or apigw-rollback]
    #[arg(long, value_name = "NAME")]
    function: Option<String>,
    /// Use the settings in the local environment instead (PROTECTED_STAGES, PARAMETER_PREFIX and so on)
    #[arg(long, conflicts_with = "function")]
    local: bool,
    /// The AWS CLI profile to use [default: $AWS_PROFILE]
    #[arg(long, value_name = "NAME")]
    profile: Option<String>,
    /// The Region of the API and the function [default: $AWS_REGION, or the profile's Region]
    #[arg(long, value_name = "CODE")]
    region: Option<String>,
    /// The output format
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
}

/// The output format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Text and tables for operators
    Text,
    /// JSON for programs
    Json,
}

/// The AWS clients and the function's settings.
pub(crate) struct Session {
    clients: Clients,
    settings: SdkConfig,
    config: Config,
    function: Option<String>,
    name: String,
    id: String,
}

/// Reads a variable of the local environment; a blank one counts as absent.
pub(crate) fn variable(name: &str) -> Option<String> {
    #[expect(clippy::disallowed_methods, reason = "this is where the environment is read")]
    let value = std::env::var(name).ok();
    value.filter(|value| !value.trim().is_empty())
}

/// Returns the current time, to the millisecond.
pub(crate) fn now() -> DateTime<Utc> {
    #[expect(clippy::disallowed_methods, reason = "this is where the clock is read")]
    let now: DateTime<Utc> = SystemTime::now().into();
    now.trunc_subsecs(3)
}

impl Session {
    /// Finds the credentials, the Region and the settings. A program that asked for JSON gets an error as JSON, too.
    pub(crate) async fn open(connection: &Connection) -> Result<Self, CliError> {
        let opened = Self::connect(connection).await;
        if let (Err(error), Format::Json) = (&opened, connection.format) {
            print(&format!("{}\n", error.as_json()));
        }
        opened
    }

    /// Like [`Session::open`], but prints nothing.
    pub(crate) async fn connect(connection: &Connection) -> Result<Self, CliError> {
        let system_roots = variable("SSL_CERT_FILE").is_some();
        let settings =
            personal_settings(connection.profile.as_deref(), connection.region.as_deref(), system_roots)
                .await;
        let settings = settings
            .map_err(|error| CliError::Usage(format!("connections to AWS cannot be set up: {error}")))?;
        let Some(region) = settings.region().map(|region| region.as_ref().to_owned()) else {
            return Err(CliError::Usage("no Region is set: give --region or set AWS_REGION".to_owned()));
        };
        find_credentials(&settings).await.map_err(|error| match &connection.profile {
            Some(profile) => CliError::Access(format!(
                "the profile `{profile}` does not exist or has no credentials: check --profile, or sign in ({})",
                error.message
            )),
            None => CliError::of(&error, &region),
        })?;
        let clients = Clients::new(&settings);
        let name = connection.function.clone().or_else(|| variable("APIGW_ROLLBACK_FUNCTION"));
        let name = name.unwrap_or_else(|| FUNCTION.to_owned());
        let id = format!("tool-{}-{}", now().timestamp_millis(), std::process::id());
        if connection.local {
            let get = |name: &str| if name == "AWS_REGION" { Some(region.clone()) } else { variable(name) };
            let config = Config::read(get).map_err(|error| CliError::Usage(error.to_string()))?;
            return Ok(Self { clients, settings, config, function: None, name, id });
        }
        let found = clients.function(&name).await.map_err(|error| CliError::of(&error, &region))?;
        let Some(found) = found else {
            return Err(CliError::Function(format!(
                "there is no function `{name}` in the Region `{region}`: give its name with --function or its Region \
                 with --region"
            )));
        };
        if let Some(why) = &found.hidden {
            return Err(CliError::Access(format!(
                "Lambda does not return the settings of `{name}` ({why}): allow your own user or role to use their KMS key"
            )));
        }
        if !found.variables.contains_key("PROTECTED_STAGES")
            && !found.variables.contains_key("PARAMETER_PREFIX")
        {
            return Err(CliError::Function(format!(
                "the function `{name}` has neither PROTECTED_STAGES nor PARAMETER_PREFIX, so it is not an apigw-rollback function: give \
                 the right name with --function"
            )));
        }
        let home = found.arn.split(':').nth(3).filter(|home| !home.is_empty()).unwrap_or(&region).to_owned();
        let get = |name: &str| {
            if name == "AWS_REGION" { Some(home.clone()) } else { found.variables.get(name).cloned() }
        };
        let config = Config::read(get).map_err(|error| {
            CliError::Usage(format!("the function `{name}` has {error}: deploy its stack again"))
        })?;
        Ok(Self { clients, settings, config, function: Some(found.arn), name, id })
    }

    /// Returns the AWS clients, with a new time limit.
    pub(crate) fn cloud(&self) -> Aws {
        let deadline = Instant::now() + PATIENCE;
        self.clients.until(deadline, deadline)
    }

    /// Returns the clients for the doctor's reads.
    pub(crate) fn clinic(&self) -> AwsDiagnostics {
        AwsDiagnostics::new(&self.settings, self.cloud())
    }

    /// The function's name, as the operator gave it.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Returns the context of a run that begins now.
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

    /// The function's settings.
    pub(crate) fn config(&self) -> &Config {
        &self.config
    }
}
