//! Hides the values of stage variables, which are often tokens: only their names, and which of them changed, leave the
//! function. No I/O.

use std::collections::BTreeMap;

use super::plan::Plan;
use super::release::{Canary, Release};
use super::report::{Details, Report};

const UNCHANGED: &str = "(hidden)";
const OLD: &str = "(hidden, old value)";
const NEW: &str = "(hidden, new value)";

type Variables = BTreeMap<String, String>;

/// Returns a report without the values of stage variables. What a command asks for is in its answer, so the details of a
/// stage are left out.
pub fn report(report: &Report) -> Report {
    let (before, after) = (report.before.as_ref(), report.after.as_ref());
    let details = report.details.clone().filter(|details| matches!(details, Details::Sweep(_)));
    Report {
        before: before.map(|before| release(before, after, OLD)),
        after: after.map(|after| release(after, before, NEW)),
        details,
        ..report.clone()
    }
}

/// Returns a plan for the hook without the values of stage variables. Its steps are never sent.
#[must_use]
pub fn plan(plan: &Plan) -> Plan {
    Plan {
        from: release(&plan.from, Some(&plan.to), OLD),
        to: release(&plan.to, Some(&plan.from), NEW),
        ..plan.clone()
    }
}

/// Hides the values of a release. Those that differ from the other release's become `differs`.
fn release(release: &Release, other: Option<&Release>, differs: &str) -> Release {
    let hide = |values: &Variables, others: Option<&Variables>| -> Variables {
        let word = |name: &String, value: &String| match others {
            Some(others) if others.get(name) != Some(value) => differs.to_owned(),
            Some(_) | None => UNCHANGED.to_owned(),
        };
        values.iter().map(|(name, value)| (name.clone(), word(name, value))).collect()
    };
    let canary = release
        .canary
        .as_ref()
        .map(|canary| Canary { overrides: hide(&canary.overrides, None), ..canary.clone() });
    Release {
        variables: hide(&release.variables, other.map(|other| &other.variables)),
        canary,
        ..release.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn release_of(variables: &[(&str, &str)]) -> Release {
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Release { deployment: "d".into(), variables: variables.collect(), ..Release::default() }
    }

    #[test]
    fn names_and_changes_stay_and_values_go() {
        let bad = release_of(&[("token", "s3cret-2"), ("same", "s3cret-3"), ("added", "s3cret-4")]);
        let good = release_of(&[("token", "s3cret-1"), ("same", "s3cret-3")]);
        for (other, differs, expected) in [
            (Some(&good), OLD, [("added", OLD), ("same", UNCHANGED), ("token", OLD)]),
            (Some(&bad), OLD, [("added", UNCHANGED), ("same", UNCHANGED), ("token", UNCHANGED)]),
            (None, NEW, [("added", UNCHANGED), ("same", UNCHANGED), ("token", UNCHANGED)]),
        ] {
            assert_eq!(release(&bad, other, differs), release_of(&expected));
        }
    }
}
