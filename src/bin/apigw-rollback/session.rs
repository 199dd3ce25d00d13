//! The session of one command: the operator's credentials and Region, and the function's settings.

use std::time::{Duration, SystemTime};

use apigw_rollback::cloud::FunctionNow;
use apigw_rollback::cloud::aws::{
    Aws, AwsDiagnostics, AwsOperator, Caller, Clients, Roots, bundle, find_credentials, has_profile,
    personal_settings,
};
use apigw_rollback::config::Config;
use apigw_rollback::context::Context;
use apigw_rollback::model::trigger::UNKNOWN;
use aws_config::SdkConfig;
use chrono::{DateTime, SubsecRound, Utc};
use clap::{Args, ValueEnum};
use tokio::sync::OnceCell;
use tokio::time::Instant;

use super::error::CliError;
use super::output::print;

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
    /// Do not show texts that are longer than the screen in a pager [default pager: $PAGER, or less]
    #[arg(long)]
    no_pager: bool,
}

impl Connection {
    /// Whether long texts may be shown in a pager.
    pub(crate) fn pager(&self) -> bool {
        !self.no_pager
    }

    /// Whether the settings come from the local environment, and not from a function.
    pub(crate) fn is_local(&self) -> bool {
        self.local
    }

    /// Returns the same connection to another Region.
    pub(crate) fn in_region(&self, region: &str) -> Self {
        Self { region: Some(region.to_owned()), ..self.clone() }
    }

    /// Builds the connection that the words of an unfinished command line describe.
    pub(crate) fn of_words(words: &[String]) -> Self {
        let value = |option: &str| {
            let inline = format!("{option}=");
            words.iter().enumerate().find_map(|(nth, word)| match word.strip_prefix(&inline) {
                Some(value) => Some(value.to_owned()),
                None => words.get(nth + 1).filter(|_| word == option).cloned(),
            })
        };
        Self {
            function: value("--function"),
            local: words.iter().any(|word| word == "--local"),
            profile: value("--profile"),
            region: value("--region"),
            format: Format::Text,
            no_pager: true,
        }
    }
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
    log_group: Option<String>,
    name: String,
    id: String,
    operator: AwsOperator,
    caller: OnceCell<Option<Caller>>,
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

/// Refuses a profile that does not exist, as the AWS CLI does, even if the environment has keys: they may belong to another
/// account.
async fn is_known_profile(connection: &Connection) -> Result<(), CliError> {
    let (profile, from) = match (&connection.profile, variable("AWS_PROFILE")) {
        (Some(profile), _) => (profile.clone(), "--profile"),
        (None, Some(profile)) => (profile, "AWS_PROFILE"),
        (None, None) => return Ok(()),
    };
    match has_profile(&profile).await {
        Ok(true) => Ok(()),
        Ok(false) => Err(CliError::Access(format!(
            "the profile `{profile}` does not exist: correct {from}; `aws configure list-profiles` lists the profiles"
        ))),
        Err(error) => Err(CliError::Usage(format!("the files of the AWS CLI cannot be read: {error}"))),
    }
}

/// Returns the root certificates to trust. As for the AWS CLI, `AWS_CA_BUNDLE` names the only ones.
fn roots() -> Result<Roots, CliError> {
    match (variable("AWS_CA_BUNDLE"), variable("SSL_CERT_FILE")) {
        (Some(path), _) => bundle(&path).map_err(|why| {
            CliError::Usage(format!(
                "AWS_CA_BUNDLE: {why}; name a file with the root certificates to trust, or unset it"
            ))
        }),
        (None, Some(_)) => Ok(Roots::Systems),
        (None, None) => Ok(Roots::Amazons),
    }
}

/// Reads the deployed function and its settings.
async fn deployed(clients: &Clients, name: &str, region: &str) -> Result<(FunctionNow, Config), CliError> {
    let found = clients.function(name).await.map_err(|error| CliError::of(&error, region))?;
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
    if !found.variables.contains_key("PROTECTED_STAGES") && !found.variables.contains_key("PARAMETER_PREFIX")
    {
        return Err(CliError::Function(format!(
            "the function `{name}` has neither PROTECTED_STAGES nor PARAMETER_PREFIX, so it is not an apigw-rollback function: give \
             the right name with --function"
        )));
    }
    let home = found.arn.split(':').nth(3).filter(|home| !home.is_empty()).unwrap_or(region).to_owned();
    let get = |name: &str| {
        if name == "AWS_REGION" { Some(home.clone()) } else { found.variables.get(name).cloned() }
    };
    let config = Config::read(get).map_err(|error| {
        CliError::Usage(format!("the function `{name}` has {error}: deploy its stack again"))
    })?;
    Ok((found, config))
}

impl Session {
    /// Finds the credentials, the Region and the settings. A program that asked for JSON gets an error as JSON, too.
    pub(crate) async fn open(connection: &Connection) -> Result<Self, CliError> {
        let opened = Self::connect(connection).await;
        if let (Err(error), Format::Json) = (&opened, connection.format) {
            print(&format!("{}\n", error.as_json()))?;
        }
        opened
    }

