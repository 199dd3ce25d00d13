//! `open`: links to the pages of the AWS console about a stage and the function.

use std::fmt::Write as _;

use apigw_rollback::model::report::{Details, Report};
use apigw_rollback::model::stage::StageRef;
use serde_json::json;

use super::actions::{StageName, status};
use super::error::{CliError, Exit};
use super::output::print;
use super::session::{Connection, Format, Session};
use super::style::{cell, drawn, table};

/// Prints a link for each page, with a label.
pub(crate) async fn run(connection: &Connection, stage: Option<&StageName>) -> Result<Exit, CliError> {
    let session = Session::open(connection).await?;
    let (reports, _) = status(&session, stage).await?;
    let console = Console::new(session.function(), &session.config().region);
    let mut links = Vec::new();
    for report in &reports {
        links.extend(of_stage(&console, report));
    }
    links.push(("log".to_owned(), console.log(&session.log_group())));
    links.push(("function".to_owned(), console.function(session.function_name())));
    links.push(("dashboard".to_owned(), console.dashboard()));
    if connection.format == Format::Json {
        let links: Vec<_> = links.iter().map(|(label, url)| json!({"label": label, "url": url})).collect();
        print(&format!("{}\n", json!({"links": links})))?;
    } else {
        let mut rows = table(&[]);
        // A link that is wrapped is not a link.
        rows.set_content_arrangement(comfy_table::ContentArrangement::Disabled);
        for (label, url) in &links {
            rows.add_row([cell(label, None), cell(url, None)]);
        }
        print(&format!("{}\n", drawn(rows)))?;
    }
    Ok(Exit::of(&reports))
}

fn of_stage(console: &Console, report: &Report) -> Vec<(String, String)> {
    let Some(stage) = &report.stage else { return vec![] };
    let mut links = vec![(format!("stage {stage}"), console.stage(stage))];
    if let Some(Details::Status(status)) = &report.details {
        for alarm in &status.alarms {
            links.push((format!("alarm {}", alarm.name), console.alarm(&alarm.name)));
        }
    }
    links
}

/// The console of a partition and a Region.
struct Console {
    base: String,
    region: String,
}

impl Console {
    /// The function's ARN names the partition; without it, the Region does.
    fn new(function: Option<&str>, region: &str) -> Self {
        let partition = function.and_then(|arn| arn.split(':').nth(1));
        let partition = partition.unwrap_or(match region.split('-').next() {
            Some("cn") => "aws-cn",
            Some("us") if region.starts_with("us-gov-") => "aws-us-gov",
            _ => "aws",
        });
        let base = match partition {
            "aws-cn" => format!("https://{region}.console.amazonaws.cn"),
            "aws-us-gov" => "https://console.amazonaws-us-gov.com".to_owned(),
            _ => format!("https://{region}.console.aws.amazon.com"),
        };
        Self { base, region: region.to_owned() }
    }

    fn stage(&self, stage: &StageRef) -> String {
        let (Self { base, region }, api) = (self, encoded(&stage.api));
        let page =
            if stage.protocol.is_v2() { "deploy/stages".to_owned() } else { format!("apis/{api}/stages") };
        format!("{base}/apigateway/main/{page}?api={api}&region={region}")
    }

    fn cloudwatch(&self, page: &str) -> String {
        let Self { base, region } = self;
        format!("{base}/cloudwatch/home?region={region}#{page}")
    }

    fn alarm(&self, name: &str) -> String {
        self.cloudwatch(&format!("alarmsV2:alarm/{}", encoded(name)))
    }

    /// The console encodes a log group's name twice, with `$` instead of the second `%`.
    fn log(&self, group: &str) -> String {
        let group = encoded(group).replace('%', "$25");
        self.cloudwatch(&format!("logsV2:log-groups/log-group/{group}"))
    }

    /// CloudWatch's own dashboard of API Gateway.
    fn dashboard(&self) -> String {
        self.cloudwatch("home:dashboards/ApiGateway")
    }

    fn function(&self, name: &str) -> String {
        let Self { base, region } = self;
        format!("{base}/lambda/home?region={region}#/functions/{}?tab=monitoring", encoded(name))
    }
}

/// Encodes a text for a link.
fn encoded(text: &str) -> String {
    let mut coded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            coded.push(char::from(byte));
        } else {
            let _ = write!(coded, "%{byte:02X}");
        }
    }
    coded
}
