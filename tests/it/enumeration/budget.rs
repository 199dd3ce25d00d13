//! The budget: every list of earlier rollbacks, against the alarm that asks and the terms.

use std::sync::LazyLock;

use apigw_rollback::model::guarding_alarm::GuardingAlarm;
use apigw_rollback::model::policy::Mode;
use apigw_rollback::model::records::Rollbacks;
use chrono::TimeDelta;

use super::facts::{space, values};
use super::table::By;
use super::world::{self, ALARM, Case, Kind, at};

values! {
    /// Who asks.
    Asks { OwnMetrics, OtherMetrics, Query, Operator, Forced, Sibling, Nobody }

    /// The last rollback, against the end of the cooldown.
    Last { None, Within, Same, Over }

    /// Whose rollback it was.
    Author { ThisAlarm, OwnMetrics, OtherMetrics, Operator }

    /// How many rollbacks there were, against the maximum of one alarm.
    Many { None, OneLess, Maximum }

    /// When they were, against a day.
    Day { Within, Same }

    /// The maximum of one alarm.
    Most { None, Three, Twenty }
}

space! {
    /// What the budget depends on.
    Budget {
        asks: Asks,
        last: Last,
        author: Author,
        by_this: Many,
        by_own: Many,
        by_others: Many,
        by_operators: Many,
        day: Day,
        most: Most,
        observe: bool,
    }
}

static PARTS: LazyLock<(Case, [GuardingAlarm; 3])> = LazyLock::new(|| {
    let case = world::serving(world::whole("2"), world::whole("1"));
    (case, [Kind::Own, Kind::Other, Kind::Query].map(world::alarm))
});

const NOW: i64 = 100_000;
const COOLDOWN: i64 = 300;

impl Budget {
    fn most(self) -> i64 {
        match self.most {
            Most::None => 0,
            Most::Three => 3,
            Most::Twenty => 20,
        }
    }

    fn number(self, many: Many) -> i64 {
        match many {
            Many::None => 0,
            Many::OneLess => (self.most() - 1).max(0),
            Many::Maximum => self.most(),
        }
    }

    /// The rollbacks: whose each was, how long ago, from the oldest to the latest.
    fn past(self) -> Vec<(Author, i64)> {
        let ago = if self.day == Day::Same { 86_400 } else { 86_399 };
        let mut past = Vec::new();
        for (author, many) in [
            (Author::Operator, self.by_operators),
            (Author::OtherMetrics, self.by_others),
            (Author::OwnMetrics, self.by_own),
            (Author::ThisAlarm, self.by_this),
        ] {
            past.extend((0..self.number(many)).map(|_| (author, ago)));
        }
        let last = match self.last {
            Last::None => None,
            Last::Within => Some(COOLDOWN - 1),
            Last::Same => Some(COOLDOWN),
            Last::Over => Some(COOLDOWN + 1),
        };
        past.extend(last.map(|ago| (self.author, ago)));
        // The list keeps twenty.
        past.split_off(past.len().saturating_sub(20))
    }

    /// Whether the list forbids it. Operators' rollbacks do not count. For an alarm on API Gateway's own metrics, only the
    /// rollbacks of its like count, and all of its like together have twice the budget of one. A full list may be incomplete.
    fn is_too_often(self) -> bool {
        let asks_for_users = matches!(self.asks, Asks::OwnMetrics | Asks::Nobody);
        let is_of_users = |author: Author| match author {
            // This alarm's rollbacks rest on the same data as now.
            Author::ThisAlarm => self.asks != Asks::OtherMetrics && self.asks != Asks::Query,
            Author::OwnMetrics => true,
            Author::OtherMetrics | Author::Operator => false,
        };
        let automatic: Vec<(Author, i64)> =
            self.past().into_iter().filter(|(author, _)| *author != Author::Operator).collect();
        let counts = |author: Author| !asks_for_users || is_of_users(author);
        let within =
            |seconds: i64| automatic.iter().filter(move |(author, ago)| counts(*author) && *ago < seconds);
        let number = |found: usize| i64::try_from(found).unwrap();
        let by_this = within(86_400).filter(|(author, _)| *author == Author::ThisAlarm).count();
        let by_this = if matches!(self.asks, Asks::Nobody | Asks::Sibling) { 0 } else { by_this };
        let together = if asks_for_users { 2 * self.most() } else { self.most() };
        within(COOLDOWN).count() > 0
            || number(by_this) >= self.most()
            || number(within(86_400).count()) >= together
            || number(automatic.iter().filter(|(_, ago)| *ago < 86_400).count()) >= 20
    }
}

/// Returns the case.
pub(crate) fn case(facts: Budget) -> Case {
    let (case, alarms) = &*PARTS;
    let mut case = case.clone();
    case.now = at(NOW);
    case.policy.window = None;
    case.policy.max_rollbacks = u32::try_from(facts.most()).unwrap();
    if facts.observe {
        case.policy.mode = Mode::Observe;
    }
    let alarm = match facts.asks {
        Asks::OwnMetrics => Some(0),
        Asks::OtherMetrics => Some(1),
        Asks::Query => Some(2),
        Asks::Operator | Asks::Forced | Asks::Sibling | Asks::Nobody => None,
    };
    let is_other = matches!(facts.asks, Asks::OtherMetrics | Asks::Query);
    case.observed.alarm = alarm.map(|nth| {
        let mut alarm = alarms[nth].clone();
        world::fired(&mut alarm, Some(at(NOW - 60)));
        alarm
    });
    let mut list = Rollbacks::default();
    for (author, ago) in facts.past() {
        let (name, other_source) = match author {
            Author::ThisAlarm => (Some(ALARM), is_other),
            Author::OwnMetrics => (Some("latency"), false),
            Author::OtherMetrics => (Some("errors"), true),
            Author::Operator => (None, false),
        };
        let when = at(NOW) - TimeDelta::seconds(ago);
        list = list.with(world::entry(when, "f", name, other_source));
    }
    case.observed.on_record.rollbacks = list;
    case.truth.by = match facts.asks {
        Asks::OwnMetrics | Asks::OtherMetrics | Asks::Query => By::Alarm,
        Asks::Operator => By::Operator,
        Asks::Forced => By::Forced,
        Asks::Sibling => By::Sibling,
        Asks::Nobody => By::Nobody,
    };
    case.truth.too_often = facts.is_too_often();
    case.truth.only_observes = facts.observe;
    case
}
