#!/usr/bin/env python3
"""Removes each guard from the engine, one at a time, and checks that a test fails.

A passing simulation proves nothing unless it fails when it should. For each entry of GUARDS, this script removes the
guard from a copy of the sources. Then a scenario, the enumeration or a test of the faults must fail, or else a seed of
the simulation.

    guards.py [NAME ...]        without a name, all guards
"""

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
COPY = ROOT / "target" / "guards"
SEEDS = os.environ.get("SEEDS", "10000")

# The name of the guard; then for each place the file, the code, and the code without the guard.
GUARDS = [
    ("an alarm that has left ALARM does nothing", "src/decide/mod.rs",
     "if now.alarm.state != State::Alarm {", "if false {", "src/decide/testimony.rs",
     "        return if guarding.unresolved.is_empty() { Testimony::Quiet } else { unreadable(guarding) };\n", ""),
    ("an operator's hold is respected", "src/decide/preconditions.rs",
     "Some(hold) if hold.until > now =>", "Some(hold) if hold.until > now && hold.schema > 1 =>"),
    ("a hold ends at its time", "src/decide/preconditions.rs",
     "Some(hold) if hold.until > now =>", "Some(hold) if hold.until > now || hold.schema == 1 =>"),
    ("an alarm does not undo a change after it", "src/decide/preconditions.rs",
     "|| is_judged(alarm, subject, changed_at, now)", "|| changed_at > DateTime::UNIX_EPOCH || is_judged(alarm, subject, changed_at, now)"),
    ("a change after the alarm has the time of a full evaluation", "src/decide/testimony.rs",
     "let evaluated = now > changed_at + guarding.window + PUBLISHED_LATE + CLOCK_SKEW;", "let evaluated = now > changed_at;"),
    ("data acquits a change even after a full evaluation", "src/decide/testimony.rs",
     "Some(later) => later", "Some(_) if evaluated => true, Some(later) => later"),
    ("data from before a change does not accuse it", "src/decide/testimony.rs",
     "&& point.begins > changed_at + COUNTED_LATE", ""),
    ("a change in the alarm's second may be from after it", "src/decide/testimony.rs",
     "changed_at >= moment.trunc_subsecs(0)", "changed_at > moment"),
    ("trouble from before the release acquits it", "src/decide/testimony.rs",
     "let began = began.filter(|point| point.ends <= live_since)?;", "let began = began.filter(|point| point.ends < DateTime::UNIX_EPOCH)?;"),
    ("a breach that goes on does not convict a release that is newer", "src/decide/testimony.rs",
     "Some(later) => latest_breach(&[evaluated.as_slice(), later.as_slice()].concat()).copied(),",
     "Some(later) => later.iter().rfind(|point| point.reading == Reading::Breaching).copied(),"),
    ("a fast alarm convicts nobody by itself", "src/decide/testimony.rs",
     "    if alarm.is_fast() {", "    if alarm.is_fast() && guilt.is_none() {"),
    ("an acquittal is only for what was tested", "src/decide/testimony.rs",
     "        _ => Err(()),", "        _ => Ok(Some(Measure::Failed)),"),
    ("trouble from before excuses a release", "src/decide/guilt.rs",
     "let Some(trouble) = self.trouble(before) else", "let Some(trouble) = self.trouble(before).filter(|_| self.bar < 0.0) else"),
    ("trouble that has ended excuses nothing later", "src/decide/guilt.rs",
     "self.recovered(live, share(bad, requests))", "self.recovered(live, share(bad, requests)).filter(|_| self.bar < 0.0)"),
    ("a release that is much worse than the known-good one is convicted", "src/decide/guilt.rs",
     "            (true, _) => Verdict::Convicted,", "            (_, true) => Verdict::Acquitted,\n            (true, false) => Verdict::Convicted,"),
    ("a conviction takes the whole e-value", "src/decide/guilt.rs", "bar: -terms.alpha.ln()", "bar: -terms.alpha.ln() / 100.0"),
    ("a canary is compared with its base", "src/decide/guilt.rs",
     "if has_base { pairs } else { alone }", "if has_base && pairs < 0.0 { pairs } else { alone }"),
    ("requests from before the release do not convict it", "src/decide/counters.rs",
     "bucket.begins >= from", "bucket.begins >= from - KEPT"),
    ("requests that are counted late do not convict", "src/decide/counters.rs",
     "Source::OwnMetrics => began.at + COUNTED_LATE,", "Source::OwnMetrics => began.at,"),
    ("a difference of the clocks convicts nobody", "src/decide/counters.rs",
     "if began.certain { from } else { from + CLOCK_SKEW }", "from"),
    ("only requests of a known-good release that a sweep saw live acquit", "src/decide/counters.rs",
     "seen.map(|seen| (seen - CLOCK_SKEW).min(began.at));", "seen.or(Some(began.at)).map(|_| began.at);"),
    ("the known-good release is not acquitted by its own requests", "src/decide/counters.rs",
     "good.filter(|_| !is_known_good)", "good.filter(|_| !is_known_good || is_known_good)"),
    ("a refused notification does not replace another run's mark", "src/notify/marks.rs",
     "if is_marked { Write::Overwrite } else { Write::Create }", "if is_marked { Write::Overwrite } else { Write::Overwrite }"),
    ("a muted alarm accuses nobody", "src/decide/testimony.rs",
     "if let Muted::By(rule) = &guarding.muted {", "if let (Muted::By(rule), true) = (&guarding.muted, guarding.targets.is_empty()) {"),
    ("an alarm that may be muted accuses nobody", "src/decide/testimony.rs",
     "Muted::Unknown(why) => {", "Muted::Unknown(why) if why.is_empty() => {",
     "src/decide/testimony.rs", "Muted::No | Muted::By(_) => Testimony::Accuses,", "_ => Testimony::Accuses,"),
    ("a message does not say what an alarm is about", "src/decide/mod.rs",
     "if now.target(&observed.stage, api_names).is_none() {", "if now.target(&observed.stage, api_names).is_none() && !now.targets.is_empty() {"),
    ("a change rests on a look of at most half a second before", "src/cloud/seen.rs",
     "if at.elapsed() > FRESH {", "if at.elapsed() > FRESH * 1000 {"),
    ("a release outside the rollback window is left alone", "src/decide/preconditions.rs",
     "if now - live_since > window =>", "if now - live_since > window * 1000 =>"),
    ("the cooldown is respected", "src/decide/budget.rs",
     "&& now - last < policy.cooldown", "&& now - last < TimeDelta::zero()"),
    ("the daily maximum is respected", "src/decide/budget.rs", "if times >= most {", "if times >= 1000 + most {"),
    ("alarms of another source do not hold those of the users", "src/decide/budget.rs",
     "automatic().filter(|past| accuser.other_source || !past.other_source)", "automatic()"),
    ("an alarm that nobody wired does nothing", "src/model/admission.rs",
     "if !is_wired && !begins_with_one(name, &self.unwired) {", "if !is_wired && self.wired_to.len() > 9 {"),
    ("an alarm whose name is not allowed does nothing", "src/model/admission.rs",
     "let by_settings = self.allowed.is_empty() || begins_with_one(name, &self.allowed);", "let by_settings = true;"),
    ("an alarm of many stages asks API Gateway about none", "src/observe/resolve.rs",
     "    if by == NamedBy::AlarmOfMany {", "    if false {"),
    ("a composite alarm lends its name to no other", "src/decide/testimony.rs",
     "if guarding.speaks_by_leaves\n        && let Some(reason)", "if guarding.leaves.is_empty()\n        && let Some(reason)"),
    ("only the stage's own metrics prove a release", "src/decide/testimony.rs",
     ".filter(|metric| is_own(metric, subject)).cloned()", ".cloned()"),
    ("a policy reaches no component of others", "src/config/mod.rs",
     "self.foreign_component(stage, &on_record.policy)", "self.foreign_component(stage, &PolicyOverrides::default())"),
    ("a mapping leads only to the APIs of the settings", "src/observe/components.rs",
     "if !config.may_map_to(&target.api, stage) {", "if false {"),
    ("people are notified of one alarm ten times a day", "src/notify/daily.rs",
     "std::cmp::Ordering::Greater => Turn::Over,", "std::cmp::Ordering::Greater => Turn::Free,"),
    ("the values of stage variables stay in the function", "src/config/mod.rs",
     "if self.show_variables {", "if self.pin {"),
    ("an irreversible release is not rolled back", "src/decide/mod.rs",
     "observed.on_record.irreversible(&live.release)", "observed.on_record.irreversible(&live.release).filter(|_| false)"),
    ("observe mode does not write", "src/decide/mod.rs",
     "if !operator && policy.mode == Mode::Observe {", "if !operator && policy.mode == Mode::Observe && policy.max_rollbacks > 1000 {"),
    ("the known-good release is not rolled back to itself", "src/decide/mod.rs",
     "if live.release == to {", "if live.release == to && version < 0 {"),
    ("the check refuses a plan that does not lead to the record", "src/decide/mod.rs",
     "let plan = steps_between(observed, live, to, version, policy);",
     "let to = Release { variables: std::collections::BTreeMap::new(), ..to }; let plan = steps_between(observed, live, to, version, policy);"),
    ("an old event does nothing", "src/signal/triage.rs",
     "bounds.now - at <= max_age", "bounds.now - at <= max_age * 1000"),
    ("another account's alarm does nothing", "src/signal/triage.rs",
     "let origin = alarm.origin();", "if bounds.home.account.is_some() { return Ok(()); } let origin = alarm.origin();"),
    ("a release must bake", "src/decide/evidence.rs",
     "if !by_operator && now < ends {", "if !by_operator && now < ends - policy.bake {"),
    ("a redeployed release bakes again", "src/model/records.rs",
     "changed_at.max(self.first_seen)", "changed_at.min(self.first_seen)"),
    ("an alarm during the bake time blocks the promotion", "src/observe/evidence.rs",
     "if fired {", "if fired && guarding.is_empty() {"),
    ("a release without traffic is not promoted", "src/decide/evidence.rs",
     "samples.is_none_or(|samples| samples <= 0.0)", "samples.is_none_or(|samples| samples < 0.0)"),
    ("a release in quarantine is not promoted", "src/decide/evidence.rs",
     "if on_record.rollbacks.quarantines(&candidate.release) {", "if on_record.rollbacks.past.len() > 1000 {",
     "src/rollback/incident.rs", "let by_incident = match read(context, &context.config.names.incident(stage, fingerprint)).await? {",
     "let by_incident = match read(context, &context.config.names.incident(stage, \"none\")).await? {",
     "src/rollback/incident.rs", "let entry = rollbacks.quarantine(fingerprint)?;", "let entry = rollbacks.quarantine(\"none\")?;"),
    ("the sweep makes up for lost events", "src/decide/upkeep.rs",
     "one.testimony == Testimony::Accuses || in_doubt(one);", "one.alarm.alarm.name.is_empty() && in_doubt(one);"),
    ("an older alarm does not hide the one that accuses the release", "src/decide/upkeep.rs",
     "(one.metrics.is_empty(), in_doubt(one), is_late(one), one.alarm.window)",
     "(in_doubt(one), fired_at(one) >= live.updated_at, one.alarm.window)",
     "src/sweep/reconcile.rs", "if !report.reason.as_ref().is_some_and(is_about_the_alarm) {", "if !report.reason.as_ref().is_some_and(is_about_the_alarm) || stage.stage.len() < 1000 {"),
    ("a suppressed alarm accuses nobody", "src/decide/testimony.rs",
     "if let Some(by) = &guarding.alarm.suppressed_by {",
     "if let Some(by) = guarding.alarm.suppressed_by.as_ref().filter(|by| by.is_empty()) {"),
    ("an alarm with disabled actions accuses nobody", "src/decide/testimony.rs",
     "if !guarding.actions_enabled {", "if guarding.alarm.name.is_empty() {"),
    ("an alarm by missing data accuses nobody", "src/decide/testimony.rs",
     "if alarm.only_missing_data {", "if alarm.only_missing_data && alarm.name.is_empty() {"),
    ("an alarm without data does not silence one with data", "src/decide/testimony.rs",
     "None => return accuses(guarding),", "None if abstains.is_none() => return accuses(guarding), None => {}"),
    ("an alarm of another account accuses nobody", "src/decide/testimony.rs",
     "if let (Some(ours), Some(theirs)) = (&home.account, foreign_account(alarm, home)) {",
     "if let (Some(ours), Some(theirs)) = (&home.account, foreign_account(alarm, home).filter(String::is_empty)) {"),
    ("a neighbor's alarm behind a composite alarm accuses nobody", "src/model/guarding_alarm.rs",
     "move |leaf: &&Leaf| !by_leaves ||", "move |leaf: &&Leaf| by_leaves || !by_leaves ||"),
    ("an alarm that cannot be resolved blocks the promotion", "src/decide/testimony.rs",
     "return Some(guarding.unresolved.join(\"; \"));", "return None;"),
    ("a query that fires and names no stage blocks the promotion", "src/decide/testimony.rs",
     "(is_query && fires).then(", "(is_query && fires && guarding.alarm.name.is_empty()).then("),
    ("the first release of a stage is pinned before it is recorded", "src/sweep/record.rs",
     "        && is_first\n", "        && is_first && stage.api.is_empty()\n",
     "src/sweep/record.rs", "    if is_first {\n", "    if is_first && record.stage.api.is_empty() {\n"),
    ("the known-good deployment is pinned", "src/decide/upkeep.rs",
     "(*how != Unpinned::Off && config.pin)", "(*how != Unpinned::Off && !config.pin)"),
    ("only one run wins a claim", "src/rollback/claim.rs",
     "if before == *incident {", "if before.stage == incident.stage {"),
    ("a notification is sent once", "src/notify/marks.rs",
     "&printed(&ours), Write::Create)", "&printed(&ours), Write::Overwrite)"),
    ("aliases roll back with the stage", "src/decide/mod.rs",
     "let mut to = record.release.over(live);",
     "let mut to = record.release.over(live); to.aliases.clone_from(&live.aliases);"),
    ("AutoDeploy is switched off only if the policy says so", "src/decide/mod.rs",
     "plan.stops_auto_deploy() && policy.auto_deploy == AutoDeploy::Hold", "plan.stops_auto_deploy() && policy.max_rollbacks > 1000"),
    ("a run that finishes another run's rollback does not report its own", "src/rollback/claim.rs",
     "if !plan.is_partly_done() {", "if !plan.is_partly_done() || plan.version > 0 {"),
    ("the rollback window starts with the stage's last change", "src/decide/preconditions.rs",
     "Some(seen.min(updated))", "Some(seen.max(updated).min(seen))"),
    ("aliases move before the stage that calls them", "src/decide/mod.rs",
     "let flush = policy.flush_cache && !stage.protocol.is_v2();",
     "steps.sort_by_key(|step| matches!(step, Step::Alias { .. })); let flush = policy.flush_cache && !stage.protocol.is_v2();"),
    ("an alarm whose name for the API can mean two does nothing", "src/decide/mod.rs",
     "means_only_this_api(observed)?;", ""),
    ("the pin follows the newest record", "src/rollback/pin.rs",
     "newest.release.deployment != deployment", "newest.release.deployment.is_empty()"),
    ("a later release keeps the mark of an irreversible one", "src/model/observed.rs",
     "(marked.release == *live || self.mark_since_record().is_some())", "(marked.release == *live)"),
    ("a mapping moves only to a stage that serves the release", "src/decide/mod.rs",
     "let flush = policy.flush_cache && !stage.protocol.is_v2();",
     "steps.sort_by_key(|step| !matches!(step, Step::Mapping { .. })); let flush = policy.flush_cache && !stage.protocol.is_v2();"),
    ("a rollback of several steps is claimed before the first step", "src/decide/claim.rs",
     "plan.steps.len() > 1 || plan.is_partly_done()", "plan.steps.len() > 1000"),
    ("a run that lost the claim of several steps waits for the other run", "src/rollback/claim.rs",
     "Claim::Lost(other_run) if is_under_way(&other_run, observed.at) =>", "Claim::Lost(other_run) if other_run.version < 0 =>"),
    ("only a run's own undo does not count as a fix", "src/decide/claim.rs",
     "incident.undone && (changed_at - incident.at).abs() < UNDOING", "(changed_at - incident.at).abs() < UNDOING * 6"),
    ("after the hook the stage is observed again", "src/rollback/mod.rs",
     "return Pass::AfterHook;", ""),
    ("a stage that no alarm would call for is reported", "src/sweep/watch.rs",
     "Some(causes) => Some(Reason::Unwatched(causes)),", "Some(_) => None,"),
    ("an alarm watches only if its event arrives", "src/decide/watch.rs",
     "way.is_none_or(|way| arrives(way.ends, way.faults, guard))", "way.is_none_or(|_| true)"),
    ("an alarm that cannot fire does not watch", "src/decide/watch.rs", "(faults, all_are_deaf)", "(faults, false)"),
    ("an alarm that calls for no protected stage is reported", "src/sweep/watch.rs",
     "others.extend(without_effect(&world.alarms, &protected));", ""),
    ("the sweep reports the rollback of a dead run", "src/decide/upkeep.rs",
     "unreported(facts, live, now, &mut on_record, &mut actions);", ""),
    ("a release in quarantine is not restored", "src/decide/mod.rs",
     "    is_not_quarantined(observed, version, record)?;\n", ""),
    ("a deployment that cannot be served is not restored", "src/decide/mod.rs",
     "    can_be_served(observed, version, record)?;\n", ""),
    ("a missing component holds the whole release", "src/decide/mod.rs",
     "if !observed.components.missing.is_empty() && policy", "if observed.components.missing.len() > 9 && policy"),
    ("an alias that CodeDeploy moves is left alone", "src/decide/mod.rs", "if !contested.is_empty() {", "if contested.len() > 9 {"),
    ("a mapping that gets no requests is not moved", "src/decide/mod.rs", "if !overridden.is_empty() {", "if overridden.len() > 9 {"),
    ("a managed stage is left alone", "src/decide/mod.rs", "if live.managed && plan.change().is_some() {", "if live.managed && plan.change().is_none() {"),
    ("the rollback window contains its end", "src/decide/preconditions.rs", "now - live_since > window =>", "now - live_since >= window =>"),
    ("a datapoint that ends with the change is from before it", "src/decide/testimony.rs", "point.ends <= live_since)", "point.ends < live_since)"),
    ("an unlisted stage without a record is left alone", "src/decide/mod.rs",
     "if !observed.configured && matches!", "if observed.live.is_none() && !observed.configured && matches!"),
    ("a step of a rollout needs its requests", "src/decide/rollout.rs",
     "    if seen >= needed {", "    if seen >= needed || needed > 0 {"),
    ("a step of a rollout lasts for its bake time", "src/decide/rollout.rs",
     "    if now < until {", "    if now < until && until < DateTime::UNIX_EPOCH {"),
    ("a rollout takes a convicted release off", "src/decide/rollout.rs",
     "    guilt(facts.observed, facts.policy).conviction().is_some()\n", "    guilt(facts.observed, facts.policy).conviction().is_some() && facts.now < DateTime::UNIX_EPOCH\n"),
    ("an alarm keeps a rollout where it is", "src/decide/rollout.rs",
     "            Testimony::Accuses | Testimony::Abstains(_) => {\n                Some(Move::Wait(",
     "            Testimony::Accuses | Testimony::Abstains(_) if facts.now < DateTime::UNIX_EPOCH => None,\n            Testimony::Accuses | Testimony::Abstains(_) => {\n                (facts.now < DateTime::UNIX_EPOCH).then_some(Move::Wait("),
    ("a hold keeps a rollout where it is", "src/decide/rollout.rs",
     "    if let Err(held) = is_not_held(&facts.observed.on_record, facts.now) {", "    if let Err(held) = is_not_held(&facts.observed.on_record, DateTime::<Utc>::MAX_UTC) {"),
    ("a look just after a step may be older than it", "src/decide/rollout.rs",
     "now - rollout.since < OUT_OF_DATE", "now - rollout.since < TimeDelta::zero()"),
    ("whoever writes the record of a rollout first wins", "src/rollout/record.rs",
     "Written::Version(written) if written <= version + 1 =>", "Written::Version(written) if written > 0 =>"),
    ("an abort outlasts a first step that began before it", "src/decide/rollout.rs",
     "if facts.stepped && is_aborted", "if false && is_aborted"),
    ("people are told of a canary that an ended rollout left", "src/decide/rollout_place.rs",
     "(is_on_stage && rollout.state.has_ended())", "(false && is_on_stage)"),
    ("people are told of a rollout whose run died", "src/rollout/mod.rs",
     "    if rollout.told || !rollout.state.is_news() {", "    if rollout.told || !rollout.state.is_news() || rollout.step < 99 {"),
    ("a step of a rollout is no new release to an alarm", "src/model/observed.rs",
     "LiveStage { updated_at: since.or(live.updated_at), ..live }", "LiveStage { updated_at: live.updated_at.or(since), ..live }"),
    ("a rollout begins on a known-good release only", "src/decide/rollout_begin.rs",
     "    if *base != record.release.over(base) {", "    if *base != record.release.over(base) && now < DateTime::UNIX_EPOCH {"),
    ("a release that was rolled back is not rolled out again", "src/decide/rollout_begin.rs",
     "(quarantines(incident) && was_bad)", "(quarantines(incident) && was_bad && incident.at < DateTime::UNIX_EPOCH)"),
    ("an alias that somebody else has moved stays", "src/decide/rollout.rs",
     "(is_ours && from != to)", "(is_ours || from != to)"),
    ("a rollout waits for CodeDeploy", "src/decide/rollout.rs",
     "|alias| facts.rollout.versions.contains_key(*alias)", "|alias| facts.rollout.versions.len() > 99 && facts.rollout.versions.contains_key(*alias)"),
    ("aliases that differ do not bake", "src/decide/rollout_place.rs",
     "places.first().filter(|_| places.len() == 1)", "places.last().filter(|_| !places.is_empty())"),
    ("a half-done rollback of aliases is finished", "src/decide/rollout.rs",
     "(Place::Between(_), RolloutState::Baking) if is_convicted(facts) =>", "(Place::Between(_), RolloutState::Baking) if is_convicted(facts) && now < rollout.started_at =>"),
    ("the errors of functions acquit nobody", "src/decide/guilt.rs",
     "self.traffic.source == Source::Deployments\n            && evidence(", "self.traffic.source != Source::OwnMetrics\n            && evidence("),
    ("a deploy between the stage and its components is left alone", "src/rollback/apply.rs",
     "    if plan.change().is_some() {\n", "    if plan.change().is_some() || !plan.steps.is_empty() {\n"),
    ("a run takes no other run's rollback for its own", "src/rollback/mod.rs",
     ".filter(|first| live == Some(&first.to))", ".filter(|first| live.is_some() && first.version > 0)"),
    ("what a sibling caused is not passed on", "src/regions/mod.rs",
     "|| report.signal.is_sibling() || report.people.by_sibling {", "{"),
    ("a report that a sibling caused is refused", "src/signal/sibling.rs",
     "let Some(bad) = detail.get(\"bad\").filter(|bad| !bad.is_null()) else {",
     "let ours = serde_json::json!({\"region\": region, \"function\": \"apigw-rollback\", \"id\": \"x\", \"label\": \"v2\", \"contents\": null});\n"
     "    let Some(bad) = Some(detail.get(\"bad\").filter(|bad| !bad.is_null()).unwrap_or(&ours)) else {"),
    ("the refusal of a report is no event", "src/notify/mod.rs",
     "report.outcome == Outcome::Rejected && report.signal.is_sibling()",
     "report.outcome == Outcome::Rejected && report.signal.is_sibling() && report.stage.is_some()"),
    ("only a listed Region is a sibling", "src/signal/sibling.rs",
     "if !siblings.contains(region) {", "if !siblings.contains(region) && siblings.len() > 9 {"),
    ("only this account is a sibling's", "src/signal/sibling.rs",
     "Some(ours) if ours == account => {}", "Some(ours) if ours == account || !account.is_empty() => {}"),
    ("a release that is known-good here is not rolled back by a sibling", "src/decide/sibling.rs",
     "        return Place::KnownGood;\n", "        return Place::Live;\n"),
    ("a stage follows a sibling once", "src/regions/mod.rs",
     "Siblings::Follow if known.is_some() =>", "Siblings::Follow if known.is_some_and(|known| known.cleared) =>"),
    ("a sibling is followed only if the stage serves the same release still", "src/decide/mod.rs",
     "if !sibling::still_serves(live, found) {", "if !sibling::still_serves(live, live) && live != found {"),
    ("a sibling's rollback does not use up what protects the users", "src/decide/budget.rs",
     "other_source: matches!(trigger, Trigger::Sibling { .. })\n                || ", "other_source: "),
    ("a sibling holds no canary that the requests convict", "src/decide/rollout.rs",
     "if guilt(facts.observed, facts.policy).conviction().is_none()\n        && let Some(why)", "if let Some(why)"),
    ("the description that every deployment has identifies none", "src/regions/mod.rs",
     "bad.filter(|bad| good.as_ref() != Some(bad))", "bad"),
]


