#!/usr/bin/env python3
"""Takes each guard out of the engine, one at a time, and sees that the lives, the faults or the stories notice.

A simulation that passes proves nothing unless it fails where it should. For each entry of GUARDS the sources are copied,
the guard is taken out by hand as it says there, and some seed, some fault at some call, or one of the stories that
the seeds once told must break an invariant.

    guards.py [NAME ...]        all of them if none is named
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

# The guard; then its file, what stands there, and what stands there without it, once for each place.
GUARDS = [
    ("an alarm that is not in ALARM any more does nothing", "src/decide/mod.rs",
     "if now.alarm.state != State::Alarm {", "if false {"),
    ("an alarm whose actions are off does nothing", "src/decide/mod.rs",
     "if !now.actions_enabled {", "if false {"),
    ("an operator's hold is kept", "src/decide/preconditions.rs",
     "Some(hold) if hold.until > now =>", "Some(hold) if hold.until > now && hold.schema > 1 =>"),
    ("a hold ends when it says", "src/decide/preconditions.rs",
     "Some(hold) if hold.until > now =>", "Some(hold) if hold.until > now || hold.schema == 1 =>"),
    ("an event does not undo what came after its alarm", "src/decide/preconditions.rs",
     "if changed_at <= alarm_at || judged {", "if changed_at > DateTime::UNIX_EPOCH || judged {"),
    ("the sweep waits for a full evaluation", "src/decide/preconditions.rs",
     "let judged = swept && now > changed_at + alarm.window + CLOCK_SKEW;", "let judged = swept && now > alarm_at;"),
    ("the sweep judges what came after the alarm at all", "src/decide/preconditions.rs",
     "let judged = swept && now >", "let judged = !swept && now >"),
    ("a release that is live for long is left alone", "src/decide/preconditions.rs",
     "if now - live_since > window =>", "if now - live_since > window * 1000 =>"),
    ("there is a cooldown", "src/decide/preconditions.rs",
     "&& now - last < policy.cooldown", "&& now - last < TimeDelta::zero()"),
    ("there is a daily maximum", "src/decide/preconditions.rs",
     "if today >= usize::try_from(policy.max_rollbacks)", "if today >= 1000 + usize::try_from(policy.max_rollbacks)"),
    ("what cannot be reversed is not", "src/decide/mod.rs",
     "&& candidate.is_some_and(|candidate| candidate.irreversible)", "&& candidate.is_some_and(|candidate| candidate.schema > 1)"),
    ("observe mode only looks", "src/decide/mod.rs",
     "if policy.mode == Mode::Observe {", "if policy.mode == Mode::Observe && policy.max_rollbacks > 1000 {"),
    ("the known-good release is not put back onto itself", "src/decide/mod.rs",
     "if live.release == to {", "if live.release == to && version < 0 {"),
    ("a plan leads to the record, or the second look refuses it", "src/decide/mod.rs",
     "let plan = steps_between(observed, live, to, version, policy);",
     "let to = Release { variables: std::collections::BTreeMap::new(), ..to }; let plan = steps_between(observed, live, to, version, policy);"),
    ("an old event does nothing", "src/signal/triage.rs",
     "bounds.now - at <= max_age", "bounds.now - at <= max_age * 1000"),
    ("another account's alarm does nothing", "src/signal/triage.rs",
     "let origin = alarm.origin();", "if bounds.home.account.is_some() { return Ok(()); } let origin = alarm.origin();"),
    ("a release bakes", "src/decide/evidence.rs",
     "if !by_person && now < ends {", "if !by_person && now < ends - policy.bake {"),
    ("what was away bakes anew", "src/model/records.rs",
     "changed_at.max(self.first_seen)", "changed_at.min(self.first_seen)"),
    ("an alarm meanwhile is no proof", "src/observe/evidence.rs",
     "if fired {", "if fired && guarding.is_empty() {"),
    ("no traffic is no proof", "src/decide/evidence.rs",
     "samples.is_none_or(|samples| samples <= 0.0)", "samples.is_none_or(|samples| samples < 0.0)"),
    ("what was taken off is not promoted", "src/decide/evidence.rs",
     "if on_record.rollbacks.quarantines(&candidate.release) {", "if on_record.rollbacks.past.len() > 1000 {",
     "src/rollback/incident.rs", "Ok(match read(context, &context.config.names.incident(stage, fingerprint)).await? {",
     "Ok(match read(context, &context.config.names.incident(stage, \"none\")).await? {"),
    ("the sweep takes off what events missed", "src/decide/upkeep.rs",
     ".filter(|(alarm, _)| alarm.alarm.state == State::Alarm);", ".filter(|(alarm, _)| alarm.alarm.name.is_empty());"),
    ("an alarm that is switched off hides no other", "src/decide/upkeep.rs",
     "alarmed.min_by_key(|(alarm, _)| !alarm.actions_enabled)", "alarmed.max_by_key(|(alarm, _)| !alarm.actions_enabled)"),
    ("the known-good deployment is pinned", "src/decide/upkeep.rs",
     "if *how != Unpinned::Off && config.pin =>", "if *how != Unpinned::Off && !config.pin =>"),
    ("a claim is one run's alone", "src/rollback/claim.rs",
     "if before == *incident {", "if before.stage == incident.stage {"),
    ("people are told once", "src/notify/mod.rs",
     "&json!(ours).to_string(), Write::Create)", "&json!(ours).to_string(), Write::Overwrite)"),
    ("aliases come back with the stage", "src/decide/mod.rs",
     "let mut to = record.release.over(live);",
     "let mut to = record.release.over(live); to.aliases.clone_from(&live.aliases);"),
    ("AutoDeploy is switched off only where the policy says so", "src/decide/mod.rs",
     "plan.stops_auto_deploy() && policy.auto_deploy == AutoDeploy::Hold", "plan.stops_auto_deploy() && policy.max_rollbacks > 1000"),
    ("who finds half of another run's way tells nothing of its own", "src/rollback/claim.rs",
     "if !plan.is_partly_done() {", "if !plan.is_partly_done() || plan.version > 0 {"),
    ("the rollback window counts from the stage's last change", "src/decide/preconditions.rs",
     "Some(seen.min(updated))", "Some(seen.max(updated).min(seen))"),
    ("aliases move before the stage that calls them", "src/decide/mod.rs",
     "let flush = policy.flush_cache && !stage.protocol.is_v2();",
     "steps.sort_by_key(|step| matches!(step, Step::Alias { .. })); let flush = policy.flush_cache && !stage.protocol.is_v2();"),
    ("a mapping leads users only to a stage that serves the release", "src/decide/mod.rs",
     "let flush = policy.flush_cache && !stage.protocol.is_v2();",
     "steps.sort_by_key(|step| !matches!(step, Step::Mapping { .. })); let flush = policy.flush_cache && !stage.protocol.is_v2();"),
    ("several steps are claimed before the first", "src/decide/claim.rs",
     "plan.steps.len() > 1 || plan.is_partly_done()", "plan.steps.len() > 1000"),
    ("who comes second to several steps waits for the first", "src/rollback/claim.rs",
     "Claim::Lost(other_run) if is_under_way(&other_run, now) =>", "Claim::Lost(other_run) if other_run.version < 0 =>"),
    ("only what a run undid is nobody's fix", "src/decide/claim.rs",
     "incident.undone && (changed_at - incident.at).abs() < UNDOING", "(changed_at - incident.at).abs() < UNDOING * 6"),
    ("after the hook the stage is observed again", "src/rollback/mod.rs",
     "return Pass::AfterHook;", ""),
    ("what a dead run could not say is said by the sweep", "src/decide/upkeep.rs",
     "unreported(facts, live, now, &mut on_record, &mut actions);", ""),
]


def copied() -> None:
    """A fresh copy of the sources. It is built in a folder of its own: cargo would take both for the same package."""
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


def simulated() -> tuple[str, str]:
    """What the tests of the copy say: `caught`, `missed` or `broken`, and the first line of it."""
    environment = {**os.environ, "SEEDS": SEEDS, "CARGO_TARGET_DIR": str(ROOT / "target" / "guards-build"), "RUST_BACKTRACE": "0"}
    done = subprocess.run(
        ["cargo", "test", "--locked", "--quiet", "--test", "it", "--", "simulation::ten", "faults::"],
        cwd=COPY, env=environment, capture_output=True, text=True,
    )
    if done.returncode == 0:
        return "missed", ""
    seed = re.search(r"^SEED=(\d+) .*?# (.*)$", done.stdout, re.MULTILINE)
    fault = re.search(r"^thread '((?:faults)::\S+)'.*panicked at.*\n(.*)$", done.stdout, re.MULTILINE)
    if seed is not None:
        return "caught", f"seed {seed[1]}: {seed[2][:160]}"
    if fault is not None:
        return "caught", f"{fault[1]}: {fault[2][:160]}"
    return "broken", (done.stderr or done.stdout)[-2000:]


def main() -> int:
    wanted = sys.argv[1:]
    guards = [guard for guard in GUARDS if not wanted or guard[0] in wanted]
    if wanted and len(guards) != len(wanted):
        print("error: no such guard; the names are the first words of each entry in GUARDS", file=sys.stderr)
        return 2
    copied()
    failed = []
    for number, (name, *places) in enumerate(guards, 1):
        began = time.monotonic()
        texts = {}
        for file, there, without in zip(*[iter(places)] * 3, strict=True):
            path = COPY / file
            texts[path] = path.read_text()
            if texts[path].count(there) != 1:
                print(f"error: {file} has `{there}` {texts[path].count(there)} times; mend `{name}`", file=sys.stderr)
                return 2
            path.write_text(texts[path].replace(there, without))
        try:
            verdict, why = simulated()
        finally:
            for path, text in texts.items():
                path.write_text(text)
        print(f"{number:2}/{len(guards)} {verdict}: {name} ({time.monotonic() - began:.0f} s) {why}", flush=True)
        if verdict != "caught":
            failed.append(name)
    shutil.rmtree(COPY)
    if failed:
        print(f"error: nothing notices when these are taken out: {'; '.join(failed)}", file=sys.stderr)
        return 1
    print(f"each of {len(guards)} guards is missed when it is taken out")
    return 0


if __name__ == "__main__":
    sys.exit(main())
