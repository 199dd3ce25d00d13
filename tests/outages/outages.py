"""`make outages`: plays stories of slow, failing and dying AWS calls on the real function, against an emulator.

    outages.py BINARY [PART OF A STORY'S SENTENCE]
"""

import json
import sys
import time

from harness import World, batch, run
from proxy import Fault
from stories import ALL, A
from world import Somebody

# After these seconds a run that claimed a rollback counts as dead: `UNDER_WAY` in src/decide/claim.rs, and one more.
DEAD_AFTER = 46


def windows(played, say):
    """Says how many fixes were overwritten, and how old the look before a change was at most."""
    fixes = [world for story, world in played if story in A]
    overwritten = sum(world.ended != "fix" for world in fixes)
    looks = [age for _, world in played for age in world.ages()]
    if fixes:
        say(f"windows shown: {overwritten} of {len(fixes)} fixes that somebody deployed during a run were overwritten")
    if looks:
        say(f"the oldest look before a change: {max(looks):.2f} s, of {len(looks)} changes")


class Outage(World):
    """The emulated world of a story of an outage."""

    def play(self):
        """Plays the story. Returns what is wrong at its end, or an empty text."""
        story, first = self.story, self.apis[0]
        for api in self.apis:
            recorded = self.function.invoke({"command": "record", **api.command})
            if not recorded or recorded.get("outcome") != "recorded":
                return f"the good release is not recorded: {recorded}"
            if story.alias:
                api.move_alias("2")
            api.deploy(api.bad, "2")
        if story.namesake:
            self.client("apigateway").create_rest_api(name=first.name)
            self.function.invoke({"command": "sweep"})
        # API Gateway's times are whole seconds: the alarm must be visibly later than the change.
        time.sleep(1.1)
        events = [api.set_off(self.function.arn, story.knows_time) for api in self.apis]
        if story.fixed_before:
            time.sleep(1.1)
            first.deploy(first.fix, "3")
        event = events[0] if len(events) == 1 else batch(events)
        faults = list(story.faults)
        if len(events) > 1:
            faults.append(Fault("GetStage", about=first.id, held=60))
        self.proxy.arm(faults)
        somebody = Somebody(first, *story.fix) if story.fix else None
        if somebody:
            self.proxy.on_call = somebody.called
        self.began = time.monotonic()
        self.answer = self.function.invoke(event, story.time_out)
        took = time.monotonic() - self.began
        if somebody:
            somebody.finish()
        self.calls = list(self.proxy.calls)
        for what in story.then:
            if what == "later":
                time.sleep(DEAD_AFTER)
                continue
            self.proxy.arm([])
            again = event if what == "again" else {"command": "sweep"}
            self.answer = self.function.invoke(again)
            self.calls += self.proxy.calls
        self.ended = first.live()
        return self.wrong(took, somebody)

    def wrong(self, took, somebody):
        story = self.story
        if somebody and somebody.done_at is None:
            return "nobody did anything meanwhile: the story did not happen"
        if story.live and self.ended != story.live:
            return f"the stage serves {self.ended}, not {story.live}"
        outcome = (self.answer or {}).get("outcome")
        if story.outcome and outcome != story.outcome:
            return f"the outcome is {outcome}"
        if story.says and story.says.lower() not in json.dumps(self.answer).lower():
            return f"the answer does not say `{story.says}`"
        told = [subject for subject in self.subjects() if subject.startswith(story.subjects)]
        if not story.told[0] <= len(told) <= story.told[1]:
            return f"told {len(told)} times, not {story.told}: {self.subjects()}"
        if took > story.seconds:
            return f"it took {took:.1f} s"
        return story.also(self) if story.also else ""

    def ages(self):
        """Returns how long before each change of a stage the last look at it was sent."""
        ages = []
        for change in self.calls:
            if change.operation != "UpdateStage" or change.status != 200:
                continue
            looks = [call.arrived for call in self.calls
                     if call.operation in ("GetStage", "UpdateStage") and call.about == change.about
                     and call.arrived < change.arrived and call.done]
            ages += [change.arrived - max(looks)] if looks else []
        return ages


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:], ALL, Outage, windows))