def copied() -> None:
    """Makes a fresh copy of the sources. It gets its own build folder, because cargo would mix up the two packages."""
    if COPY.exists():
        shutil.rmtree(COPY)
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, check=True, capture_output=True, text=True,
    ).stdout
    for name in listed.splitlines():
        if (ROOT / name).is_file():
            (COPY / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, COPY / name)


def tested(tests: str) -> tuple[str, str]:
    """Runs these tests of the copy; returns `caught`, `missed` or `broken`, and the first line of the failure."""
    environment = {**os.environ, "SEEDS": SEEDS, "CARGO_TARGET_DIR": str(ROOT / "target" / "guards-build"), "RUST_BACKTRACE": "0"}
    done = subprocess.run(
        ["cargo", "test", "--locked", "--quiet", "--test", "it", "--", tests],
        cwd=COPY, env=environment, capture_output=True, text=True,
    )
    if done.returncode == 0:
        return "missed", ""
    seed = re.search(r"^SEED=(\d+) .*?# (.*)$", done.stdout, re.MULTILINE)
    fault = re.search(r"^thread '((?:enumeration|faults|scenarios|simulation::rollouts)::\S+)'.*panicked at.*\n(.*)$", done.stdout, re.MULTILINE)
    if seed is not None:
        return "caught", f"seed {seed[1]}: {seed[2][:160]}"
    if fault is not None:
        return "caught", f"{fault[1]}: {fault[2][:160]}"
    return "broken", (done.stderr or done.stdout)[-2000:]


