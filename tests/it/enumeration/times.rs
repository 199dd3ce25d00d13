//! The times: every order of the change, the alarm, its data, the candidate, the window and now.

use std::sync::LazyLock;

use apigw_rollback::model::datapoint::Reading;
use apigw_rollback::model::guarding_alarm::GuardingAlarm;
use apigw_rollback::model::release::{Canary, Release};
use apigw_rollback::model::traffic::Traffic;
use chrono::TimeDelta;

use super::facts::{space, values};
use super::table::{By, Truth, Verdict};
use super::world::{self, Case, Kind, at};

values! {
    /// Who asks.
    Asks { Alarm, Operator, Nobody }

    /// What the alarm watches.
    Watches { Own, Fast, Query, Other, Composite }

    /// When the alarm fired, against the last change of the stage.
    Fired { Unknown, Before, InTheSameSecond, After }

    /// The end of the breaching datapoint that made the alarm fire, against the change.
    Breach { None, Before, Same, After }

    /// The datapoints until now, against the first moment that counts after the change.
    Later { NotRead, None, NewAtTheBound, NewAfter, GoesOnAfter }

    /// The candidate: when it was first seen, against the change.
    Seen { Never, Another, LongBefore, AtTheSkew, After, AsCanary }

    /// What the rollback would change.
    Changes { Stage, StageAndAlias, Alias }

    /// The rollback window, against the time for which the release has been live.
    Window { Unlimited, Longer, Same, Shorter }

    /// Now, against the end of a full evaluation after the change.
    Now { Before, Same, After }
}

space! {
    /// The times of a rollback.
    Times {
        asks: Asks,
        watches: Watches,
        change_known: bool,
        fired: Fired,
        breach: Breach,
        later: Later,
        seen: Seen,
        changes: Changes,
        window: Window,
        now: Now,
        verdict: Verdict,
    }
}

/// The window of the alarm, two minutes until it is evaluated, and one by which clocks may differ.
const EVALUATED: i64 = 120 + 120 + 60;

struct Parts {
    cases: [Case; 3],
    alarms: [GuardingAlarm; 5],
    requests: [Option<Traffic>; 4],
}

static PARTS: LazyLock<Parts> = LazyLock::new(|| {
    let mut alias_only = world::with_components("1");
    alias_only.aliases.values_mut().for_each(|target| *target = world::version("2"));
    let recorded = world::with_components("1");
    Parts {
        cases: [
            world::serving(world::whole("2"), world::whole("1")),
            world::serving(world::with_components("2"), recorded.clone()).complete(),
            world::serving(alias_only, recorded).complete(),
        ],
        alarms: [Kind::Own, Kind::Fast, Kind::Query, Kind::Other, Kind::Composite].map(world::alarm),
        requests: [Verdict::Unread, Verdict::Convicted, Verdict::Acquitted, Verdict::Undecided]
            .map(world::requests),
    }
});

impl Times {
    /// When the candidate was first seen, if there is one, and whether it is the live release.
    fn first_seen(self) -> Option<(i64, bool)> {
        match self.seen {
            Seen::Never => None,
            Seen::Another | Seen::AsCanary => Some((-5_000, false)),
            Seen::LongBefore => Some((-61, true)),
            Seen::AtTheSkew => Some((-60, true)),
            Seen::After => Some((30, true)),
        }
    }

    /// Since when the release has been live: the earlier of both times; but the stage shows no change of a component.
    fn live_since(self) -> Option<i64> {
        let seen = self.first_seen().filter(|(_, is_live)| *is_live).map(|(seen, _)| seen);
        let changed = self.change_known.then_some(0);
        match (seen, changed) {
            (Some(seen), Some(changed)) if self.changes == Changes::Stage => Some(seen.min(changed)),
            (seen, changed) => seen.or(changed),
        }
    }

    fn now(self) -> i64 {
        EVALUATED + [-1, 0, 1][self.now as usize]
    }

    fn candidate(self, live: &Release) -> Option<Release> {
        match self.seen {
            Seen::Never => None,
            Seen::Another => Some(world::whole("9")),
            Seen::LongBefore | Seen::AtTheSkew | Seen::After => Some(live.clone()),
            Seen::AsCanary => Some(Release {
                canary: Some(Canary {
                    deployment: Some(live.deployment.clone()),
                    percent: "10".into(),
                    overrides: [].into(),
                    uses_cache: false,
                }),
                ..world::whole("1")
            }),
        }
    }

