//! The alarm that triggers: what CloudWatch says about it, against what the requests say.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use apigw_rollback::decide::leaves::resolved;
use apigw_rollback::model::access_log;
use apigw_rollback::model::alarm::{Muted, State, Watches};
use apigw_rollback::model::guarding_alarm::GuardingAlarm;
use apigw_rollback::model::traffic::Traffic;

use super::facts::{space, values};
use super::table::Verdict;
use super::world::{self, ALARM, Case, HOME, at};

values! {
    /// The alarm's form.
    Form { Plain, Composite, WithDirective }

    /// What its leaf watches.
    Data { Own, Fast, Other }

    /// The state of an alarm.
    Now { Ok, NoData, Alarm }

    /// Which stage it names.
    Names { Ours, Another, None }

    /// Which alarms may act.
    Admits { All, NoneWired, NotTheName, NotByPolicy, NotTheLeaf }

    /// Whether a mute rule mutes it.
    Mute { No, By, Unknown }

    /// What is said against its data.
    Weak { No, Foreign, Missing }
}

space! {
    /// What CloudWatch says.
    Alarms {
        form: Form,
        data: Data,
        state: Now,
        leaf: Now,
        names: Names,
        unresolved: bool,
        admits: Admits,
        suppressed: bool,
        enabled: bool,
        mute: Mute,
        weak: Weak,
        ambiguous: bool,
        verdict: Verdict,
    }
}

static CASE: LazyLock<Case> = LazyLock::new(|| world::serving(world::whole("2"), world::whole("1")));
static REQUESTS: LazyLock<[Option<Traffic>; 4]> = LazyLock::new(|| {
    [Verdict::Unread, Verdict::Convicted, Verdict::Acquitted, Verdict::Undecided].map(world::requests)
});

/// The alarms without their states, by form, data and names.
static ALARMS: LazyLock<Vec<GuardingAlarm>> = LazyLock::new(|| {
    let mut alarms = Vec::new();
    for form in [Form::Plain, Form::Composite, Form::WithDirective] {
        for data in [Data::Own, Data::Fast, Data::Other] {
            for names in [Names::Ours, Names::Another, Names::None] {
                alarms.push(named(form, data, names));
            }
        }
    }
    alarms
});

fn named(form: Form, data: Data, names: Names) -> GuardingAlarm {
    let directive = match names {
        Names::Ours => Some("rollback-target: a/prod"),
        Names::Another => Some("rollback-target: b/prod"),
        Names::None => None,
    };
    // The metrics themselves name no stage, so that only the description does.
    let mut metric = match data {
        Data::Own => world::metric("AWS/ApiGateway", "5XXError"),
        Data::Fast => world::metric(access_log::NAMESPACE, access_log::STATUS),
        Data::Other => world::metric("AWS/Lambda", "Errors"),
    };
    metric.dimensions.clear();
    let of_leaf = if form == Form::WithDirective { None } else { directive };
    let leaf = |name| world::alarm_on(name, vec![metric], of_leaf);
    if form == Form::Plain {
        return resolved(leaf(ALARM), &BTreeMap::new());
    }
    let mut top = world::alarm_on(ALARM, vec![], directive.filter(|_| form == Form::WithDirective));
    top.alarm.watches = Watches::Alarms(vec!["leaf".into()]);
    resolved(top, &BTreeMap::from([("leaf".to_owned(), leaf("leaf"))]))
}

impl Now {
    fn state(self) -> State {
        match self {
            Self::Ok => State::Ok,
            Self::NoData => State::InsufficientData,
            Self::Alarm => State::Alarm,
        }
    }
}