def main() -> int:
    wanted = sys.argv[1:]
    guards = [guard for guard in GUARDS if not wanted or guard[0] in wanted]
    if wanted and len(guards) != len(wanted):
        print("error: unknown guard: use the first string of an entry in GUARDS as its name", file=sys.stderr)
        return 2
    copied()
    failed = []
    for number, (name, *places) in enumerate(guards, 1):
        began = time.monotonic()
        texts = {}
        for file, there, without in zip(*[iter(places)] * 3, strict=True):
            path = COPY / file
            text = path.read_text()
            # A guard can have several places in one file.
            texts.setdefault(path, text)
            if text.count(there) != 1:
                print(f"error: {file} has `{there}` {text.count(there)} times: update `{name}`", file=sys.stderr)
                return 2
            path.write_text(text.replace(there, without))
        try:
            # The quickest tests come first.
            for tests in ("scenarios::", "enumeration::", "faults::", "simulation::rollouts::r", "simulation::ten"):
                verdict, why = tested(tests)
                if verdict != "missed":
                    break
        finally:
            for path, text in texts.items():
                path.write_text(text)
        print(f"{number:2}/{len(guards)} {verdict}: {name} ({time.monotonic() - began:.0f} s) {why}", flush=True)
        if verdict != "caught":
            failed.append(name)
    shutil.rmtree(COPY)
    if failed:
        print(f"error: no test fails without these guards: {'; '.join(failed)}", file=sys.stderr)
        return 1
    print(f"a test fails without each of the {len(guards)} guards")
    return 0


if __name__ == "__main__":
    sys.exit(main())