    fn alarm(self) -> GuardingAlarm {
        let mut alarm = PARTS.alarms[self.watches as usize].clone();
        let fired = match self.fired {
            Fired::Unknown => None,
            Fired::Before => Some(at(-100)),
            Fired::InTheSameSecond => Some(at(0) + TimeDelta::milliseconds(900)),
            Fired::After => Some(at(100)),
        };
        world::fired(&mut alarm, fired);
        let leaf = &mut alarm.leaves[0];
        let breach = |ends: i64| vec![world::point(ends - 60, Reading::Breaching)];
        leaf.now.evaluated = match self.breach {
            Breach::None => vec![],
            Breach::Before => breach(-1),
            Breach::Same => breach(0),
            Breach::After => breach(1),
        };
        // A datapoint counts if it begins more than a minute after the change.
        let within = world::point(30, Reading::Within);
        leaf.later = match self.later {
            Later::NotRead => None,
            Later::None => Some(vec![]),
            Later::NewAtTheBound => Some(vec![within, world::point(60, Reading::Breaching)]),
            Later::NewAfter => Some(vec![within, world::point(61, Reading::Breaching)]),
            Later::GoesOnAfter => Some(vec![world::point(61, Reading::Breaching)]),
        };
        alarm
    }

    fn tell(self, truth: &mut Truth) {
        truth.by = match self.asks {
            Asks::Alarm => By::Alarm,
            Asks::Operator => By::Operator,
            Asks::Nobody => By::Nobody,
        };
        truth.verdict = self.verdict;
        truth.alarm_is_fast = self.watches == Watches::Fast;
        truth.alarm_is_tested = !matches!(self.watches, Watches::Query | Watches::Other);
        truth.changes_stage = self.changes != Changes::Alias;
        truth.changes_deployment = truth.changes_stage;
        // The release was live when the alarm fired, and for certain since the change.
        let is_certain = self.change_known
            && self.changes == Changes::Stage
            && !matches!(self.seen, Seen::LongBefore | Seen::AsCanary);
        let breach_began_before = match self.later {
            Later::NotRead | Later::None | Later::GoesOnAfter => {
                matches!(self.breach, Breach::Before | Breach::Same)
            }
            Later::NewAtTheBound | Later::NewAfter => false,
        };
        truth.began_before = is_certain && self.fired == Fired::After && breach_began_before;
        let is_judged = match self.later {
            Later::NotRead => self.now == Now::After,
            Later::None | Later::NewAtTheBound => false,
            Later::NewAfter | Later::GoesOnAfter => true,
        };
        truth.changed_after = match self.fired {
            _ if !self.change_known || is_judged => None,
            Fired::After => None,
            Fired::Before | Fired::InTheSameSecond => Some("changed-after-alarm"),
            Fired::Unknown => Some("alarm-unreadable"),
        };
        truth.is_outside_window = self.window == Window::Shorter && self.live_since().is_some();
    }
}

/// Returns the case.
pub(crate) fn case(facts: Times) -> Case {
    let mut case = PARTS.cases[facts.changes as usize].clone();
    if !facts.change_known {
        case.live().updated_at = None;
    }
    case.now = at(facts.now());
    let live = case.live().release.clone();
    let seen = facts.first_seen().zip(facts.candidate(&live));
    case.observed.on_record.candidate =
        seen.map(|((first_seen, _), release)| world::candidate(&release, first_seen, false));
    let age = facts.now() - facts.live_since().unwrap_or_default();
    case.policy.window = match facts.window {
        Window::Unlimited => None,
        Window::Longer => Some(TimeDelta::seconds(age + 1)),
        Window::Same => Some(TimeDelta::seconds(age)),
        Window::Shorter => Some(TimeDelta::seconds(age - 1)),
    };
    case.observed.alarm = Some(facts.alarm());
    case.observed.traffic = PARTS.requests[facts.verdict as usize].clone().map(Ok);
    facts.tell(&mut case.truth);
    case
}
