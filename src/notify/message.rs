//! What a person must know within ten seconds: whether users are affected now, what was done, and the one next step. Pure.

use chrono::{DateTime, NaiveDate, Utc};

use super::short;
use super::steps::{Row, Step, row};
use super::words::{clock, duration, quoted, sentence};
use crate::model::plain;
use crate::model::reason::Kind;
use crate::model::release::Release;
use crate::model::report::{Outcome, Report, release_name};
use crate::model::stage::StageRef;
use crate::model::target::ApiRef;
use crate::model::trigger::TriggerKind;

/// The name of a function that commands need not name.
const FUNCTION: &str = "apigw-rollback";

/// SNS accepts a subject of at most this many characters.
const SUBJECT: usize = 100;

const SEE: &str = "to see the stage and its alarms";

/// The state of the service for its users, as far as the run knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// Users are served again.
    ServedAgain,
    /// Users are affected now.
    StillBad,
    /// Whether users are affected is unknown.
    Unknown,
    /// Users are not affected.
    NotAffected,
    /// The stage has neither its old nor its intended state: a person must act now.
    NeedsPerson,
}

/// The message about a report: what every rendering of it begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The state of the service.
    pub state: Service,
    /// The state and what was done, in capitals.
    pub headline: &'static str,
    /// What the message is about: the API's name and the stage, an alarm, or what a sweep looks after.
    pub about: String,
    /// The same with the API's id, for a subject that has no room for the name.
    pub about_id: Option<String>,
    /// The reason's code, whether the sweep found it, and the Region.
    pub why: Vec<String>,
    /// What happened, in sentences.
    pub what: String,
    /// The next step.
    pub next: Next,
}

/// The next step of a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Next {
    /// What to do, as a clause.
    pub what: String,
    /// The command to paste, if the tool has one for it.
    pub command: Option<String>,
}

/// Writes the message about a report. Its commands use `function`.
#[must_use]
pub fn of(report: &Report, function: &str) -> Message {
    let writer = Writer { report, function, today: report.at.date_naive() };
    let (state, what, next) = match report.outcome {
        Outcome::RolledBack => writer.rolled_back(),
        Outcome::Recovered => writer.recovered(),
        Outcome::NeedsHuman => writer.half_way(),
        Outcome::Failed => writer.failed(),
        Outcome::Held | Outcome::Rejected | Outcome::Attention | Outcome::Ignored => writer.not_done(),
        Outcome::RolloutStarted
        | Outcome::RolloutStep
        | Outcome::RolloutPaused
        | Outcome::RolloutPromoted
        | Outcome::RolloutAborted => writer.rollout(),
        Outcome::WouldRollBack
        | Outcome::Recorded
        | Outcome::Status
        | Outcome::Promoted
        | Outcome::Swept
        | Outcome::Done => writer.quiet(),
    };
    Message {
        state,
        headline: headline(state, report),
        about: writer.about(),
        about_id: report.stage.as_ref().map(|stage| format!("{}/{}", stage.api, stage.stage)),
        why: why(report),
        what,
        next,
    }
}

/// Returns what stands in brackets. Where the sweep finds a stage that an alarm's event did not roll back, people may already
/// have the message about the event, so this one says who found it.
fn why(report: &Report) -> Vec<String> {
    let is_found = report.outcome == Outcome::Attention && has_fired(report);
    let found = is_found.then_some("found by the sweep");
    report.code().into_iter().chain(found).chain(report.region.as_deref()).map(str::to_owned).collect()
}

/// Returns the first words of a message.
fn headline(state: Service, report: &Report) -> &'static str {
    let outcome = report.outcome;
    let is_after_rollback = outcome == Outcome::Attention && report.code() == Some("not-recovered");
    let of_rollouts = [
        (Outcome::RolloutStarted, "ROLLOUT STARTED"),
        (Outcome::RolloutStep, "ROLLOUT STEP"),
        (Outcome::RolloutPaused, "ROLLOUT PAUSED"),
        (Outcome::RolloutPromoted, "ROLLOUT COMPLETE"),
        (Outcome::RolloutAborted, "ROLLOUT ENDED"),
    ];
    if let Some((_, headline)) = of_rollouts.into_iter().find(|(one, _)| *one == outcome) {
        return headline;
    }
    match state {
        Service::ServedAgain if outcome == Outcome::Recovered => "RECOVERED",
        Service::ServedAgain => "ROLLED BACK",
        Service::StillBad if is_after_rollback => "STILL BAD AFTER THE ROLLBACK",
        Service::StillBad => "STILL BAD, NOT ROLLED BACK",
        Service::Unknown if has_fired(report) => "MAY BE BAD, NOT ROLLED BACK",
        Service::Unknown if outcome == Outcome::Failed => "MAY BE BAD, NOT CHECKED",
        Service::Unknown => "MAY BE BAD",
        Service::NotAffected => "NO URGENCY",
        Service::NeedsPerson => "MANUAL ACTION REQUIRED",
    }
}

