//! Promotion: a proven candidate becomes the known-good release.

use crate::cloud::{Alarms, Components, Gateway, Parameters};
use crate::context::Context;
use crate::model::records::Candidate;
use crate::model::report::{Outcome, Report};
use crate::model::stage::StageRef;
use crate::sweep::record::{Recording, record};

/// Records a proven candidate as the known-good release if it is still live, and nobody has written about it meanwhile.
pub async fn promote<C: Gateway + Components + Parameters + Alarms>(
    context: &Context<'_, C>,
    stage: &StageRef,
    candidate: &Candidate,
) -> Report {
    // A command need not name its sender.
    let nameless = if context.trigger.is_operator() { "an unknown operator" } else { "sweep" };
    let recording = Recording {
        label: candidate.label.clone(),
        note: candidate.note.clone(),
        who: Some(context.trigger.name.clone().unwrap_or_else(|| nameless.to_owned())),
        irreversible: Some(candidate.irreversible),
        expected: Some(candidate),
        outcome: Outcome::Promoted,
    };
    record(context, stage, recording).await
}
