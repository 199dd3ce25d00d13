//! The marks: holds, irreversible releases and quarantines, against who asks.

use std::sync::LazyLock;

use apigw_rollback::model::observed::{DeploymentNow, KnownGood};
use apigw_rollback::model::record_fault::RecordFault;
use apigw_rollback::model::records::{Hold, SCHEMA};
use chrono::TimeDelta;

use super::facts::{space, values};
use super::table::{By, Truth};
use super::world::{self, Case, at};

values! {
    /// The end of the hold, against now.
    Held { No, Before, Same, After }

    /// The marked candidate: which release, and when it was first seen against the record.
    Candidate { None, Live, OtherBefore, OtherSame, OtherAfter }

    /// What happened to a release before.
    Past { Nothing, RolledBack, Lifted, RolledBackAgain }

    /// The record.
    Recorded { Found, None, Newer, Foreign, Damaged }

    /// The recorded deployment.
    Deployment { NotAsked, There, Gone, Undeployed }

    /// The stage in the settings.
    Listed { Yes, No, Parked }

    /// Who asks without an alarm.
    Asks { Operator, Forced, Nobody }
}

space! {
    /// What the marks depend on.
    Marks {
        asks: Asks,
        held: Held,
        unreadable: bool,
        candidate: Candidate,
        irreversible: bool,
        candidate_past: Past,
        good_past: Past,
        recorded: Recorded,
        deployment: Deployment,
        listed: Listed,
    }
}

const RECORDED_AT: i64 = -10_000;

static PARTS: LazyLock<(Case, [String; 3])> = LazyLock::new(|| {
    let case = world::serving(world::whole("2"), world::whole("1"));
    (case, ["1", "2", "9"].map(|number| world::whole(number).fingerprint()))
});

impl Past {
    /// Whether the release is in quarantine: its last rollback counts.
    fn is_quarantine(self) -> bool {
        matches!(self, Self::RolledBack | Self::RolledBackAgain)
    }

    /// Whether each of its rollbacks was lifted, from the oldest to the latest.
    fn lifted(self) -> &'static [bool] {
        match self {
            Self::Nothing => &[],
            Self::RolledBack => &[false],
            Self::Lifted => &[true],
            Self::RolledBackAgain => &[true, false],
        }
    }
}

impl Marks {
    fn tell(self, truth: &mut Truth) {
        truth.by = match self.asks {
            Asks::Operator => By::Operator,
            Asks::Forced => By::Forced,
            Asks::Nobody => By::Nobody,
        };
        truth.is_protected = match self.listed {
            Listed::Yes => true,
            Listed::No => self.recorded != Recorded::None,
            Listed::Parked => false,
        };
        truth.is_held = self.held == Held::After || self.unreadable;
        truth.has_record = self.recorded == Recorded::Found;
        truth.is_irreversible = self.irreversible
            && match self.candidate {
                Candidate::None | Candidate::OtherBefore => false,
                Candidate::Live => true,
                // If an operator rolled it back with force, its changes of the data are known.
                Candidate::OtherSame | Candidate::OtherAfter => !self.candidate_past.is_quarantine(),
            };
        truth.is_gone = self.good_past.is_quarantine()
            || matches!(self.deployment, Deployment::Gone | Deployment::Undeployed);
    }
}

/// Returns the case.
pub(crate) fn case(facts: Marks) -> Case {
    let (case, prints) = &*PARTS;
    let mut case = case.clone();
    let record = &mut case.observed.on_record;
    let until = match facts.held {
        Held::No => None,
        Held::Before => Some(-1),
        Held::Same => Some(0),
        Held::After => Some(1),
    };
    record.hold = until.map(|seconds| {
        let until = case.now + TimeDelta::seconds(seconds);
        Hold { schema: SCHEMA, until, by: None, why: None }
    });
    record.unreadable = facts.unreadable.then(|| "the parameter `x` is damaged".to_owned());
    let (number, first_seen) = match facts.candidate {
        Candidate::None => (0, 0),
        Candidate::Live => (2, RECORDED_AT - 1),
        Candidate::OtherBefore => (9, RECORDED_AT - 1),
        Candidate::OtherSame => (9, RECORDED_AT),
        Candidate::OtherAfter => (9, RECORDED_AT + 1),
    };
    record.candidate = (number > 0)
        .then(|| world::candidate(&world::whole(&number.to_string()), first_seen, facts.irreversible));
    let of_candidate = if number == 2 { &prints[1] } else { &prints[2] };
    for (print, past) in [(of_candidate, facts.candidate_past), (&prints[0], facts.good_past)] {
        for lifted in past.lifted() {
            let mut entry = world::entry(at(-20_000), print, None, false);
            entry.lifted = *lifted;
            record.rollbacks.past.push(entry);
        }
    }
    let unusable = |fault| KnownGood::Unusable { parameter: "p".into(), fault };
    match facts.recorded {
        Recorded::Found => {}
        Recorded::None => record.known_good = KnownGood::None { parameter: "p".into() },
        Recorded::Newer => record.known_good = unusable(RecordFault::Newer("x".into())),
        Recorded::Foreign => record.known_good = unusable(RecordFault::Foreign("x".into())),
        Recorded::Damaged => record.known_good = unusable(RecordFault::Damaged("x".into())),
    }
    case.observed.components.deployment = match facts.deployment {
        Deployment::NotAsked => DeploymentNow::NotAsked,
        Deployment::There => DeploymentNow::There,
        Deployment::Gone => DeploymentNow::Gone,
        Deployment::Undeployed => DeploymentNow::Undeployed("FAILED".into()),
    };
    case.observed.configured = facts.listed != Listed::No;
    if facts.listed == Listed::Parked {
        case.observed.stage = case.observed.stage.parked();
    }

    facts.tell(&mut case.truth);
    case
}