/// Whether an alarm that fired is the trigger, and not the schedule or a person.
pub(super) fn has_fired(report: &Report) -> bool {
    let signal = &report.signal;
    signal.kind == TriggerKind::Alarm || signal.changed_at.is_some() || signal.arn.is_some()
}

/// Writes the parts of one message.
struct Writer<'a> {
    report: &'a Report,
    function: &'a str,
    today: NaiveDate,
}

type Parts = (Service, String, Next);

impl Writer<'_> {
    fn text(&self, text: &str) -> String {
        quoted(text, self.today)
    }

    fn clock(&self, time: DateTime<Utc>) -> String {
        clock(time, self.today)
    }

    fn alarm(&self) -> String {
        let Report { signal, people, .. } = self.report;
        let name = people.alarm.as_ref().or(signal.name.as_ref().filter(|_| has_fired(self.report)));
        name.map_or_else(|| "the alarm".to_owned(), |name| format!("alarm {}", self.text(name)))
    }

    fn about(&self) -> String {
        let Report { stage, api_name, signal, people, .. } = self.report;
        if let Some(StageRef { api, stage, .. }) = stage {
            return format!("{}/{stage}", self.text(api_name.as_deref().unwrap_or(api)));
        }
        match (&signal.name, &people.scope) {
            (Some(_), _) if has_fired(self.report) => self.alarm(),
            // One of its stages may have a message of its own.
            (_, Some(scope)) => format!("sweep of {}", self.text(scope)),
            (_, None) => "an event that names no stage".to_owned(),
        }
    }

    /// Returns the names of the releases before and after the run. Two releases can share their deployment and differ in
    /// their variables or components.
    fn names(&self) -> (String, String) {
        let Report { before, before_label, after, after_label, .. } = self.report;
        let name = |release: &Option<Release>, label: &Option<String>| {
            let label = label.as_deref().map(short::name);
            release.as_ref().map(|release| plain::line(&release_name(release, label.as_deref())))
        };
        let canary = before.as_ref().and_then(|before| before.canary.as_ref()?.deployment.as_ref());
        let is_canary = before
            .as_ref()
            .zip(after.as_ref())
            .is_some_and(|(before, after)| before.deployment == after.deployment);
        if let (Some(canary), Some(after), true) = (canary, name(after, after_label), is_canary) {
            return (format!("the canary with deployment {}", plain::line(canary)), after);
        }
        match (name(before, before_label), name(after, after_label)) {
            (Some(before), Some(after)) if before == after && self.report.before != self.report.after => {
                (format!("the bad release with {before}"), format!("the known-good release with {after}"))
            }
            (before, after) => (
                before.unwrap_or_else(|| "the bad release".to_owned()),
                after.or_else(|| self.known_good()).unwrap_or_else(|| "the known-good release".to_owned()),
            ),
        }
    }

    fn known_good(&self) -> Option<String> {
        self.report.people.known_good.as_deref().map(short::name)
    }

    /// Returns what the users are told to be: the first sentence.
    fn lead(&self, state: Service) -> String {
        match state {
            Service::ServedAgain => "Users are served again.".to_owned(),
            Service::StillBad => {
                let alarm = self.alarm();
                let live = match (&self.report.before, &self.report.people.live) {
                    (Some(_), _) => self.names().0,
                    (None, Some(live)) => short::name(live),
                    (None, None) => "the release".to_owned(),
                };
                if self.report.people.alarm.is_none() && !has_fired(self.report) {
                    "Users are affected now.".to_owned()
                } else {
                    format!("Users are affected now: {alarm} is in ALARM, and {live} stays live.")
                }
            }
            Service::Unknown | Service::NeedsPerson => "Whether users are affected is unknown.".to_owned(),
            Service::NotAffected => "Users are not affected by this.".to_owned(),
        }
    }

    fn rolled_back(&self) -> Parts {
        let Report { signal, people, at, warnings, .. } = self.report;
        let (before, after) = self.names();
        let done = people.rolled_back_at.unwrap_or(*at);
        let by = if signal.is_sibling() {
            format!(", because {}", self.text(signal.why.as_deref().unwrap_or("another Region said so")))
        } else if signal.is_rollout() {
            format!(": {}", self.text(signal.why.as_deref().unwrap_or("the requests convict it")))
        } else if let Some(fired) = signal.changed_at {
            format!(", {} after {} fired", duration(done - fired), self.alarm())
        } else if has_fired(self.report) {
            format!(", after {} fired", self.alarm())
        } else {
            let who = signal.name.as_deref().unwrap_or("an operator");
            let why = signal.why.as_ref().map(|why| format!(" ({why})")).unwrap_or_default();
            format!(": `rollback` by {}", self.text(&format!("{who}{why}")))
        };
        let more = match warnings.len() {
            0 => String::new(),
            number => format!(" {} below.", plain::counted(number, "warning")),
        };
        let what = format!(
            "Users get {after} again since {}{by}. {} is off.{more}",
            self.clock(done),
            upper(&before)
        );
        let next = format!("stop the pipeline; its next deploy brings {before} back");
        (Service::ServedAgain, what, Next { what: next, command: None })
    }

    /// The beginning, a pause or the end of a rollout.
    fn rollout(&self) -> Parts {
        let what = sentence(&self.text(&self.report.message));
        let steps = [
            (Outcome::RolloutPaused, Step::Rollout("to go on", "resume")),
            (Outcome::RolloutPromoted, Step::Status("nothing needs to be done; to follow its bake time")),
            (Outcome::RolloutAborted, Step::Do("find out what was wrong before the next rollout")),
        ];
        let step = steps.into_iter().find(|(outcome, _)| *outcome == self.report.outcome);
        let step =
            step.map_or(Step::Rollout("nothing needs to be done; to follow it", "status"), |(_, step)| step);
        (Service::NotAffected, what, self.step(step))
    }

    fn recovered(&self) -> Parts {
        let after =
            self.report.people.rolled_back_at.map(|at| format!(" after the rollback at {}", self.clock(at)));
        let what = format!("Users are served again: {} is OK{}.", self.alarm(), after.unwrap_or_default());
        let next = "fix or revert the change; the next deploy brings the bad release back".to_owned();
        (Service::ServedAgain, what, Next { what: next, command: None })
    }

    fn half_way(&self) -> Parts {
        let lead = self.lead(Service::NeedsPerson);
        // A rollback that did not complete leaves no release that could be named.
        if self.report.after.is_some() {
            let what = format!("{lead} {}", sentence(&self.text(&self.report.message)));
            return (Service::NeedsPerson, what, self.step(Step::Status(SEE)));
        }
        let (before, after) = self.names();
        let what = format!("{lead} The rollback from {before} to {after} did not complete.");
        (Service::NeedsPerson, what, self.step(Step::Finish))
    }

    fn failed(&self) -> Parts {
        let Report { signal, people, message, next, stage, .. } = self.report;
        let state = if people.live.is_some() { Service::StillBad } else { Service::Unknown };
        let again = if has_fired(self.report) && !signal.is_sweep() {
            "The function tries again."
        } else {
            "The next sweep tries again."
        };
        let what = format!("{} {} {again}", self.lead(state), sentence(&self.text(message)));
        let next = match (stage, next.first()) {
            (Some(_), _) if people.live.is_some() => self.step(Step::GoBack),
            (_, Some(advice)) => Next { what: self.text(advice), command: None },
            (Some(_), None) => self.step(Step::Status(SEE)),
            (None, None) => self.step(Step::Doctor("to check everything that a rollback needs")),
        };
        (state, what, next)
    }

    fn not_done(&self) -> Parts {
        let Report { reason: Some(reason), message, .. } = self.report else { return self.quiet() };
        let Row { state, follows, step } = row(reason, has_fired(self.report));
        // Without a stage, nothing was read that confirms the alarm.
        let is_confirmed = state != Service::StillBad || self.report.stage.is_some();
        // Another Region's incident may be one here, whatever kept this run from acting on it.
        let may_be_bad = self.report.signal.is_sibling() && reason.kind() == Kind::Hold;
        let state = if is_confirmed && !may_be_bad { state } else { Service::Unknown };
        let what = format!("{} {} {follows}", self.lead(state), sentence(&self.text(message)));
        (state, what.trim_end().to_owned(), self.step(step))
    }

    /// Reports that are not sent to people.
    fn quiet(&self) -> Parts {
        let what = sentence(&self.text(&self.report.message));
        (Service::NotAffected, what, self.step(Step::Do("nothing needs to be done")))
    }

    fn step(&self, step: Step) -> Next {
        let plain = |what: &str| Next { what: what.to_owned(), command: None };
        let with = |what: String, verb: &str| match &self.report.stage {
            Some(stage) => Next { command: Some(self.command(verb, Some(stage))), what },
            None => Next { what, command: None },
        };
        match (step, self.known_good()) {
            (Step::GoBack, Some(good)) => with(format!("go back to {good} now"), "rollback"),
            (Step::Finish, Some(_)) => with("to finish the rollback".to_owned(), "rollback"),
            (Step::GoBack | Step::Finish, None) => with(SEE.to_owned(), "status"),
            (Step::GoBackIf(when, _), Some(good)) => with(format!("{when} go back to {good}"), "rollback"),
            (Step::GoBackIf(_, other), None) => plain(other),
            (Step::Status(what), _) => with(what.to_owned(), "status"),
            (Step::Record(what), _) => with(what.to_owned(), "record"),
            (Step::Doctor(what), _) => {
                let command = Some(self.command("doctor", self.report.stage.as_ref()));
                Next { what: what.to_owned(), command }
            }
            (Step::Rollout(what, verb), _) => with(what.to_owned(), &format!("rollout {verb}")),
            (Step::Do(what), _) => plain(what),
        }
    }

    /// Returns a command of the command-line tool to paste into a shell.
    fn command(&self, verb: &str, stage: Option<&StageRef>) -> String {
        let mut command = format!("{FUNCTION} {verb}");
        if let Some(StageRef { api, stage, .. }) = stage {
            // A name that looks like an id, or that a shell would not leave alone, is not a safe argument.
            let name = self.report.api_name.as_deref().filter(|name| is_bare(name) && is_name(name));
            command = format!("{command} {}", for_shell(&format!("{}/{stage}", name.unwrap_or(api))));
        }
        if let Some(region) = &self.report.region {
            command = format!("{command} --region {}", for_shell(region));
        }
        if self.function != FUNCTION {
            command = format!("{command} --function {}", for_shell(self.function));
        }
        command
    }
}

