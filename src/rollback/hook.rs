//! The hook: a function of the user that the run calls before and after a rollback, to capture data or to repair. It
//! has no say in the decision, and the rollback waits for it only as long as the settings allow.

use serde_json::json;

use crate::cloud::Outbox;
use crate::config::Hook;
use crate::context::Context;
use crate::model::hidden;
use crate::model::plan::Plan;

/// Calls the hook before the rollback and waits for its answer (`Invoke`). Returns a warning if the call failed.
pub async fn before<C: Outbox>(context: &Context<'_, C>, hook: &Hook, plan: &Plan) -> Option<String> {
    let payload = payload(context, "before", plan);
    let call = context.cloud.invoke(&hook.function, &payload, true);
    match tokio::time::timeout(hook.patience, call).await {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(format!("the hook failed before the rollback: {error}")),
        Err(_) => Some(format!(
            "the hook `{}` did not answer within {} s before the rollback",
            hook.function,
            hook.patience.as_secs()
        )),
    }
}

/// Calls the hook after the rollback without waiting for its answer (asynchronous `Invoke`). Returns a warning if the
/// call failed.
pub async fn after<C: Outbox>(context: &Context<'_, C>, plan: &Plan) -> Option<String> {
    let hook = context.config.hook.as_ref()?;
    let payload = payload(context, "after", plan);
    let answer = context.cloud.invoke(&hook.function, &payload, false).await;
    answer.err().map(|error| format!("the hook was not called after the rollback: {error}"))
}

fn payload<C>(context: &Context<'_, C>, phase: &str, plan: &Plan) -> String {
    let hidden = (!context.config.show_variables).then(|| hidden::plan(plan));
    let plan = hidden.as_ref().unwrap_or(plan);
    json!({"schema": 1, "phase": phase, "run": context.id, "plan": plan, "signal": context.trigger})
        .to_string()
}