    /// Like [`Session::open`], but prints nothing.
    pub(crate) async fn connect(connection: &Connection) -> Result<Self, CliError> {
        is_known_profile(connection).await?;
        let roots = roots()?;
        let settings =
            personal_settings(connection.profile.as_deref(), connection.region.as_deref(), &roots).await;
        let settings = settings
            .map_err(|error| CliError::Usage(format!("connections to AWS cannot be set up: {error}")))?;
        let Some(region) = settings.region().map(|region| region.as_ref().to_owned()) else {
            return Err(CliError::Usage("no Region is set: give --region or set AWS_REGION".to_owned()));
        };
        find_credentials(&settings).await.map_err(|error| match &connection.profile {
            Some(profile) => CliError::Access(format!(
                "the profile `{profile}` has no credentials: sign in, or check its settings ({})",
                error.message
            )),
            None => CliError::of(&error, &region),
        })?;
        let clients = Clients::new(&settings);
        let name = connection.function.clone().or_else(|| variable("APIGW_ROLLBACK_FUNCTION"));
        let name = name.unwrap_or_else(|| FUNCTION.to_owned());
        let operator = AwsOperator::new(&settings, &clients);
        let session = |config| Self {
            clients: clients.clone(),
            settings: settings.clone(),
            config,
            function: None,
            log_group: None,
            name: name.clone(),
            id: format!("tool-{}-{}", now().timestamp_millis(), std::process::id()),
            operator,
            caller: OnceCell::new(),
        };
        if connection.local {
            let get = |name: &str| if name == "AWS_REGION" { Some(region.clone()) } else { variable(name) };
            let config = Config::read(get).map_err(|error| CliError::Usage(error.to_string()))?;
            return Ok(session(config));
        }
        let (found, config) = deployed(&clients, &name, &region).await?;
        Ok(Self { function: Some(found.arn), log_group: found.log_group, ..session(config) })
    }

    /// Returns the AWS clients, with a new time limit.
    pub(crate) fn cloud(&self) -> Aws {
        self.cloud_for(PATIENCE)
    }

    /// Returns the AWS clients, with this time limit.
    pub(crate) fn cloud_for(&self, patience: Duration) -> Aws {
        let deadline = Instant::now() + patience;
        self.clients.until(deadline, deadline)
    }

    /// The clients for the reads that only the tool needs.
    pub(crate) fn operator(&self) -> &AwsOperator {
        &self.operator
    }

    /// Returns the owner of the credentials; `None` if STS does not say so.
    pub(crate) async fn caller(&self) -> Option<&Caller> {
        self.caller.get_or_init(async || self.operator.caller().await.ok()).await.as_ref()
    }

    /// Returns the account and the Region in which the session acts, for people.
    pub(crate) async fn place(&self) -> String {
        let of_function =
            || self.function.as_deref().and_then(|arn| arn.split(':').nth(4)).map(str::to_owned);
        let account = match self.caller().await {
            Some(caller) => Some(caller.account.clone()),
            None => of_function(),
        };
        let account = account.filter(|account| !account.is_empty()).unwrap_or_else(|| "unknown".to_owned());
        format!("account {account}, {}", self.config.region)
    }

    /// The function's ARN, unless the settings are local.
    pub(crate) fn function(&self) -> Option<&str> {
        self.function.as_deref()
    }

    /// Returns the function's log group.
    pub(crate) fn log_group(&self) -> String {
        self.log_group.clone().unwrap_or_else(|| format!("/aws/lambda/{}", self.function_name()))
    }

    /// Returns the function's name, also if the operator gave an ARN.
    pub(crate) fn function_name(&self) -> &str {
        self.function().and_then(|arn| arn.split(':').nth(6)).unwrap_or(&self.name)
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
        self.run_for(cloud, PATIENCE)
    }

    /// Returns the context of a run that begins now, with this time limit.
    pub(crate) fn run_for<'a>(&'a self, cloud: &'a Aws, patience: Duration) -> Context<'a, Aws> {
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
            deadline: began + patience,
        }
    }

    /// The function's settings.
    pub(crate) fn config(&self) -> &Config {
        &self.config
    }
}