/// Whether the command-line tool takes this for an API's name.
fn is_name(text: &str) -> bool {
    matches!(ApiRef::parse(text), ApiRef::Name(_)) && !text.starts_with('-')
}

/// Whether a shell leaves a word as it is.
fn is_bare(text: &str) -> bool {
    let is_safe = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    !text.is_empty() && text.bytes().all(is_safe)
}

/// Returns a word for a shell.
fn for_shell(word: &str) -> String {
    let word = plain::line(word);
    if word.split('/').all(is_bare) { word } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

fn upper(text: &str) -> String {
    let mut letters = text.chars();
    // A label is spelled as it is.
    match (text.starts_with("deployment ") || text.starts_with("the "), letters.next()) {
        (true, Some(first)) => format!("{}{}", first.to_ascii_uppercase(), letters.as_str()),
        (true | false, _) => text.to_owned(),
    }
}

impl Message {
    /// Returns the first line: the state, the name, and why.
    #[must_use]
    pub fn title(&self) -> String {
        let Self { headline, about, why, .. } = self;
        let why = if why.is_empty() { String::new() } else { format!(" ({})", why.join(", ")) };
        format!("{headline}: {about}{why}")
    }

    /// Returns the subject of an e-mail: printable ASCII, at most 100 characters. The state and the name are never cut off,
    /// unless even the API's id and the stage's name are too long.
    #[must_use]
    pub fn subject(&self) -> String {
        let Self { headline, about, about_id, why, .. } = self;
        let named = ascii(&format!("{headline}: {about}"));
        let is_readable = named.len() <= SUBJECT
            && about.chars().filter(char::is_ascii).count() * 2 > about.chars().count();
        let named = match about_id {
            Some(id) if !is_readable => ascii(&format!("{headline}: {id}")),
            Some(_) | None => named,
        };
        let with = |kept: usize| match why.get(..kept) {
            Some(kept @ [_, ..]) => format!("{named} ({})", ascii(&kept.join(", "))),
            Some([]) | None => named.clone(),
        };
        let fitting = (0..=why.len()).rev().map(with).find(|subject| subject.len() <= SUBJECT);
        fitting.unwrap_or_else(|| {
            let kept: String = named.chars().take(SUBJECT - 3).collect();
            format!("{kept}...")
        })
    }
}

impl Next {
    /// Returns the step as a line. `mark` stands around the command.
    #[must_use]
    pub fn line(&self, mark: &str) -> String {
        let Self { what, command } = self;
        match command {
            Some(command) => format!("{}:  {mark}{command}{mark}", sentence(what).trim_end_matches('.')),
            None => format!("Now: {}", sentence_end(what)),
        }
    }
}

fn sentence_end(text: &str) -> String {
    if text.ends_with('.') { text.to_owned() } else { format!("{text}.") }
}

fn ascii(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii_graphic() || c == ' ' { c } else { '?' }).collect()
}
