//! Tells an absent throttle from a throttle of zero, which closes a stage: the SDK reads both as zero.

use std::collections::HashMap;

use aws_sdk_apigateway::config::interceptors::FinalizerInterceptorContextMut;
use aws_sdk_apigateway::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_apigateway::error::BoxError;
use aws_sdk_apigateway::operation::get_stage::GetStageOutput;
use aws_sdk_apigateway::operation::get_stages::GetStagesOutput;
use aws_sdk_apigateway::operation::update_stage::UpdateStageOutput;
use aws_sdk_apigateway::types::MethodSetting;
use serde_json::Value;

/// A burst limit that API Gateway did not send.
const ABSENT: i32 = -1;

type Settings = Option<HashMap<String, MethodSetting>>;

/// Marks the method settings whose throttles are absent from the answer.
#[derive(Debug)]
pub(super) struct AbsentThrottles;

impl Intercept for AbsentThrottles {
    fn name(&self) -> &'static str {
        "AbsentThrottles"
    }

    fn modify_before_attempt_completion(
        &self,
        context: &mut FinalizerInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let body = context.response().and_then(|response| response.body().bytes());
        let Some(answer) = body.and_then(|body| serde_json::from_slice::<Value>(body).ok()) else {
            return Ok(());
        };
        let Some(Ok(output)) = context.output_or_error_mut() else { return Ok(()) };
        if let Some(stage) = output.downcast_mut::<GetStageOutput>() {
            mark(&mut stage.method_settings, &answer);
        } else if let Some(stage) = output.downcast_mut::<UpdateStageOutput>() {
            mark(&mut stage.method_settings, &answer);
        } else if let Some(stages) = output.downcast_mut::<GetStagesOutput>() {
            let answers = answer.get("item").and_then(Value::as_array).into_iter().flatten();
            let stages = stages.item.iter_mut().flatten().zip(answers);
            stages.for_each(|(stage, answer)| mark(&mut stage.method_settings, answer));
        }
        Ok(())
    }
}

fn mark(settings: &mut Settings, stage: &Value) {
    for (method, setting) in settings.iter_mut().flatten() {
        let told = stage.get("methodSettings").and_then(|told| told.get(method));
        let tells = |limit| told.and_then(|told| told.get(limit)).is_some_and(Value::is_number);
        if !(tells("throttlingBurstLimit") && tells("throttlingRateLimit")) {
            setting.throttling_burst_limit = ABSENT;
        }
    }
}

/// Whether rate and burst are zero for every method. A method with settings of its own is not affected by those for all
/// methods. The rate is a configured float, so the comparison is exact.
pub(super) fn is_closed(settings: &HashMap<String, MethodSetting>) -> bool {
    let is_zero =
        |one: &MethodSetting| one.throttling_rate_limit() <= 0.0 && one.throttling_burst_limit() == 0;
    settings.contains_key("*/*") && settings.values().all(is_zero)
}
