//! The hook: a function of the user's that is called before and after a rollback, to capture data or to repair.
//! It never decides anything, and a rollback waits for it only as long as the settings say.

use serde_json::json;

use crate::cloud::Cloud;
use crate::context::Run;
use crate::model::plan::Plan;
use crate::model::report::Caller;

/// Calls the hook before anything is touched, and waits for its answer. Returns what went wrong.
pub async fn before<C: Cloud>(run: &Run<'_, C>, plan: &Plan, caller: &Caller) -> Option<String> {
    let hook = run.config.hook.as_ref()?;
    let payload = payload(run, "before", plan, caller);
    let call = run.cloud.invoke(&hook.function, &payload, true);
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

/// Calls the hook after the stage is back, without waiting for it. Returns what went wrong.
pub async fn after<C: Cloud>(run: &Run<'_, C>, plan: &Plan, caller: &Caller) -> Option<String> {
    let hook = run.config.hook.as_ref()?;
    let payload = payload(run, "after", plan, caller);
    let answer = run.cloud.invoke(&hook.function, &payload, false).await;
    answer.err().map(|error| format!("the hook was not called after the rollback: {error}"))
}

fn payload<C: Cloud>(run: &Run<'_, C>, phase: &str, plan: &Plan, caller: &Caller) -> String {
    json!({"schema": 1, "phase": phase, "run": run.id, "plan": plan, "signal": caller}).to_string()
}