impl Alarms {
    fn alarm(self) -> GuardingAlarm {
        let nth = 9 * self.form as usize + 3 * self.data as usize + self.names as usize;
        let mut alarm = ALARMS[nth].clone();
        world::fired(&mut alarm, Some(at(50)));
        alarm.alarm.state = self.state.state();
        let of_leaf = if self.form == Form::Plain { self.state } else { self.leaf };
        for leaf in &mut alarm.leaves {
            leaf.now.alarm.state = of_leaf.state();
            let account = if self.weak == Weak::Foreign { "222222222222" } else { HOME };
            leaf.now.alarm.claimed.account = Some(account.into());
            leaf.now.alarm.only_missing_data = self.weak == Weak::Missing;
        }
        if self.unresolved {
            alarm.unresolved.push("the alarm `x` in its rule does not exist".into());
        }
        alarm.alarm.suppressed_by = self.suppressed.then(|| "maintenance".into());
        alarm.actions_enabled = self.enabled;
        alarm.muted = match self.mute {
            Mute::No => Muted::No,
            Mute::By => Muted::By("window".into()),
            Mute::Unknown => Muted::Unknown("denied".into()),
        };
        alarm
    }

    /// Why the alarm may not accuse, in the order of the documents; the requests come after that.
    fn says(self) -> Option<&'static str> {
        let fires = if self.form == Form::Plain { self.state } else { self.leaf } == Now::Alarm;
        let by_leaves = self.form == Form::Composite;
        let weak = match self.weak {
            _ if by_leaves && self.admits == Admits::NotTheLeaf => Some("alarm-not-allowed"),
            Weak::No => None,
            Weak::Foreign => Some("wrong-account"),
            Weak::Missing => Some("no-datapoints"),
        };
        // A leaf that cannot be found may be the one that accuses.
        let or_unreadable = |code| if self.unresolved { "alarm-unreadable" } else { code };
        let rules = [
            (self.state != Now::Alarm, "alarm-cleared"),
            (self.names != Names::Ours, or_unreadable("alarm-unknown")),
            (self.admits == Admits::NoneWired, "alarm-not-wired"),
            (matches!(self.admits, Admits::NotTheName | Admits::NotByPolicy), "alarm-not-allowed"),
            (self.suppressed, "suppressed"),
            (!self.enabled, "alarm-actions-disabled"),
            (self.mute == Mute::By, "muted"),
            (!fires && (by_leaves || self.unresolved), or_unreadable("alarm-cleared")),
            (fires && weak.is_some(), or_unreadable(weak.unwrap_or_default())),
        ];
        rules.into_iter().find(|(applies, _)| *applies).map(|(_, code)| code)
    }

    /// Whether the leaf speaks: then the requests and the kind of its data matter.
    fn speaks(self) -> bool {
        self.form == Form::Plain || self.leaf == Now::Alarm
    }
}

/// Returns the case.
pub(crate) fn case(facts: Alarms) -> Case {
    let mut case = CASE.clone();
    case.observed.alarm = Some(facts.alarm());
    case.observed.traffic = REQUESTS[facts.verdict as usize].clone().map(Ok);
    let admission = &mut case.observed.admission;
    match facts.admits {
        Admits::All => {}
        Admits::NoneWired => admission.wired_to.clear(),
        Admits::NotTheName => admission.allowed = vec!["another".into()],
        Admits::NotByPolicy => admission.narrowed = Some(vec!["another".into()]),
        Admits::NotTheLeaf => admission.allowed = vec![ALARM.into()],
    }
    if facts.ambiguous {
        case.observed.namesakes = vec!["a".into(), "b".into()];
    }
    let truth = &mut case.truth;
    truth.verdict = facts.verdict;
    truth.is_ambiguous = facts.ambiguous;
    truth.may_be_muted = facts.mute == Mute::Unknown;
    truth.alarm_says = facts.says();
    truth.alarm_is_fast = facts.data == Data::Fast && facts.speaks();
    truth.alarm_is_tested = facts.data != Data::Other && facts.speaks();
    // What its only leaf does not say, one that cannot be found may: so nobody can tell.
    let convicted = facts.verdict == Verdict::Convicted;
    let abstains =
        (truth.alarm_is_tested && facts.verdict == Verdict::Acquitted) || (truth.alarm_is_fast && !convicted);
    if facts.unresolved && abstains && truth.alarm_says.is_none() {
        truth.alarm_says = Some("alarm-unreadable");
    }
    case
}
